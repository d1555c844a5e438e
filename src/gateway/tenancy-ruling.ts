// May this principal send this to this route? Tenancy first, rights after it: what is the same for
// all requests of a flow is judged once, the rest costs a comparison and a look-up.
//
//   RU1. Nothing of policy is asked before host, path and route were found to be the tenant's own.
import type { PrefixRoute, ServiceRoute, TenantRoute } from '../model/routing.ts';
import { allowedMethods, methodVerdict, NOT_ALLOWED } from './matrix.ts';
import type { MethodMask } from './matrix.ts';
import type { Problem } from './problem.ts';
import { pathVerdict, routeVerdict, tenancyProblem } from './tenancy.ts';
import type { TenancyVerdict } from './tenancy.ts';

/** What is the same for every request of one principal on one route, under one table. */
export interface Ruling {
  readonly tenant: TenantRoute['id'];
  readonly service: ServiceRoute['name'];
  readonly route: PrefixRoute;
  readonly byRoute: TenancyVerdict;
  readonly allowed: MethodMask;
}

export interface Ruled {
  readonly tenant: TenantRoute;
  readonly roles: readonly string[];
  readonly subject: string;
}

interface OfRoute {
  readonly service: ServiceRoute;
  readonly route: PrefixRoute;
}

export function rulingOf({ tenant, roles, subject }: Ruled, { service, route }: OfRoute): Ruling {
  return {
    tenant: tenant.id,
    service: service.name,
    route,
    byRoute: routeVerdict(tenant.id, route),
    allowed: allowedMethods(route, roles, subject),
  };
}

export type Judgement = TenancyVerdict | 'not-allowed';

/** `owner`: of the host (`HostMemo.ownerOf`). */
export function judge(
  ruling: Ruling,
  owner: string | undefined,
  path: string,
  method: string,
): Judgement {
  const { tenant, route, byRoute, allowed } = ruling;
  if (byRoute !== 'same') return byRoute;
  if (owner !== undefined && owner !== tenant) return 'host-of-another';
  const byPath = pathVerdict(tenant, route, path);
  if (byPath !== 'same') return byPath;
  return methodVerdict(allowed, method) === 'allowed' ? 'same' : 'not-allowed';
}

export function judgementProblem(judgement: Exclude<Judgement, 'same'>): Problem {
  return judgement === 'not-allowed' ? NOT_ALLOWED : tenancyProblem(judgement);
}
