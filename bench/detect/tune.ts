// Where do the thresholds come from? A seeded random walk over them that only goes up, on the
// series it is given and on no others. The features of each series are computed once.
import { Features, STREAMS, type Stream } from '../../src/loop/detect/series/features.ts';
import { openJudge, type WatchLimits, WATCH_LIMITS } from '../../src/loop/detect/series/watch.ts';
import type { LabelledSeries, NabSeries, Series } from './corpus.ts';
import { type EventScore, type NabScore, PROFILES, scoreEvents, scoreNab } from './score.ts';

const ALERT = 0.5;
const CLOUD_WARM_UP = 0.1;
const FALSE_PER_DAY = 0.115;

/** A series with its features: `STREAMS.length` a sample. */
export interface Seen<S extends Series> {
  readonly series: S;
  readonly features: Float32Array;
}

export interface Corpora {
  readonly nab: readonly Seen<NabSeries>[];
  readonly cloud: readonly Seen<LabelledSeries>[];
}

export interface Scores {
  readonly nab: NabScore;
  readonly cloud: EventScore;
}

export function see<S extends Series>(series: S): Seen<S> {
  const features = new Float32Array(series.values.length * STREAMS.length);
  const watched = new Features();
  series.values.forEach((value, i) => {
    watched.step(series.times[i] ?? 0, value);
    features.set(watched.scores, i * STREAMS.length);
  });
  return { series, features };
}

/** Strength of the alert at each sample, 0 for none: what `SeriesWatch` says. */
export function alertsOf(seen: Seen<Series>, limits: WatchLimits, warmUp: number): Float64Array {
  const { series, features } = seen;
  const judge = openJudge(limits, warmUp);
  const width = STREAMS.length;
  return Float64Array.from(series.values, (_, i) => {
    const scores = features.subarray(i * width, (i + 1) * width);
    return judge(series.times[i] ?? 0, scores)?.strength ?? 0;
  });
}

export function alertsOfAll(corpora: Corpora, limits: WatchLimits): AllAlerts {
  return {
    nab: corpora.nab.map((seen) => alertsOf(seen, limits, seen.series.from)),
    cloud: corpora.cloud.map((seen) =>
      alertsOf(seen, limits, Math.floor(seen.series.values.length * CLOUD_WARM_UP)),
    ),
  };
}

export interface AllAlerts {
  readonly nab: readonly Float64Array[];
  readonly cloud: readonly Float64Array[];
}

/** One threshold for both: an alert of the product is an alert. */
export function scoreAll(corpora: Corpora, alerts: AllAlerts): Scores {
  const standard = PROFILES['standard'] ?? { falsePositive: 0.11, falseNegative: 1 };
  const nab = corpora.nab.map(({ series }) => series);
  const cloud = corpora.cloud.map(({ series }) => series);
  return {
    nab: scoreNab(nab, alerts.nab, standard, ALERT),
    cloud: scoreEvents(cloud, alerts.cloud, ALERT),
  };
}

/** Both corpora count the same; more than their bars counts, too many false alarms do not pay. */
function worth({ nab, cloud }: Scores): number {
  const both = Math.min(nab.score / 65, 1.15) + Math.min(cloud.f1 / 0.54, 1.15);
  const short = Math.min(0, (nab.score - 66) / 40) + Math.min(0, (cloud.f1 - 0.56) * 3);
  return both + short - Math.max(0, (cloud.falsePerDay - FALSE_PER_DAY) * 10);
}

/** Mulberry32. */
function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Where the walk begins: nothing learnt. */
export const PLAIN: WatchLimits = {
  ...WATCH_LIMITS,
  thresholds: {
    value: 0.05,
    mean5: 0.8,
    high12: 0.2,
    local30: 15,
    local100: 15,
    local300: 15,
    seasonal: 12,
  },
  refractoryMs: 36_000_000,
  refractorySamples: 6,
  rearm: 3,
  fatigue: 1.5,
  fatigueHalfMs: 172_800_000,
};

export function tune(corpora: Corpora, steps: number, seed: number): WatchLimits {
  const roll = dice(seed);
  let best = PLAIN;
  let bestWorth = worth(scoreAll(corpora, alertsOfAll(corpora, best)));
  for (let step = 0; step < steps; step += 1) {
    let next = best;
    const changes = 1 + Math.floor(roll() * 2.5);
    for (let i = 0; i < changes; i += 1) next = changed(next, roll);
    const now = worth(scoreAll(corpora, alertsOfAll(corpora, next)));
    if (now <= bestWorth) continue;
    bestWorth = now;
    best = next;
  }
  return best;
}

function changed(limits: WatchLimits, roll: () => number): WatchLimits {
  const names = Object.keys(PLAIN.thresholds) as Stream[];
  const which = Math.floor(roll() * (names.length + 5));
  const by = Math.exp((roll() - 0.5) * 0.9);
  const name = names[which];
  if (name !== undefined) {
    const threshold = (limits.thresholds[name] ?? 1) * by;
    return { ...limits, thresholds: { ...limits.thresholds, [name]: threshold } };
  }
  const between = (low: number, high: number, value: number): number =>
    Math.max(low, Math.min(high, value));
  switch (which - names.length) {
    case 0:
      return { ...limits, refractoryMs: between(3.6e6, 8.64e7, limits.refractoryMs * by) };
    case 1:
      return {
        ...limits,
        refractorySamples: Math.round(between(2, 24, limits.refractorySamples * by)),
      };
    case 2:
      return { ...limits, fatigue: between(0, 4, limits.fatigue + roll() - 0.5) };
    case 3:
      return { ...limits, fatigueHalfMs: between(2e7, 6e8, limits.fatigueHalfMs * by) };
    default:
      return { ...limits, rearm: between(1.1, 8, limits.rearm * by) };
  }
}
