// Is every single bit of a log's files covered, and does the check say where it changed? All bits
// of a small log that was pruned once, and a sample of a larger one.
import type { RowReport } from '../../heal/bench.ts';
import { nowMs } from '../../heal/clock.ts';
import { bar } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { numberText, timeText } from '../rates.ts';

const PROCESSES = 2;
/** Primes, so that a sample meets all bits of a byte and all places of a record. */
const QUICK_EVERY = 997;
const LARGE_ENTRIES = 400;
const LARGE_EVERY = 13_001;
const QUICK_LARGE_EVERY = 400_009;

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
  readonly entries: number;
  readonly prune: number;
  readonly every: number;
}

export async function flipsRow(bench: LedgerBench): Promise<RowReport> {
  const { quick } = bench.options;
  const fromMs = nowMs();
  const smallEvery = quick ? QUICK_EVERY : 1;
  const small = await flipAll(bench, { entries: 17, prune: 16, every: smallEvery });
  const largeEvery = quick ? QUICK_LARGE_EVERY : LARGE_EVERY;
  const large = await flipAll(bench, { entries: LARGE_ENTRIES, prune: 0, every: largeEvery });
  const tookMs = nowMs() - fromMs;
  const sizes = [small, large].map(({ regions }) => totals(regions));
  const [smallSum = { flips: 0, located: 0 }, largeSum = { flips: 0, located: 0 }] = sizes;
  const line = ({ region, flips, located }: Region): string[] => [
    region,
    numberText(flips),
    numberText(located),
  ];
  const isAll = smallSum.flips === small.bits;
  const judged = (what: string, sum: typeof smallSum, wanted: string): ReturnType<typeof bar> =>
    bar(
      what,
      wanted,
      `${numberText(sum.located)} of ${numberText(sum.flips)}`,
      sum.flips > 0 && sum.located === sum.flips,
    );
  return {
    name: 'flips',
    title: 'single-bit flips: detected, and located by file, byte offset and index',
    table: [
      ['', 'flips', 'located'],
      ...small.regions.map(line),
      line({ region: `sample of a log of ${LARGE_ENTRIES} records`, ...largeSum }),
    ],
    bars: [
      judged(isAll ? 'every bit of a small log' : 'a sample of a small log', smallSum, 'all'),
      judged('a sample of a larger log', largeSum, 'all'),
    ],
    notes: [
      `the small log has ${numberText(small.bits)} bits, the larger one ` +
        `${numberText(large.bits)}; ${timeText(tookMs)} in ${PROCESSES} processes`,
      ...(isAll ? [] : [`--quick: every ${smallEvery}th bit instead of every one`]),
    ],
    inside: [],
    data: { small, large, tookMs },
  };
}

async function flipAll(bench: LedgerBench, { entries, prune, every }: Log): Promise<Part> {
  bench.say(`flipping ${every === 1 ? 'every bit' : `every ${every}th bit`}, ${entries} entries`);
  const args = ['--entries', `${entries}`, '--prune', `${prune}`, '--every', `${every}`];
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
