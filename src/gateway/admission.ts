// May this tenant have one more request inside? Rate (token bucket), concurrency and body size,
// each per tenant, so that one tenant's flood is its own problem (P9).
//
//   AD1. What is admitted is released exactly once.
//   AD2. Limits are shared out evenly over the workers of one port, never below 1.
//   AD3. A new table changes the limits and keeps the fill and the count.
import type { TenantRoute } from '../model/routing.ts';

interface Account {
  tokens: number;
  atMs: number;
  inside: number;
}

export interface Admission {
  readonly workers: number;
  readonly accounts: Map<string, Account>;
}

export type AdmitAnswer =
  | { readonly kind: 'admitted' }
  | { readonly kind: 'limited'; readonly reason: 'rate'; readonly retryAfterMs: number }
  | { readonly kind: 'limited'; readonly reason: 'concurrency'; readonly retryAfterMs: number };

export function openAdmission(workers: number): Admission {
  return { workers: Math.max(1, workers), accounts: new Map() };
}

export function admit(admission: Admission, tenant: TenantRoute, nowMs: number): AdmitAnswer {
  const share = (limit: number): number => Math.max(1, limit / admission.workers);
  const burst = share(tenant.burst);
  const rate = Math.max(0.001, tenant.ratePerSecond / admission.workers);
  let account = admission.accounts.get(tenant.id);
  if (account === undefined) {
    account = { tokens: burst, atMs: nowMs, inside: 0 };
    admission.accounts.set(tenant.id, account);
  }
  account.tokens = Math.min(burst, account.tokens + (rate * (nowMs - account.atMs)) / 1_000);
  account.atMs = nowMs;
  if (account.inside >= share(tenant.concurrency)) {
    return { kind: 'limited', reason: 'concurrency', retryAfterMs: 1_000 };
  }
  if (account.tokens < 1) {
    const retryAfterMs = Math.ceil(((1 - account.tokens) / rate) * 1_000);
    return { kind: 'limited', reason: 'rate', retryAfterMs };
  }
  account.tokens -= 1;
  account.inside += 1;
  return { kind: 'admitted' };
}

export function release(admission: Admission, tenant: TenantRoute): void {
  const account = admission.accounts.get(tenant.id);
  if (account !== undefined) account.inside = Math.max(0, account.inside - 1);
}

/** Forgets tenants that are gone from the table, once nothing of theirs is inside. */
export function keepTenants(admission: Admission, known: ReadonlyMap<string, unknown>): void {
  for (const [id, account] of admission.accounts) {
    if (!known.has(id) && account.inside === 0) admission.accounts.delete(id);
  }
}
