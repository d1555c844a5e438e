// What have all gateways together counted since the controller started? Deltas come with each flush
// and are added up, so that a gateway that restarts takes nothing away.
//
//   EB1. A counter never goes down while the controller runs, whichever gateways come and go.
//   EB2. The number of series is bounded: by the limit of tenants, and by how many routes and
//        replicas are remembered; those that were idle longest are forgotten first.
//   EB3. A gateway that is gone has no levels.
import { EDGE_BUCKETS } from '../model/signal.ts';
import type { EdgeCell, EdgeCount, EdgeLevel, GatewayEvent } from '../model/signal.ts';
import type { GatewaySignal } from '../world/gateways.ts';
import type { Labels, Metric } from './exposition.ts';
import { NamedTenants } from './named-tenants.ts';

/** Each of a histogram is some twenty lines of the page. */
const SERIES_MAX = 2_000;
const IDLE_MS = 3_600_000;
const BOUNDS = Array.from({ length: EDGE_BUCKETS - 1 }, (_, i) => 2 ** i / 4_000);
const OTHER = 'other';
const STATUSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;

type RouteCell = Extract<EdgeCell, { kind: 'route' }>;
type TenantCell = Extract<EdgeCell, { kind: 'tenant' }>;

interface RouteSum {
  readonly labels: Labels;
  requests: number;
  failed: number;
  retries: number;
  bytesIn: number;
  bytesOut: number;
  totalMs: number;
  readonly latency: number[];
}

interface TenantSum {
  requests: number;
  failed: number;
  refused: number;
  bytesIn: number;
  bytesOut: number;
}

interface CountSum {
  readonly labels: Labels;
  value: number;
}

export class EdgeBook {
  readonly #nowMs: () => number;
  readonly #routes: Shelf<RouteSum>;
  readonly #refused: Shelf<CountSum>;
  readonly #ejections: Shelf<CountSum>;
  readonly #tenants: Shelf<TenantSum>;
  readonly #other: TenantSum = noTenant();
  readonly #named: NamedTenants;
  readonly #counts = new Map<EdgeCount, number>();
  readonly #levels = new Map<string, Map<EdgeLevel, number>>();
  #returns = 0;
  #held = 0;

  /** `nowMs`: monotonic. */
  constructor(nowMs: () => number, tenantsMax: number) {
    this.#nowMs = nowMs;
    this.#routes = new Shelf(SERIES_MAX);
    this.#refused = new Shelf(SERIES_MAX);
    this.#ejections = new Shelf(SERIES_MAX);
    this.#tenants = new Shelf(SERIES_MAX);
    this.#named = new NamedTenants(tenantsMax, nowMs());
  }

  limitTenants(tenantsMax: number): void {
    this.#named.limit(tenantsMax);
  }

  put(signal: GatewaySignal): void {
    if (signal.kind === 'edge') for (const cell of signal.cells) this.#cell(signal.worker, cell);
    else if (signal.kind === 'event') this.#event(signal.event);
  }

  #cell(worker: string, cell: EdgeCell): void {
    switch (cell.kind) {
      case 'route':
        this.#route(cell);
        break;
      case 'tenant':
        addTenant(this.#tenantSum(cell), cell);
        break;
      case 'refused': {
        const labels = { status: String(cell.status), reason: cell.reason };
        this.#bump(this.#refused, labels, cell.requests);
        break;
      }
      case 'count':
        this.#counts.set(cell.name, (this.#counts.get(cell.name) ?? 0) + cell.count);
        break;
      case 'level': {
        const levels = this.#levels.get(worker) ?? new Map<EdgeLevel, number>();
        this.#levels.set(worker, levels.set(cell.name, cell.value));
        break;
      }
    }
  }

