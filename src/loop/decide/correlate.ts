// Is a replica alone with its trouble? Asked before a living one is taken away: what others show
// at the same time, or what it needs, may be the cause (P3).
//
//   CR1. While the probes of all its siblings fail too, or did a moment ago, no replica is to blame
//        for its own.
//   CR2. Errors are a replica's own only once all that it needs has answered after they began.
import { serviceReplicas } from '../../model/budget.ts';
import { backAtMs } from '../../model/picture.ts';
import type { Picture, ProbeTrack, ReplicaView, ServiceView } from '../../model/picture.ts';

const MOMENT_MS = 1_000;

/** What it may share its trouble with; undefined when it is alone. */
export function sharedTrouble(
  replica: ReplicaView,
  service: ServiceView,
  picture: Picture,
  nowMs: number,
): string | undefined {
  const siblings = serviceReplicas(picture, service.spec.name).filter(
    (r) => r.id !== replica.id && r.phase === 'ready' && r.exited === undefined,
  );
  if (siblings.length === 0) {
    // The last one that is left is not taken away before there is anybody to compare it with.
    return service.replicas > 1 ? 'no sibling is left to compare it with' : undefined;
  }
  const { readiness, liveness } = service.spec;
  const all = siblings.every(
    (r) =>
      isTroubled(r.ready, readiness.intervalMs, nowMs) ||
      isTroubled(r.live, liveness.intervalMs, nowMs) ||
      // One that came up just now was not there, and is no witness yet.
      nowMs - (r.readyAtMs ?? nowMs) < 2 * readiness.intervalMs + MOMENT_MS,
  );
  return all
    ? `the probes of all ${siblings.length} siblings fail too, or did, or they are new`
    : undefined;
}

function isTroubled(track: ProbeTrack, intervalMs: number, nowMs: number): boolean {
  if (track.failures > 0) return true;
  const { recoveredAtMs } = track;
  return recoveredAtMs !== undefined && nowMs - recoveredAtMs < 2 * intervalMs + MOMENT_MS;
}

/** Errors that its return left in the windows have gone by then. */
const AFTERMATH_MS = 6_000;

/** A dependency that has not answered since, or came back since; undefined when all were there. */
export function unconfirmedNeed(
  service: ServiceView,
  picture: Picture,
  sinceMs: number,
  nowMs: number,
): string | undefined {
  return service.spec.dependsOn.find((name) => {
    const dependency = picture.dependencies.get(name);
    if (dependency === undefined) return false;
    const { track } = dependency;
    const back = backAtMs(dependency, picture) ?? Number.NEGATIVE_INFINITY;
    return (
      track.last?.kind !== 'ok' ||
      track.lastAtMs < sinceMs ||
      (back >= sinceMs && nowMs - back < AFTERMATH_MS)
    );
  });
}
