// Cases for localisation, made from a seed: leaves with volumes as uneven as in real traffic, one
// to three causes that shift all leaves below them by the same share (generalised ripple effect: Li
// et al., ISSRE 2019), noise on every leaf; or a cause in a dimension that nobody recorded.
import type { Element } from '../../../src/loop/diagnose/localise/localise.ts';
import type { Leaves } from '../../../src/loop/diagnose/localise/cube.ts';

export interface RippleSetup {
  readonly seed: number;
  readonly sizes: readonly number[];
  readonly leaves: number;
  readonly causes: number;
  /** Standard deviation of the relative noise of a leaf. */
  readonly noise: number;
  /** The cause lies in a dimension that is not among these. */
  readonly external?: boolean;
}

export interface RippleCase {
  readonly leaves: Leaves;
  /** The elements of all causes together. */
  readonly truth: readonly Element[];
}

/** Mulberry32. */
export function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function normal(roll: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - roll())) * Math.cos(2 * Math.PI * roll());
}

interface Drawn {
  readonly elements: readonly Element[];
  readonly size: number;
}

export function rippleCase(setup: RippleSetup): RippleCase {
  const roll = dice(setup.seed);
  const value = drawLeaves(setup, roll);
  const count = value[0]?.length ?? 0;
  const causes = setup.external === true ? [] : drawCauses(setup, roll, value);
  const hidden = setup.external === true ? drawHidden(setup, roll, value) : undefined;
  const deviation = new Float64Array(count);
  const weight = new Float64Array(count);
  for (let i = 0; i < count; i += 1) {
    const volume = Math.exp(3 + 1.2 * normal(roll));
    // Less volume, more noise: counts vary with the root of their number.
    const sigma = setup.noise * Math.sqrt(1 + 20 / volume);
    let shift = hidden?.(i) ?? 0;
    for (const { elements, size } of causes) {
      if (elements.some((e) => covers(e, value, i))) shift = size;
    }
    deviation[i] = shift + sigma * normal(roll);
    weight[i] = 1 / (1 + 20 / volume);
  }
  const truth = causes.flatMap(({ elements }) => elements);
  return { leaves: { count, sizes: setup.sizes, value, deviation, weight }, truth };
}

export function covers(element: Element, value: readonly Int32Array[], leaf: number): boolean {
  return element.every((wanted, d) => wanted === undefined || value[d]?.[leaf] === wanted);
}

/** Distinct combinations; popular values come more often. */
function drawLeaves({ sizes, leaves }: RippleSetup, roll: () => number): Int32Array[] {
  const value = sizes.map(() => new Int32Array(leaves));
  const seen = new Set<number>();
  let made = 0;
  // Bounded: where nearly all combinations exist already, fewer leaves are made.
  for (let tries = 0; made < leaves && tries < leaves * 8; tries += 1) {
    let key = 0;
    const drawn = sizes.map((size) => Math.floor(size * roll() ** 1.3));
    sizes.forEach((size, d) => {
      key = key * size + (drawn[d] ?? 0);
    });
    if (seen.has(key)) continue;
    seen.add(key);
    drawn.forEach((v, d) => {
      const column = value[d];
      if (column !== undefined) column[made] = v;
    });
    made += 1;
  }
  return value.map((column) => column.slice(0, made));
}

function drawCauses(
  { sizes, causes }: RippleSetup,
  roll: () => number,
  value: readonly Int32Array[],
): Drawn[] {
  const drawn: Drawn[] = [];
  const count = value[0]?.length ?? 0;
  for (let tries = 0; drawn.length < causes && tries < 1_000; tries += 1) {
    const layer = 1 + Math.floor(roll() * Math.min(3, sizes.length));
    const mask = drawMask(sizes.length, layer, roll);
    const many = 1 + Math.floor(roll() * 2);
    const elements: Element[] = [];
    for (let i = 0; i < many; i += 1) {
      const leaf = Math.floor(roll() * count);
      const element = value.map((column, d) => ((mask >> d) & 1 ? column[leaf] : undefined));
      if (!elements.some((e) => same(e, element))) elements.push(element);
    }
    // Neither too small to be seen, nor most of everything, nor inside another cause.
    const sizesOf = elements.map((e) => countOf(e, value));
    if (sizesOf.some((size) => size < 12 || size > count * 0.25)) continue;
    const touches = drawn.some((other) =>
      other.elements.some((a) => elements.some((b) => overlaps(a, b))),
    );
    if (touches) continue;
    const shift = (0.25 + 0.9 * roll()) * (roll() < 0.85 ? 1 : -1);
    if (drawn.some(({ size }) => Math.abs(size - shift) < 0.1)) continue;
    drawn.push({ elements, size: shift });
  }
  return drawn;
}

function drawMask(dimensions: number, layer: number, roll: () => number): number {
  let mask = 0;
  // Bounded in practice by the few dimensions; ends as soon as enough bits are set.
  for (let bits = 0; bits < layer;) {
    const bit = 1 << Math.floor(roll() * dimensions);
    if ((mask & bit) !== 0) continue;
    mask |= bit;
    bits += 1;
  }
  return mask;
}

/** Could a leaf be below both? */
function overlaps(a: Element, b: Element): boolean {
  return a.every((v, d) => v === undefined || b[d] === undefined || b[d] === v);
}

export function same(a: Element, b: Element): boolean {
  return a.every((v, d) => b[d] === v);
}

function countOf(element: Element, value: readonly Int32Array[]): number {
  let count = 0;
  const total = value[0]?.length ?? 0;
  for (let i = 0; i < total; i += 1) if (covers(element, value, i)) count += 1;
  return count;
}

/** Leaves belong by chance to values of a hidden dimension, one of which is ill. */
function drawHidden(
  { sizes }: RippleSetup,
  roll: () => number,
  value: readonly Int32Array[],
): (leaf: number) => number {
  const share = 0.1 + 0.4 * roll();
  const size = 0.4 + 0.8 * roll();
  const bound = roll() < 0.5 ? Math.floor(roll() * sizes.length) : -1;
  const column = value[bound];
  const only = column?.[Math.floor(roll() * column.length)];
  const salt = dice(Math.floor(roll() * 1e9));
  const ill = Float64Array.from({ length: value[0]?.length ?? 0 }, () => salt());
  return (leaf) => {
    if (only !== undefined && column?.[leaf] !== only) return 0;
    return (ill[leaf] as number) < share ? size : 0;
  };
}
