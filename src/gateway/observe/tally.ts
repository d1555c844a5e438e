// How much was it, as clients saw it? Counters that add up between two flushes: by service, route,
// replica and class of status, by tenant, and by the reason of a refusal.
//
//   TY1. Taking empties it: nothing is counted twice, and a window without traffic is empty.
//   TY2. The number of cells is bounded; past it routes and replicas are summed up as `*`, tenants
//        as ''. No request is left out.
import { EDGE_BUCKETS } from '../../model/signal.ts';
import type { EdgeCell } from '../../model/signal.ts';
import type { ExchangeFacts } from './facts.ts';
import { isFailure } from './facts.ts';

const PLACES_MAX = 2_000;
const TENANTS_MAX = 2_000;
const REASONS_MAX = 200;
const CLASSES = 6;

interface Place {
  readonly service: string;
  readonly route: string;
  readonly replica: string;
  readonly classes: (ByStatus | undefined)[];
}

interface ByStatus {
  requests: number;
  failed: number;
  retries: number;
  bytesIn: number;
  bytesOut: number;
  totalMs: number;
  readonly latency: number[];
}

interface ByTenant {
  readonly tenant: string;
  requests: number;
  failed: number;
  refused: number;
  bytesIn: number;
  bytesOut: number;
}

export function edgeBucket(tookMs: number): number {
  const quarters = Math.ceil(tookMs * 4);
  if (quarters <= 1) return 0;
  const bucket = 32 - Math.clz32(quarters - 1);
  return quarters > 0x7fff_ffff || bucket >= EDGE_BUCKETS ? EDGE_BUCKETS - 1 : bucket;
}

export class Tally {
  #services = new Map<string, Map<string, Map<string, Place>>>();
  #places = 0;
  #place: Place | undefined;
  #tenants = new Map<string, ByTenant>();
  #tenant: ByTenant | undefined;
  #reasons = new Map<string, { status: number; reason: string; requests: number }>();

  note(facts: ExchangeFacts): void {
    const failed = isFailure(facts) ? 1 : 0;
    const { bytesIn, bytesOut } = facts;
    const cell = this.#statusOf(facts);
    cell.requests += 1;
    cell.failed += failed;
    if (facts.attempts > 1) cell.retries += facts.attempts - 1;
    cell.bytesIn += bytesIn;
    cell.bytesOut += bytesOut;
    cell.totalMs += facts.tookMs;
    const bucket = edgeBucket(facts.tookMs);
    cell.latency[bucket] = (cell.latency[bucket] as number) + 1;
    if (facts.reason !== '') this.refused(facts.status, facts.reason);
    if (facts.tenant === '') return;
    const tenant = this.#tenantOf(facts.tenant);
    tenant.requests += 1;
    tenant.failed += failed;
    if (facts.reason !== '' && facts.attempts === 0) tenant.refused += 1;
    tenant.bytesIn += bytesIn;
    tenant.bytesOut += bytesOut;
  }

  refused(status: number, reason: string): void {
    const key = `${status} ${reason}`;
    const known = this.#reasons.get(key);
    if (known !== undefined) known.requests += 1;
    else if (this.#reasons.size < REASONS_MAX) {
      this.#reasons.set(key, { status, reason, requests: 1 });
    }
  }

  take(): EdgeCell[] {
    const taken: EdgeCell[] = [];
    for (const routes of this.#services.values()) {
      for (const replicas of routes.values()) {
        for (const place of replicas.values()) takePlace(place, taken);
      }
    }
    for (const tenant of this.#tenants.values()) taken.push({ kind: 'tenant', ...tenant });
    for (const refused of this.#reasons.values()) taken.push({ kind: 'refused', ...refused });
    this.#services = new Map();
    this.#places = 0;
    this.#place = undefined;
    this.#tenants = new Map();
    this.#tenant = undefined;
    this.#reasons = new Map();
    return taken;
  }

  #statusOf(facts: ExchangeFacts): ByStatus {
    const { service, route, replica, status } = facts;
    let place = this.#place;
    if (place?.replica !== replica || place.route !== route || place.service !== service) {
      place = this.#placeOf(service, route, replica);
      this.#place = place;
    }
    const digit = status >= 100 && status < 600 ? (status / 100) | 0 : 0;
    return (place.classes[digit] ??= noneYet());
  }

  #placeOf(service: string, route: string, replica: string): Place {
    const known = this.#services.get(service)?.get(route)?.get(replica);
    if (known !== undefined) return known;
    if (this.#places >= PLACES_MAX && (route !== '*' || replica !== '*')) {
      return this.#placeOf(this.#services.has(service) ? service : '*', '*', '*');
    }
    this.#places += 1;
    const classes = Array.from({ length: CLASSES }, () => undefined);
    const fresh: Place = { service, route, replica, classes };
    const routes = this.#services.get(service) ?? new Map<string, Map<string, Place>>();
    this.#services.set(service, routes);
    const replicas = routes.get(route) ?? new Map<string, Place>();
    routes.set(route, replicas);
    replicas.set(replica, fresh);
    return fresh;
  }

  #tenantOf(tenant: string): ByTenant {
    if (this.#tenant?.tenant === tenant) return this.#tenant;
    const isFull = this.#tenants.size >= TENANTS_MAX && !this.#tenants.has(tenant);
    const name = isFull ? '' : tenant;
    let found = this.#tenants.get(name);
    if (found === undefined) {
      found = { tenant: name, requests: 0, failed: 0, refused: 0, bytesIn: 0, bytesOut: 0 };
      this.#tenants.set(name, found);
    }
    this.#tenant = found;
    return found;
  }
}

function noneYet(): ByStatus {
  const latency = Array.from({ length: EDGE_BUCKETS }, () => 0);
  return { requests: 0, failed: 0, retries: 0, bytesIn: 0, bytesOut: 0, totalMs: 0, latency };
}

function takePlace({ service, route, replica, classes }: Place, into: EdgeCell[]): void {
  for (const [status, counted] of classes.entries()) {
    if (counted === undefined) continue;
    into.push({ kind: 'route', service, route, replica, status, ...counted });
  }
}
