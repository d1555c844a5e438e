// Is every single bit of a log's files covered, and of an export's, and does the check say where it
// changed? All bits of a small log that was pruned once and of a small export with tiles of two
// levels, and seeded samples of larger ones.
import type { RowReport } from '../../heal/bench.ts';
import { nowMs } from '../../heal/clock.ts';
import { bar } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { numberText, timeText } from '../rates.ts';

const PROCESSES = 2;
const QUICK_EVERY = 997;
const LARGE_ENTRIES = 400;
const LARGE_EVERY = 13_001;
const QUICK_LARGE_EVERY = 400_009;
const EXPORT_ENTRIES = 300;
/** Tiles of three levels; each flip reads all of it. */
const LARGE_EXPORT_ENTRIES = 66_000;
const LARGE_EXPORT_FLIPS = 160;
const QUICK_EXPORT_FLIPS = 16;
/** About what such an export has: a hash and an entry of five digits with its length. */
const EXPORT_BITS_AN_ENTRY = 39 * 8;

interface Part {
  /** Bits of all files. */
  readonly bits: number;
  readonly regions: readonly Region[];
}

interface Region {
  readonly region: string;
  readonly flips: number;
  readonly located: number;
}

interface Log {
  readonly of: 'log' | 'export';
  readonly entries: number;
  readonly prune: number;
  readonly every: number;
}

export async function flipsRow(bench: LedgerBench): Promise<RowReport> {
  const { quick } = bench.options;
  const fromMs = nowMs();
  const smallEvery = quick ? QUICK_EVERY : 1;
  const largeEvery = quick ? QUICK_LARGE_EVERY : LARGE_EVERY;
  const exportFlips = quick ? QUICK_EXPORT_FLIPS : LARGE_EXPORT_FLIPS;
  const exportEvery = Math.round((LARGE_EXPORT_ENTRIES * EXPORT_BITS_AN_ENTRY) / exportFlips);
  const log = { of: 'log', entries: 17, prune: 16, every: smallEvery } as const;
  const small = await flipAll(bench, log);
  const largeLog = { of: 'log', entries: LARGE_ENTRIES, prune: 0, every: largeEvery } as const;
  const large = await flipAll(bench, largeLog);
  const exported = { of: 'export', entries: EXPORT_ENTRIES, prune: 0, every: smallEvery } as const;
  const smallExport = await flipAll(bench, exported);
  const largeExport = await flipAll(bench, {
    ...exported,
    entries: LARGE_EXPORT_ENTRIES,
    every: exportEvery,
  });
  const tookMs = nowMs() - fromMs;
  const sums = [small, large, smallExport, largeExport].map(({ regions }) => totals(regions));
  const none = { flips: 0, located: 0 };
  const [smallSum = none, largeSum = none, exportSum = none, largeExportSum = none] = sums;
  const line = ({ region, flips, located }: Region): string[] => [
    region,
    numberText(flips),
    numberText(located),
  ];
  const isAll = smallSum.flips === small.bits && exportSum.flips === smallExport.bits;
  const judged = (what: string, sum: typeof smallSum): ReturnType<typeof bar> =>
    bar(
      what,
      'all',
      `${numberText(sum.located)} of ${numberText(sum.flips)}`,
      sum.flips > 0 && sum.located === sum.flips,
    );
  const some = isAll ? 'every bit' : 'a sample';
  return {
    name: 'flips',
    title: 'single-bit flips: detected, and located by file, byte offset and index',
    table: [
      ['', 'flips', 'located'],
      ...small.regions.map(line),
      line({ region: `sample of a log of ${LARGE_ENTRIES} records`, ...largeSum }),
      ...smallExport.regions.map((one) => line({ ...one, region: `export: ${one.region}` })),
      line({ region: `sample of an export of ${LARGE_EXPORT_ENTRIES}`, ...largeExportSum }),
    ],
    bars: [
      judged(`${some} of a small log`, smallSum),
      judged('a sample of a larger log', largeSum),
      judged(`${some} of a small export`, exportSum),
      judged('a sample of a larger export', largeExportSum),
    ],
    notes: [
      `bits: ${numberText(small.bits)} in the small log, ${numberText(large.bits)} in the larger ` +
        `one, ${numberText(smallExport.bits)} and ${numberText(largeExport.bits)} in the ` +
        `exports; ${timeText(tookMs)} in ${PROCESSES} processes`,
      ...(isAll ? [] : [`--quick: about one bit in ${smallEvery} instead of every one`]),
    ],
    inside: [],
    data: { small, large, smallExport, largeExport, tookMs },
  };
}

async function flipAll(bench: LedgerBench, log: Log): Promise<Part> {
  const { of, entries, prune, every } = log;
  const share = every === 1 ? 'every bit' : `about one bit in ${every}`;
  bench.say(`flipping ${share}: ${of}, ${entries} entries`);
  const args = ['--of', of, '--entries', `${entries}`, '--prune', `${prune}`];
  args.push('--every', `${every}`);
  const answers = await Promise.all(
    Array.from({ length: PROCESSES }, (_, part) =>
      bench.script('bench/ledger/flips-part.ts', [
        ...[...args, '--part', String(part), '--parts', String(PROCESSES)],
      ]),
    ),
  );
  const parts = answers.map(({ code, lines }) => {
    if (code !== 0) throw new Error(`flips-part.ts: exit code ${code}: ${lines.join('\n')}`);
    return JSON.parse(lines.at(-1) ?? '') as Part;
  });
  const names = new Set(parts.flatMap(({ regions }) => regions.map(({ region }) => region)));
  const regions = [...names].map((region): Region => {
    const same = parts.flatMap((part) => part.regions.filter((one) => one.region === region));
    return { region, ...totals(same) };
  });
  return { bits: parts[0]?.bits ?? 0, regions };
}

function totals(regions: readonly Region[]): { flips: number; located: number } {
  const add = (key: 'flips' | 'located'): number => regions.reduce((all, one) => all + one[key], 0);
  return { flips: add('flips'), located: add('located') };
}
