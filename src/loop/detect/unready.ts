// Does a replica say "not ready", or not listen, while its process lives?
//
//   UR1. Only after the probe's own number of consecutive failures.
//   UR2. A probe that times out is the business of `hung`, not of this detector.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import type { Picture } from '../../model/picture.ts';

export function detectUnready(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const replica of picture.replicas.values()) {
    if (replica.phase !== 'ready' || replica.exited !== undefined) continue;
    const last = replica.ready.last;
    if (last === undefined || (last.kind !== 'refused' && last.kind !== 'unreachable')) continue;
    const failuresMax = picture.services.get(replica.service)?.spec.readiness.failures ?? 2;
    if (replica.ready.failures < failuresMax) continue;
    const subject = { kind: 'replica', replica: replica.id, service: replica.service } as const;
    const since = replica.ready.failingSinceMs ?? nowMs;
    found.push(
      finding('replica-unready', subject, since, 0.8, [
        `${replica.ready.failures} readiness probes in a row: ${last.kind}, ${last.detail}`,
      ]),
    );
  }
  return found;
}
