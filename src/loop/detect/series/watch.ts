// Is this value worth somebody's attention? The streams of `features.ts`, each in parts of its own
// threshold, fused by the greatest; then the logic that makes alerts out of it: one for each
// trouble, dearer the more there were lately, again within a trouble only when it becomes far
// worse. All times are of the clock, never in samples, so that one setting serves series of any
// pace.
//
//   SW1. One configuration for all series; nothing is learnt from labels at run time.
//   SW2. No alert before the series has been known for a while.
//   SW3. A sample that is no number, or of the past, changes nothing.
//   SW4. An alert says which stream raised it. It is evidence, never alone a reason to act.
import { Features, STREAMS, type Stream } from './features.ts';

export interface WatchLimits {
  /** Score at which a stream alone is an alert. Absent: it does not take part. */
  readonly thresholds: Readonly<Partial<Record<Stream, number>>>;
  /** No second alert within this time and so many samples, unless `rearm` times stronger. */
  readonly refractoryMs: number;
  readonly refractorySamples: number;
  readonly rearm: number;
  /** Each alert raises the bar by this much; half of it is forgotten after `fatigueHalfMs`. */
  readonly fatigue: number;
  readonly fatigueHalfMs: number;
  readonly warmUpSamples: number;
}

const HOUR_MS = 3_600_000;

/** Frozen before scoring; how it was found and what it scores: docs/guide/benchmarks-brain.md. */
export const WATCH_LIMITS: WatchLimits = {
  thresholds: {
    value: 0.05,
    mean5: 1,
    high12: 0.18,
    local30: 25,
    local100: 20,
    local300: 14,
    seasonal: 6.8,
  },
  refractoryMs: 12.8 * HOUR_MS,
  refractorySamples: 6,
  rearm: 4,
  fatigue: 1.2,
  fatigueHalfMs: 75 * HOUR_MS,
  warmUpSamples: 60,
};

export interface Anomaly {
  readonly stream: Stream;
  /** 0.5 at the threshold, towards 1 for the far outside. */
  readonly strength: number;
}

/** The judgement on the scores of one series, sample after sample. */
export function openJudge(
  limits: WatchLimits,
  warmUpSamples: number,
): (atMs: number, scores: ArrayLike<number>) => Anomaly | undefined {
  const judge = new Judge(limits, Math.max(limits.warmUpSamples, warmUpSamples));
  return (atMs, scores) => judge.step(atMs, scores);
}

class Judge {
  readonly #limits: WatchLimits;
  /** 1 / threshold, 0 for a stream that takes no part. */
  readonly #scales: Float64Array;
  readonly #warmUp: number;
  #seen = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #lastSeen = Number.NEGATIVE_INFINITY;
  #level = 0;
  #tired = 0;
  #tiredMs = 0;

  constructor(limits: WatchLimits, warmUp: number) {
    this.#limits = limits;
    this.#warmUp = warmUp;
    this.#scales = Float64Array.from(STREAMS, (name) => {
      const threshold = limits.thresholds[name];
      return threshold === undefined ? 0 : 1 / threshold;
    });
  }

  step(atMs: number, scores: ArrayLike<number>): Anomaly | undefined {
    this.#seen += 1;
    let strongest = 0;
    let stream = 0;
    for (let i = 0; i < STREAMS.length; i += 1) {
      const score = (scores[i] as number) * (this.#scales[i] as number);
      if (score <= strongest) continue;
      strongest = score;
      stream = i;
    }
    if (strongest < 1 || this.#seen <= this.#warmUp || !this.#isNews(atMs, strongest)) {
      return undefined;
    }
    return { stream: STREAMS[stream] ?? 'value', strength: 1 - 1 / (1 + strongest) };
  }

  #isNews(atMs: number, score: number): boolean {
    const { refractoryMs, refractorySamples, rearm, fatigue, fatigueHalfMs } = this.#limits;
    this.#tired *= 0.5 ** ((atMs - this.#tiredMs) / fatigueHalfMs);
    this.#tiredMs = atMs;
    const isOver =
      atMs - this.#lastMs > refractoryMs && this.#seen - this.#lastSeen > refractorySamples;
    if (isOver ? score < 1 + fatigue * this.#tired : score <= this.#level * rearm) return false;
    this.#tired += 1;
    this.#level = isOver ? score : Math.max(score, this.#level);
    this.#lastMs = atMs;
    this.#lastSeen = this.#seen;
    return true;
  }
}

export class SeriesWatch {
  readonly #features = new Features();
  readonly #judge: (atMs: number, scores: ArrayLike<number>) => Anomaly | undefined;

  /** `warmUpSamples`: how many to see before the first alert, where that is more than usual. */
  constructor(limits: WatchLimits = WATCH_LIMITS, warmUpSamples = 0) {
    this.#judge = openJudge(limits, warmUpSamples);
  }

  /** `atMs` never goes back. undefined: nothing to tell. */
  step(atMs: number, value: number): Anomaly | undefined {
    if (!this.#features.step(atMs, value)) return undefined;
    return this.#judge(atMs, this.#features.scores);
  }
}
