// The rows of `bench:detect`.
import { Features } from '../../src/loop/detect/series/features.ts';
import { SeriesWatch, type WatchLimits } from '../../src/loop/detect/series/watch.ts';
import { Trend } from '../../src/loop/detect/trend/exhaustion.ts';
import { localise } from '../../src/loop/diagnose/localise/localise.ts';
import { rippleCase, same } from '../../test/loop/localise/ripple.ts';
import { type LevelKind, levelCase, SAMPLE_MS } from '../../test/loop/trend/levels.ts';
import type { Bar, RowReport } from '../heal/bench.ts';
import { type AllAlerts, alertsOfAll, type Corpora, scoreAll, type Scores, tune } from './tune.ts';

export type { Corpora } from './tune.ts';

function row(
  name: string,
  title: string,
  table: readonly (readonly string[])[],
  bars: readonly Bar[],
): RowReport {
  return { name, title, table, bars, notes: [], inside: [], data: { table } };
}

function bar(what: string, wanted: string, got: string, isMet: boolean): Bar {
  return { what, wanted, got, state: isMet ? 'met' : 'missed' };
}

const quantile = (list: readonly number[], q: number): number =>
  list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * q))] ?? 0;

export interface Folds {
  readonly folds: number;
  readonly steps: number;
  readonly seed: number;
}

export function scoreRow(corpora: Corpora, limits: WatchLimits, setup: Folds): RowReport {
  const own = scoreAll(corpora, alertsOfAll(corpora, limits));
  const line = (name: string, { nab, cloud }: Scores): string[] => [
    name,
    nab.score.toFixed(1),
    `${nab.hit}/${nab.windows}`,
    `${nab.falseAlerts}`,
    cloud.f1.toFixed(3),
    cloud.recall.toFixed(2),
    cloud.precision.toFixed(2),
    cloud.falsePerDay.toFixed(3),
  ];
  const table = [
    ['', 'NAB standard', 'windows hit', 'false', 'event F1', 'recall', 'precision', 'false/day'],
    line('shipped configuration, in-sample', own),
  ];
  if (setup.folds >= 2) {
    table.push(line(`${setup.folds}-fold, tuned on the others`, outOfSample(corpora, setup)));
  }
  const { nab, cloud } = own;
  return row('anomalies', 'anomalies of single series, one configuration for all', table, [
    bar('NAB, standard profile', '≥ 65', nab.score.toFixed(1), nab.score >= 65),
    bar('event F1 on cloud series', '≥ 0.54', cloud.f1.toFixed(3), cloud.f1 >= 0.54),
    bar(
      'false alarms a series-day',
      '≤ 0.12',
      cloud.falsePerDay.toFixed(3),
      cloud.falsePerDay <= 0.12,
    ),
  ]);
}

/** Every series is judged by a configuration that was tuned without it. */
function outOfSample(corpora: Corpora, { folds, steps, seed }: Folds): Scores {
  const held: { nab: Float64Array[]; cloud: Float64Array[] } = { nab: [], cloud: [] };
  for (let fold = 0; fold < folds; fold += 1) {
    const others = <S>(all: readonly S[]): S[] => all.filter((_, i) => i % folds !== fold);
    const part = { nab: others(corpora.nab), cloud: others(corpora.cloud) };
    const alerts: AllAlerts = alertsOfAll(corpora, tune(part, steps, seed + fold));
    for (const name of ['nab', 'cloud'] as const) {
      for (const [i, one] of alerts[name].entries()) if (i % folds === fold) held[name][i] = one;
    }
  }
  return scoreAll(corpora, held);
}

export function costRow(corpora: Corpora): RowReport {
  const all = [...corpora.nab, ...corpora.cloud].map(({ series }) => series);
  let samples = 0;
  const from = process.cpuUsage();
  for (const { times, values } of all) {
    const watch = new SeriesWatch();
    for (let i = 0; i < values.length; i += 1) watch.step(times[i] ?? 0, values[i] ?? 0);
    samples += values.length;
  }
  const { user, system } = process.cpuUsage(from);
  const each = (user + system) / samples;
  return row(
    'cost',
    'cost of watching one series',
    [
      ['samples', 'µs a sample'],
      [`${samples}`, each.toFixed(2)],
    ],
    [
      bar('CPU a sample', '≤ 10 µs', `${each.toFixed(2)} µs`, each <= 10),
      bar('memory a series', '≤ 32 KB', `${bytesOfSeries()} B`, bytesOfSeries() <= 32_768),
    ],
  );
}

/** What a series keeps in arrays; the objects around them are under 2 KB. */
function bytesOfSeries(): number {
  const before = process.memoryUsage().arrayBuffers;
  const kept = Array.from({ length: 500 }, () => new Features());
  const after = process.memoryUsage().arrayBuffers;
  return Math.round((after - before) / kept.length) + 2_048;
}

