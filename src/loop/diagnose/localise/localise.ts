// Which combination of tenant, release, replica, route … explains what is abnormal? A cause shifts
// all leaves below it by about the same amount (generalised ripple effect: Li et al., ISSRE 2019).
// So an element is a cause if its leaves differ from each other by no more than noise while all of
// them together stand out of it: a coarser one would hold sound leaves, a finer one would explain
// less. Searched exactly over all cuboids of at most five dimensions; what one explains is taken
// away before the next is looked for.
//
//   LO1. Pure; the same leaves give the same answer. `deviation` is changed on the way.
//   LO2. Every element pays for its words: a coarser one wins over its parts, noise over both.
//   LO3. If what is found explains too little, the cause lies outside these dimensions, and the
//        answer says so instead of naming the nearest thing.
//   LO4. At most `elementsMax` rounds; nothing here grows with anything but leaves and cuboids.
import { type Cuboid, type Leaves, leavesBelow, openCube, shift } from './cube.ts';

export interface LocaliseLimits {
  /** Elements that are named at most, 1–64. */
  readonly elementsMax: number;
  /** Shifts below this are of no interest, in units of the deviation. */
  readonly effectMin: number;
  /** Least share of the abnormal energy that must be explained, 0–1. */
  readonly explainedMin: number;
}

export const LOCALISE_LIMITS: LocaliseLimits = {
  elementsMax: 24,
  effectMin: 0.05,
  explainedMin: 0.8,
};

/** Value of each dimension that it fixes; undefined: any. */
export type Element = readonly (number | undefined)[];

export interface Cause {
  readonly element: Element;
  /** Common shift of its leaves. */
  readonly shift: number;
  /** Share of the abnormal energy that it explains, 0–1. */
  readonly share: number;
  readonly leaves: number;
}

export type Localised =
  /** Nothing stands out of the noise. */
  | { readonly kind: 'nothing' }
  /** Those that explain most first. */
  | { readonly kind: 'found'; readonly causes: readonly Cause[]; readonly explained: number }
  /** The abnormal leaves have no simple common place here. */
  | { readonly kind: 'external'; readonly causes: readonly Cause[]; readonly explained: number };

interface Candidate {
  readonly cuboid: Cuboid;
  readonly e: number;
  readonly cost: number;
}

interface Pick extends Candidate {
  readonly shift: number;
  /** Reduction of the description length, in units of the noise variance. */
  readonly gain: number;
}

/** How many sigmas an element must stand out. */
const SIGMAS = 4;
const ELEMENT_COST = 8;
/** Leaves of one cause may differ by this share of its shift, beyond noise. */
const SPREAD = 0.15;
/** A single leaf is like itself: fewer than these show no likeness. */
const LEAVES_MIN = 4;
const SAMPLE_MAX = 20_000;
/** Width of the middle quarter of a normal distribution, in sigmas. */
const QUARTER_WIDTH = 0.6373;
/** What covers so much of all leaves tells nothing apart. */
const COVER_MAX = 0.85;

export function localise(leaves: Leaves, limits: LocaliseLimits = LOCALISE_LIMITS): Localised {
  const variance = noiseOf(leaves);
  const before = energyOf(leaves, variance);
  const cube = openCube(leaves);
  const candidates = cube.flatMap((cuboid) => standingOut(cuboid, variance, limits));
  const picks: Pick[] = [];
  for (let round = 0; round < limits.elementsMax; round += 1) {
    const best = bestOf(candidates, variance, limits);
    if (best === undefined) break;
    picks.push(best);
    shift(cube, leaves, leavesBelow(best.cuboid, best.e), best.shift);
  }
  const after = energyOf(leaves, variance);
  const whole = picks.reduce((sum, { gain }) => sum + gain, 0);
  // Faint shifts of many leaves are energy too, though no single leaf stands out.
  const all = Math.max(before, whole);
  if (all === 0) return { kind: 'nothing' };
  const explained = whole / (whole + after);
  const causes = picks
    .toSorted((a, b) => b.gain - a.gain)
    .map((pick) => causeOf(pick, leaves, (pick.gain / whole) * explained));
  const isFound = explained >= limits.explainedMin && coverOf(picks, leaves) < COVER_MAX;
  return { kind: isFound ? 'found' : 'external', causes, explained };
}

/**
 * Variance of the noise for weight 1: from the narrowest interval that holds a quarter of the
 * leaves, which the abnormal ones hardly touch (shorth: Rousseeuw & Leroy 1988).
 */
