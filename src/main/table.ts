// What do the gateways get to know? The routing table, derived from the book, the manifest and the
// keys, and from nothing else.
//
//   TA1. Only replicas that are ready or draining stand in it; a draining one with weight 0.
//   TA2. Services without routes (databases) are not in it.
//   TA3. What comes from the same inputs is the same object as in the table before: a table is made
//        several times a second while things change, and most of it never does.
import { createHmac } from 'node:crypto';
import type { Fleet } from '../model/fleet.ts';
import type { DependencyName } from '../model/ids.ts';
import type { Manifest, ServiceSpec, TenantSpec } from '../model/manifest.ts';
import { pinnedReplica } from '../model/hold.ts';
import type { Replica } from '../model/replica.ts';
import type {
  JwtRule,
  KeyRule,
  ReplicaRoute,
  RoutingTable,
  ServiceRoute,
  TenantRoute,
  TenantRule,
} from '../model/routing.ts';

export interface TableInputs {
  readonly manifest: Manifest;
  readonly keys: ReadonlyMap<string, readonly KeyRule[]>;
  readonly jwt: readonly JwtRule[];
  /** Dependencies that are down. */
  readonly down?: readonly DependencyName[] | undefined;
  /** Base64url; each service's own key is derived from it. */
  readonly assertionRoot: string;
}

export function buildTable(fleet: Fleet, version: number, inputs: TableInputs): RoutingTable {
  const { manifest } = inputs;
  const replicas = byService(fleet);
  return {
    v: 1,
    version,
    services: [...manifest.services.values()]
      .filter((spec) => spec.routes.length > 0)
      .map((spec) => serviceRoute(fleet, replicas.get(spec.name) ?? [], spec, inputs)),
    tenants: tenantRoutes(manifest.tenants, inputs.keys),
    quarantines: [...fleet.quarantines.values()],
    ...(fleet.holds.size === 0 ? {} : { tenantRules: tenantRules(fleet, replicas) }),
    ...((inputs.down ?? []).length === 0 ? {} : { downDependencies: inputs.down ?? [] }),
    jwt: inputs.jwt,
    retryBudget: manifest.gateway.retryBudget,
  };
}

/** A pin follows its replica when that is replaced: ids are never given twice. */
function tenantRules(
  fleet: Fleet,
  replicas: ReadonlyMap<string, readonly Replica[]>,
): readonly TenantRule[] {
  return [...fleet.holds.values()].map(({ tenant, mode, reason }): TenantRule => {
    switch (mode.kind) {
      case 'deny':
      case 'read-only':
        return { tenant, mode: mode.kind, reason };
      case 'throttle':
        return { tenant, mode: mode.kind, ratePerSecond: mode.ratePerSecond, reason };
      case 'pin': {
        const live = (replicas.get(mode.service) ?? []).filter((r) => r.weight > 0);
        const now = pinnedReplica(
          mode.replica,
          live.map((r) => r.id),
        );
        return { tenant, mode: mode.kind, replicas: [now ?? mode.replica], reason };
      }
    }
  });
}

function byService(fleet: Fleet): ReadonlyMap<string, readonly Replica[]> {
  const lists = new Map<string, Replica[]>();
  for (const replica of fleet.replicas.values()) {
    if (replica.phase === 'gone') continue;
    const list = lists.get(replica.service);
    if (list === undefined) lists.set(replica.service, [replica]);
    else list.push(replica);
  }
  return lists;
}

interface MadeService {
  readonly replicas: readonly Replica[];
  readonly minRouted: number;
  readonly assertionRoot: string;
  readonly route: ServiceRoute;
}

/** By the part of the manifest that it was made from: with a new manifest all is made anew. */
const madeServices = new WeakMap<ServiceSpec, MadeService>();

