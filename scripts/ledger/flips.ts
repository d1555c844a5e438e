// `node scripts/run.mjs scripts/ledger/flips.ts`: flips every single bit of every file of a small
// log and of a small export, one at a time, and prints how each was found. Takes minutes; `--every
// N` takes about one in N by a seeded choice, `--entries N` a larger log, `--export N` a larger
// export (0: none). The exit status is 1 when one was not found or not located.

import { parseArgs } from 'node:util';
import { flipBits, flipLog } from '../../packages/ledger/test/flip-runs.ts';
import { seededChoice } from '../../packages/ledger/test/seeded-choice.ts';
import { flipStatic, staticLog } from '../../packages/ledger/test/static-runs.ts';

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '17' },
    prune: { type: 'string', default: '16' },
    export: { type: 'string', default: '300' },
    every: { type: 'string', default: '1' },
    seed: { type: 'string', default: '2026' },
  },
});
const every = Math.max(1, Number(values.every));
const choice = every === 1 ? () => true : seededChoice(Number(values.seed), 1 / every);
let missed = 0;

const log = await flipLog(Number(values.entries), Number(values.prune));
for (const [region, { flips, located, as }] of await flipBits(log, { take: () => choice() })) {
  missed += flips - located;
  console.log(`${region}: ${flips} flips, ${located} located`);
  for (const [how, times] of [...as].sort((a, b) => b[1] - a[1])) console.log(`  ${times} ${how}`);
}

if (Number(values.export) > 0) {
  const exported = await staticLog(Number(values.export));
  for (const [region, one] of await flipStatic(exported, () => choice())) {
    missed += one.flips - one.located;
    console.log(`export, ${region}: ${one.flips} flips, ${one.located} located`);
    for (const place of one.missed.slice(0, 20)) console.log(`  missed ${place}`);
  }
}
console.log(missed === 0 ? 'every flip was found and located' : `${missed} flips were missed`);
process.exitCode = missed === 0 ? 0 : 1;
