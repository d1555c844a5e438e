// A share of all single-bit flips of a log, in a process of its own: flips a bit, asks the check,
// flips it back. `--every 1` over all parts is every bit of every file.
import { parseArgs } from 'node:util';
import { flipBits, flipLog } from '../../packages/ledger/test/flip-runs.ts';

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '17' },
    prune: { type: 'string', default: '16' },
    every: { type: 'string', default: '1' },
    part: { type: 'string', default: '0' },
    parts: { type: 'string', default: '1' },
  },
});
const [every, part, parts] = [Number(values.every), Number(values.part), Number(values.parts)];
const log = await flipLog(Number(values.entries), Number(values.prune));
let seen = 0;
let taken = 0;
const tally = await flipBits(log, {
  take: () => seen++ % every === 0 && taken++ % parts === part,
});
const regions = [...tally].map(([region, { flips, located }]) => ({ region, flips, located }));
process.stdout.write(`${JSON.stringify({ bits: seen, regions })}\n`);
