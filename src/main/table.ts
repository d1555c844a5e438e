// What do the gateways get to know? The routing table, derived from the book, the manifest and the
// keys, and from nothing else.
//
//   TA1. Only replicas that are ready or draining stand in it; a draining one with weight 0.
//   TA2. Services without routes (databases) are not in it.
import { createHmac } from 'node:crypto';
import type { Fleet } from '../model/fleet.ts';
import { replicasOf } from '../model/fleet.ts';
import type { Manifest, ServiceSpec, TenantSpec } from '../model/manifest.ts';
import type {
  JwtRule,
  KeyRule,
  ReplicaRoute,
  RoutingTable,
  ServiceRoute,
  TenantRoute,
} from '../model/routing.ts';

export interface TableInputs {
  readonly manifest: Manifest;
  readonly keys: ReadonlyMap<string, readonly KeyRule[]>;
  readonly jwt: readonly JwtRule[];
  /** Base64url; each service's own key is derived from it. */
  readonly assertionRoot: string;
}

export function buildTable(fleet: Fleet, version: number, inputs: TableInputs): RoutingTable {
  const { manifest } = inputs;
  return {
    v: 1,
    version,
    services: [...manifest.services.values()]
      .filter((spec) => spec.routes.length > 0)
      .map((spec) => serviceRoute(fleet, spec, inputs)),
    tenants: [...manifest.tenants.values()].map((spec) => tenantRoute(spec, inputs)),
    quarantines: [...fleet.quarantines.values()],
    jwt: inputs.jwt,
    retryBudget: manifest.gateway.retryBudget,
  };
}

function serviceRoute(fleet: Fleet, spec: ServiceSpec, inputs: TableInputs): ServiceRoute {
  const wanted = fleet.services.get(spec.name)?.replicas ?? spec.replicas.min;
  const { maxUnavailable } = inputs.manifest.healing.budget;
  return {
    name: spec.name,
    prefixes: spec.routes.map(({ prefix, timeoutMs, retry }) => ({ prefix, timeoutMs, retry })),
    replicas: replicasOf(fleet, spec.name).flatMap((r): ReplicaRoute[] => {
      if (r.endpoint === undefined || r.phase === 'starting') return [];
      return [
        {
          id: r.id,
          release: r.release,
          host: r.endpoint.host,
          port: r.endpoint.port,
          weight: r.phase === 'ready' ? r.weight : 0,
          region: r.region,
        },
      ];
    }),
    healthPath: spec.liveness.kind === 'http' ? spec.liveness.path : undefined,
    assertionKey: assertionKey(inputs.assertionRoot, spec.name),
    minRouted: Math.max(1, wanted - maxUnavailable),
    slowMs: spec.slo.latencyMs,
  };
}

/** Each service has its own key, so that none can sign for another. */
export function assertionKey(root: string, service: string): string {
  return createHmac('sha256', Buffer.from(root, 'base64url'))
    .update(`assertion/v1/${service}`)
    .digest('base64url');
}

function tenantRoute(spec: TenantSpec, inputs: TableInputs): TenantRoute {
  return {
    id: spec.id,
    region: spec.region,
    status: spec.status,
    ...spec.quotas,
    keys: inputs.keys.get(spec.id) ?? [],
  };
}
