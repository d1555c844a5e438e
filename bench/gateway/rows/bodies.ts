// How many bytes a second pass through one core, and does memory stay flat? Bodies of 1 MB from
// several connections, and one stream of 1 GB, down and up, beside nginx that streams as well.
import { once } from 'node:events';
import { join } from 'node:path';
import type { Bar, RowReport } from '../../heal/bench.ts';
import { nowMs } from '../../heal/clock.ts';
import { median } from '../../heal/numbers.ts';
import { bar, GATEWAY_CORE, OTHER_CORE, roundsOf, unmeasured } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { interleaved, ratioOf } from '../closed.ts';
import { openKintsugi } from '../kintsugi.ts';
import { nginxStreams } from '../nginx.ts';
import { cpuMs, end, ownProcess, rssMb, start } from '../peers.ts';
import type { Peer } from '../peers.ts';

const WANTED = 0.8;
/** Sockets' buffers and what a collector leaves lying about; a stream of 1 GB is far above. */
const FLAT_MB = 32;
const FULL = 0.93;
const MB = 1_048_576;
const SAMPLE_MS = 50;

interface Kind {
  readonly name: string;
  readonly way: 'down' | 'up';
  readonly bytes: number;
  readonly lanes: number;
  readonly count: number;
}

const kindsOf = (quick: boolean): Kind[] =>
  (['down', 'up'] as const).flatMap((way) => [
    { name: `1 MB ${way}`, way, bytes: MB, lanes: 8, count: quick ? 25 : 250 },
    { name: `1 GB ${way}`, way, bytes: quick ? 128 * MB : 1_024 * MB, lanes: 1, count: 1 },
  ]);

interface Moved {
  readonly perSecond: number;
  readonly perCpuSecond: number;
  readonly busy: number;
  readonly failed: number;
  readonly grownMb: number;
}

async function move(peer: Peer, key: string, kind: Kind): Promise<Moved> {
  const script = join(import.meta.dirname, '../bulk-client.ts');
  const args = [peer.port, kind.way, kind.bytes, kind.lanes, kind.count].map(String);
  const beforeMs = cpuMs(peer.pids());
  const beforeMb = rssMb(peer.pids());
  const startMs = nowMs();
  let mostMb = beforeMb;
  const child = start(OTHER_CORE, [process.execPath, script, ...args], {
    ...process.env,
    BENCH_KEY: key,
  });
  const timer = setInterval(() => (mostMb = Math.max(mostMb, rssMb(peer.pids()))), SAMPLE_MS);
  const [done] = (await once(child, 'message')) as [
    { readonly bytes: number; readonly seconds: number; readonly failed: number },
  ];
  clearInterval(timer);
  const usedMs = Math.max(1, cpuMs(peer.pids()) - beforeMs);
  const busy = usedMs / Math.max(1, nowMs() - startMs);
  await end(child);
  return {
    perSecond: done.bytes / Math.max(0.001, done.seconds),
    perCpuSecond: (done.bytes * 1_000) / usedMs,
    busy,
    failed: done.failed,
    grownMb: mostMb - beforeMb,
  };
}

type Rounds = ReadonlyMap<string, readonly Moved[]>;

export async function bodiesRow(bench: GatewayBench): Promise<RowReport> {
  const upstream = await ownProcess('bulk', OTHER_CORE, 'bulk-upstream.ts', (port) => [
    String(port),
  ]);
  const kintsugi = await openKintsugi({
    core: GATEWAY_CORE,
    replicaPorts: [upstream.port],
    service: { prefixes: [{ prefix: '/api', timeoutMs: 300_000, retry: true }] },
  });
  const peers: Peer[] = [kintsugi];
  if (bench.missing('nginx') === undefined) {
    peers.push(await nginxStreams(GATEWAY_CORE, upstream.port));
  }
  const kinds = kindsOf(bench.options.quick);
  const count = roundsOf(bench.options, 4, 1);
  const found = new Map<string, Rounds>();
  for (const kind of kinds) {
    // Buffers grow to their size once: that is not what "flat" is about.
    for (const peer of bench.options.quick ? [kintsugi] : peers) {
      await move(peer, kintsugi.key(), kind);
    }
    const rounds = await interleaved(peers, count, (peer) => move(peer, kintsugi.key(), kind));
    found.set(kind.name, rounds);
    bench.say(`bodies: ${kind.name}: ${lineOf(rounds, 'kintsugi').join(' ')}`);
  }
  for (const peer of peers) await peer.stop();
  await upstream.stop();
  const table = [['', 'bytes/s', 'per CPU second', 'core', 'RSS grown', 'failed']];
  for (const [name, rounds] of found) {
    for (const peer of rounds.keys()) table.push([`${name}, ${peer}`, ...lineOf(rounds, peer)]);
  }
  return {
    name: 'bodies',
    title: 'bodies of 1 MB and streams of 1 GB, both ways, on one core',
    table,
    bars: [...found].flatMap(([name, rounds]) => barsOf(bench, name, rounds)),
    notes: [
      `${count} rounds; both stream without buffering to disk; kintsugi with everything on`,
      'the ends share a core; where the proxy did not fill its own, CPU time is compared',
      ...(bench.options.quick ? ['--quick: streams of 128 MB instead'] : []),
    ],
    inside: [],
    data: Object.fromEntries(
      [...found].map(([name, rounds]) => [name, Object.fromEntries(rounds)]),
    ),
  };
}

const middle = (all: readonly Moved[], of: (one: Moved) => number): number =>
  median(all.map(of)) ?? 0;
const mbText = (bytes: number): string => `${Math.round(bytes / MB).toLocaleString('en')} MB`;

function lineOf(rounds: Rounds, peer: string): string[] {
  const all = rounds.get(peer) ?? [];
  return [
    mbText(middle(all, (one) => one.perSecond)),
    mbText(middle(all, (one) => one.perCpuSecond)),
    `${Math.round(middle(all, (one) => one.busy) * 100)} %`,
    `${Math.round(middle(all, (one) => one.grownMb))} MB`,
    String(all.reduce((sum, one) => sum + one.failed, 0)),
  ];
}

function barsOf(bench: GatewayBench, name: string, rounds: Rounds): Bar[] {
  const what = `${name}: kintsugi ÷ nginx`;
  const wanted = `≥ ${WANTED.toFixed(2)}`;
  const all = [...rounds.values()];
  const isFull = all.every((one) => middle(one, (moved) => moved.busy) >= FULL);
  const ratio = ratioOf(rounds, ['kintsugi', 'nginx'], (one) =>
    isFull ? one.perSecond : one.perCpuSecond,
  );
  const own = rounds.get('kintsugi') ?? [];
  const failed = own.reduce((sum, one) => sum + one.failed, 0);
  const bars: Bar[] = [];
  if (ratio === undefined) {
    bars.push(unmeasured(what, wanted, bench.missing('nginx') ?? 'no rounds'));
  } else {
    const unit = isFull ? 'bytes/s' : 'per CPU second';
    const got = failed > 0 ? `${failed} failed` : `${ratio.toFixed(2)} (${unit})`;
    bars.push(bar(what, wanted, got, failed === 0 && ratio >= WANTED));
  }
  if (!name.startsWith('1 GB')) return bars;
  const grown = middle(own, (one) => one.grownMb);
  const got = `${Math.round(grown)} MB`;
  bars.push(bar(`${name}: RSS grows by`, `≤ ${FLAT_MB} MB`, got, grown <= FLAT_MB));
  return bars;
}
