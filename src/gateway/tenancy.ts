// Is everything about this request of one tenant? The credential's tenant is compared with that of
// the host it came to, of the path it names and of the route it takes, before any policy is asked.
//
//   TN1. Each of the four that names a tenant must name the same one; nothing can overrule it.
//   TN2. By a tenant's own host only that tenant comes in; by a host that nobody owns, everybody.
//   TN3. Path segments are compared byte by byte with the tenant's id. Another spelling of the same
//        id (`%61cme`, `ACME`, `acme;v=1`, an empty segment before it) is a mismatch, because the
//        replica may read it as another tenant.
//   TN4. A route of other tenants answers as an unknown path does, so that nobody can find out
//        which routes others have. Hosts and paths were named by the client: 403 tells it nothing.
//
// For one tenant and route, `routeVerdict` never changes: it is asked once a flow. `hostVerdict` is
// a look-up; `pathVerdict` costs only where a route names a segment.
import type { PrefixRoute } from '../model/routing.ts';
import { SLOT, VALUE_AT, VALUE_END } from './http/head.ts';
import type { Head } from './http/head.ts';
import type { Problem } from './problem.ts';
import type { Routes } from './routes.ts';

export type TenancyVerdict = 'same' | 'host-of-another' | 'path-of-another' | 'route-of-others';

const NO_BYTES = Buffer.alloc(0);

/** Which tenant owns a host, as the Host header spells it; undefined: nobody, so all may come. */
export type HostRoutes = Pick<Routes, 'hostTenant'>;

export function hostVerdict(tenant: string, routes: HostRoutes, host: string): TenancyVerdict {
  const owner = routes.hostTenant(host);
  return owner === undefined || owner.id === tenant ? 'same' : 'host-of-another';
}

/**
 * Who owns the host of a connection's requests: nearly always the same bytes as last time, so the
 * name is made, and looked up, only when they change, or the table does.
 */
export class HostMemo {
  #bytes: Buffer = NO_BYTES;
  #routes: HostRoutes | undefined;
  #owner: string | undefined;

  ownerOf(routes: HostRoutes, head: Head): string | undefined {
    const { hostField, buf, at } = head;
    if (hostField < 0) return undefined;
    const from = at[hostField * SLOT + VALUE_AT] as number;
    const to = at[hostField * SLOT + VALUE_END] as number;
    if (this.#routes === routes && isSame(this.#bytes, buf, from, to)) return this.#owner;
    this.#bytes = Buffer.from(buf.subarray(from, to));
    this.#routes = routes;
    this.#owner = routes.hostTenant(head.host)?.id;
    return this.#owner;
  }
}

/** A host is no secret: the first difference ends it. */
function isSame(known: Buffer, buf: Buffer, from: number, to: number): boolean {
  if (known.length !== to - from) return false;
  for (let i = 0; i < known.length; i += 1) if (known[i] !== buf[from + i]) return false;
  return true;
}

export function routeVerdict(tenant: string, route: PrefixRoute): TenancyVerdict {
  const { tenants } = route;
  if (tenants === undefined) return 'same';
  // A list of names from the manifest, looked through once for each flow.
  return (tenants as readonly string[]).includes(tenant) ? 'same' : 'route-of-others';
}

export function pathVerdict(tenant: string, route: PrefixRoute, path: string): TenancyVerdict {
  const { tenantSegment } = route;
  if (tenantSegment === undefined) return 'same';
  let at = 0;
  // Ends with the path: `at` grows by at least one each time.
  for (let segment = 1; segment < tenantSegment; segment += 1) {
    at = path.indexOf('/', at + 1);
    if (at < 0) return 'path-of-another';
  }
  // TN3.
  const end = at + 1 + tenant.length;
  const isSame = path.startsWith(tenant, at + 1) && (end === path.length || path[end] === '/');
  return isSame && tenant !== '' ? 'same' : 'path-of-another';
}

/** TN1. The whole question; those who ask often ask its parts where they can be kept. */
export function tenancyVerdict(
  tenant: string,
  routes: HostRoutes,
  host: string,
  path: string,
  route: PrefixRoute,
): TenancyVerdict {
  const byRoute = routeVerdict(tenant, route);
  if (byRoute !== 'same') return byRoute;
  const byHost = hostVerdict(tenant, routes, host);
  return byHost === 'same' ? pathVerdict(tenant, route, path) : byHost;
}

/** TN4: what the client is told. */
export function tenancyProblem(verdict: Exclude<TenancyVerdict, 'same'>): Problem {
  switch (verdict) {
    case 'host-of-another':
    case 'path-of-another': {
      const what = verdict === 'host-of-another' ? 'host' : 'path';
      const detail = `The credential is not of the tenant that the ${what} names.`;
      return { status: 403, reason: 'tenant-mismatch', detail };
    }
    case 'route-of-others':
      return { status: 404, reason: 'route-unknown', detail: 'No service has this path.' };
  }
}
