// How does everything end? The control plane drains and stops its replicas, init ends the
// controller and the gateways; what is still there after its time is ended by pid and start time.
//
//   STOP1. Nothing is signalled that does not carry the mark of this state folder.
//   STOP2. It answers only when all of it is gone, or says what is not.
import { rmSync } from 'node:fs';
import { readRunFile, statePaths } from '../../api/state-folder.ts';
import { KinError, messageOf } from '../../model/errors.ts';
import { isRunning, tryConnect, unregisterInstance } from '../connect.ts';
import type { Context } from '../context.ts';
import { isAlive, signalProcess } from '../processes.ts';
import type { ProcessId } from '../processes.ts';
import { initId } from './init-file.ts';
import { ownProcesses } from './own.ts';
import type { OwnProcess } from './own.ts';

const POLL_MS = 100;
const ASK_MS = 15_000;
const SETTLE_MS = 5_000;
/** What is left gets so long to end by SIGTERM before SIGKILL. */
const TERM_MS = 10_000;

export interface StopOptions {
  /** For the replicas to drain and end. */
  readonly replicasMs: number;
  readonly initMs: number;
  /** Aborted: no more waiting, everything is ended at once. */
  readonly force: AbortSignal;
  readonly say: (text: string) => void;
}

export const STOP_TIMES = { replicasMs: 90_000, initMs: 40_000 } as const;

/** Answers how many processes had to be ended by force. */
export async function stopEverything(
  context: Context,
  stateDir: string,
  options: StopOptions,
): Promise<number> {
  const { force, say } = options;
  const init = known(stateDir).find((own) => own.part === 'init')?.id ?? initId(stateDir);
  const asked = await askShutdown(context, stateDir, options);
  if (asked) {
    const gone = await until(context, options.replicasMs, force, () => replicasGone(stateDir));
    if (!gone && !force.aborted) say('some replicas do not end in their time');
    if (gone) await settled(context, stateDir, force);
  }
  if (init !== undefined) {
    signalAlone(init, 'SIGTERM');
    await until(context, options.initMs, force, () => !isAlive(init));
  }
  const forced = await endRest(context, stateDir, options);
  const { run, initPid, failed } = statePaths(stateDir);
  for (const file of [run, initPid, failed]) rmSync(file, { force: true });
  unregisterInstance(stateDir);
  return forced;
}

export function isAnythingLeft(stateDir: string): boolean {
  return known(stateDir).length > 0 || initId(stateDir) !== undefined;
}

function known(stateDir: string): readonly OwnProcess[] {
  const marked = ownProcesses(stateDir);
  const run = readRunFile(stateDir);
  const isListed = run === undefined || marked.some((own) => own.id.pid === run.pid);
  if (isListed || !isRunning(run)) return marked;
  return [
    ...marked,
    { id: { pid: run.pid, start: run.pidStart }, part: 'controller', kind: 'part' },
  ];
}

/** Without /proc only the controller's own end tells that it has stopped its replicas. */
function replicasGone(stateDir: string): boolean {
  const run = readRunFile(stateDir);
  if (process.platform !== 'linux') return run === undefined || !isRunning(run);
  return known(stateDir).every((own) => own.kind !== 'replica');
}

async function askShutdown(
  context: Context,
  stateDir: string,
  options: StopOptions,
): Promise<boolean> {
  const connection = tryConnect(context, stateDir);
  if (connection === undefined) return false;
  const untilMs = context.nowMs() + ASK_MS;
  while (!options.force.aborted) {
    try {
      await connection.client.shutdown('everything');
      return true;
    } catch (error) {
      const away = error instanceof KinError && error.code === 'KIN_API_UNREACHABLE';
      if (!away || context.nowMs() > untilMs) {
        options.say(`the control plane could not be asked: ${messageOf(error)}`);
        return false;
      }
      await context.sleep(250, options.force);
    }
  }
  return false;
}

/**
 * The control plane writes down what it has stopped; ended before that, it would wonder next time.
 */
async function settled(context: Context, stateDir: string, force: AbortSignal): Promise<void> {
  const untilMs = context.nowMs() + SETTLE_MS;
  while (!force.aborted && context.nowMs() < untilMs) {
    const connection = tryConnect(context, stateDir);
    if (connection === undefined || !isRunning(connection.run)) return;
    try {
      const { services } = await connection.client.status();
      const left = services.flatMap((service) => service.replicas);
      if (left.every((replica) => replica.phase === 'gone')) return;
    } catch {
      return;
    }
    await context.sleep(POLL_MS / 2, force);
  }
}

/** Not to the group of init: its children are init's to end, in its order. */
function signalAlone(id: ProcessId, signal: NodeJS.Signals): void {
  if (!isAlive(id)) return;
  try {
    process.kill(id.pid, signal);
  } catch {
    // It ended between the look and the signal.
  }
}

/**
 * STOP1. The last resort, also the second Ctrl-C. Init goes first, or it would start them again.
 */
async function endRest(context: Context, stateDir: string, options: StopOptions): Promise<number> {
  const rank = (own: OwnProcess): number =>
    ['init', 'controller'].includes(own.part) ? 0 : own.kind === 'part' ? 1 : 2;
  const left = known(stateDir).toSorted((a, b) => rank(a) - rank(b));
  if (left.length === 0) return 0;
  const names = [...new Set(left.map((own) => own.part))].join(', ');
  options.say(`ending what is left: ${names}`);
  if (!options.force.aborted) {
    for (const own of left) signalProcess(own.id, 'SIGTERM');
    await until(context, TERM_MS, options.force, () => known(stateDir).length === 0);
  }
  for (let round = 0; round < 20; round += 1) {
    const stubborn = known(stateDir).toSorted((a, b) => rank(a) - rank(b));
    if (stubborn.length === 0) return left.length;
    for (const own of stubborn) signalProcess(own.id, 'SIGKILL');
    await context.sleep(POLL_MS);
  }
  const still = known(stateDir).map((own) => `${own.part} (pid ${own.id.pid})`);
  throw new KinError(
    'KIN_STOP_INCOMPLETE',
    `still running: ${still.join(', ')}`,
    'They do not end even by SIGKILL: look at them with ps (state D waits for a disk).',
  );
}

async function until(
  context: Context,
  limitMs: number,
  force: AbortSignal,
  holds: () => boolean,
): Promise<boolean> {
  const untilMs = context.nowMs() + limitMs;
  while (!force.aborted && context.nowMs() < untilMs) {
    if (holds()) return true;
    await context.sleep(POLL_MS, force);
  }
  return holds();
}
