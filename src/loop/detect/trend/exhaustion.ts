// When will this run out? Memory, disk, descriptors, a pool: a level that climbs towards a limit.
// Levels wobble: garbage is collected, days pass, caches fill, releases step. So the slope is that
// of the floors (what is left after a collection), by the median of all slopes between them (Theil
// 1950, Sen 1968), and it counts only where a long and a short look agree, the climb does not slow
// down, and yesterday did not look the same. How far it may still climb is told from the peaks.
//
//   EX1. Bounded memory: one day of floors and peaks, whatever the sampling.
//   EX2. Pure but for its own fields: the same samples give the same forecasts.
//   EX3. A counter that is reset, NaN, and time that stands still or goes back change nothing but
//        what they must: a sample that cannot be true is left out.
//   EX4. `exhausts` says how sure it is: the earliest and the latest time that the floors allow.

export interface TrendLimits {
  /** Floors and peaks are taken over so long. */
  readonly binMs: number;
  /** The long look, in bins; the short one is its later half. */
  readonly bins: number;
  /** Beyond this, running out is of no interest yet. */
  readonly horizonMs: number;
}

export const TREND_LIMITS: TrendLimits = { binMs: 900_000, bins: 24, horizonMs: 14_400_000 };

const DAY_MS = 86_400_000;
/** Below this share of the limit nothing is said: there is room for whatever it is. */
const USED_MIN = 0.35;
/** The later half must climb at least so fast as a share of the whole, at most so much faster. */
const SLOWER_MIN = 0.66;
const FASTER_MAX = 2.5;
/** One-sided 97.5 % of the normal distribution. */
const Z = 1.96;
const BINS_MIN = 12;
/** Slower than this share of the rest, and the climb had not begun yet. */
const ONSET_SHARE = 0.5;
const SEEN_SHARE = 0.6;
const STEP_SHARE = 0.5;
/** A fall of the floor by more than this share of its height begins anew: a restart. */
const RESET_SHARE = 0.35;

export type Forecast =
  | { readonly kind: 'unknown'; readonly reason: 'too-short' | 'no-limit' }
  | {
      readonly kind: 'steady';
      readonly reason: 'low' | 'flat' | 'slowing' | 'unlike' | 'daily' | 'far';
    }
  | {
      readonly kind: 'exhausts';
      readonly inMs: number;
      /** Of the slope's confidence interval; the later may be Infinity. */
      readonly soonestMs: number;
      readonly latestMs: number;
      readonly perHour: number;
    };

interface Bin {
  /** Number of its span since time 0. */
  at: number;
  floor: number;
  peak: number;
  samples: number;
}

interface Slope {
  readonly middle: number;
  readonly low: number;
  readonly high: number;
}

