// How much later does an answer come through the gateway than directly? 2000 requests a second at
// fixed times, whatever became of the earlier ones; the medians of the rounds, minus those of the
// way without a gateway in the same round.
import type { RowReport } from '../../heal/bench.ts';
import { median } from '../../heal/numbers.ts';
import { bar, GATEWAY_CORE, roundsOf } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { FIELDS, interleaved, PATH } from '../closed.ts';
import { haproxyProxy } from '../haproxy.ts';
import { openKintsugi } from '../kintsugi.ts';
import { nginxProxy } from '../nginx.ts';
import { openLoad, timesOf } from '../open.ts';
import type { Times } from '../open.ts';
import type { Peer } from '../peers.ts';
import { bearer, openUpstream } from './plain.ts';

const PER_SECOND = 2_000;
const GIVE_UP_MS = 5_000;
const P50_MS = 0.1;
const P99_MS = 0.5;
/** A round in which the generator itself was later than this is played again, some times. */
const LATE_MS = 20;
const REPEATS_MAX = 2;

interface Round extends Times {
  readonly lateMs: number;
}

async function play(port: number, fields: readonly string[], lastsMs: number): Promise<Round> {
  const repeats = lastsMs < 1_000 ? 0 : REPEATS_MAX;
  const stream = { name: 'get', perSecond: PER_SECOND, method: 'GET' as const, path: PATH, fields };
  for (let tries = 0; ; tries += 1) {
    const load = openLoad({ port, streams: [stream], lastsMs, giveUpMs: GIVE_UP_MS });
    await load.over();
    // The first moments open connections and compile code.
    const fromMs = load.startMs() + Math.min(500, lastsMs / 3);
    const times = timesOf(load.answers.filter((answer) => answer.dueMs >= fromMs));
    const round = { ...times, lateMs: load.lateMs() };
    if (round.lateMs <= LATE_MS || tries >= repeats) return round;
  }
}

export async function latencyRow(bench: GatewayBench): Promise<RowReport> {
  const upstream = await openUpstream(bench);
  const kintsugi = await openKintsugi({
    core: GATEWAY_CORE,
    replicaPorts: [upstream.port],
  });
  const peers: Peer[] = [upstream, kintsugi];
  if (bench.missing('nginx') === undefined) {
    peers.push(await nginxProxy(GATEWAY_CORE, upstream.port));
  }
  if (bench.missing('haproxy') === undefined) {
    peers.push(await haproxyProxy(GATEWAY_CORE, upstream.port));
  }
  const fields = [...FIELDS, ...bearer(kintsugi.key())];
  const lastsMs = bench.options.quick ? 900 : 4_500;
  const contenders = peers.map((peer) => ({
    name: peer === upstream ? 'direct' : peer.name,
    port: peer.port,
  }));
  for (const { port } of contenders) await play(port, fields, bench.options.quick ? 300 : 1_000);
  const count = roundsOf(bench.options, 5, 1);
  const rounds = await interleaved(contenders, count, async ({ name, port }, round) => {
    const found = await play(port, fields, lastsMs);
    bench.say(`latency ${round + 1}/${count}: ${name}: p50 ${found.p50Ms.toFixed(3)} ms`);
    return found;
  });
  for (const peer of peers) await peer.stop();
  const addedOf = (name: string, of: (round: Round) => number): number => {
    const direct = rounds.get('direct') ?? [];
    const all = (rounds.get(name) ?? []).flatMap((round, i) => {
      const base = direct[i];
      return base === undefined ? [] : [of(round) - of(base)];
    });
    return median(all) ?? 0;
  };
  const p50 = addedOf('kintsugi', (round) => round.p50Ms);
  const p99 = addedOf('kintsugi', (round) => round.p99Ms);
  const ms = (value: number): string => `${value.toFixed(3)} ms`;
  const failed = (rounds.get('kintsugi') ?? []).reduce((sum, round) => sum + round.failed, 0);
  return {
    name: 'latency',
    title: `added latency at ${PER_SECOND} requests/s, open loop, everything on`,
    table: [
      ['', 'p50', 'p99', 'p50 added', 'p99 added', 'failed', 'generator late'],
      ...[...rounds].map(([name, all]) => [
        name,
        ms(median(all.map((round) => round.p50Ms)) ?? 0),
        ms(median(all.map((round) => round.p99Ms)) ?? 0),
        name === 'direct' ? '–' : ms(addedOf(name, (round) => round.p50Ms)),
        name === 'direct' ? '–' : ms(addedOf(name, (round) => round.p99Ms)),
        String(all.reduce((sum, round) => sum + round.failed, 0)),
        ms(Math.max(...all.map((round) => round.lateMs))),
      ]),
    ],
    bars: [
      bar('p50 over direct', `≤ ${P50_MS} ms`, ms(p50), p50 <= P50_MS && failed === 0),
      bar('p99 over direct', `≤ ${P99_MS} ms`, ms(p99), p99 <= P99_MS && failed === 0),
    ],
    notes: [
      `${count} rounds of ${lastsMs / 1_000} s; "added": median of the differences in a round`,
      'from sending to the last byte; the generator never waits for an answer before it sends',
      `with the generator over ${LATE_MS} ms late, a round is repeated (${REPEATS_MAX} at most)`,
    ],
    inside: [],
    data: { rounds: Object.fromEntries(rounds) },
  };
}
