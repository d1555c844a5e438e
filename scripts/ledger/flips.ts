// `node scripts/run.mjs scripts/ledger/flips.ts`: flips every single bit of every file of a small
// log, one at a time, and prints how each was found. Takes minutes; `--every N` takes a sample, and
// `--entries N` a larger log. The exit status is 1 when one was not found or not located.

import { parseArgs } from 'node:util';
import { flipBits, flipLog } from '../../packages/ledger/test/flip-runs.ts';

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '17' },
    prune: { type: 'string', default: '16' },
    every: { type: 'string', default: '1' },
  },
});
const every = Math.max(1, Number(values.every));
const log = await flipLog(Number(values.entries), Number(values.prune));
const tally = await flipBits(log, { take: (_region, nth) => nth % every === 0 });
let missed = 0;
for (const [region, { flips, located, as }] of tally) {
  missed += flips - located;
  console.log(`${region}: ${flips} flips, ${located} located`);
  for (const [how, times] of [...as].sort((a, b) => b[1] - a[1])) console.log(`  ${times} ${how}`);
}
console.log(missed === 0 ? 'every flip was found and located' : `${missed} flips were missed`);
process.exitCode = missed === 0 ? 0 : 1;