export function localiseRow(): RowReport {
  const tookMs: number[] = [];
  const count = { right: 0, cases: 0, external: 0, externalCases: 0 };
  for (let seed = 1; seed <= 60; seed += 1) {
    const external = seed % 3 === 0;
    const { leaves, truth } = rippleCase({
      seed: seed * 7_919,
      sizes: [200, 5, 30, 40, 3],
      leaves: 100_000,
      causes: 1 + (seed % 3),
      noise: 0.05 + 0.02 * (seed % 5),
      external,
    });
    const from = process.cpuUsage();
    const found = localise(leaves);
    const { user, system } = process.cpuUsage(from);
    tookMs.push((user + system) / 1_000);
    if (external) {
      count.externalCases += 1;
      if (found.kind === 'external') count.external += 1;
      continue;
    }
    count.cases += 1;
    const named = found.kind === 'found' ? found.causes.map(({ element }) => element) : [];
    const isRight =
      named.length === truth.length &&
      truth.every((one) => named.some((other) => same(one, other)));
    if (isRight) count.right += 1;
  }
  const middleMs = quantile(tookMs, 0.5);
  const right = count.right / count.cases;
  const external = count.external / count.externalCases;
  return row(
    'localise',
    'causes among 100 000 combinations of 5 dimensions, all named and nothing beside them',
    [
      ['cases', 'right', 'external cases', 'recognised', 'p50', 'max'],
      [
        `${count.cases}`,
        right.toFixed(3),
        `${count.externalCases}`,
        external.toFixed(3),
        `${middleMs.toFixed(0)} ms`,
        `${Math.max(...tookMs).toFixed(0)} ms`,
      ],
    ],
    [
      bar('top-1', '≥ 0.95', right.toFixed(3), right >= 0.95),
      bar('CPU time', '≤ 50 ms', `${middleMs.toFixed(0)} ms`, middleMs <= 50),
      bar('external cause recognised', '≥ 0.90', external.toFixed(3), external >= 0.9),
    ],
  );
}

const AGREE = 3;
const SERIES = 200;

export function trendRow(): RowReport {
  const leads: number[] = [];
  const errors: number[] = [];
  const alarms: Partial<Record<LevelKind, number>> = {};
  for (const kind of ['leak', 'daily', 'cache', 'step', 'saw'] satisfies LevelKind[]) {
    for (let seed = 1; seed <= SERIES; seed += 1) {
      const { values, limit, exhaustedAt } = levelCase(kind, seed);
      const alarm = firstAlarm(values, limit);
      if (kind !== 'leak') alarms[kind] = (alarms[kind] ?? 0) + (alarm === undefined ? 0 : 1);
      else {
        const leftMs = alarm === undefined ? 0 : (exhaustedAt - alarm.at) * SAMPLE_MS;
        leads.push(leftMs / 3.6e6);
        if (alarm !== undefined) errors.push(Math.abs(alarm.inMs - leftMs) / leftMs);
      }
    }
  }
  const lead = quantile(leads, 0.1);
  const error = quantile(errors, 0.5);
  const benign = Object.values(alarms).reduce((sum, n) => sum + n, 0) / (SERIES * 4);
  const rate = (kind: LevelKind): string => ((alarms[kind] ?? 0) / SERIES).toFixed(3);
  return row(
    'exhaustion',
    `time to exhaustion, ${SERIES} seeded series of each kind`,
    [
      ['median error', 'lead p10', 'lead p50', 'false: daily', 'cache', 'step', 'saw-tooth'],
      [
        `${(error * 100).toFixed(0)} %`,
        `${lead.toFixed(1)} h`,
        `${quantile(leads, 0.5).toFixed(1)} h`,
        rate('daily'),
        rate('cache'),
        rate('step'),
        rate('saw'),
      ],
    ],
    [
      bar('median error', '≤ 20 %', `${(error * 100).toFixed(0)} %`, error <= 0.2),
      bar('lead at p10', '≥ 2 h', `${lead.toFixed(1)} h`, lead >= 2),
      bar('false alarms a benign series', '≤ 0.05', benign.toFixed(3), benign <= 0.05),
    ],
  );
}

interface Alarm {
  readonly at: number;
  readonly inMs: number;
}

function firstAlarm(values: readonly number[], limit: number): Alarm | undefined {
  const trend = new Trend();
  let inRow = 0;
  for (const [at, value] of values.entries()) {
    trend.note(at * SAMPLE_MS, value);
    if (at % 5 !== 0) continue;
    const forecast = trend.forecast(limit);
    inRow = forecast.kind === 'exhausts' ? inRow + 1 : 0;
    if (forecast.kind === 'exhausts' && inRow >= AGREE) return { at, inMs: forecast.inMs };
  }
  return undefined;
}
