// What do clients see when one of three replicas breaks? Seven faults at 500 requests a second, a
// fifth of them POST (half of those with an Idempotency-Key), our gateway beside nginx, haproxy and
// a tuned haproxy in the same seconds, each with replicas and a generator of its own.
//
//   failed         no 2xx within 1 s of the time at which it was due
//   no traffic     ms from the fault to the last request that reached the broken replica before a
//                  whole second without any; where it cannot tell (killed, wedged): to the last
//                  request that failed or took over 300 ms
//   reached        requests that reached it until then
import type { Bar, RowReport } from '../../heal/bench.ts';
import { nowMs, sleep } from '../../heal/clock.ts';
import { median } from '../../heal/numbers.ts';
import { bar, GATEWAY_CORE, roundsOf } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { FIELDS, PATH } from '../closed.ts';
import { haproxyOverReplicas, tunedHaproxy } from '../haproxy.ts';
import { openKintsugi } from '../kintsugi.ts';
import type { Seen } from '../kintsugi.ts';
import { nginxOverReplicas } from '../nginx.ts';
import { isFailed, openLoad } from '../open.ts';
import type { OpenAnswer, Stream } from '../open.ts';
import type { Peer } from '../peers.ts';
import { openReplicas } from '../replicas.ts';
import type { BrokenReplica } from '../replicas.ts';
import { bearer } from './plain.ts';

const FAULTS = ['kill', 'hang', 'e500', 'slow', 'e500 gray', 'slow gray', 'wedge'] as const;
type Fault = (typeof FAULTS)[number];

const PER_SECOND = 500;
const WARM_MS = 1_500;
const HELD_MS = 300;
const QUIET_MS = 1_000;
const BEFORE_MS = 50;
const GIVE_UP_MS = 4_000;
const LATE_MS = 100;
const REPEATS_MAX = 2;
const LISTED_MAX = 200;
const QUICK_MS = 3_000;
const EJECT_MS = 1_000;
const EJECT_REACHED = 5;

/** Failed requests that may be repeated. */
const ALLOWED: Readonly<Record<Fault, number>> = {
  kill: 0,
  hang: 5,
  e500: 0,
  slow: 5,
  'e500 gray': 0,
  'slow gray': 5,
  wedge: 0,
};

interface Candidate {
  readonly name: string;
  open(ports: readonly number[]): Promise<Peer & { readonly events?: readonly Seen[] }>;
}

export interface FaultRound {
  readonly failed: number;
  readonly failedGet: number;
  readonly failedKeyed: number;
  readonly failedPlain: number;
  /** Undefined: it never ended. */
  readonly untilMs: number | undefined;
  readonly reached: number;
  /** When our gateway said that it had ejected it. */
  readonly ejectedMs: number | undefined;
  readonly worstMs: number;
  readonly lateMs: number;
  /** When those requests were sent that failed, ms after the fault; not all of many. */
  readonly failedAtMs: readonly number[];
  /** When requests reached the broken one, as above, also after it was out. */
  readonly reachedAtMs: readonly number[];
  /** What our gateway said about replicas meanwhile. */
  readonly said: readonly string[];
  /** What the failures were. */
  readonly errors: Readonly<Record<string, number>>;
}

function candidatesOf(bench: GatewayBench): Candidate[] {
  const all: Candidate[] = [
    {
      name: 'kintsugi',
      open: (replicaPorts) => openKintsugi({ core: GATEWAY_CORE, replicaPorts }),
    },
  ];
  if (bench.missing('nginx') === undefined) {
    all.push({ name: 'nginx', open: (ports) => nginxOverReplicas(GATEWAY_CORE, ports) });
  }
  if (bench.missing('haproxy') === undefined) {
    all.push({ name: 'haproxy', open: (ports) => haproxyOverReplicas(GATEWAY_CORE, ports) });
    all.push({ name: 'haproxy, tuned', open: (ports) => tunedHaproxy(GATEWAY_CORE, ports) });
  }
  return all;
}