function noiseOf({ count, deviation, weight }: Leaves): number {
  const step = Math.max(1, Math.floor(count / SAMPLE_MAX));
  const scaled = new Float64Array(Math.ceil(count / step));
  let used = 0;
  for (let i = 0; i < count; i += step) {
    const w = weight[i] as number;
    if (w === 0) continue;
    scaled[used] = (deviation[i] as number) * Math.sqrt(w);
    used += 1;
  }
  const sorted = scaled.subarray(0, used).sort();
  const held = Math.max(1, used >> 2);
  let narrowest = Number.POSITIVE_INFINITY;
  for (let i = 0; i + held < used; i += 1) {
    narrowest = Math.min(narrowest, (sorted[i + held] as number) - (sorted[i] as number));
  }
  const sigma = Number.isFinite(narrowest) ? narrowest / QUARTER_WIDTH : 1;
  return Math.max(1e-12, sigma * sigma);
}

/** Share of the leaves below any of them. */
function coverOf(picks: readonly Pick[], { count }: Leaves): number {
  const isBelow = new Uint8Array(count);
  for (const { cuboid, e } of picks) for (const leaf of leavesBelow(cuboid, e)) isBelow[leaf] = 1;
  let covered = 0;
  for (const below of isBelow) covered += below;
  return covered / Math.max(1, count);
}

/** Squared deviation of the leaves that stand out of the noise. */
function energyOf({ count, deviation, weight }: Leaves, variance: number): number {
  let sum = 0;
  const least = SIGMAS * SIGMAS;
  for (let i = 0; i < count; i += 1) {
    const d = deviation[i] as number;
    const energy = ((weight[i] as number) * d * d) / variance;
    if (energy > least) sum += energy;
  }
  return sum;
}

function standingOut(cuboid: Cuboid, variance: number, limits: LocaliseLimits): Candidate[] {
  const { elements, layer, leaves } = cuboid;
  const cost = ELEMENT_COST + 2 * Math.log(elements + 1) + 2 * layer;
  const found: Candidate[] = [];
  for (let e = 0; e < elements; e += 1) {
    if ((leaves[e] as number) < LEAVES_MIN) continue;
    const candidate = { cuboid, e, cost };
    if (gainOf(candidate, variance, limits) > 0) found.push(candidate);
  }
  return found;
}

/** 0 where it does not stand out. */
function gainOf({ cuboid, e, cost }: Candidate, variance: number, limits: LocaliseLimits): number {
  const weight = cuboid.weights[e] as number;
  const sum = cuboid.sums[e] as number;
  if (Math.abs(sum) <= limits.effectMin * weight) return 0;
  const gain = (sum * sum) / (weight * variance);
  return gain < SIGMAS * SIGMAS ? 0 : Math.max(0, gain - cost);
}

/** Do its leaves differ by no more than noise, and a little? */
function isEven({ cuboid, e }: Candidate, variance: number): boolean {
  const weight = cuboid.weights[e] as number;
  const sum = cuboid.sums[e] as number;
  const count = cuboid.leaves[e] as number;
  const mean = sum / weight;
  const own = (cuboid.squares[e] as number) - sum * mean;
  const noise = variance * (count - 1) * (1.15 + 3 * Math.sqrt(2 / (count - 1)));
  return own <= noise + weight * (SPREAD * mean) ** 2;
}

function bestOf(
  candidates: readonly Candidate[],
  variance: number,
  limits: LocaliseLimits,
): Pick | undefined {
  let best: Candidate | undefined;
  let bestGain = 0;
  for (const candidate of candidates) {
    const gain = gainOf(candidate, variance, limits);
    if (gain <= bestGain || !isEven(candidate, variance)) continue;
    best = candidate;
    bestGain = gain;
  }
  if (best === undefined) return undefined;
  const { cuboid, e } = best;
  return { ...best, gain: bestGain, shift: (cuboid.sums[e] ?? 0) / (cuboid.weights[e] ?? 1) };
}

function causeOf({ cuboid, e, shift: by }: Pick, leaves: Leaves, share: number): Cause {
  const leaf = cuboid.sample[e] ?? 0;
  const element = leaves.value.map((column, d) =>
    ((cuboid.mask >> d) & 1) === 1 ? column[leaf] : undefined,
  );
  return { element, shift: by, share, leaves: cuboid.leaves[e] ?? 0 };
}
