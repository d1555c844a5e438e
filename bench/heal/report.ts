// How is a run of the bench told? As tables for people, as one JSON value for machines.
import type { Bar, BootFacts, Options, RowReport } from './bench.ts';
import { LATE_MAX_MS, REQUESTS_PER_CONNECTION } from './load.ts';
import type { Busyness, MachineFacts } from './machine.ts';
import { columns, median, msText, percentText, spreadText } from './numbers.ts';

export interface Whole {
  readonly facts: MachineFacts;
  readonly before: readonly number[];
  readonly after: Busyness;
  readonly boot: BootFacts;
  readonly options: Options;
  readonly rows: readonly RowReport[];
  readonly tookMs: number;
}

const OTHERS_SHARE = 0.1;

const MARKS: Readonly<Record<Bar['state'], string>> = {
  met: 'met',
  missed: 'MISSED',
  'not measured': 'NOT MEASURED',
};

export function rowText(row: RowReport): string {
  const indent = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);
  const bars = columns([
    ...row.bars.map((b) => [`bar  ${b.what}`, b.wanted, b.got, MARKS[b.state]]),
  ]);
  return [
    '',
    `${row.name}: ${row.title}`,
    ...indent(columns(row.table)),
    ...indent(bars),
    ...indent([...busyNote(row), ...row.notes].map((note) => `note ${note}`)),
    ...(row.inside.length === 0 ? [] : ['  inside Kintsugi, after the fault (medians):']),
    ...indent(indent(row.inside)),
    '',
  ].join('\n');
}

/** On a busy machine every time measures the others as well. */
function busyNote(row: RowReport): string[] {
  if (row.others === undefined || row.others < OTHERS_SHARE) return [];
  const text = percentText(row.others);
  return [`the machine was not ours: others used ${text} of it right before this row`];
}

export function reportText(whole: Whole): string {
  const { facts, before, after, boot, options, rows } = whole;
  const bars = rows.flatMap((row) => row.bars);
  const met = bars.filter((b) => b.state === 'met').length;
  const share = (value: number | undefined): string =>
    value === undefined ? 'unknown' : percentText(value);
  const loaded =
    boot.loadedMs.length === 0
      ? 'not measured'
      : `${spreadText(boot.loadedMs)}, n=${boot.loadedMs.length}`;
  const hurry = options.quick ? ' (--quick: too few rounds to quote)' : '';
  return [
    '',
    `machine   ${facts.cores} cores, ${facts.model}, ${facts.memoryGiB} GiB, ` +
      `${facts.kernel}, Node ${facts.node}`,
    `load      ${before.join(' ')} before, ${after.loadavg.join(' ')} after; ` +
      `busy ${share(after.busy)}, stolen ${share(after.steal)}`,
    `own boot  ${spreadText(boot.quietMs)}, n=${boot.quietMs.length}, without load`,
    `          ${loaded}, under the load of "kill": what its bar compares with`,
    `requests  from one process, open loop, ${REQUESTS_PER_CONNECTION} to a connection; a round ` +
      `with it over ${LATE_MAX_MS} ms late is repeated`,
    `took      ${msText(whole.tookMs)}${hurry}`,
    `bars      ${met} of ${bars.length} met`,
    ...bars
      .filter((b) => b.state !== 'met')
      .map((b) => `          ${MARKS[b.state]}: ${b.what}: ${b.got}, wanted ${b.wanted}`),
    '',
  ].join('\n');
}

export function reportJson(whole: Whole): string {
  return JSON.stringify({ ...whole, bootP50Ms: median(whole.boot.loadedMs), v: 1 });
}