function streamsOf(fields: readonly string[]): Stream[] {
  const body = '{"note":"a small body"}';
  const post = { method: 'POST' as const, path: PATH, fields, body };
  return [
    { name: 'get', perSecond: PER_SECOND * 0.8, method: 'GET', path: PATH, fields },
    { ...post, name: 'keyed', perSecond: PER_SECOND * 0.1, keyed: true },
    { ...post, name: 'plain', perSecond: PER_SECOND * 0.1 },
  ];
}

async function breakIt(victim: BrokenReplica, fault: Fault): Promise<number> {
  const { pid = 0 } = victim.child;
  if (fault === 'kill' || fault === 'hang') {
    const atMs = nowMs();
    process.kill(pid, fault === 'kill' ? 'SIGKILL' : 'SIGSTOP');
    return atMs;
  }
  // What reaches it before it has turned is answered well: the time after counts.
  await victim.set(fault);
  return nowMs();
}

async function play(
  candidate: Candidate,
  fault: Fault,
  watchMs: number,
  at: number,
): Promise<FaultRound> {
  const replicas = await openReplicas(3);
  const gateway = await candidate.open(replicas.map(({ port }) => port));
  const key = 'key' in gateway && typeof gateway.key === 'function' ? String(gateway.key()) : 'x';
  const streams = streamsOf([...FIELDS, ...bearer(key)]);
  const lastsMs = 60_000 + watchMs;
  const load = openLoad({ port: gateway.port, streams, lastsMs, giveUpMs: GIVE_UP_MS });
  await load.first(10_000, (answer) => answer.status === 200);
  await sleep(WARM_MS);
  const victim = replicas[at % replicas.length];
  if (victim === undefined) throw new Error('no replica');
  const faultMs = await breakIt(victim, fault);
  await sleep(faultMs + watchMs - nowMs());
  await load.finish();
  if (fault === 'hang') {
    process.kill(victim.child.pid ?? 0, 'SIGCONT');
    await sleep(HELD_MS);
  }
  const reached = fault === 'kill' || fault === 'wedge' ? undefined : await victim.reached();
  const ejected = gateway.events?.find(
    ({ atMs, event }) =>
      event.kind === 'ejected' && event.replica === victim.name && atMs >= faultMs,
  );
  await gateway.stop();
  for (const replica of replicas) await replica.stop();
  const ejectedMs = ejected === undefined ? undefined : ejected.atMs - faultMs;
  const said = (gateway.events ?? [])
    .filter(({ atMs }) => atMs >= faultMs)
    .map(({ atMs, event }) => `${Math.round(atMs - faultMs)} ${saidText(event)}`);
  return judge(load.answers, faultMs, reached, { ejectedMs, lateMs: load.lateMs(), said });
}

function saidText(event: Seen['event']): string {
  const about = 'replica' in event ? ` ${event.replica}` : '';
  return `${event.kind}${about}${'reason' in event ? ` ${event.reason}` : ''}`;
}

