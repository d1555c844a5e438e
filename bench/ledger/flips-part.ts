// A share of all single-bit flips of a log or of its export, in a process of its own: flips a bit,
// asks the check, flips it back. `--every 1` over all parts is every bit of every file; a larger
// number takes about as many bits less, by a seeded choice.
import { parseArgs } from 'node:util';
import { flipBits, flipLog } from '../../packages/ledger/test/flip-runs.ts';
import { seededChoice } from '../../packages/ledger/test/seeded-choice.ts';
import { flipStatic, staticLog } from '../../packages/ledger/test/static-runs.ts';

const { values } = parseArgs({
  options: {
    of: { type: 'string', default: 'log' },
    entries: { type: 'string', default: '17' },
    prune: { type: 'string', default: '16' },
    every: { type: 'string', default: '1' },
    part: { type: 'string', default: '0' },
    parts: { type: 'string', default: '1' },
  },
});
const [every, part, parts] = [Number(values.every), Number(values.part), Number(values.parts)];
const [entries, prune] = [Number(values.entries), Number(values.prune)];
const choice = every === 1 ? () => true : seededChoice(2026, 1 / every);
let seen = 0;
let taken = 0;
const take = (): boolean => {
  seen += 1;
  return choice() && taken++ % parts === part;
};
const tally =
  values.of === 'export'
    ? await flipStatic(await staticLog(entries, prune), take)
    : await flipBits(await flipLog(entries, prune), { take });
const regions = [...tally].map(([region, { flips, located }]) => ({ region, flips, located }));
process.stdout.write(`${JSON.stringify({ bits: seen, regions })}\n`);
