// Are there as many replicas as wanted? Too few, too many, or a spare missing: not a fault, but a
// difference that the loop closes (the same path serves the first start, `scale` and refills).
//
//   CA1. A dead replica that still stands in the book is the business of `exited`, not of this.
//   CA3. Starts that fail again and again are an incident, not a difference to close.
//   CA2. During a rollout nothing is counted: its run sets the numbers.
//   CA4. A replica of another release than the service's does not count as wanted, and one that is
//        ready without its full share is a difference: what a broken run left behind is closed.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import type { Picture, ReplicaView, ServiceView } from '../../model/picture.ts';
import { serviceReplicas } from '../../model/budget.ts';

/** After so many failed starts in a row a person is asked, and trials become rare. */
const TROUBLES_MAX = 3;

const FULL_WEIGHT = 100;

export function detectCapacity(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const service of picture.services.values()) {
    if (service.rollingOut) continue;
    const { name } = service.spec;
    const subject = { kind: 'service', service: name } as const;
    const replicas = serviceReplicas(picture, name).filter((r) => r.phase !== 'draining');
    const all = replicas.filter((r) => r.role === 'active');
    const active = all.filter((r) => r.release === service.release).length;
    const strays = all.length - active;
    const unrouted = all.filter((r) => isUnrouted(r, service)).map((r) => r.id);
    const spares = replicas.filter((r) => r.role === 'spare' && r.exited === undefined).length;
    if (unrouted.length > 0) {
      found.push(
        finding('under-capacity', subject, nowMs, 1, [
          `ready without its share of requests: ${unrouted.join(', ')}`,
        ]),
      );
    } else if (active < service.replicas && service.troubles.count >= TROUBLES_MAX) {
      found.push(
        finding('start-failed', subject, service.troubles.atMs, 1, [
          `${service.troubles.count} starts in a row failed: ${service.troubles.detail}`,
        ]),
      );
    } else if (active < service.replicas) {
      found.push(
        finding('under-capacity', subject, nowMs, 1, [`${active} of ${service.replicas} replicas`]),
      );
    } else if (active + strays > service.replicas) {
      found.push(
        finding('over-capacity', subject, nowMs, 1, [
          `${active + strays} replicas, ${service.replicas} wanted` +
            `${strays === 0 ? '' : `; ${strays} on another release`}`,
        ]),
      );
    } else if (spares < service.spec.replicas.spares) {
      found.push(
        finding('spares-missing', subject, nowMs, 1, [
          `${spares} of ${service.spec.replicas.spares} warm spares`,
        ]),
      );
    }
  }
  return found;
}

export function isUnrouted(replica: ReplicaView, service: ServiceView): boolean {
  return (
    replica.role === 'active' &&
    replica.phase === 'ready' &&
    replica.exited === undefined &&
    replica.release === service.release &&
    replica.weight < FULL_WEIGHT
  );
}
