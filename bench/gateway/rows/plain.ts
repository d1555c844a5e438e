// How many small keep-alive requests a second go through one core? Plain forwarding beside plain
// nginx and haproxy; and the real worker with everything on beside what a team would run for the
// same.
import type { Bar, RowReport } from '../../heal/bench.ts';
import { median } from '../../heal/numbers.ts';
import { bar, GATEWAY_CORE, OTHER_CORE, roundsOf, unmeasured } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { closed, closedBy, interleaved, rateOf, ratioOf } from '../closed.ts';
import type { Rate } from '../closed.ts';
import { haproxyProxy } from '../haproxy.ts';
import { openKintsugi } from '../kintsugi.ts';
import { nginxProxy, nginxUpstream, nginxWithAuth, nginxWithLog } from '../nginx.ts';
import { ownProcess, rssMb } from '../peers.ts';
import type { Peer } from '../peers.ts';

export const CONNECTIONS = 30;
/** Below this share of its core, a candidate was not the limit. */
const FULL = 0.93;

export interface Contender {
  readonly peer: Peer;
  readonly name: string;
  readonly fields?: readonly string[];
  readonly tls?: boolean;
}

export async function openUpstream(bench: GatewayBench): Promise<Peer> {
  if (bench.missing('nginx') === undefined) return nginxUpstream(OTHER_CORE);
  return ownProcess('upstream', OTHER_CORE, 'upstream.ts', (port) => [String(port)]);
}

export function openPlain(upstreamPort: number): Promise<Peer> {
  return ownProcess('kintsugi, forwarding only', GATEWAY_CORE, 'plain-gateway.ts', (port) => [
    String(port),
    String(upstreamPort),
  ]);
}

export const bearer = (key: string): string[] => [`Authorization: Bearer ${key}`];

export async function plainRow(bench: GatewayBench): Promise<RowReport> {
  const upstream = await openUpstream(bench);
  const peers: Peer[] = [];
  if (bench.missing('nginx') === undefined) {
    peers.push(await nginxProxy(GATEWAY_CORE, upstream.port));
  }
  if (bench.missing('haproxy') === undefined) {
    peers.push(await haproxyProxy(GATEWAY_CORE, upstream.port));
  }
  peers.push(await openPlain(upstream.port));
  const contenders = peers.map((peer): Contender => ({ peer, name: peer.name }));
  return playRates(bench, upstream, contenders, {
    name: 'plain',
    title: 'plain forwarding of small keep-alive requests on one core',
    own: 'kintsugi, forwarding only',
    wanted: [['nginx', 0.95]],
    notes: [],
  });
}

export async function fullRow(bench: GatewayBench): Promise<RowReport> {
  const upstream = await openUpstream(bench);
  const kintsugi = await openKintsugi({
    core: GATEWAY_CORE,
    replicaPorts: [upstream.port],
  });
  const own: Contender = { peer: kintsugi, name: 'kintsugi', fields: bearer(kintsugi.key()) };
  const peers: Peer[] = [];
  if (bench.missing('nginx') === undefined) {
    peers.push(await nginxProxy(GATEWAY_CORE, upstream.port));
    peers.push(await nginxWithLog(GATEWAY_CORE, upstream.port));
    const auth = await ownProcess('auth', GATEWAY_CORE, 'auth-service.ts', (port) => [
      String(port),
    ]);
    peers.push(await nginxWithAuth(GATEWAY_CORE, upstream.port, auth));
  }
  if (bench.missing('haproxy') === undefined) {
    peers.push(await haproxyProxy(GATEWAY_CORE, upstream.port));
  }
  const { fields = [] } = own;
  const contenders = [...peers.map((peer): Contender => ({ peer, name: peer.name, fields })), own];
  const row = await playRates(bench, upstream, contenders, {
    name: 'full',
    title:
      'everything on: API-key tenant, limits, outlier tracking, metrics, access log, trace header',
    own: 'kintsugi',
    wanted: [
      ['nginx', 0.85],
      ['nginx + log + limit_req', 1],
      ['nginx + auth_request', 1.8],
    ],
    notes: ['nginx + auth_request and its small node:http service share the core'],
  });
  const logged = kintsugi.loggedBytes();
  const note =
    logged > 0
      ? `the access log of kintsugi holds ${(logged / 1e6).toFixed(0)} MB, two files at most`
      : 'kintsugi wrote no access log: a part was off';
  return { ...row, notes: [...row.notes, note] };
}

export interface RatesPlan {
  readonly name: string;
  readonly title: string;
  readonly own: string;
  /** Peer, and how many times its rate is wanted. */
  readonly wanted: readonly (readonly [string, number])[];
  readonly notes: readonly string[];
}

