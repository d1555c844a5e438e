// How does an order become a process? Check, port, intent on disk, spawn, identity on disk, cage.
import { closeSync } from 'node:fs';
import { messageOf } from '../../model/errors.ts';
import type { Exit } from '../../model/replica.ts';
import type { ReplicaOrder, StartAnswer } from '../../world/runtime.ts';
import type { Cage } from './cage.ts';
import { launchOf, type Launch } from './command.ts';
import { killGroup } from './ending.ts';
import type { End } from './launcher.ts';
import { groupOf } from './machine.ts';
import { fileNameOf } from './record.ts';
import { leaderEnded } from './stop.ts';
import { admit, type Live, type Ward } from './ward.ts';

/** Lacks of the machine that pass by themselves. */
const PASSING = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'ETXTBSY', 'ENOSPC', 'EINTR']);
/** Rounds of bringing children into the cage that were forked while we did it. */
const CAGE_ROUNDS_MAX = 5;

type Failed = Extract<StartAnswer, { kind: 'failed' }>;

const failed = (retryable: boolean, code: string, detail: string): Failed => ({
  kind: 'failed',
  retryable,
  code,
  detail,
});

export async function startReplica(ward: Ward, order: ReplicaOrder): Promise<StartAnswer> {
  const taken = await ward.ports.take(order.port);
  if (taken.kind === 'taken') return failed(true, 'KIN_PORT_TAKEN', taken.detail);
  const { port } = taken;
  const { instance, owner, host, nodeDir } = ward;
  const launch = launchOf(order, { instance, owner, host, nodeDir, port });
  if (launch.kind === 'refused') {
    ward.ports.release(port);
    return failed(false, launch.code, launch.detail);
  }
  const live = await launchReplica(ward, order, launch, port).catch(notRecorded);
  if ('kind' in live) {
    ward.ports.release(port);
    ward.records.drop(order.id);
    return live;
  }
  await enterCage(ward, live);
  // It may have died while it entered; `exited` has been told then, and this answer agrees with it.
  if (!ward.live.has(live.id)) return { kind: 'ended', exit: await live.ended.promise };
  return { kind: 'started', endpoint: { host, port }, pid: live.pid };
}

const notRecorded = (error: unknown): Failed =>
  failed(true, 'KIN_RECORD_NOT_WRITTEN', `its record was not written (${messageOf(error)})`);

async function launchReplica(
  ward: Ward,
  order: ReplicaOrder,
  launch: Launch,
  port: number,
): Promise<Live | Failed> {
  const { id, service, release, logBytes } = order;
  const { bootId } = ward.machine;
  // PD1. From here on a crash leaves a trace of what was about to be started.
  ward.records.write({ id, service, release, port, logBytes, bootId, state: { kind: 'intent' } });
  const cage = buildCage(ward, order);
  const killsBefore = cage?.memoryKills() ?? 0;
  const spawned = await spawnInto(ward, order, launch);
  if (!('end' in spawned)) {
    cage?.remove();
    return spawned;
  }
  const live: Live = {
    id,
    service,
    release,
    port,
    pid: spawned.pid,
    start: ward.machine.facts(spawned.pid)?.start ?? '',
    startedAtMs: ward.clock.monotonicMs(),
    logBytes,
    cage,
    killsBefore,
    isTold: true,
    ended: Promise.withResolvers<Exit>(),
    hurry: new AbortController(),
    stop: undefined,
    isForced: false,
  };
  try {
    admit(ward, live);
  } catch (error) {
    // What is in no book must not run.
    ward.live.delete(id);
    killGroup(ward.machine, live);
    throw error;
  }
  void spawned.end.then((end) => {
    // Without its launcher nobody tells of its end: it is looked for like an adopted one.
    if (end.kind === 'lost') live.isTold = false;
    else leaderEnded(ward, live, exitOf(end.code, end.signal));
  });
  return live;
}

function exitOf(code: number | null, signal: NodeJS.Signals | null): Exit {
  if (code !== null) return { kind: 'code', code };
  return signal === null ? { kind: 'unknown' } : { kind: 'signal', signal };
}

function buildCage(ward: Ward, order: ReplicaOrder): Cage | undefined {
  const { memoryBytes, cpuCores } = order;
  try {
    return ward.cages.build(fileNameOf(order.id), { memoryBytes, cpuCores });
  } catch (error) {
    const reason = messageOf(error);
    ward.log.warn('replica runs without limits', { replica: order.id, reason });
    return undefined;
  }
}

interface Spawned {
  readonly pid: number;
  readonly end: Promise<End>;
}

/** The log is made here, safely; the launcher opens it again and hands it to the replica. */
async function spawnInto(
  ward: Ward,
  order: ReplicaOrder,
  launch: Launch,
): Promise<Spawned | Failed> {
  const name = fileNameOf(order.id);
  try {
    closeSync(ward.logs.open(name));
  } catch (error) {
    return refusal(launch, codeOf(error));
  }
  const { file, args, env } = launch;
  const answer = await ward.launcher.launch({
    file,
    args,
    env,
    cwd: order.cwd,
    log: ward.logs.file(name),
  });
  return answer.kind === 'refused' ? refusal(launch, answer.code) : answer;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}

/** Never shows arguments or environment: the text goes to people and into the ledger. */
function refusal(launch: Launch, code: string): Failed {
  if (code === 'ENOENT')
    return failed(false, 'KIN_COMMAND_NOT_FOUND', `the interpreter of ${launch.file} is missing`);
  if (code === 'EACCES' || code === 'ENOEXEC' || code === 'EPERM')
    return failed(false, 'KIN_COMMAND_NOT_EXECUTABLE', `${launch.file} cannot be run (${code})`);
  return failed(PASSING.has(code), 'KIN_SPAWN_FAILED', `${launch.file} was not started (${code})`);
}

/** PD8. */
async function enterCage(ward: Ward, live: Live): Promise<void> {
  const { cage } = live;
  if (cage === undefined) return;
  try {
    await cage.enter(live.pid);
    for (let round = 0; round < CAGE_ROUNDS_MAX && ward.live.has(live.id); round += 1) {
      const inside = new Set(cage.pids());
      const outside = groupOf(ward.machine, live).filter((facts) => !inside.has(facts.pid));
      if (outside.length === 0) return;
      for (const facts of outside) await cage.enter(facts.pid);
    }
  } catch (error) {
    if (!ward.live.has(live.id)) return;
    const reason = messageOf(error);
    ward.log.warn('replica runs without limits', { replica: live.id, reason });
  }
}
