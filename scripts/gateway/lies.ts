// Do lying replicas ever make one tenant's bytes reach another, or an answer the wrong request?
//
//   node scripts/gateway/lies.ts [--requests 1000000] [--seed 1] [--clients 16]
import { parseArgs } from 'node:util';
import { runLies } from '../../test/gateway/http/lies.ts';

const SLICE = 50_000;
const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    clients: { type: 'string', default: '16' },
  },
});
const total = Number(values.requests);
const clients = Number(values.clients);
const sum = { requests: 0, right: 0, refused: 0, cut: 0, leaks: 0, desyncs: 0 };
for (let slice = 0; sum.requests < total; slice += 1) {
  const requests = Math.min(SLICE, total - sum.requests);
  const seed = Number(values.seed) + slice;
  const report = await runLies({ requests, seed, clients, partitioned: false });
  for (const key of ['requests', 'right', 'refused', 'cut'] as const) sum[key] += report[key];
  sum.leaks += report.leaks.length;
  sum.desyncs += report.desyncs.length;
  for (const text of [...report.leaks, ...report.desyncs].slice(0, 5)) {
    process.stdout.write(`seed ${seed}: ${text}\n`);
  }
}
process.stdout.write(`${JSON.stringify(sum)}\n`);
process.exitCode = sum.leaks + sum.desyncs > 0 ? 1 : 0;
