// How does a replica end, all of it? Its leader, the group that the leader founded, what left the
// group but is in the cage, and what left both but carries the replica's mark.
//
//   PD10. Nothing is signalled by pid alone: the pid's start time is compared first.
import type { Clock } from '../../world/clock.ts';
import type { ReplicaId } from '../../model/ids.ts';
import type { Cage } from './cage.ts';
import { groupOf, isSame, signalTo, type Machine } from './machine.ts';

const POLL_MS = 10;

export interface Body {
  readonly id: ReplicaId;
  readonly pid: number;
  readonly start: string;
  readonly cage: Cage | undefined;
}

/**
 * Everything that is alive of a replica. The scan for marks is skipped inside a cage: it is exact.
 */
export function livingOf(machine: Machine, body: Body, owner: string): readonly number[] {
  const living = new Set(groupOf(machine, body).map((facts) => facts.pid));
  for (const pid of body.cage?.pids() ?? []) {
    // Version 1 lists a zombie until it has been waited for.
    if (machine.facts(pid)?.state === 'alive') living.add(pid);
  }
  if (body.cage !== undefined && body.cage.pids().length > 0) return [...living];
  for (const each of machine.marked(owner))
    if (each.replica === body.id) living.add(each.facts.pid);
  return [...living];
}

/**
 * SIGKILL to all of it, again and again until nobody is left: a process that forks while it is
 * being killed would otherwise leave a child. Answers who is still there at the deadline.
 */
export async function endAll(
  machine: Machine,
  body: Body,
  owner: string,
  clock: Clock,
  withinMs: number,
): Promise<readonly number[]> {
  const untilMs = clock.monotonicMs() + withinMs;
  // Bound: ends when all are gone or at the deadline.
  while (true) {
    killGroup(machine, body);
    const living = livingOf(machine, body, owner);
    if (living.length === 0) return [];
    for (const pid of living) signalTo(pid, 'SIGKILL');
    if (clock.monotonicMs() >= untilMs) return living;
    await clock.sleep(POLL_MS);
  }
}

/** One system call, so that it can be done before anything else when the leader has died. */
export function killGroup(machine: Machine, body: Body): void {
  const holder = machine.facts(body.pid);
  if (holder !== undefined && holder.start !== body.start) return;
  signalTo(-body.pid, 'SIGKILL');
}

/** PD10. Says whether the leader was there. */
export function signalLeader(machine: Machine, body: Body, signal: NodeJS.Signals): boolean {
  return isSame(machine, body.pid, body.start) && signalTo(body.pid, signal);
}

/**
 * Resolves when the leader is dead, or false at the deadline. For those that are not our children.
 */
export async function leaderGone(
  machine: Machine,
  body: Body,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  // Bound: the signal.
  while (!signal.aborted && isSame(machine, body.pid, body.start)) await clock.sleep(POLL_MS);
}
