// May this tenant have one more request inside? Rate (token bucket) and concurrency, each per
// tenant, so that one tenant's flood is its own problem (P9).
//
//   AD1. What is admitted is released exactly once.
//   AD2. Limits are shared out evenly over the workers of one port, never below 1.
//   AD3. A new table changes the limits and keeps the fill and the count.
import type { RepeatAccount } from './retry.ts';
import type { TenantRoute } from '../model/routing.ts';

/** What one tenant has left and has inside. Whoever holds it needs no look-up for a request. */
export interface Account extends RepeatAccount {
  tokens: number;
  atMs: number;
  inside: number;
  /** The shares of this worker. */
  burst: number;
  ratePerMs: number;
  concurrency: number;
}

export interface Admission {
  readonly workers: number;
  readonly accounts: Map<string, Account>;
}

export type AdmitAnswer =
  | { readonly kind: 'admitted' }
  | { readonly kind: 'limited'; readonly reason: 'rate'; readonly retryAfterMs: number }
  | { readonly kind: 'limited'; readonly reason: 'concurrency'; readonly retryAfterMs: number };

const ADMITTED: AdmitAnswer = { kind: 'admitted' };
const CROWDED: AdmitAnswer = { kind: 'limited', reason: 'concurrency', retryAfterMs: 1_000 };

export function openAdmission(workers: number): Admission {
  return { workers: Math.max(1, workers), accounts: new Map() };
}

/** The account of this tenant, held to its limits as they are now. */
export function accountOf(admission: Admission, tenant: TenantRoute): Account {
  const share = (limit: number): number => Math.max(1, limit / admission.workers);
  const burst = share(tenant.burst);
  const concurrency = share(tenant.concurrency);
  const ratePerMs = Math.max(0.001, tenant.ratePerSecond / admission.workers) / 1_000;
  const known = admission.accounts.get(tenant.id);
  if (known !== undefined) return Object.assign(known, { burst, ratePerMs, concurrency });
  const none = { tokens: burst, atMs: 0, inside: 0, window: -1, repeats: 0, before: 0 };
  const fresh = { ...none, burst, ratePerMs, concurrency };
  admission.accounts.set(tenant.id, fresh);
  return fresh;
}

export function admit(account: Account, nowMs: number): AdmitAnswer {
  const { burst, ratePerMs } = account;
  account.tokens = Math.min(burst, account.tokens + ratePerMs * (nowMs - account.atMs));
  account.atMs = nowMs;
  if (account.inside >= account.concurrency) return CROWDED;
  if (account.tokens < 1) {
    const retryAfterMs = Math.ceil((1 - account.tokens) / ratePerMs);
    return { kind: 'limited', reason: 'rate', retryAfterMs };
  }
  account.tokens -= 1;
  account.inside += 1;
  return ADMITTED;
}

export function release(account: Account): void {
  account.inside = Math.max(0, account.inside - 1);
}

/** Forgets tenants that are gone from the table, once nothing of theirs is inside. */
export function keepTenants(admission: Admission, known: ReadonlyMap<string, unknown>): void {
  for (const [id, account] of admission.accounts) {
    if (!known.has(id) && account.inside === 0) admission.accounts.delete(id);
  }
}
