// Does one tenant's flood move the others? The p99 of three calm tenants, with and without a fourth
// that sends ten times its limit; and with one that has no limit and sends twice what the replicas
// can take. Quiet and flooded spans alternate.
import type { Bar, RowReport } from '../../heal/bench.ts';
import { sleep } from '../../heal/clock.ts';
import { median } from '../../heal/numbers.ts';
import { bar, GATEWAY_CORE, roundsOf } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { PATH } from '../closed.ts';
import { openKintsugi } from '../kintsugi.ts';
import type { Kintsugi, KintsugiSetup } from '../kintsugi.ts';
import { openLoad, timesOf } from '../open.ts';
import type { Stream, Times } from '../open.ts';
import { openReplicas } from '../replicas.ts';
import { bearer } from './plain.ts';

const MOVED_MAX = 0.2;
const CALM = ['calm-1', 'calm-2', 'calm-3'];
const CALM_PER_SECOND = 100;
const WORK_MS = 20;
const SLOTS = 10;
const REPLICAS = 3;
const LIMIT = 200;
const SETTLE_MS = 500;

interface Flood {
  readonly name: string;
  readonly perSecond: number;
  readonly tenant: NonNullable<KintsugiSetup['tenants']>[string];
}

const CAPACITY = (REPLICAS * SLOTS * 1_000) / WORK_MS;
const FLOODS: readonly Flood[] = [
  {
    name: 'ten times its limit',
    perSecond: LIMIT * 10,
    tenant: { ratePerSecond: LIMIT, burst: LIMIT },
  },
  { name: 'twice what the replicas can take', perSecond: CAPACITY * 2, tenant: {} },
];

interface Round {
  readonly quiet: Times;
  readonly flooded: Times;
  /** Of the flood. */
  readonly passed: number;
  readonly refused: number;
}

async function play(kintsugi: Kintsugi, flood: Flood, spanMs: number): Promise<Round> {
  const get = { method: 'GET' as const, path: PATH };
  const calm = CALM.map((name): Stream => {
    return { ...get, name, perSecond: CALM_PER_SECOND, fields: bearer(kintsugi.key(name)) };
  });
  const lastsMs = 2 * spanMs + 2 * SETTLE_MS;
  const load = openLoad({ port: kintsugi.port, streams: calm, lastsMs, giveUpMs: 5_000 });
  await load.first(5_000, (answer) => answer.status === 200);
  const startMs = load.startMs();
  await sleep(spanMs + SETTLE_MS);
  const stream = { ...get, name: 'flood', perSecond: flood.perSecond };
  const flooding = openLoad({
    port: kintsugi.port,
    streams: [{ ...stream, fields: bearer(kintsugi.key('flood')) }],
    lastsMs: spanMs + SETTLE_MS,
    giveUpMs: 2_000,
  });
  await flooding.over();
  await load.over();
  const floodMs = flooding.startMs() + SETTLE_MS;
  const within = (fromMs: number): Times =>
    timesOf(
      load.answers.filter((a) => a.dueMs >= fromMs && a.dueMs < fromMs + spanMs - SETTLE_MS / 2),
    );
  return {
    quiet: within(startMs + SETTLE_MS),
    flooded: within(floodMs),
    passed: flooding.answers.filter((a) => a.status === 200).length,
    refused: flooding.answers.filter((a) => a.status === 429 || a.status === 503).length,
  };
}

export async function neighboursRow(bench: GatewayBench): Promise<RowReport> {
  const { quick } = bench.options;
  const spanMs = quick ? 1_000 : 6_000;
  const count = roundsOf(bench.options, 4, 1);
  const table = [
    ['', 'p50', 'p99', 'p50 flooded', 'p99 flooded', 'p99 moved', 'failed', 'of the flood passed'],
  ];
  const bars: Bar[] = [];
  const data: Record<string, readonly Round[]> = {};
  for (const flood of quick ? FLOODS.slice(0, 1) : FLOODS) {
    const replicas = await openReplicas(REPLICAS, {
      WORK_MS: String(WORK_MS),
      SLOTS: String(SLOTS),
    });
    const kintsugi = await openKintsugi({
      core: GATEWAY_CORE,
      replicaPorts: replicas.map(({ port }) => port),
      tenants: { ...Object.fromEntries(CALM.map((name) => [name, {}])), flood: flood.tenant },
      service: { concurrencyMax: REPLICAS * SLOTS },
    });
    const rounds: Round[] = [];
    for (let i = 0; i < count; i += 1) rounds.push(await play(kintsugi, flood, spanMs));
    await kintsugi.stop();
    for (const replica of replicas) await replica.stop();
    data[flood.name] = rounds;
    const { line, moved, failed } = told(flood, rounds);
    table.push(line);
    bench.say(`neighbours: ${line.join(' ')}`);
    const got = `${(moved * 100).toFixed(0)} %, ${failed} failed`;
    const isMet = moved < MOVED_MAX && failed === 0;
    bars.push(bar(`${flood.name}: the others' p99 moves`, `< ${MOVED_MAX * 100} %`, got, isMet));
  }
  return {
    name: 'neighbours',
    title: `one tenant floods; ${CALM.length} others send ${CALM_PER_SECOND} requests/s each`,
    table,
    bars,
    notes: [
      `${REPLICAS} replicas with ${SLOTS} slots of ${WORK_MS} ms: ${CAPACITY} requests/s at most`,
      `medians of ${count} rounds: ${spanMs / 1_000} s quiet, then as long with the flood`,
    ],
    inside: [],
    data,
  };
}

function told(
  flood: Flood,
  rounds: readonly Round[],
): { readonly line: string[]; readonly moved: number; readonly failed: number } {
  const of = (part: (round: Round) => number): number => median(rounds.map(part)) ?? 0;
  const moved = of(({ quiet, flooded }) => flooded.p99Ms / Math.max(0.001, quiet.p99Ms) - 1);
  const failed = rounds.reduce((sum, { flooded }) => sum + flooded.failed, 0);
  const ms = (part: (round: Round) => number): string => `${of(part).toFixed(1)} ms`;
  const line = [
    flood.name,
    ms(({ quiet }) => quiet.p50Ms),
    ms(({ quiet }) => quiet.p99Ms),
    ms(({ flooded }) => flooded.p50Ms),
    ms(({ flooded }) => flooded.p99Ms),
    `${(moved * 100).toFixed(0)} %`,
    String(failed),
    `${of(({ passed }) => passed)} of ${of(({ passed, refused }) => passed + refused)}`,
  ];
  return { line, moved, failed };
}