export class Trend {
  readonly #limits: TrendLimits;
  readonly #bins: Bin[] = [];
  readonly #binsMax: number;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(limits: TrendLimits = TREND_LIMITS) {
    this.#limits = limits;
    this.#binsMax = Math.ceil(DAY_MS / limits.binMs) + limits.bins + 1;
  }

  /** `atMs` monotonic; `used` ≥ 0 in any unit. */
  note(atMs: number, used: number): void {
    if (!Number.isFinite(used) || !Number.isFinite(atMs) || used < 0 || atMs <= this.#lastMs)
      return;
    this.#lastMs = atMs;
    const at = Math.floor(atMs / this.#limits.binMs);
    const last = this.#bins.at(-1);
    if (last?.at === at) {
      last.floor = Math.min(last.floor, used);
      last.peak = Math.max(last.peak, used);
      last.samples += 1;
      return;
    }
    this.#bins.push({ at, floor: used, peak: used, samples: 1 });
    if (this.#bins.length > this.#binsMax) this.#bins.shift();
  }

  /** Oldest first; the last one is still being filled. */
  get bins(): readonly Readonly<Bin>[] {
    return this.#bins;
  }

  /** `limit` in the unit of the samples. */
  forecast(limit: number): Forecast {
    if (!(limit > 0)) return { kind: 'unknown', reason: 'no-limit' };
    const { bins, binMs, horizonMs } = this.#limits;
    // The bin that is still being filled has not seen its floor yet.
    const whole = sinceReset(this.#bins.slice(0, -1));
    const long = sinceOnset(whole.slice(-bins));
    const last = long.at(-1);
    if (last === undefined || long.length < BINS_MIN)
      return { kind: 'unknown', reason: 'too-short' };
    const peak = recentPeak(long);
    if (peak < USED_MIN * limit) return { kind: 'steady', reason: 'low' };
    const slope = slopeOf(long);
    if (slope.low <= 0) return { kind: 'steady', reason: 'flat' };
    const early = slopeOf(long.slice(0, long.length >> 1));
    const late = slopeOf(long.slice(long.length >> 1));
    if (late.middle < SLOWER_MIN * slope.middle || late.high < early.low) {
      return { kind: 'steady', reason: 'slowing' };
    }
    if (late.middle > FASTER_MAX * slope.middle || early.middle <= 0 || isStep(long)) {
      return { kind: 'steady', reason: 'unlike' };
    }
    if (isDaily(whole, long, slope.middle, binMs)) return { kind: 'steady', reason: 'daily' };
    const room = Math.max(0, limit - peak);
    // The peaks stand, on average, for the middle of their bins.
    const goneMs = this.#lastMs - (last.at + 0.5) * binMs;
    const inMs = Math.max(0, (room / slope.middle) * binMs - goneMs);
    // Nobody should look further ahead than he has looked back.
    if (inMs > Math.min(horizonMs, SEEN_SHARE * long.length * binMs))
      return { kind: 'steady', reason: 'far' };
    const soonestMs = (room / slope.high) * binMs;
    const latestMs = (room / slope.low) * binMs;
    return { kind: 'exhausts', inMs, soonestMs, latestMs, perHour: (slope.middle * 3.6e6) / binMs };
  }
}

/** What came after the last great fall: before it was another process. */
function sinceReset(bins: readonly Bin[]): readonly Bin[] {
  for (let i = bins.length - 1; i > 0; i -= 1) {
    const before = bins[i - 1]?.floor ?? 0;
    if ((bins[i]?.floor ?? 0) < before * (1 - RESET_SHARE)) return bins.slice(i);
  }
  return bins;
}

/** Without what came before the climb began: it would make the climb look slower than it is. */
function sinceOnset(bins: readonly Bin[]): readonly Bin[] {
  let kept = bins;
  // Bounded: two bins less each time.
  while (kept.length >= BINS_MIN + 2) {
    const first = slopeOf(kept.slice(0, BINS_MIN >> 1)).middle;
    if (first >= ONSET_SHARE * slopeOf(kept.slice(BINS_MIN >> 1)).middle) break;
    kept = kept.slice(2);
  }
  return kept;
}

/** Height that the peaks reach now: the last few, so that one spike does not decide. */
function recentPeak(bins: readonly Bin[]): number {
  const peaks = bins.slice(-4).map((bin) => bin.peak);
  return Math.max(median(peaks), bins.at(-1)?.peak ?? 0);
}

/** Per bin, of the floors, with its confidence interval (Gilbert 1987, ch. 16.4). */
function slopeOf(bins: readonly Bin[]): Slope {
  const slopes: number[] = [];
  for (let i = 0; i < bins.length; i += 1) {
    for (let j = i + 1; j < bins.length; j += 1) {
      const a = bins[i];
      const b = bins[j];
      if (a !== undefined && b !== undefined) slopes.push((b.floor - a.floor) / (b.at - a.at));
    }
  }
  const sorted = slopes.toSorted((x, y) => x - y);
  const n = bins.length;
  const spread = Z * Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18);
  const at = (rank: number): number =>
    sorted[Math.max(0, Math.min(sorted.length - 1, Math.round(rank)))] ?? 0;
  const count = sorted.length;
  return {
    middle: median(sorted),
    low: at((count - spread) / 2),
    high: at((count + spread) / 2),
  };
}

/** Is one jump most of the climb? */
function isStep(bins: readonly Bin[]): boolean {
  let largest = 0;
  for (let i = 2; i < bins.length; i += 1) {
    largest = Math.max(largest, (bins[i]?.floor ?? 0) - (bins[i - 2]?.floor ?? 0));
  }
  return largest > STEP_SHARE * ((bins.at(-1)?.floor ?? 0) - (bins[0]?.floor ?? 0));
}

/** Did the same hours of the day before climb like this, and did nothing stay of it? */
function isDaily(
  whole: readonly Bin[],
  long: readonly Bin[],
  slope: number,
  binMs: number,
): boolean {
  const day = Math.round(DAY_MS / binMs);
  const before = new Map(whole.map((bin) => [bin.at + day, bin]));
  const then = long.flatMap((bin) => before.get(bin.at) ?? []);
  if (then.length < BINS_MIN) return false;
  const grown = long.flatMap((bin) => {
    const same = before.get(bin.at);
    return same === undefined ? [] : [bin.floor - same.floor];
  });
  return slopeOf(then).middle > slope / 2 && median(grown) / day < slope / 3;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  const high = sorted[half] ?? 0;
  return sorted.length % 2 === 1 ? high : ((sorted[half - 1] ?? 0) + high) / 2;
}
