// Sums over every combination of values of a few dimensions: which share of the deviation lies with
// `tenant=acme`, with `tenant=acme, route=/x`, and so on? A leaf is one full combination.
//
//   CB1. Elements of a cuboid are numbered in order of appearance, so that there are never more of
//        them than leaves.
//   CB2. `shift` keeps the sums true when a part of the deviation has been explained.

/** At most this many dimensions: 31 cuboids. */
export const DIMENSIONS_MAX = 5;
/** Above this many possible pairs, numbers are looked up in a map. */
const TABLE_MAX = 4_194_304;

/** Leaves by column. `value[d][i]` is the value of dimension d of leaf i, 0 … `sizes[d]` − 1. */
export interface Leaves {
  readonly count: number;
  readonly sizes: readonly number[];
  readonly value: readonly Int32Array[];
  /** How far the leaf is from what was expected, in a unit that one cause shifts evenly. */
  readonly deviation: Float64Array;
  /** 1 / variance of the deviation, up to a common factor; ≥ 0. */
  readonly weight: Float64Array;
}

/** One choice of dimensions, with its sums by element. */
export interface Cuboid {
  /** Bit d: dimension d takes part. */
  readonly mask: number;
  readonly layer: number;
  readonly elements: number;
  /** Element of each leaf. */
  readonly of: Int32Array;
  /** A leaf of each element, from which its values can be read. */
  readonly sample: Int32Array;
  readonly leaves: Int32Array;
  /** Σ weight, Σ weight × deviation, Σ weight × deviation². */
  readonly weights: Float64Array;
  readonly sums: Float64Array;
  readonly squares: Float64Array;
}

export function layerOf(mask: number): number {
  let bits = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) bits += 1;
  return bits;
}

/** All cuboids but the empty one, in the order of their masks. */
export function openCube(leaves: Leaves): readonly Cuboid[] {
  const { sizes, count } = leaves;
  if (sizes.length === 0 || sizes.length > DIMENSIONS_MAX) {
    throw new Error(`assertion failed: 1 to ${DIMENSIONS_MAX} dimensions, not ${sizes.length}`);
  }
  const squared = new Float64Array(count);
  for (let i = 0; i < count; i += 1) squared[i] = (leaves.deviation[i] as number) ** 2;
  const cube: Cuboid[] = [];
  for (let mask = 1; mask < 2 ** sizes.length; mask += 1) {
    const top = 31 - Math.clz32(mask);
    const below = mask - 2 ** top;
    cube.push(openCuboid(leaves, mask, top, below === 0 ? undefined : cube[below - 1], squared));
  }
  return cube;
}

function openCuboid(
  leaves: Leaves,
  mask: number,
  top: number,
  below: Cuboid | undefined,
  squared: Float64Array,
): Cuboid {
  const { count, weight, deviation } = leaves;
  const { of, elements } = number(leaves, top, below);
  const sample = new Int32Array(elements);
  const counts = new Int32Array(elements);
  const weights = new Float64Array(elements);
  const sums = new Float64Array(elements);
  const squares = new Float64Array(elements);
  for (let i = 0; i < count; i += 1) {
    const e = of[i] as number;
    const w = weight[i] as number;
    sample[e] = i;
    counts[e] = (counts[e] as number) + 1;
    weights[e] = (weights[e] as number) + w;
    sums[e] = (sums[e] as number) + w * (deviation[i] as number);
    squares[e] = (squares[e] as number) + w * (squared[i] as number);
  }
  const layer = layerOf(mask);
  return { mask, layer, elements, of, sample, leaves: counts, weights, sums, squares };
}

/** Numbers the pairs of an element of the cuboid without its top dimension, and a value of that. */
function number(
  { count, sizes, value }: Leaves,
  top: number,
  below: Cuboid | undefined,
): { readonly of: Int32Array; readonly elements: number } {
  const size = sizes[top] ?? 1;
  const column = value[top] ?? new Int32Array(count);
  const of = new Int32Array(count);
  const pairs = (below?.elements ?? 1) * size;
  const table = pairs <= TABLE_MAX ? new Int32Array(pairs).fill(-1) : undefined;
  const map = new Map<number, number>();
  let elements = 0;
  for (let i = 0; i < count; i += 1) {
    const key = (below === undefined ? 0 : (below.of[i] as number) * size) + (column[i] as number);
    let e = table === undefined ? (map.get(key) ?? -1) : (table[key] as number);
    if (e < 0) {
      e = elements;
      elements += 1;
      if (table === undefined) map.set(key, e);
      else table[key] = e;
    }
    of[i] = e;
  }
  return { of, elements };
}

/** The leaves below an element. */
export function leavesBelow({ of, leaves }: Cuboid, element: number): Int32Array {
  const found = new Int32Array(leaves[element] ?? 0);
  let at = 0;
  for (let i = 0; i < of.length; i += 1) {
    if (of[i] !== element) continue;
    found[at] = i;
    at += 1;
  }
  return found;
}

/** The deviation of these leaves has become less by `by`. */
export function shift(
  cube: readonly Cuboid[],
  { weight, deviation }: Leaves,
  which: Int32Array,
  by: number,
): void {
  for (const { of, sums, squares } of cube) {
    for (const leaf of which) {
      const e = of[leaf] as number;
      const less = (weight[leaf] as number) * by;
      sums[e] = (sums[e] as number) - less;
      squares[e] = (squares[e] as number) - less * (2 * (deviation[leaf] as number) - by);
    }
  }
  for (const leaf of which) deviation[leaf] = (deviation[leaf] as number) - by;
}
