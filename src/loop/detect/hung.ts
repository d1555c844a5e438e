// Does a replica live without doing anything? It takes connections and never answers: stopped,
// spinning, or its event loop blocked. What clients see outranks what a probe says.
//
//   HU1. A replica that still completes requests is never hung, however its probes fail (P3).
//   HU2. One slow probe is not enough: the probe's own count, or the gateway's word and one probe.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import { sumWindows } from '../../model/picture.ts';
import type { Picture, ReplicaView } from '../../model/picture.ts';

const COMPLETING_MS = 1_000;
const BLOCKED_MS = 1_500;

export function detectHung(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const replica of picture.replicas.values()) {
    if (replica.phase !== 'ready' || replica.exited !== undefined) continue;
    if (replica.live.last?.kind !== 'timeout') continue;
    if (completes(replica, nowMs)) continue;
    const failuresMax = picture.services.get(replica.service)?.spec.liveness.failures ?? 2;
    const ejected = replica.ejected?.reason === 'hung';
    const blockedMs = replica.beat === undefined ? 0 : replica.beat.beat.lagMs;
    const enough = replica.live.failures >= failuresMax || ejected || blockedMs >= BLOCKED_MS;
    if (!enough) continue;
    const subject = { kind: 'replica', replica: replica.id, service: replica.service } as const;
    const since = replica.live.failingSinceMs ?? nowMs;
    const evidence = [`${replica.live.failures} liveness probes timed out in a row`];
    if (ejected) evidence.push(`gateway: ${replica.ejected?.detail ?? 'no answer'}`);
    if (blockedMs > 0) evidence.push(`event loop behind by ${Math.round(blockedMs)} ms`);
    found.push(finding('replica-hung', subject, since, ejected ? 0.98 : 0.9, evidence));
  }
  return found;
}

export function completes(replica: ReplicaView, nowMs: number): boolean {
  const sum = sumWindows(replica.windows, nowMs, COMPLETING_MS);
  return sum.requests - sum.broken - sum.timeouts > 0;
}
