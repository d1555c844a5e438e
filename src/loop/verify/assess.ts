// Did it work, and did it do harm? Judged on the symptom *and* on everything else (P4).
//
//   VE1. Pure. "The command exited 0" is not success: the findings must be gone, and stay gone for
//        `stableMs`.
//   VE2. Worse anywhere else (another service, another tenant) is `harmful`, and is undone; unless
//        another incident already explains it.
//   VE3. Past the deadline with the symptom still there it is `ineffective`.
import { count } from '../../model/words.ts';
import type { Finding } from '../../model/finding.ts';
import type { ServiceName, TenantId } from '../../model/ids.ts';
import { sumWindows } from '../../model/picture.ts';
import type { Picture, TrafficWindow } from '../../model/picture.ts';
import type { Verification } from '../../model/plan.ts';

/** Error rates at one moment, by service and tenant. */
export interface Indicators {
  readonly services: ReadonlyMap<ServiceName, Rate>;
  readonly tenants: ReadonlyMap<TenantId, Rate>;
}

interface Rate {
  readonly requests: number;
  readonly failed: number;
}

export interface Trial {
  readonly verification: Verification;
  /** Monotonic ms at which acting ended. */
  readonly actedAtMs: number;
  /** Since when the symptom has been gone, undefined while it is there. */
  readonly goneSinceMs: number | undefined;
  readonly before: Indicators;
  /** Whose trouble it was: not counted as "somewhere else". */
  readonly own: {
    readonly services: ReadonlySet<ServiceName>;
    readonly tenant: string | undefined;
  };
}

export type Assessment =
  | { readonly kind: 'pending'; readonly trial: Trial }
  | { readonly kind: 'healed'; readonly reasons: readonly string[] }
  | { readonly kind: 'ineffective'; readonly reasons: readonly string[] }
  | { readonly kind: 'harmful'; readonly reasons: readonly string[] };

const SPAN_MS = 5_000;
const WORSE = { failedMin: 10, rateUp: 0.1 } as const;

export function measure(picture: Picture, nowMs: number): Indicators {
  const services = new Map<ServiceName, Rate>();
  for (const replica of picture.replicas.values()) {
    const before = services.get(replica.service) ?? { requests: 0, failed: 0 };
    services.set(replica.service, add(before, sumWindows(replica.windows, nowMs, SPAN_MS)));
  }
  const tenants = new Map<TenantId, Rate>();
  for (const tenant of picture.tenants.values()) {
    const sum = sumWindows(tenant.windows, nowMs, SPAN_MS);
    tenants.set(tenant.id, add({ requests: 0, failed: 0 }, sum));
  }
  return { services, tenants };
}

function add(rate: Rate, sum: TrafficWindow): Rate {
  return { requests: rate.requests + sum.requests, failed: rate.failed + sum.failed };
}

/** `explained`: services whose trouble has another incident to its name. */
export function assess(
  trial: Trial,
  findings: readonly Finding[],
  picture: Picture,
  nowMs: number,
  explained: ReadonlySet<ServiceName> = new Set(),
): Assessment {
  const present = findings.filter((f) => trial.verification.symptoms.includes(f.fingerprint));
  const worse = harm(trial, picture, nowMs, explained);
  if (worse.length > 0) return { kind: 'harmful', reasons: worse };
  if (present.length > 0) {
    if (nowMs - trial.actedAtMs >= trial.verification.deadlineMs) {
      return {
        kind: 'ineffective',
        reasons: present.map((f) => `still there: ${f.kind} ${f.evidence[0] ?? ''}`),
      };
    }
    return { kind: 'pending', trial: { ...trial, goneSinceMs: undefined } };
  }
  const goneSinceMs = trial.goneSinceMs ?? nowMs;
  if (nowMs - goneSinceMs < trial.verification.stableMs) {
    return { kind: 'pending', trial: { ...trial, goneSinceMs } };
  }
  return {
    kind: 'healed',
    reasons: [
      `${count(trial.verification.symptoms.length, 'finding')} gone for ` +
        `${trial.verification.stableMs} ms, nothing else got worse`,
    ],
  };
}

function harm(
  trial: Trial,
  picture: Picture,
  nowMs: number,
  explained: ReadonlySet<ServiceName>,
): readonly string[] {
  const now = measure(picture, nowMs);
  const reasons: string[] = [];
  for (const [name, rate] of now.services) {
    if (trial.own.services.has(name) || explained.has(name)) continue;
    const why = worse(trial.before.services.get(name), rate);
    if (why !== undefined) reasons.push(`service ${name}: ${why}`);
  }
  // When a whole service was in trouble its tenants were too: only a tenant's own heal is judged
  // by the other tenants.
  if (trial.own.tenant === undefined || explained.size > 0) return reasons;
  for (const [id, rate] of now.tenants) {
    if (id === trial.own.tenant) continue;
    const why = worse(trial.before.tenants.get(id), rate);
    if (why !== undefined) reasons.push(`tenant ${id}: ${why}`);
  }
  return reasons;
}

function worse(before: Rate | undefined, after: Rate): string | undefined {
  const was = (before?.failed ?? 0) / Math.max(1, before?.requests ?? 0);
  const is = after.failed / Math.max(1, after.requests);
  if (after.failed < WORSE.failedMin || is < was + WORSE.rateUp) return undefined;
  return `failures went from ${(was * 100).toFixed(1)} % to ${(is * 100).toFixed(1)} %`;
}
