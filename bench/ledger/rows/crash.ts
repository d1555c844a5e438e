// Is an acknowledged entry ever lost, or does the log ever fork? Thousands of killed, torn and
// failing logs, by scripts/ledger/kill.ts, with the same seeds for everybody.
import type { RowReport } from '../../heal/bench.ts';
import { nowMs } from '../../heal/clock.ts';
import { bar } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { numberText, timeText } from '../rates.ts';

/** Each in a process of its own, with a seed and a share of the runs. */
const PROCESSES = 2;
const RUNS = 10_000;
const QUICK_RUNS = 300;
/** Real processes and real files; the others are disks in memory. */
const KILL_SHARE = 0.03;

const KINDS = ['kill', 'torn', 'fault', 'prune'] as const;

/** Where the script says how many. */
const COUNTS = {
  runs: /^runs (\d+)/,
  kill: /^\s+kill\s+(\d+)/,
  torn: /^\s+torn\s+(\d+)/,
  fault: /^\s+fault\s+(\d+)/,
  prune: /^\s+prune\s+(\d+)/,
  crashes: /^crashes (\d+)/,
  faults: /injected faults (\d+)/,
  'entries read back': /read back (\d+)/,
  lost: /, lost (\d+)/,
  'heads compared': /heads compared (\d+)/,
  forks: /, forks (\d+)/,
  refused: /^opens refused without damage (\d+)/,
} as const;

type Count = keyof typeof COUNTS;

const SHOWN: readonly Count[] = [
  ...(['runs', ...KINDS] as const),
  ...(['crashes', 'faults', 'entries read back', 'heads compared'] as const),
];

export async function crashRow(bench: LedgerBench): Promise<RowReport> {
  const runs = bench.options.quick ? QUICK_RUNS : RUNS;
  const each = runs / PROCESSES;
  bench.say(`${runs} runs`);
  const fromMs = nowMs();
  const parts = await Promise.all(
    Array.from({ length: PROCESSES }, (_, at) =>
      bench.script('scripts/ledger/kill.ts', [
        ...['--runs', String(each), '--seed', String(at + 1)],
        ...['--kills', String(Math.round(each * KILL_SHARE))],
      ]),
    ),
  );
  const tookMs = nowMs() - fromMs;
  const total = (count: Count): number =>
    parts.reduce((sum, { lines }) => sum + found(lines, COUNTS[count]), 0);
  const isWhole = total('runs') === runs && parts.every(({ code }) => code === 0);
  const none = (what: string, count: Count): ReturnType<typeof bar> => {
    const got = `${total(count)} in ${numberText(total('runs'))} runs`;
    return bar(what, '0', got, total(count) === 0 && isWhole);
  };
  return {
    name: 'crash',
    title: 'kill -9, torn writes, injected faults and interrupted prunings',
    table: [
      ['', ...SHOWN, 'wall'],
      ['Kintsugi', ...SHOWN.map((count) => numberText(total(count))), timeText(tookMs)],
    ],
    bars: [
      none('acknowledged entries lost', 'lost'),
      none('forks', 'forks'),
      none('opens refused without damage', 'refused'),
    ],
    notes: [
      ...parts.flatMap(({ lines }) => lines.filter((line) => line.startsWith('FAILED'))),
      ...(isWhole ? [] : parts.map(({ code, lines }) => `exit code ${code}: ${lines.at(-1)}`)),
      ...(bench.options.quick ? [`--quick: ${runs} of the ${numberText(RUNS)} runs`] : []),
    ],
    inside: [],
    data: {
      runs,
      tookMs,
      codes: parts.map(({ code }) => code),
      counts: Object.fromEntries(Object.keys(COUNTS).map((key) => [key, total(key as Count)])),
    },
  };
}

/** Not a number where the script said nothing, so that no bar is met by silence. */
function found(lines: readonly string[], pattern: RegExp): number {
  for (const line of lines) {
    const count = pattern.exec(line)?.[1];
    if (count !== undefined) return Number(count);
  }
  return Number.NaN;
}