function serviceRoute(
  fleet: Fleet,
  replicas: readonly Replica[],
  spec: ServiceSpec,
  { manifest, assertionRoot }: TableInputs,
): ServiceRoute {
  const wanted = fleet.services.get(spec.name)?.replicas ?? spec.replicas.min;
  const minRouted = Math.max(1, wanted - manifest.healing.budget.maxUnavailable);
  const made = madeServices.get(spec);
  const isSame =
    made?.minRouted === minRouted &&
    made.assertionRoot === assertionRoot &&
    sameItems(made.replicas, replicas);
  if (isSame) return made.route;
  const route: ServiceRoute = {
    name: spec.name,
    prefixes: spec.routes,
    replicas: replicas.flatMap(replicaRoute),
    healthPath: spec.liveness.kind === 'http' ? spec.liveness.path : undefined,
    assertionKey:
      made?.assertionRoot === assertionRoot
        ? made.route.assertionKey
        : assertionKey(assertionRoot, spec.name),
    minRouted,
    slowMs: spec.slo.latencyMs,
    ...(spec.shardSize === undefined ? {} : { shardSize: spec.shardSize }),
    ...(spec.concurrencyMax === undefined ? {} : { concurrencyMax: spec.concurrencyMax }),
  };
  madeServices.set(spec, { replicas, minRouted, assertionRoot, route });
  return route;
}

function replicaRoute(replica: Replica): readonly ReplicaRoute[] {
  const { id, release, endpoint, phase, weight, region } = replica;
  if (endpoint === undefined || phase === 'starting') return [];
  const { host, port } = endpoint;
  return [{ id, release, host, port, weight: phase === 'ready' ? weight : 0, region }];
}

/** Each service has its own key, so that none can sign for another. */
export function assertionKey(root: string, service: string): string {
  return createHmac('sha256', Buffer.from(root, 'base64url'))
    .update(`assertion/v1/${service}`)
    .digest('base64url');
}

interface MadeTenants {
  readonly keys: TableInputs['keys'];
  readonly routes: readonly TenantRoute[];
}

const madeTenants = new WeakMap<Manifest['tenants'], MadeTenants>();
/** Of another manifest: of those most tenants are as they were, in the same place. */
let madeLast: MadeTenants | undefined;
const NO_KEYS: readonly KeyRule[] = [];

/** The same list as before while no tenant and no key has changed. */
function tenantRoutes(
  tenants: Manifest['tenants'],
  keys: TableInputs['keys'],
): MadeTenants['routes'] {
  const own = madeTenants.get(tenants);
  if (own?.keys === keys) return own.routes;
  const made = own ?? madeLast;
  let isSame = made?.routes.length === tenants.size;
  const routes: TenantRoute[] = [];
  for (const spec of tenants.values()) {
    const rules = keys.get(spec.id) ?? NO_KEYS;
    const known = made?.routes[routes.length];
    if (known !== undefined && sameTenant(known, spec) && sameRules(known.keys, rules)) {
      routes.push(known);
    } else {
      isSame = false;
      routes.push(tenantRoute(spec, rules));
    }
  }
  const kept = made !== undefined && isSame ? made.routes : routes;
  madeLast = { keys, routes: kept };
  madeTenants.set(tenants, madeLast);
  return kept;
}

function sameTenant(route: TenantRoute, spec: TenantSpec): boolean {
  const { quotas } = spec;
  return (
    route.id === spec.id &&
    route.region === spec.region &&
    route.status === spec.status &&
    route.ratePerSecond === quotas.ratePerSecond &&
    route.burst === quotas.burst &&
    route.concurrency === quotas.concurrency &&
    route.bodyBytes === quotas.bodyBytes &&
    route.priority === spec.priority &&
    sameNames(route.hosts, spec.hosts) &&
    sameNames(route.certificates, spec.certificates)
  );
}

function sameNames(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return sameItems(a, b);
}

/** Field by field: for 100 000 tenants, spreading takes longer than a turn of the loop may. */
function tenantRoute(spec: TenantSpec, keys: readonly KeyRule[]): TenantRoute {
  const { id, region, status, quotas, priority, hosts, certificates } = spec;
  const { ratePerSecond, burst, concurrency, bodyBytes } = quotas;
  const route = { id, region, status, ratePerSecond, burst, concurrency, bodyBytes, keys };
  if (priority === undefined && hosts === undefined && certificates === undefined) return route;
  return {
    ...route,
    ...(priority === undefined ? {} : { priority }),
    ...(hosts === undefined ? {} : { hosts }),
    ...(certificates === undefined ? {} : { certificates }),
  };
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

/** By what they say: whoever keeps the keys may make new objects at each question. */
function sameRules(a: readonly KeyRule[], b: readonly KeyRule[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  return a.every((rule, i) => {
    const other = b[i];
    if (rule === other) return true;
    return (
      rule.id === other?.id &&
      rule.mac === other.mac &&
      rule.expiresAtMs === other.expiresAtMs &&
      sameItems(rule.roles ?? [], other.roles ?? [])
    );
  });
}
