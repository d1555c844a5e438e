// kill -9 of what supervises: do clients notice, are the same processes there afterwards, and is a
// replica that is killed in the same moment healed all the same?
import { bar, roundsOf } from '../bench.ts';
import type { Bench, RowReport } from '../bench.ts';
import { nowMs, sleep, until, wallOffsetMs } from '../clock.ts';
import type { Moment } from '../contender.ts';
import type { Kintsugi } from '../kintsugi.ts';
import { asIs, pidsOf, timelineSince } from '../kintsugi.ts';
import { Load } from '../load.ts';
import { countText, median, msText, spreadText } from '../numbers.ts';
import { openPm2 } from '../pm2.ts';
import { isAlive } from '../processes.ts';
import { isFailed } from '../records.ts';
import { openRespawn } from '../respawn.ts';

const LOAD = { ratePerSecond: 500, mix: { keyed: 2, bare: 0 } } as const;
const RESUMED_MS = 3_000;
const CAP_MS = 30_000;

interface ControllerRound {
  /** Failed requests while only the controller was killed, and while a replica was, too. */
  readonly failedAlone: number;
  readonly failed: number;
  readonly samePids: boolean;
  /** Since the kill of the controller. */
  readonly startedMs: number | undefined;
  readonly actingMs: number | undefined;
  readonly backMs: number | undefined;
  readonly timeline: readonly Moment[];
}

export async function controllerRow(bench: Bench): Promise<RowReport> {
  const count = roundsOf(bench.options, 3, 1);
  const kintsugi = await bench.kintsugi();
  bench.say(`controller: Kintsugi, ${count} rounds`);
  const load = new Load(kintsugi.door('alpha'), LOAD);
  const own: ControllerRound[] = [];
  try {
    await sleep(2_000);
    for (let i = 0; i < count; i += 1) own.push(await playBoth(kintsugi, load, i));
  } finally {
    await load.stop();
  }
  const peers = bench.options.peers ? await peerLines(bench) : [];
  return report(own, peers);
}

async function playBoth(kintsugi: Kintsugi, load: Load, index: number): Promise<ControllerRound> {
  const alone = await play(kintsugi, load, undefined);
  const both = await play(kintsugi, load, index);
  return {
    ...both,
    failedAlone: alone.failed,
    samePids: alone.samePids && both.samePids,
  };
}

/** `victim`: which of the three replicas is killed right after the controller, or none. */
async function play(
  kintsugi: Kintsugi,
  load: Load,
  victim: number | undefined,
): Promise<Omit<ControllerRound, 'failedAlone'>> {
  const before = await kintsugi.settle();
  await until(10_000, () => load.serving(700).length === 3);
  const pids = pidsOf(before);
  const serving = load.serving();
  const controller = kintsugi.controllerPid();
  if (controller === undefined) throw new Error('no controller runs');
  const faultMs = nowMs();
  process.kill(controller, 'SIGKILL');
  const killed = victim === undefined ? undefined : serving[victim % serving.length];
  if (killed !== undefined) process.kill(killed, 'SIGKILL');
  const back =
    killed === undefined
      ? undefined
      : await load.first(
          faultMs,
          CAP_MS,
          (a) => a.pid > 0 && !serving.includes(a.pid) && !isFailed(a),
        );
  await until(CAP_MS, async () => {
    const pid = kintsugi.controllerPid();
    if (pid === undefined || pid === controller || !isAlive(pid)) return false;
    return (await kintsugi.client.status().catch(() => undefined)) !== undefined;
  });
  await sleep(1_500);
  const untilMs = nowMs();
  await load.settled(untilMs);
  const after = pidsOf(await kintsugi.settle());
  const events = await kintsugi.story(before.storySeq);
  const offsetMs = wallOffsetMs();
  const first = (kind: string): number | undefined => {
    const event = events.find((e) => e.kind === kind && e.atMs - offsetMs > faultMs);
    return event === undefined ? undefined : event.atMs - offsetMs - faultMs;
  };
  return {
    failed: load.between(faultMs - 200, untilMs).filter(isFailed).length,
    samePids: [...pids].every(([id, pid]) => pid === killed || after.get(id) === pid),
    startedMs: first('controller.started'),
    actingMs: first('run.begun'),
    backMs: back === undefined ? undefined : back.endMs - faultMs,
    timeline: await timelineSince(kintsugi, 'alpha', before.storySeq, faultMs, asIs),
  };
}

/** Peers of their own, because they do not outlive this. */
async function peerLines(bench: Bench): Promise<string[][]> {
  const lines: string[][] = [];
  for (const open of [openPm2, openRespawn]) {
    const peer = await open(bench.app);
    bench.say(`controller: ${peer.name}, one round`);
    const load = new Load(peer.door, LOAD);
    try {
      await sleep(1_000);
      await peer.settle(load);
      const serving = load.serving();
      const supervisor = peer.supervisorPid();
      if (supervisor === undefined) throw new Error(`${peer.name} has no supervisor`);
      const faultMs = nowMs();
      process.kill(supervisor, 'SIGKILL');
      await sleep(5_000);
      await load.settled(nowMs() - 2_000);
      const answers = load.between(faultMs - 200, faultMs + 3_000);
      const left = serving.filter(isAlive).length;
      lines.push([
        peer.name,
        `${answers.filter(isFailed).length} of ${answers.length} in 3 s`,
        left === serving.length ? 'yes' : `${left} of ${serving.length} left`,
        load.serving().length === 0 ? 'never: nobody serves' : '–',
        '–',
      ]);
    } finally {
      await load.stop();
      await peer.close();
    }
  }
  return lines;
}

function report(own: readonly ControllerRound[], peers: readonly string[][]): RowReport {
  const failed = own.reduce((sum, round) => sum + round.failed + round.failedAlone, 0);
  const acting = own.map((round) => round.actingMs ?? Number.POSITIVE_INFINITY);
  const same = own.every((round) => round.samePids);
  const worst = Math.max(...acting);
  const startedMs = median(own.flatMap((round) => round.startedMs ?? []));
  return {
    name: 'controller',
    title:
      'kill -9 of the control plane, 500 requests/s; then the same with a replica killed at once',
    table: [
      ['', 'failed a round', 'same pids afterwards', 'acting again p50', 'full capacity back p50'],
      [
        'Kintsugi',
        countText(own.map((round) => round.failed + round.failedAlone)),
        same ? 'yes' : 'no',
        spreadText(own.map((round) => round.actingMs)),
        spreadText(own.map((round) => round.backMs)),
      ],
      ...peers,
    ],
    bars: [
      bar('failed requests', '0', String(failed), failed === 0),
      bar('same pids of all replicas that were not killed', 'yes', same ? 'yes' : 'no', same),
      bar(
        'healing resumed (worst round)',
        `≤ ${RESUMED_MS / 1000} s`,
        msText(Number.isFinite(worst) ? worst : undefined),
        worst <= RESUMED_MS,
      ),
    ],
    notes: [`the new controller has started after ${msText(startedMs)} p50`],
    inside: (own[0]?.timeline ?? []).map(
      (m) => `${Math.round(m.afterMs).toString().padStart(7)} ms  ${m.what}`,
    ),
    data: { kintsugi: own },
  };
}
