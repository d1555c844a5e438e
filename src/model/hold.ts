// What does an operator hold a whole tenant to, and until when? It is written in the book, acted on
// by the routing table, and ends by itself where it has an end.
import { fingerprint, ordinalOf } from './ids.ts';
import type { Fingerprint, ReplicaId, ServiceName, TenantId } from './ids.ts';

export type HoldMode =
  | { readonly kind: 'deny' }
  | { readonly kind: 'throttle'; readonly ratePerSecond: number }
  | { readonly kind: 'read-only' }
  /** This replica of the service is its only one, and serves nobody else. */
  | { readonly kind: 'pin'; readonly service: ServiceName; readonly replica: ReplicaId };

export interface TenantHold {
  readonly id: Fingerprint;
  readonly tenant: TenantId;
  readonly mode: HoldMode;
  readonly reason: string;
  readonly actor: string;
  /** Wall ms. */
  readonly sinceMs: number;
  /** Wall ms; undefined: until somebody lifts it. */
  readonly untilMs: number | undefined;
}

/** A tenant has one hold: the next one takes its place. */
export const holdId = (tenant: TenantId): Fingerprint => fingerprint('hold', tenant);

export function holdText({ mode }: Pick<TenantHold, 'mode'>): string {
  switch (mode.kind) {
    case 'deny':
      return 'denied';
    case 'throttle':
      return `throttled to ${mode.ratePerSecond}/s`;
    case 'read-only':
      return 'read-only';
    case 'pin':
      return `pinned to ${mode.replica}`;
  }
}

/**
 * The replica that a pin means now: ids are never given twice, so when it was replaced, the oldest
 * of those that came after it takes its place. Undefined: there is none, and its tenant waits.
 */
export function pinnedReplica(
  pinned: ReplicaId,
  live: readonly ReplicaId[],
): ReplicaId | undefined {
  let best: ReplicaId | undefined;
  for (const id of live) {
    if (ordinalOf(id) < ordinalOf(pinned)) continue;
    if (best === undefined || ordinalOf(id) < ordinalOf(best)) best = id;
  }
  return best;
}
