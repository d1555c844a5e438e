// How good are the alerts? NAB's own rules with one threshold for the whole corpus, and plain
// events: hit within two samples, precision of alerts, false alarms a series-day.
import type { LabelledSeries, NabSeries } from './corpus.ts';

export interface Profile {
  readonly falsePositive: number;
  readonly falseNegative: number;
}

export const PROFILES: Readonly<Record<string, Profile>> = {
  standard: { falsePositive: 0.11, falseNegative: 1 },
  'low FP': { falsePositive: 0.22, falseNegative: 1 },
  'low FN': { falsePositive: 0.11, falseNegative: 2 },
};

export interface NabScore {
  readonly score: number;
  readonly threshold: number;
  readonly hit: number;
  readonly windows: number;
  readonly falseAlerts: number;
}

interface Alert {
  readonly strength: number;
  readonly worth: number;
  readonly window: number;
}

/** `strengths[k][i]` > 0: an alert at row i of series k. Seeks the best threshold, as NAB does. */
export function scoreNab(
  corpus: readonly NabSeries[],
  strengths: readonly Float64Array[],
  profile: Profile,
  fixed?: number,
): NabScore {
  const alerts: Alert[] = [];
  let windows = 0;
  for (const [k, series] of corpus.entries()) {
    const own = strengths[k] ?? new Float64Array(0);
    for (let i = series.from; i < own.length; i += 1) {
      const strength = own[i] as number;
      if (strength <= 0) continue;
      const inside = series.windowOf[i] as number;
      const window = inside < 0 ? -1 : windows + inside;
      alerts.push({ strength, worth: series.worth[i] as number, window });
    }
    windows += series.windows;
  }
  alerts.sort((a, b) => b.strength - a.strength);
  const missed = -profile.falseNegative;
  const best = new Float64Array(windows).fill(missed);
  let sum = missed * windows;
  let hit = 0;
  let falseAlerts = 0;
  const score = (raw: number): number =>
    (100 * (raw - missed * windows)) / (windows - missed * windows);
  let top: NabScore = { score: score(sum), threshold: Infinity, hit, windows, falseAlerts };
  for (const [i, alert] of alerts.entries()) {
    if (fixed !== undefined && alert.strength < fixed) break;
    if (alert.window < 0) {
      sum += alert.worth * profile.falsePositive;
      falseAlerts += 1;
    } else if (alert.worth > (best[alert.window] as number)) {
      if (best[alert.window] === missed) hit += 1;
      sum += alert.worth - (best[alert.window] as number);
      best[alert.window] = alert.worth;
    }
    const isEdge = alerts[i + 1]?.strength !== alert.strength;
    const isBetter = fixed !== undefined || score(sum) > top.score;
    if (isEdge && isBetter) {
      top = { score: score(sum), threshold: alert.strength, hit, windows, falseAlerts };
    }
  }
  return top;
}

export interface EventScore {
  readonly f1: number;
  readonly recall: number;
  readonly precision: number;
  readonly falsePerDay: number;
  readonly events: number;
  readonly hit: number;
  readonly alerts: number;
}

const NEAR = 2;
const WARM_UP = 0.15;

/** An event is a run of labelled rows after the warm-up; alerts within two samples hit it. */
export function scoreEvents(
  corpus: readonly LabelledSeries[],
  strengths: readonly Float64Array[],
  threshold: number,
): EventScore {
  let events = 0;
  let hit = 0;
  let alerts = 0;
  let good = 0;
  let days = 0;
  for (const [k, { labels, times }] of corpus.entries()) {
    const own = strengths[k] ?? new Float64Array(0);
    const from = Math.floor(labels.length * WARM_UP);
    days += ((times.at(-1) ?? 0) - (times[from] ?? 0)) / 86_400_000;
    const near = new Uint8Array(labels.length);
    for (let i = from; i < labels.length; i += 1) {
      if (labels[i] !== 1) continue;
      near.fill(1, Math.max(from, i - NEAR), Math.min(labels.length, i + NEAR + 1));
    }
    for (let i = from; i < labels.length; i += 1) {
      if ((own[i] ?? 0) < threshold) continue;
      alerts += 1;
      good += near[i] as number;
    }
    for (const [start, end] of runsOf(labels, from)) {
      events += 1;
      const isHit = own
        .subarray(Math.max(from, start - NEAR), end + NEAR)
        .some((strength) => strength >= threshold);
      if (isHit) hit += 1;
    }
  }
  const recall = events === 0 ? 0 : hit / events;
  const precision = alerts === 0 ? 0 : good / alerts;
  const f1 = recall + precision === 0 ? 0 : (2 * recall * precision) / (recall + precision);
  const falsePerDay = days === 0 ? 0 : (alerts - good) / days;
  return { f1, recall, precision, falsePerDay, events, hit, alerts };
}

/** [first, one past the last] of each run of labels. */
function runsOf(labels: Uint8Array, from: number): [number, number][] {
  const runs: [number, number][] = [];
  let start = -1;
  for (let i = from; i <= labels.length; i += 1) {
    if (labels[i] === 1 && start < 0) start = i;
    if (labels[i] === 1 || start < 0) continue;
    runs.push([start, i]);
    start = -1;
  }
  return runs;
}
