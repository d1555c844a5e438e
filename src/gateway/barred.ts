// Is this kind of request held back? And may one that waited while a table came still go on? Judged
// again by the newest table, before it goes to a replica: neither a held kind nor a suspended or
// denied tenant gets there by waiting.
import { SUSPENDED } from './door-problems.ts';
import type { Isolation } from './fair/isolation.ts';
import type { Flow } from './flow.ts';
import { heldForMs } from './poison.ts';
import type { PoisonState } from './poison.ts';
import type { Problem } from './problem.ts';
import type { Routes } from './routes.ts';
import type { RouteKind } from './targets.ts';
import type { TenantId } from '../model/ids.ts';

/** A throttle is not asked again: it let this one through and was paid for it. */
export function tenantBarred(
  routes: Routes | undefined,
  isolation: Pick<Isolation, 'rules' | 'ruled'>,
  tenant: TenantId,
  method: string,
): Problem | undefined {
  if (routes?.tenant(tenant)?.status !== 'active') return SUSPENDED;
  const mode = isolation.rules.byTenant.get(tenant)?.mode;
  return mode === 'deny' || mode === 'read-only' ? isolation.ruled(tenant, method, 0) : undefined;
}

/** By the controller's rule, or for a moment as poison. */
export function heldBack(
  routes: Routes | undefined,
  poison: PoisonState,
  flow: Flow,
  kind: RouteKind,
  nowMs: number,
): Problem | undefined {
  if (routes === undefined) return undefined;
  const { quarantines } = routes;
  if (quarantines.size === 0 && poison.held.size === 0) return undefined;
  const { combo } = flow.good(poison, kind, nowMs);
  const rule = quarantines.get(combo);
  if (rule !== undefined) {
    const detail = `Held back: ${rule.reason}`;
    return { status: 503, reason: 'quarantined', detail, retryAfterMs: 30_000 };
  }
  const heldMs = heldForMs(poison, combo, nowMs);
  if (heldMs === 0) return undefined;
  const detail = 'Requests of this kind broke more than one replica.';
  return { status: 503, reason: 'held-as-poison', detail, retryAfterMs: heldMs };
}
