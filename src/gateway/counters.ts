// What happened in the last window? Counters by service, replica, tenant and route prefix.
//
//   CO1. The number of cells is bounded; past it, tenants are summed up as `undefined`.
//   CO2. Taking the window empties it: nothing is counted twice. Who keeps a cell keeps it for as
//        long as `window` stays the same.
import type { ReleaseId, ReplicaId, ServiceName, TenantId } from '../model/ids.ts';
import type { TrafficCell } from '../model/signal.ts';

const CELLS_MAX = 2_000;
const BUCKETS = 16;

export type AttemptResult = 'answered' | 'error' | 'broken' | 'timeout' | 'unsent';

/** What a cell counts. */
export interface CellFacts {
  readonly service: ServiceName;
  readonly replica: ReplicaId;
  readonly release: ReleaseId;
  readonly tenant: TenantId;
  readonly prefix: string;
}

export interface Cell {
  readonly service: ServiceName;
  readonly replica: ReplicaId;
  readonly release: ReleaseId;
  readonly tenant: TenantId | undefined;
  readonly route: string;
  requests: number;
  errors: number;
  broken: number;
  timeouts: number;
  readonly latency: number[];
  /** A client got a failure; counted on the replica that was tried last. */
  failed: number;
}

export interface Counters {
  /** Which window the cells belong to. */
  readonly window: number;
  /** For this window only. */
  cellOf(facts: CellFacts): Cell;
  take(): TrafficCell[];
  readonly size: number;
}

export function bucketOf(tookMs: number): number {
  if (tookMs < 1) return 0;
  return Math.min(BUCKETS - 1, 32 - Math.clz32(Math.floor(tookMs)));
}

/** An attempt ended so. */
export function countIn(cell: Cell, result: AttemptResult, tookMs: number): void {
  cell.requests += 1;
  if (result === 'error') cell.errors += 1;
  else if (result === 'broken' || result === 'unsent') cell.broken += 1;
  else if (result === 'timeout') cell.timeouts += 1;
  if (result !== 'answered' && result !== 'error') return;
  const bucket = bucketOf(tookMs);
  cell.latency[bucket] = (cell.latency[bucket] ?? 0) + 1;
}

export function openCounters(): Counters {
  let cells = new Map<string, Cell>();
  let window = 0;
  return {
    get window() {
      return window;
    },
    cellOf(facts) {
      const { service, replica, release, prefix } = facts;
      const whole = `${replica} ${facts.tenant} ${prefix}`;
      const known = cells.get(whole);
      if (known !== undefined) return known;
      const crowded = cells.size >= CELLS_MAX;
      const tenant = crowded ? undefined : facts.tenant;
      const key = crowded ? `${replica} * *` : whole;
      const rest = cells.get(key);
      if (rest !== undefined) return rest;
      const fresh: Cell = {
        service,
        replica,
        release,
        tenant,
        route: crowded ? '*' : prefix,
        requests: 0,
        errors: 0,
        broken: 0,
        timeouts: 0,
        latency: Array.from({ length: BUCKETS }, () => 0),
        failed: 0,
      };
      cells.set(key, fresh);
      return fresh;
    },
    take() {
      const taken = [...cells.values()];
      cells = new Map();
      window += 1;
      return taken;
    },
    get size() {
      return cells.size;
    },
  };
}
