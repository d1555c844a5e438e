// Which defaults depend on other keys? Replicas, routes, tenants, bursts and frameworks: the part
// of filling in that the table of keys can only describe in words.
import type { Draft, DraftTenant } from './keys.ts';
import type { DraftDependency, DraftProbe, DraftService } from './keys-service.ts';
import type { DependencyName, TenantId } from '../model/ids.ts';
import type { ProbeSpec, RouteSpec, ServiceSpec } from '../model/manifest.ts';

export function replicasOf(service: DraftService): ServiceSpec['replicas'] {
  const given = service.replicas;
  const one = service.kind === 'stateful' || service.port !== 0;
  const standard = one ? 1 : 2;
  if (given === undefined) return { min: standard, max: standard, spares: 0 };
  if (typeof given === 'number') return { min: given, max: given, spares: 0 };
  // With `max: 1` alone, one is meant.
  const min = given.min ?? Math.min(standard, given.max ?? standard);
  return { min, max: given.max ?? min, spares: given.spares };
}

// What stands in for a name that could not be read is none: such a draft never becomes a manifest.
const asTenant = (name: string): TenantId => name as TenantId;
const asDependency = (name: string): DependencyName => name as DependencyName;

export interface PrefixedRoute extends RouteSpec {
  /** Path of the route in the manifest, for messages. */
  readonly path: string;
}

const ROUTE_TIMEOUT_MS = 30_000;

export function routesOf(draft: Draft, name: string): readonly PrefixedRoute[] {
  const service = draft.services.get(name);
  if (service === undefined) return [];
  const path = `services.${name}`;
  if (service.routes !== undefined) {
    return service.routes.map((route, i) => ({
      prefix: foldPrefix(route.prefix),
      timeoutMs: route.timeout,
      retry: route.retry,
      ...(route.tenants === undefined ? {} : { tenants: route.tenants.map(asTenant) }),
      ...(route.dependencies === undefined
        ? {}
        : { dependencies: route.dependencies.map(asDependency) }),
      ...(route.tenantSegment === undefined ? {} : { tenantSegment: route.tenantSegment }),
      path: `${path}.routes[${i}].prefix`,
    }));
  }
  if (service.kind === 'stateful') return [];
  const stateless = [...draft.services.values()].filter((other) => other.kind === 'stateless');
  const prefix = stateless.length === 1 ? '/' : `/${name}`;
  return [{ prefix, timeoutMs: ROUTE_TIMEOUT_MS, retry: true, path }];
}

/** `/records/` and `/records` are the same prefix: segments are compared, not characters. */
export function foldPrefix(prefix: string): string {
  return prefix.length > 1 && prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
}

export function probeOf(probe: DraftProbe): ProbeSpec {
  return {
    kind: probe.http === undefined ? 'tcp' : 'http',
    path: probe.http ?? '',
    intervalMs: probe.interval,
    timeoutMs: probe.timeout,
    failures: probe.failures,
  };
}

export function urlOf(dependency: DraftDependency): string | undefined {
  if (dependency.url !== undefined) return dependency.url;
  const local = dependency.kind === 'tcp' && dependency.service !== undefined;
  return local ? `tcp://127.0.0.1:\${port:${dependency.service}}` : undefined;
}

export function tenantsOf(
  draft: Draft,
  standardTenant: DraftTenant,
): ReadonlyMap<string, DraftTenant> {
  return draft.tenants ?? new Map([['default', standardTenant]]);
}

export function burstOf(tenant: DraftTenant): number {
  return tenant.quotas.burst ?? Math.max(1, Math.ceil(tenant.quotas.rate * 2));
}

export function frameworksOf(draft: Draft): readonly string[] {
  if (draft.compliance.frameworks !== undefined) return [...new Set(draft.compliance.frameworks)];
  const tenants = [...(draft.tenants?.values() ?? [])].flatMap((tenant) => tenant.frameworks);
  const checks = draft.compliance.checks.flatMap((check) => check.frameworks);
  return [...new Set([...tenants, ...checks])].toSorted();
}
