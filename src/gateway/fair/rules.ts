// Is a whole tenant held to less than its limits for now? The tenant rules of the routing table,
// compiled once for each table: refuse, slow down, let read only, or keep to sacrificial replicas.
//
//   TR1. A tenant has one rule: the last of the table. A rule without sense denies: whoever wrote
//        it wanted less, never more.
//   TR2. A pinned tenant is served by its replicas only, and these serve nobody else.
//   TR3. A new table keeps what is left of a throttle's second.
import type { ReplicaId, TenantId } from '../../model/ids.ts';
import type { TenantRule } from '../../model/routing.ts';

export interface CompiledRule {
  readonly tenant: TenantId;
  readonly mode: TenantRule['mode'];
  readonly reason: string;
  /** Of this worker. */
  readonly ratePerSecond: number;
  /** For `pin`; empty otherwise. */
  readonly replicas: ReadonlySet<ReplicaId>;
  tokens: number;
  atMs: number;
}

export interface TenantRules {
  /** Empty nearly always: ask `size` first. */
  readonly byTenant: ReadonlyMap<TenantId, CompiledRule>;
  /** Replicas that are kept for pinned tenants. */
  readonly reserved: ReadonlySet<ReplicaId>;
}

export type RuleVerdict =
  | 'pass'
  | { readonly kind: 'denied'; readonly reason: string }
  | { readonly kind: 'read-only'; readonly reason: string }
  | { readonly kind: 'throttled'; readonly reason: string; readonly retryAfterMs: number };

export const NO_RULES: TenantRules = { byTenant: new Map(), reserved: new Set() };

/** What a throttle lets through at once: a tenth of a second's worth, at least 1. */
const BURST_SHARE = 0.1;
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

export function compileRules(
  rules: readonly TenantRule[] | undefined,
  before: TenantRules,
  workers: number,
): TenantRules {
  if (rules === undefined || rules.length === 0) return NO_RULES;
  const byTenant = new Map<TenantId, CompiledRule>();
  const reserved = new Set<ReplicaId>();
  for (const rule of rules) byTenant.set(rule.tenant, compile(rule, before, workers));
  for (const rule of byTenant.values()) for (const id of rule.replicas) reserved.add(id);
  return { byTenant, reserved };
}

function compile(rule: TenantRule, before: TenantRules, workers: number): CompiledRule {
  const { tenant, reason } = rule;
  const rate = (rule.ratePerSecond ?? 0) / Math.max(1, workers);
  const replicas = new Set(rule.mode === 'pin' ? rule.replicas : []);
  const hasSense =
    (rule.mode !== 'throttle' || rate > 0) && (rule.mode !== 'pin' || replicas.size > 0);
  const mode = hasSense ? rule.mode : 'deny';
  const known = before.byTenant.get(tenant);
  const tokens = known?.mode === 'throttle' ? known.tokens : 1;
  return { tenant, mode, reason, ratePerSecond: rate, replicas, tokens, atMs: known?.atMs ?? 0 };
}

/** Takes from the throttle when it passes. */
export function ruleVerdict(rule: CompiledRule, method: string, nowMs: number): RuleVerdict {
  const { reason } = rule;
  switch (rule.mode) {
    case 'pin':
      return 'pass';
    case 'deny':
      return { kind: 'denied', reason };
    case 'read-only':
      return READS.has(method) ? 'pass' : { kind: 'read-only', reason };
    case 'throttle': {
      const earned = (rule.ratePerSecond * Math.max(0, nowMs - rule.atMs)) / 1_000;
      const burst = Math.max(1, rule.ratePerSecond * BURST_SHARE);
      rule.tokens = Math.min(burst, rule.tokens + earned);
      rule.atMs = nowMs;
      if (rule.tokens >= 1) {
        rule.tokens -= 1;
        return 'pass';
      }
      const retryAfterMs = Math.ceil(((1 - rule.tokens) / rule.ratePerSecond) * 1_000);
      return { kind: 'throttled', reason, retryAfterMs };
    }
  }
}
