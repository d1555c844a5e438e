// What do 10 000 clients cost that keep their connection and say nothing? Resident memory of the
// gateway, before them and with them; each has had one answer.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RowReport } from '../../heal/bench.ts';
import { sleep, until } from '../../heal/clock.ts';
import { bar, GATEWAY_CORE, OTHER_CORE, unmeasured } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { haproxyProxy } from '../haproxy.ts';
import { openKintsugi } from '../kintsugi.ts';
import { nginxProxy } from '../nginx.ts';
import { end, rssMb, start } from '../peers.ts';
import type { Peer } from '../peers.ts';
import { openUpstream } from './plain.ts';

const CLIENTS = 4;
const WANTED_MB = 150;
const SETTLE_MS = 15_000;
const OPEN_MS = 60_000;

/** Files that one process may open: soft limit, as the children inherit it. */
function filesMax(): number {
  const text = readFileSync('/proc/self/limits', 'utf8');
  const soft = /Max open files\s+(\d+|unlimited)/u.exec(text)?.[1];
  return soft === undefined || soft === 'unlimited' ? 1_000_000 : Number(soft);
}

interface Idle {
  readonly name: string;
  readonly open: number;
  readonly beforeMb: number;
  readonly withMb: number;
}

async function measure(bench: GatewayBench, peer: Peer, key: string, total: number): Promise<Idle> {
  const beforeMb = rssMb(peer.pids());
  const script = join(import.meta.dirname, '../idle-clients.ts');
  let open = 0;
  const clients = Array.from({ length: CLIENTS }, (_, i) => {
    const args = [String(peer.port), String(total / CLIENTS), `127.0.0.${2 + i}`];
    const child = start(OTHER_CORE, [process.execPath, script, ...args], {
      ...process.env,
      BENCH_KEY: key,
    });
    child.once('message', (count: number) => {
      open += count;
    });
    return child;
  });
  await until(OPEN_MS, () => open >= total, 50);
  await sleep(bench.options.quick ? 200 : SETTLE_MS);
  const withMb = rssMb(peer.pids());
  bench.say(`idle: ${peer.name}: ${withMb} MB with ${open} connections`);
  for (const client of clients) await end(client);
  await peer.stop();
  return { name: peer.name, open, beforeMb, withMb };
}

export async function idleRow(bench: GatewayBench): Promise<RowReport> {
  const total = bench.options.quick ? 1_000 : 10_000;
  const what = `RSS with ${total} idle connections`;
  const report = {
    name: 'idle',
    title: `${total} idle keep-alive connections, after one request each`,
    inside: [],
  };
  if (process.platform !== 'linux' || filesMax() < total + 1_000) {
    const reason = `skipped: ${total + 1_000} open files a process are needed (ulimit -n)`;
    const bars = [unmeasured(what, `≤ ${WANTED_MB} MB`, reason)];
    return { ...report, table: [], bars, notes: [], data: { reason } };
  }
  const upstream = await openUpstream(bench);
  const kintsugi = await openKintsugi({ core: GATEWAY_CORE, replicaPorts: [upstream.port] });
  const found = [await measure(bench, kintsugi, kintsugi.key(), total)];
  if (bench.missing('nginx') === undefined) {
    const nginx = await nginxProxy(GATEWAY_CORE, upstream.port);
    found.push(await measure(bench, nginx, '', total));
  }
  if (bench.missing('haproxy') === undefined && total <= 8_000 && !bench.options.quick) {
    const haproxy = await haproxyProxy(GATEWAY_CORE, upstream.port);
    found.push(await measure(bench, haproxy, '', total));
  }
  await upstream.stop();
  const own = found[0];
  const isMet = own !== undefined && own.open >= total && own.withMb <= WANTED_MB;
  return {
    ...report,
    table: [
      ['', 'connections', 'RSS before', 'RSS with them', 'each'],
      ...found.map((one) => [
        one.name,
        String(one.open),
        `${one.beforeMb} MB`,
        `${one.withMb} MB`,
        `${(((one.withMb - one.beforeMb) * 1_024) / Math.max(1, one.open)).toFixed(1)} KiB`,
      ]),
    ],
    bars: [bar(what, `≤ ${WANTED_MB} MB`, `${own?.withMb ?? 0} MB, ${own?.open ?? 0} open`, isMet)],
    notes: [`from ${CLIENTS} processes with an address of the loopback each`],
    data: { found },
  };
}
