// `node scripts/run.mjs scripts/ledger/kill.ts --runs N --kills K --seed S`: is an acknowledged
// entry ever lost, or does the log ever fork? K real kill -9, the rest torn writes, injected faults
// and interrupted prunings on disks in memory. The exit status is 1 when anything was lost.
// `--only N` repeats the one run in memory that a failure names.

import { parseArgs } from 'node:util';
import { KINDS, runMany } from '../../packages/ledger/test/kill-runs.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10000' },
    kills: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
  },
});

function count(text: string, name: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`--${name} is a whole number, not ${text}`);
}

const runs = count(values.runs, 'runs');
const kills = Math.min(runs, count(values.kills, 'kills'));
const seed = count(values.seed, 'seed');
const startedAtMs = performance.now();
const tally = await runMany({
  runs,
  kills,
  seed,
  ...(values.only === undefined ? {} : { only: count(values.only, 'only') }),
  onRun: (done) => {
    if (done % 1000 === 0) console.error(`${done} of ${runs}`);
  },
});

const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(0);
console.log(`runs ${runs} (seed ${seed}, ${seconds} s)`);
for (const kind of KINDS) console.log(`  ${kind.padEnd(6)} ${tally.runs[kind]}`);
console.log(`crashes ${tally.crashes}, injected faults ${tally.faults}`);
console.log(`acknowledged entries read back ${tally.acknowledged}, lost ${tally.lost}`);
console.log(`signed heads compared ${tally.checkpoints}, forks ${tally.forks}`);
console.log(`opens refused without damage ${tally.refused}`);
for (const failure of tally.firstFailures) console.log(`FAILED ${failure}`);
process.exitCode = tally.lost + tally.forks + tally.refused === 0 ? 0 : 1;
