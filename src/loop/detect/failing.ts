// Does a whole service fail its clients? Then the question is what its replicas share: a release
// that is new, or a cause that is not known yet.
//
//   FA1. A minimum of errors, over at least half of the replicas that got requests.
//   FA2. Soon after a change of release, the finding names the release; otherwise the service.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import { firstBadMs, sumWindows } from '../../model/picture.ts';
import type { Picture, ServiceView } from '../../model/picture.ts';
import { serviceReplicas } from '../../model/budget.ts';

const RULE = {
  spanMs: 5_000,
  errorsMin: 8,
  rateMin: 0.05,
  replicaShareMin: 0.5,
  newReleaseMs: 600_000,
} as const;

export function detectFailing(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const service of picture.services.values()) {
    // During a rollout the run compares the releases itself.
    if (service.rollingOut) continue;
    const replicas = serviceReplicas(picture, service.spec.name).filter(
      (r) => r.role === 'active' && r.exited === undefined,
    );
    const sums = replicas
      .map((r) => sumWindows(r.windows, nowMs, RULE.spanMs))
      .filter((s) => s.requests > 0);
    const errors = sums.reduce((n, s) => n + s.errors + s.broken + s.timeouts, 0);
    const requests = sums.reduce((n, s) => n + s.requests, 0);
    const hit = sums.filter(
      (s) => (s.errors + s.broken + s.timeouts) / s.requests >= RULE.rateMin,
    ).length;
    if (errors < RULE.errorsMin || errors / requests < RULE.rateMin) continue;
    if (hit < sums.length * RULE.replicaShareMin || (sums.length > 1 && hit < 2)) continue;
    const sinceMs = Math.min(
      nowMs,
      ...replicas.map((r) => firstBadMs(r.windows, nowMs, RULE.spanMs) ?? nowMs),
    );
    found.push(named(service, { errors, requests, hit, sinceMs }, nowMs));
  }
  return found;
}

interface Failing {
  readonly errors: number;
  readonly requests: number;
  /** Replicas that it is seen on. */
  readonly hit: number;
  readonly sinceMs: number;
}

function named(service: ServiceView, failing: Failing, nowMs: number): Finding {
  const { errors, requests, hit, sinceMs } = failing;
  const evidence = [
    `${errors} of ${requests} requests failed in ${RULE.spanMs / 1000} s on ${hit} replicas`,
  ];
  const { name } = service.spec;
  const ageMs = service.releasedAtMs === undefined ? undefined : nowMs - service.releasedAtMs;
  if (service.previous !== undefined && ageMs !== undefined && ageMs < RULE.newReleaseMs) {
    evidence.push(`release ${service.release} is ${Math.round(ageMs / 1000)} s old`);
    const subject = { kind: 'release', release: service.release, service: name } as const;
    return finding('release-erroring', subject, sinceMs, 0.9, evidence);
  }
  return finding('service-failing', { kind: 'unknown', service: name }, sinceMs, 0.8, evidence);
}
