// How is a run of the bench told? As tables for people, as one JSON value for machines, and as the
// block of docs/guide/benchmarks-gateway.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RowReport } from '../heal/bench.ts';
import type { Busyness, MachineFacts } from '../heal/machine.ts';
import { msText, percentText } from '../heal/numbers.ts';
import { rowText } from '../heal/report.ts';
import type { GatewayOptions } from './bench.ts';

export { rowText } from '../heal/report.ts';

export interface Whole {
  readonly facts: MachineFacts;
  readonly before: readonly number[];
  readonly after: Busyness;
  readonly options: GatewayOptions;
  readonly rows: readonly RowReport[];
  /** Peers that took no part, and why. */
  readonly missing: readonly string[];
  readonly tookMs: number;
}

export function reportText(whole: Whole): string {
  const { facts, before, after, options, rows, missing, tookMs } = whole;
  const bars = rows.flatMap((row) => row.bars);
  const met = bars.filter((bar) => bar.state === 'met').length;
  const share = (value: number | undefined): string =>
    value === undefined ? 'unknown' : percentText(value);
  const hurry = options.quick ? ' (--quick: too short to quote)' : '';
  return [
    '',
    `machine   ${facts.cores} cores, ${facts.model}, ${facts.memoryGiB} GiB, ` +
      `${facts.kernel}, Node ${facts.node}`,
    `load      ${before.join(' ')} before, ${after.loadavg.join(' ')} after; ` +
      `busy ${share(after.busy)}, stolen ${share(after.steal)}`,
    ...missing.map((reason) => `skipped   ${reason}`),
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

export const reportJson = (whole: Whole): string => JSON.stringify({ ...whole, v: 1 });

const BEGIN = '<!-- bench:gateway begin -->';
const END = '<!-- bench:gateway end -->';
const PAGE = join(import.meta.dirname, '../../docs/guide/benchmarks-gateway.md');

export function docsBlock(whole: Whole): string {
  const text = [...whole.rows.map(rowText), reportText(whole)].join('');
  return `${BEGIN}\n\n\`\`\`text\n${text.trim()}\n\`\`\`\n\n${END}\n`;
}

/** Replaces the block between the marks of the page. */
export function writeDocs(whole: Whole): void {
  const page = readFileSync(PAGE, 'utf8');
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  if (from < 0 || to < from) throw new Error(`no "${BEGIN}" … "${END}" in the page`);
  const rest = page.slice(to + END.length).replace(/^\n/u, '');
  writeFileSync(PAGE, page.slice(0, from) + docsBlock(whole) + rest);
}