  #event(event: GatewayEvent): void {
    if (event.kind === 'ejected') {
      this.#bump(this.#ejections, { replica: event.replica, reason: event.reason }, 1);
    } else if (event.kind === 'returned') this.#returns += 1;
    else if (event.kind === 'poison-held') this.#held += 1;
    else if (event.kind === 'disconnected') this.#levels.delete(event.worker);
  }

  #bump(shelf: Shelf<CountSum>, labels: Labels, by: number): void {
    const key = JSON.stringify(labels);
    shelf.of(key, this.#nowMs(), () => ({ labels, value: 0 })).value += by;
  }

  #route(cell: RouteCell): void {
    const labels = {
      service: cell.service || 'none',
      route: cell.route || 'none',
      replica: cell.replica || 'none',
      status: STATUSES[cell.status] ?? 'none',
    };
    const sum = this.#routes.of(JSON.stringify(labels), this.#nowMs(), () => noRoute(labels));
    sum.requests += cell.requests;
    sum.failed += cell.failed;
    sum.retries += cell.retries;
    sum.bytesIn += cell.bytesIn;
    sum.bytesOut += cell.bytesOut;
    sum.totalMs += cell.totalMs;
    for (const [i, count] of cell.latency.entries()) sum.latency[i] = (sum.latency[i] ?? 0) + count;
  }

  #tenantSum(cell: TenantCell): TenantSum {
    const { tenant, requests } = cell;
    const nowMs = this.#nowMs();
    if (tenant === '' || !this.#named.note(tenant, requests, nowMs)) return this.#other;
    return this.#tenants.of(tenant, nowMs, noTenant);
  }

  metrics(): readonly Metric[] {
    const nowMs = this.#nowMs();
    for (const shelf of [this.#routes, this.#refused, this.#ejections, this.#tenants]) {
      shelf.forget(nowMs - IDLE_MS);
    }
    return [...this.#traffic(), ...this.#ofTenants(), ...this.#ofGateways()];
  }

  #traffic(): readonly Metric[] {
    const sums = [...this.#routes.values()];
    const perRoute = (name: string, help: string, value: (sum: RouteSum) => number): Metric => ({
      kind: 'counter',
      name: `kintsugi_gateway_${name}_total`,
      help,
      samples: sums.map((sum) => ({ labels: sum.labels, value: value(sum) })),
    });
    return [
      perRoute('requests', 'Requests, as clients saw their answers.', (s) => s.requests),
      perRoute('failures', 'Requests that failed after all retries.', (s) => s.failed),
      perRoute('retries', 'Further tries on another replica.', (s) => s.retries),
      perRoute('received_bytes', 'Bytes of request bodies.', (s) => s.bytesIn),
      perRoute('sent_bytes', 'Bytes of answer bodies.', (s) => s.bytesOut),
      {
        kind: 'histogram',
        name: 'kintsugi_gateway_request_seconds',
        help: 'From the head of a request to the end of its answer.',
        bounds: BOUNDS,
        samples: sums.map(({ labels, latency, totalMs }) => {
          return { labels, counts: latency, sum: totalMs / 1_000 };
        }),
      },
      {
        kind: 'counter',
        name: 'kintsugi_gateway_refused_total',
        help: 'Requests that the gateway itself answered, by reason.',
        samples: [...this.#refused.values()],
      },
    ];
  }

  #ofTenants(): readonly Metric[] {
    const named = [...this.#named.names].flatMap((tenant) => {
      const sum = this.#tenants.get(tenant);
      return sum === undefined ? [] : [[tenant, sum] as const];
    });
    const perTenant = (name: string, help: string, value: (sum: TenantSum) => number): Metric => ({
      kind: 'counter',
      name: `kintsugi_gateway_tenant_${name}_total`,
      help: `${help} The busiest tenants have a name; \`${OTHER}\` is all others.`,
      samples: [
        ...named.filter(([tenant]) => tenant !== OTHER),
        [OTHER, this.#rest()] as const,
      ].map(([tenant, sum]) => ({ labels: { tenant }, value: value(sum) })),
    });
    return [
      perTenant('requests', 'Requests of a tenant.', (sum) => sum.requests),
      perTenant('failures', 'Failed requests of a tenant.', (sum) => sum.failed),
      perTenant('refused', 'Refused requests of a tenant.', (sum) => sum.refused),
      perTenant('received_bytes', 'Bytes of its request bodies.', (sum) => sum.bytesIn),
      perTenant('sent_bytes', 'Bytes of its answer bodies.', (sum) => sum.bytesOut),
    ];
  }

  /** A tenant may be called `other`: two series of one name would be none. */
  #rest(): TenantSum {
    const same = this.#tenants.get(OTHER);
    if (same === undefined) return this.#other;
    const both = { ...this.#other };
    addTenant(both, same);
    return both;
  }

  #ofGateways(): readonly Metric[] {
    const count = (name: string, help: string, value: number): Metric => {
      return { kind: 'counter', name, help, samples: [{ labels: {}, value }] };
    };
    const counted = (name: string, help: string, of: EdgeCount): Metric =>
      count(`kintsugi_gateway_${name}_total`, help, this.#counts.get(of) ?? 0);
    const level = (name: string, help: string, of: EdgeLevel): Metric => ({
      kind: 'gauge',
      name: `kintsugi_gateway_${name}`,
      help,
      samples: [...this.#levels].flatMap(([worker, levels]) => {
        const value = levels.get(of);
        return value === undefined ? [] : [{ labels: { worker }, value }];
      }),
    });
    return [
      {
        kind: 'counter',
        name: 'kintsugi_gateway_ejections_total',
        help: 'Replicas that a gateway stopped sending to.',
        samples: [...this.#ejections.values()],
      },
      count('kintsugi_gateway_returns_total', 'Ejected replicas that were let in.', this.#returns),
      count('kintsugi_gateway_poison_held_total', 'Combinations held as poison.', this.#held),
      level('requests_in_flight', 'Requests inside a worker.', 'in-flight'),
      level('connections', 'Client connections of a worker.', 'connections'),
      level('table_version', 'Version of the routing table in force.', 'table-version'),
      counted('access_log_lines', 'Lines of the access log on disk.', 'log-lines'),
      counted('access_log_dropped', 'Lines that are missing in it.', 'log-dropped'),
      counted('spans_sent', 'Spans that the collector took.', 'spans-sent'),
      counted('spans_dropped', 'Spans that nobody has.', 'spans-dropped'),
    ];
  }
}

/** Sums by key; when it is full, the one that was idle longest makes room. */
class Shelf<T> {
  readonly #max: number;
  /** In the order of their last use. */
  readonly #found = new Map<string, { readonly sum: T; usedMs: number }>();

  constructor(max: number) {
    this.#max = max;
  }

  of(key: string, nowMs: number, make: () => T): T {
    const known = this.#found.get(key);
    const entry = known ?? { sum: make(), usedMs: nowMs };
    entry.usedMs = nowMs;
    this.#found.delete(key);
    this.#found.set(key, entry);
    if (this.#found.size > this.#max) {
      for (const oldest of this.#found.keys()) {
        this.#found.delete(oldest);
        break;
      }
    }
    return entry.sum;
  }

  get(key: string): T | undefined {
    return this.#found.get(key)?.sum;
  }

  *values(): Generator<T> {
    for (const { sum } of this.#found.values()) yield sum;
  }

  forget(beforeMs: number): void {
    for (const [key, { usedMs }] of this.#found) {
      if (usedMs >= beforeMs) return;
      this.#found.delete(key);
    }
  }
}

function noRoute(labels: Labels): RouteSum {
  const latency = Array.from({ length: EDGE_BUCKETS }, () => 0);
  const none = { requests: 0, failed: 0, retries: 0, bytesIn: 0, bytesOut: 0, totalMs: 0 };
  return { labels, ...none, latency };
}

function noTenant(): TenantSum {
  return { requests: 0, failed: 0, refused: 0, bytesIn: 0, bytesOut: 0 };
}

function addTenant(sum: TenantSum, by: TenantSum | TenantCell): void {
  sum.requests += by.requests;
  sum.failed += by.failed;
  sum.refused += by.refused;
  sum.bytesIn += by.bytesIn;
  sum.bytesOut += by.bytesOut;
}
