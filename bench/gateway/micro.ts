// How fast is plain forwarding of small keep-alive requests on one core, beside nginx?
//
//   node bench/gateway/micro.ts [--rounds 4] [--seconds 4] [--connections 30] [--prof DIR] [--full]
//
// The proxy runs alone on core 0; upstream and generator share core 1. Where core 1 is the limit,
// requests per second say little: requests per CPU second of the proxy are the robust figure.
// `--full`: the real worker with everything on, instead of forwarding only.
import { parseArgs } from 'node:util';
import { until } from '../heal/clock.ts';
import { median } from '../heal/numbers.ts';
import { endAll, isAlive } from '../heal/processes.ts';
import { bearer } from './rows/plain.ts';
import { closed, closedBy, interleaved, rateOf, ratioOf } from './closed.ts';
import type { Rate } from './closed.ts';
import { openKintsugi, WORKER } from './kintsugi.ts';
import { nginxProxy, nginxUpstream } from './nginx.ts';
import { hasTaskset, ownProcess, rssMb, which } from './peers.ts';
import type { Peer } from './peers.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '30' },
    prof: { type: 'string' },
    full: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const connections = Number(values.connections);
const { prof } = values;
const flags = prof === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${prof}`];

const text = (value: number): string => Math.round(value).toLocaleString('en');

interface Candidate {
  readonly name: string;
  readonly peer: Peer;
  readonly fields: readonly string[];
}

async function openOwn(upstreamPort: number): Promise<Candidate> {
  const replicaPorts = [upstreamPort];
  if (values.full) {
    const command = [...flags, WORKER];
    const kintsugi = await openKintsugi({ core: 0, replicaPorts, command });
    return { name: 'kintsugi', peer: kintsugi, fields: bearer(kintsugi.key()) };
  }
  const args = (port: number): string[] => [String(port), String(upstreamPort)];
  const peer = await ownProcess('kintsugi', 0, 'plain-gateway.ts', args, flags);
  return { name: peer.name, peer, fields: bearer('none') };
}

async function main(): Promise<void> {
  const hasNginx = which('nginx') !== undefined;
  if (!hasTaskset) process.stdout.write('taskset is missing: nothing is pinned\n');
  if (!hasNginx) process.stdout.write('nginx is not installed: no peer to compare with\n');
  const upstream = hasNginx
    ? await nginxUpstream(1)
    : await ownProcess('upstream', 1, 'upstream.ts', (port) => [String(port)]);
  const own = await openOwn(upstream.port);
  const { fields } = own;
  const candidates = [own];
  if (hasNginx) {
    candidates.unshift({ name: 'nginx', peer: await nginxProxy(0, upstream.port), fields });
  }
  for (const { peer } of candidates)
    await closed(1, peer.port, { connections, seconds: 2, fields });
  const found = await interleaved(candidates, rounds, ({ peer }) =>
    rateOf(1, peer, { connections, seconds, fields }),
  );
  process.stdout.write(
    `${closedBy}, ${connections} connections, ${rounds} rounds of ${seconds} s, medians\n`,
  );
  for (const { name, peer } of candidates) {
    const rates = found.get(name) ?? [];
    const middle = (of: (rate: Rate) => number): string => text(median(rates.map(of)) ?? 0);
    const ratio = (of: (rate: Rate) => number): string =>
      (ratioOf(found, [name, candidates[0]?.name ?? name], of) ?? 1).toFixed(2);
    const failed = rates.reduce((sum, rate) => sum + rate.failed, 0);
    process.stdout.write(
      `${name.padEnd(10)} ${middle((rate) => rate.perSecond)}/s (${ratio((r) => r.perSecond)}), ` +
        `${middle((rate) => rate.perCpuSecond)} a CPU second (${ratio((r) => r.perCpuSecond)}), ` +
        `${rssMb(peer.pids())} MB, ${failed} failed\n`,
    );
  }
  if (prof === undefined) return;
  await endGently(own.peer);
  process.stdout.write(`profile in ${prof}\n`);
}

/** The profile is written when the process ends by itself. */
async function endGently(peer: Peer): Promise<void> {
  for (const pid of peer.pids()) process.kill(pid, 'SIGTERM');
  await until(5_000, () => peer.pids().every((pid) => !isAlive(pid)));
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => void endAll().then(() => process.exit(130)));
}

try {
  await main();
} finally {
  await endAll();
}
process.exit();
