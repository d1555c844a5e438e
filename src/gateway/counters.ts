// What happened in the last window? Counters by service, replica, tenant and route prefix.
//
//   CO1. The number of cells is bounded; past it, tenants are summed up as `undefined`.
//   CO2. Taking the window empties it: nothing is counted twice.
import type { ReleaseId, ReplicaId, ServiceName, TenantId } from '../model/ids.ts';
import type { TrafficCell } from '../model/signal.ts';

const CELLS_MAX = 2_000;
const BUCKETS = 16;

export type AttemptResult = 'answered' | 'error' | 'broken' | 'timeout' | 'unsent';

export interface AttemptFacts {
  readonly service: ServiceName;
  readonly replica: ReplicaId;
  readonly release: ReleaseId;
  readonly tenant: TenantId;
  readonly prefix: string;
  readonly result: AttemptResult;
  readonly tookMs: number;
}

interface Cell {
  service: ServiceName;
  replica: ReplicaId;
  release: ReleaseId;
  tenant: TenantId | undefined;
  route: string;
  requests: number;
  errors: number;
  broken: number;
  timeouts: number;
  latency: number[];
  failed: number;
}

export interface Counters {
  note(facts: AttemptFacts): void;
  /** A client got a failure; counted on the replica that was tried last. */
  noteFailed(facts: Omit<AttemptFacts, 'result' | 'tookMs'>): void;
  take(): TrafficCell[];
  readonly size: number;
}

export function bucketOf(tookMs: number): number {
  if (tookMs < 1) return 0;
  return Math.min(BUCKETS - 1, 32 - Math.clz32(Math.floor(tookMs)));
}

export function openCounters(): Counters {
  let cells = new Map<string, Cell>();

  const cellOf = (facts: Omit<AttemptFacts, 'result' | 'tookMs'>): Cell => {
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
  };
  return {
    note(facts) {
      const cell = cellOf(facts);
      cell.requests += 1;
      if (facts.result === 'error') cell.errors += 1;
      if (facts.result === 'broken' || facts.result === 'unsent') cell.broken += 1;
      if (facts.result === 'timeout') cell.timeouts += 1;
      if (facts.result !== 'answered' && facts.result !== 'error') return;
      const bucket = bucketOf(facts.tookMs);
      cell.latency[bucket] = (cell.latency[bucket] ?? 0) + 1;
    },
    noteFailed(facts) {
      cellOf(facts).failed += 1;
    },
    take() {
      const taken = [...cells.values()];
      cells = new Map();
      return taken;
    },
    get size() {
      return cells.size;
    },
  };
}
