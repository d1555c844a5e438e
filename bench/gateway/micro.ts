// How fast is plain forwarding of small keep-alive requests on one core, beside nginx?
//
//   node bench/gateway/micro.ts [--rounds 4] [--seconds 4] [--connections 30] [--prof DIR]
//
// The proxy runs alone on core 0; upstream and generator share core 1. Where core 1 is the limit,
// requests per second say little: requests per CPU second of the proxy are the robust figure.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  cleanUp,
  cpuMs,
  hasTaskset,
  load,
  loadName,
  nginxProxy,
  nginxUpstream,
  ownProcess,
  type Peer,
  rssMb,
  which,
} from './peers.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '30' },
    prof: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const connections = Number(values.connections);

interface Row {
  readonly perSecond: number;
  readonly perCpuSecond: number;
}

const median = (numbers: readonly number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? 0;
  return (low + (sorted[Math.floor(middle)] ?? low)) / 2;
};

function measure(peer: Peer): Row {
  const beforeMs = cpuMs(peer.pids());
  const done = load(1, peer.port, connections, seconds);
  const usedMs = cpuMs(peer.pids()) - beforeMs;
  if (done.failed > 0) process.stdout.write(`${peer.name}: ${done.failed} failed\n`);
  return {
    perSecond: done.requests / done.seconds,
    perCpuSecond: (done.requests * 1_000) / Math.max(1, usedMs),
  };
}

const round = (value: number): string => Math.round(value).toLocaleString('en');

async function main(): Promise<void> {
  const hasNginx = which('nginx') !== undefined;
  if (!hasTaskset) process.stdout.write('taskset is missing: nothing is pinned\n');
  if (!hasNginx) process.stdout.write('nginx is not installed: no peer to compare with\n');
  const upstream = hasNginx
    ? await nginxUpstream(1)
    : await ownProcess('upstream', 1, 'upstream.ts', (port) => [String(port)]);
  const args = (port: number): string[] => [String(port), String(upstream.port)];
  const prof = values.prof;
  const flags = prof === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${prof}`];
  const peers: Peer[] = [];
  if (hasNginx) peers.push(await nginxProxy(0, upstream.port));
  peers.push(await ownProcess('kintsugi', 0, 'plain-gateway.ts', args, flags));
  const rows = new Map<string, Row[]>(peers.map(({ name }) => [name, []]));
  for (const peer of peers) load(1, peer.port, connections, 2);
  for (let i = 0; i < rounds; i += 1) {
    for (const peer of peers) rows.get(peer.name)?.push(measure(peer));
  }
  process.stdout.write(
    `${loadName}, ${connections} connections, ${rounds} rounds of ${seconds} s, medians\n`,
  );
  const first = rows.get(peers[0]?.name ?? '') ?? [];
  for (const peer of peers) {
    const own = rows.get(peer.name) ?? [];
    const ratio = (key: keyof Row): string =>
      median(own.map((row, i) => row[key] / (first[i]?.[key] ?? 1))).toFixed(2);
    const perSecond = round(median(own.map((row) => row.perSecond)));
    const perCpu = round(median(own.map((row) => row.perCpuSecond)));
    process.stdout.write(
      `${peer.name.padEnd(10)} ${perSecond}/s (${ratio('perSecond')}), ` +
        `${perCpu} a CPU second (${ratio('perCpuSecond')}), ${rssMb(peer.pids())} MB\n`,
    );
  }
  if (prof === undefined) return;
  for (const pid of peers.at(-1)?.pids() ?? []) process.kill(pid, 'SIGTERM');
  process.stdout.write(`profile in ${join(prof)}\n`);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
}

try {
  await main();
} finally {
  cleanUp();
}
