// Who tries the doors of others, and how often? Counts of requests whose credential, host, path and
// route were not of one tenant, for metrics, and events for the controller.
//
//   TT1. The first of a tenant and kind is told at once, the others as one count each 10 s: a flood
//        of them is one event.
//   TT2. Counts and what is kept for events are bounded, whatever clients send: only tenants of the
//        table get here, and of those the last 10 000 are kept.
import type { ServiceName, TenantId } from '../model/ids.ts';
import type { GatewayEvent } from '../model/signal.ts';
import type { TenancyVerdict } from './tenancy.ts';

const TOLD_MS = 10_000;
const KEPT_MAX = 10_000;

export type Crossing = Exclude<TenancyVerdict, 'same'>;

interface Kept {
  readonly tenant: TenantId;
  readonly service: ServiceName;
  readonly crossing: Crossing;
  toldMs: number;
  untold: number;
}

export interface Crossings {
  /** `nowMs`: monotonic. */
  note(tenant: TenantId, service: ServiceName, crossing: Crossing, nowMs: number): void;
  /** Tells the counts whose time has come: with each flush. */
  flush(nowMs: number): void;
  /** Since the start, by kind. */
  counts(): Readonly<Record<Crossing, number>>;
}

export function openCrossings(emit: (event: GatewayEvent) => void): Crossings {
  const counts = { 'host-of-another': 0, 'path-of-another': 0, 'route-of-others': 0 };
  const kept = new Map<string, Kept>();
  const tell = (one: Kept, nowMs: number): void => {
    const { tenant, service, crossing, untold } = one;
    one.toldMs = nowMs;
    one.untold = 0;
    emit({ kind: 'crossed', tenant, service, crossing, requests: untold });
  };
  return {
    note(tenant, service, crossing, nowMs) {
      counts[crossing] += 1;
      const key = `${crossing} ${service} ${tenant}`;
      const known = kept.get(key);
      if (known !== undefined) {
        known.untold += 1;
        if (nowMs - known.toldMs >= TOLD_MS) tell(known, nowMs);
        return;
      }
      if (kept.size >= KEPT_MAX) forgetOldest(kept, (one) => tell(one, nowMs));
      const one: Kept = { tenant, service, crossing, toldMs: nowMs, untold: 1 };
      kept.set(key, one);
      tell(one, nowMs);
    },
    flush(nowMs) {
      for (const [key, one] of kept) {
        if (nowMs - one.toldMs < TOLD_MS) continue;
        if (one.untold > 0) tell(one, nowMs);
        else kept.delete(key);
      }
    },
    counts: () => ({ ...counts }),
  };
}

function forgetOldest(kept: Map<string, Kept>, tell: (one: Kept) => void): void {
  const oldest = kept.entries().next().value;
  if (oldest === undefined) return;
  const [key, one] = oldest;
  kept.delete(key);
  if (one.untold > 0) tell(one);
}