function judge(
  all: readonly OpenAnswer[],
  faultMs: number,
  reached: readonly number[] | undefined,
  rest: Pick<FaultRound, 'ejectedMs' | 'lateMs' | 'said'>,
): FaultRound {
  const answers = all.filter((answer) => answer.dueMs >= faultMs - BEFORE_MS);
  const failed = answers.filter(isFailed);
  const held = answers.filter((a) => isFailed(a) || a.endMs - a.sentMs > HELD_MS);
  const sentMs = (reached ?? held.map((answer) => answer.sentMs))
    .filter((ms) => ms >= faultMs)
    .toSorted((a, b) => a - b);
  const lastMs = Math.max(0, ...answers.map((answer) => answer.sentMs));
  const until = sentMs.findIndex((ms, i) => (sentMs[i + 1] ?? lastMs) - ms > QUIET_MS);
  const untilMs = sentMs.length === 0 ? 0 : until < 0 ? undefined : (sentMs[until] ?? 0) - faultMs;
  const errors: Record<string, number> = {};
  for (const { status, error } of failed) {
    const name = error ?? (status === 200 ? 'over 1 s' : String(status));
    errors[name] = (errors[name] ?? 0) + 1;
  }
  const count = (stream: number): number => failed.filter((a) => a.stream === stream).length;
  return {
    failed: failed.length,
    failedGet: count(0),
    failedKeyed: count(1),
    failedPlain: count(2),
    untilMs,
    reached: untilMs === undefined ? sentMs.length : until + 1,
    worstMs: Math.max(0, ...answers.filter((a) => a.stream < 2).map((a) => a.endMs - a.dueMs)),
    failedAtMs: failed.slice(0, LISTED_MAX).map((a) => Math.round(a.sentMs - faultMs)),
    reachedAtMs: sentMs.slice(0, LISTED_MAX).map((ms) => Math.round(ms - faultMs)),
    errors,
    ...rest,
  };
}

type Found = ReadonlyMap<string, ReadonlyMap<Fault, readonly FaultRound[]>>;

/** All at once; again when a generator was late, as then the machine was not there for us. */
async function playAll(
  candidates: readonly Candidate[],
  fault: Fault,
  { watchMs, round }: { readonly watchMs: number; readonly round: number },
): Promise<FaultRound[]> {
  const repeats = watchMs < QUICK_MS ? 0 : REPEATS_MAX;
  for (let tries = 0; ; tries += 1) {
    const played = await Promise.all(
      candidates.map((candidate) => play(candidate, fault, watchMs, round)),
    );
    if (tries >= repeats || played.every(({ lateMs }) => lateMs <= LATE_MS)) return played;
  }
}

export async function faultsRow(bench: GatewayBench): Promise<RowReport> {
  const { quick } = bench.options;
  const candidates = candidatesOf(bench);
  const wanted = bench.options.faults;
  const usual: readonly Fault[] = quick ? ['e500 gray'] : FAULTS;
  const faults = wanted.length === 0 ? usual : FAULTS.filter((fault) => wanted.includes(fault));
  if (faults.length === 0) throw new TypeError(`no such fault; there are ${FAULTS.join(', ')}`);
  const watchMs = quick ? 1_500 : 10_000;
  const count = roundsOf(bench.options, 4, 1);
  const found = new Map(candidates.map(({ name }) => [name, new Map<Fault, FaultRound[]>()]));
  for (let round = 0; round < count; round += 1) {
    for (const fault of faults) {
      const played = await playAll(candidates, fault, { watchMs, round });
      for (const [i, one] of played.entries()) {
        const name = candidates[i]?.name ?? '';
        const rounds = found.get(name)?.get(fault) ?? [];
        found.get(name)?.set(fault, [...rounds, one]);
      }
      const text = played.map((one, i) => `${candidates[i]?.name} ${one.failed} failed`);
      bench.say(`faults ${round + 1}/${count}: ${fault}: ${text.join(', ')}`);
    }
  }
  return reportOf(found, faults, { count, watchMs });
}

const middle = (rounds: readonly FaultRound[], of: (round: FaultRound) => number): number =>
  median(rounds.map(of)) ?? 0;
const isNever = (rounds: readonly FaultRound[]): boolean =>
  middle(rounds, ({ untilMs }) => untilMs ?? 1e9) > 1e8;
const repeatable = (round: FaultRound): number => round.failedGet + round.failedKeyed;

