// Do all replicas of a service fail their probes at the same time? Then no replica is the cause:
// the probe is wrong, or something that they share is (P3).
//
//   TG1. At least two replicas, all of them, and each past its probe's own count.
//   TG2. The evidence says whether clients are still served: that decides what is to blame.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import { sumWindows } from '../../model/picture.ts';
import type { Picture } from '../../model/picture.ts';
import { serviceReplicas } from '../../model/budget.ts';

const SPAN_MS = 5_000;

export function detectTogether(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const service of picture.services.values()) {
    const alive = serviceReplicas(picture, service.spec.name).filter(
      (r) => r.phase === 'ready' && r.exited === undefined && r.role === 'active',
    );
    if (alive.length < 2) continue;
    const failing = alive.filter(
      (r) =>
        r.ready.failures >= service.spec.readiness.failures ||
        r.live.failures >= service.spec.liveness.failures,
    );
    if (failing.length < alive.length) continue;
    const since = Math.max(
      ...failing.map((r) => r.ready.failingSinceMs ?? r.live.failingSinceMs ?? nowMs),
    );
    const sums = alive.map((r) => sumWindows(r.windows, nowMs, SPAN_MS));
    const good = sums.reduce((n, s) => n + s.requests - s.errors - s.broken - s.timeouts, 0);
    const bad = sums.reduce((n, s) => n + s.errors + s.broken + s.timeouts, 0);
    const subject = { kind: 'probe', service: service.spec.name } as const;
    found.push(
      finding(
        'probes-failing-together',
        subject,
        since,
        0.9,
        [
          `all ${alive.length} replicas fail their probes at once`,
          `clients in the last ${SPAN_MS / 1000} s: ${good} served, ${bad} failed`,
        ],
        { served: good, failed: bad },
      ),
    );
  }
  return found;
}
