// How is a run of the bench told? As tables for people, as one JSON value for machines.
import type { RowReport } from '../heal/bench.ts';
import type { Busyness, MachineFacts } from '../heal/machine.ts';
import { msText, percentText } from '../heal/numbers.ts';
import type { LedgerOptions } from './bench.ts';
import type { Place } from './place.ts';
import { timeText } from './rates.ts';

export { rowText } from '../heal/report.ts';

export interface Whole {
  readonly facts: MachineFacts;
  readonly place: Place;
  readonly before: readonly number[];
  readonly after: Busyness;
  readonly options: LedgerOptions;
  readonly rows: readonly RowReport[];
  readonly tookMs: number;
}

export function reportText({ facts, place, before, after, options, rows, tookMs }: Whole): string {
  const bars = rows.flatMap((row) => row.bars);
  const met = bars.filter((bar) => bar.state === 'met').length;
  const share = (value: number | undefined): string =>
    value === undefined ? 'unknown' : percentText(value);
  const hurry = options.quick ? ' (--quick: too short to quote, and nothing is extrapolated)' : '';
  return [
    '',
    `machine   ${facts.cores} cores, ${facts.model}, ${facts.memoryGiB} GiB, ` +
      `${facts.kernel}, Node ${facts.node}`,
    `disk      ${place.fileSystem}; 4 KiB and fdatasync ${timeText(place.syncP50Ms)} p50, ` +
      `${timeText(place.syncP99Ms)} p99`,
    `load      ${before.join(' ')} before, ${after.loadavg.join(' ')} after; ` +
      `busy ${share(after.busy)}, stolen ${share(after.steal)}`,
    `took      ${msText(tookMs)}${hurry}`,
    `bars      ${met} of ${bars.length} met`,
    ...bars
      .filter((bar) => bar.state !== 'met')
      .map((bar) => {
        const mark = bar.state === 'missed' ? 'MISSED' : 'NOT MEASURED';
        return `          ${mark}: ${bar.what}: ${bar.got}, wanted ${bar.wanted}`;
      }),
    '',
  ].join('\n');
}

export function reportJson({ place, ...whole }: Whole): string {
  const { fileSystem, syncP50Ms, syncP99Ms } = place;
  return JSON.stringify({ ...whole, place: { fileSystem, syncP50Ms, syncP99Ms }, v: 1 });
}