function cell(rounds: readonly FaultRound[]): string {
  const of = (part: (round: FaultRound) => number): string =>
    String(Math.round(middle(rounds, part) * 10) / 10);
  const until = isNever(rounds)
    ? 'never'
    : `${(middle(rounds, ({ untilMs }) => untilMs ?? 1e9) / 1_000).toFixed(2)} s`;
  const parts = [of(({ failedGet }) => failedGet), of(({ failedKeyed }) => failedKeyed)];
  const failed = [...parts, of(({ failedPlain }) => failedPlain)].join('+');
  return `${failed} / ${until} / ${of(({ reached }) => reached)}`;
}

function barsOf(found: Found, faults: readonly Fault[]): Bar[] {
  const own = found.get('kintsugi') ?? new Map<Fault, readonly FaultRound[]>();
  const bars: Bar[] = [];
  for (const fault of faults) {
    const rounds = own.get(fault) ?? [];
    const lost = middle(rounds, repeatable);
    const allowed = ALLOWED[fault];
    bars.push(bar(`${fault}: failed, repeatable`, `≤ ${allowed}`, String(lost), lost <= allowed));
    const reached = middle(rounds, (round) => round.reached);
    const untilMs = middle(rounds, ({ untilMs: ms, ejectedMs }) =>
      Math.min(ms ?? 1e9, ejectedMs ?? 1e9),
    );
    const got = `${reached} reached it, ${(untilMs / 1_000).toFixed(2)} s`;
    const isMet = reached <= EJECT_REACHED || untilMs <= EJECT_MS;
    bars.push(bar(`${fault}: ejected`, `≤ ${EJECT_REACHED} requests or 1 s`, got, isMet));
  }
  for (const [name, theirs] of found) {
    if (name === 'kintsugi') continue;
    const worse = faults.filter((fault) => {
      const failed = (rounds: readonly FaultRound[] | undefined): number =>
        middle(rounds ?? [], (round) => round.failed);
      return failed(own.get(fault)) > failed(theirs.get(fault));
    });
    const got = worse.length === 0 ? 'none' : worse.join(', ');
    bars.push(bar(`faults with more failures than ${name}`, 'none', got, worse.length === 0));
  }
  return bars;
}

/** What failed through our gateway, over all rounds. */
function errorsOf(found: Found): string[] {
  const lines: string[] = [];
  for (const [fault, rounds] of found.get('kintsugi') ?? []) {
    const sum: Record<string, number> = {};
    for (const { errors } of rounds) {
      for (const [name, count] of Object.entries(errors)) sum[name] = (sum[name] ?? 0) + count;
    }
    const text = Object.entries(sum).map(([name, count]) => `${count} × ${name}`);
    if (text.length > 0) lines.push(`kintsugi, ${fault}: ${text.join(', ')} in all rounds`);
  }
  return lines;
}

function reportOf(
  found: Found,
  faults: readonly Fault[],
  { count, watchMs }: { readonly count: number; readonly watchMs: number },
): RowReport {
  const names = [...found.keys()];
  const late = [...found.values()].flatMap((by) => [...by.values()].flat());
  const worst = Math.max(0, ...late.map(({ lateMs }) => lateMs));
  return {
    name: 'faults',
    title: `one of 3 replicas breaks at ${PER_SECOND} requests/s, 20 % POST`,
    table: [
      ['failed: GET+keyed POST+plain POST / no traffic after / reached', ...names],
      ...faults.map((fault) => [
        fault,
        ...names.map((name) => cell(found.get(name)?.get(fault) ?? [])),
      ]),
    ],
    bars: barsOf(found, faults),
    notes: [
      `medians of ${count} rounds, watched for ${watchMs / 1_000} s after the fault; nobody ` +
        'restarts the replica',
      '"e500" and "slow" break its health endpoint as well, "gray" leaves it fine',
      ...errorsOf(found),
      `the generators were ${Math.round(worst)} ms late at worst` +
        (worst > LATE_MS ? ': more than such a figure bears' : ''),
    ],
    inside: [],
    data: {
      rounds: Object.fromEntries([...found].map(([name, by]) => [name, Object.fromEntries(by)])),
    },
  };
}
