// A routing table, made ready for look-ups. Compiled whole and swapped in between two requests
// (G1); a table that cannot be compiled changes nothing.
import { messageOf } from '../model/errors.ts';
import type {
  JwtRule,
  KeyRule,
  PrefixRoute,
  RoutingTable,
  ServiceRoute,
  TenantRoute,
} from '../model/routing.ts';
import type { QuarantineRule } from '../model/plan.ts';
import { createSecretKey, type KeyObject } from 'node:crypto';
import { matchesPrefix } from './paths.ts';
import { combination } from './poison.ts';

const PLAIN = /^[\x20-\x7e]*$/u;

export interface Routes {
  readonly version: number;
  readonly table: RoutingTable;
  readonly pepper: string;
  readonly tenants: ReadonlyMap<string, TenantRoute>;
  readonly keys: ReadonlyMap<string, { readonly tenant: TenantRoute; readonly rule: KeyRule }>;
  /** Longest prefix first. */
  readonly entries: readonly Entry[];
  readonly quarantines: ReadonlyMap<string, QuarantineRule>;
  readonly jwt: readonly JwtRule[];
}

export interface Entry {
  readonly service: ServiceRoute;
  readonly route: PrefixRoute;
  readonly assertionKey: KeyObject;
}

export type Compiled =
  | { readonly kind: 'routes'; readonly routes: Routes }
  | { readonly kind: 'refused'; readonly reason: string };

export function compileTable(table: RoutingTable, pepper: string): Compiled {
  try {
    return compile(table, pepper);
  } catch (error) {
    return { kind: 'refused', reason: messageOf(error) };
  }
}

function compile(table: RoutingTable, pepper: string): Compiled {
  const format: number = table.v;
  if (format !== 1) return { kind: 'refused', reason: `table format ${format} is not known` };
  if (!Number.isSafeInteger(table.version) || table.version < 0) {
    return { kind: 'refused', reason: 'table version is not a number' };
  }
  for (const { id, region } of table.tenants) {
    // Both become header lines for the replicas.
    if (!PLAIN.test(id) || !PLAIN.test(region)) throw new Error('a tenant has an odd id or region');
  }
  const tenants = new Map<string, TenantRoute>(table.tenants.map((t) => [t.id, t]));
  const keys = new Map<string, { tenant: TenantRoute; rule: KeyRule }>();
  for (const tenant of table.tenants) {
    for (const rule of tenant.keys) keys.set(rule.id, { tenant, rule });
  }
  const entries = table.services
    .flatMap((service) => entriesOf(service))
    .toSorted((a, b) => b.route.prefix.length - a.route.prefix.length);
  const quarantines = new Map(table.quarantines.map((q) => [combination(q), q]));
  const { version, jwt } = table;
  const routes = { version, table, pepper, tenants, keys, entries, quarantines, jwt };
  return { kind: 'routes', routes };
}

function entriesOf(service: ServiceRoute): Entry[] {
  const bytes = Buffer.from(service.assertionKey, 'base64url');
  for (const replica of service.replicas) {
    if (replica.port < 1 || replica.port > 65_535) throw new Error(`${replica.id} has no port`);
  }
  const assertionKey = createSecretKey(bytes);
  return service.prefixes.map((route) => ({ service, route, assertionKey }));
}

export function findEntry(routes: Routes, path: string): Entry | undefined {
  for (const entry of routes.entries) {
    if (matchesPrefix(path, entry.route.prefix)) return entry;
  }
  return undefined;
}