export async function playRates(
  bench: GatewayBench,
  upstream: Peer,
  contenders: readonly Contender[],
  plan: RatesPlan,
): Promise<RowReport> {
  const seconds = bench.options.quick ? 1 : 4;
  const optionsOf = ({ fields, tls }: Contender): Parameters<typeof closed>[2] => ({
    connections: CONNECTIONS,
    seconds,
    ...(fields === undefined ? {} : { fields }),
    ...(tls === undefined ? {} : { tls }),
  });
  for (const one of contenders) {
    // A smoke warms only what compiles itself while it runs.
    if (bench.options.quick && one.name !== plan.own) continue;
    const warm = { ...optionsOf(one), seconds: bench.options.quick ? 1 : 2 };
    await closed(OTHER_CORE, one.peer.port, warm);
  }
  const count = roundsOf(bench.options, 6, 1);
  const rounds = await interleaved(contenders, count, async (one, round) => {
    const rate = await rateOf(OTHER_CORE, one.peer, optionsOf(one));
    bench.say(`${plan.name} ${round + 1}/${count}: ${one.name}: ${text(rate.perSecond)}/s`);
    return rate;
  });
  const memory = new Map(contenders.map(({ name, peer }) => [name, rssMb(peer.pids())]));
  for (const { peer } of contenders) await peer.stop();
  await upstream.stop();
  return {
    name: plan.name,
    title: plan.title,
    table: rateTable(rounds, plan.own, memory),
    bars: plan.wanted.map(([peer, wanted]) => rateBar(bench, rounds, plan.own, peer, wanted)),
    notes: [
      `${closedBy}, ${CONNECTIONS} connections, ${count} rounds of ${seconds} s; ` +
        'ratios are medians of the ratios within a round',
      'candidate alone on its core; upstream and generator share another one',
      ...plan.notes,
    ],
    inside: [],
    data: { rounds: Object.fromEntries(rounds), memory: Object.fromEntries(memory) },
  };
}

const text = (value: number): string => Math.round(value).toLocaleString('en');
const middle = (rates: readonly Rate[], of: (rate: Rate) => number): number =>
  median(rates.map(of)) ?? 0;

/** Requests per second where both filled their cores, else what each made of a CPU second. */
function rateBar(
  bench: GatewayBench,
  rounds: ReadonlyMap<string, readonly Rate[]>,
  own: string,
  peer: string,
  wanted: number,
): Bar {
  const what = `${own} ÷ ${peer}`;
  const want = `≥ ${wanted.toFixed(2)}`;
  const isFull = [own, peer].every((name) => middle(rounds.get(name) ?? [], (r) => r.busy) >= FULL);
  const of = (rate: Rate): number => (isFull ? rate.perSecond : rate.perCpuSecond);
  const ratio = ratioOf(rounds, [own, peer], of);
  if (ratio === undefined) return unmeasured(what, want, bench.missing('nginx') ?? 'no rounds');
  const failed = middle(rounds.get(own) ?? [], (rate) => rate.failed);
  const unit = isFull ? 'requests/s' : 'per CPU second: the core was not full';
  const got = failed > 0 ? `${failed} failed` : `${ratio.toFixed(2)} (${unit})`;
  return bar(what, want, got, failed === 0 && ratio >= wanted);
}

function rateTable(
  rounds: ReadonlyMap<string, readonly Rate[]>,
  own: string,
  memory: ReadonlyMap<string, number>,
): string[][] {
  const head = ['', 'requests/s', 'least–most', 'per CPU second', 'µs', 'core', 'own ÷ this'];
  const lines = [...rounds].map(([name, rates]) => {
    const all = rates.map((rate) => rate.perSecond);
    const perCpu = middle(rates, (rate) => rate.perCpuSecond);
    const ratio = ratioOf(rounds, [own, name], (rate) => rate.perSecond);
    const cpuRatio = ratioOf(rounds, [own, name], (rate) => rate.perCpuSecond);
    return [
      name,
      text(middle(rates, (rate) => rate.perSecond)),
      `${text(Math.min(...all))}–${text(Math.max(...all))}`,
      text(perCpu),
      perCpu === 0 ? '–' : (1e6 / perCpu).toFixed(1),
      `${Math.round(middle(rates, (rate) => rate.busy) * 100)} %`,
      ratio?.toFixed(2) ?? '–',
      cpuRatio?.toFixed(2) ?? '–',
      `${memory.get(name) ?? 0} MB`,
      text(rates.reduce((sum, rate) => sum + rate.failed, 0)),
    ];
  });
  return [[...head, 'by CPU', 'RSS', 'failed'], ...lines];
}
