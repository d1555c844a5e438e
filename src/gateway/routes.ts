// A routing table, made ready for look-ups. Made whole, from parts that have been checked, and
// swapped in between two requests (G1); a table that cannot be made ready changes nothing.
//
//   RO1. Look-ups do not depend on the size of the table: by hash, or by segment of the path.
//   RO2. What did not change from one table to the next is the same object in both.
import { messageOf } from '../model/errors.ts';
import type {
  JwtRule,
  KeyRule,
  RoutingTable,
  ServiceRoute,
  TenantRoute,
  TenantRule,
} from '../model/routing.ts';
import type { QuarantineRule } from '../model/plan.ts';
import { readPart } from './checked.ts';
import type { CheckedParts } from './checked.ts';
import { TableCutter } from './cut.ts';
import { combination } from './poison.ts';
import { openPrefixTree } from './prefix-tree.ts';
import { KeyTable, RowTable } from './row-table.ts';
import type { KnownKey } from './rows.ts';
import type { Entry, Rest } from './service-part.ts';
import { runWhole } from './slices.ts';

export type { Entry } from './service-part.ts';

export type { KnownKey } from './rows.ts';

export interface Routes {
  readonly version: number;
  readonly table: RoutingTable;
  readonly pepper: string;
  /** Their `keys`, `hosts` and `certificates` are left out: ask for those by name. */
  readonly tenants: ReadonlyMap<string, TenantRoute>;
  readonly keys: ReadonlyMap<string, KnownKey>;
  /** Longest prefix first. */
  readonly entries: readonly Entry[];
  readonly quarantines: ReadonlyMap<string, QuarantineRule>;
  readonly tenantRules: ReadonlyMap<string, TenantRule>;
  readonly jwt: readonly JwtRule[];
  tenant(id: string): TenantRoute | undefined;
  key(id: string): KnownKey | undefined;
  findEntry(path: string): Entry | undefined;
  /** Whose host is this? As in the header: case, a port and a last dot do not matter. */
  hostTenant(host: string): TenantRoute | undefined;
  /** Whose client certificate is this? One identity: `uri:…`, `dns:…` or `sha256:<hex>`. */
  certificate(identity: string): TenantRoute | undefined;
}

export type Compiled =
  | { readonly kind: 'routes'; readonly routes: Routes }
  | { readonly kind: 'refused'; readonly reason: string };

export function compileTable(table: RoutingTable, pepper: string): Compiled {
  try {
    const format: number = table.v;
    if (format !== 1) return { kind: 'refused', reason: `table format ${format} is not known` };
    const ready = table instanceof TableOfParts ? table : tableOfParts(table, pepper);
    return { kind: 'routes', routes: ready.routes };
  } catch (error) {
    return { kind: 'refused', reason: messageOf(error) };
  }
}

/** A table in memory as one of parts. Throws when it is not in order. */
export function tableOfParts(table: RoutingTable, pepper: string): TableOfParts {
  if (table instanceof TableOfParts) return table;
  const { version, parts } = runWhole(new TableCutter().cut(table, pepper));
  return new TableOfParts(version, {
    rest: parts.rest.map((part) => readPart('rest', part)),
    services: parts.services.map((part) => readPart('services', part)),
    tenants: parts.tenants.map((part) => readPart('tenants', part)),
    keys: parts.keys.map((part) => readPart('keys', part)),
    hosts: parts.hosts.map((part) => readPart('hosts', part)),
    certificates: parts.certificates.map((part) => readPart('certificates', part)),
  });
}

/**
 * A routing table that has not been taken apart into objects: its tenants are read when used. What
 * the rest of the table says beside this stands here as well.
 */
export class TableOfParts implements RoutingTable {
  readonly v = 1;
  readonly version: number;
  readonly pepper: string;
  readonly parts: CheckedParts;
  readonly services: readonly ServiceRoute[];
  readonly quarantines: readonly QuarantineRule[];
  readonly jwt: readonly JwtRule[];
  readonly retryBudget: number;
  readonly routes: PartRoutes;

  /** Throws when the parts make no table. What is the same as in the table before is taken over. */
  constructor(version: number, parts: CheckedParts, before?: TableOfParts) {
    const [rest] = parts.rest;
    if (rest === undefined || parts.rest.length !== 1) throw new Error('a table has one rest');
    if (!Number.isSafeInteger(version) || version < 0) {
      throw new Error('table version is not a number');
    }
    Object.assign(this, rest.content);
    this.version = version;
    this.parts = parts;
    this.pepper = rest.pepper;
    this.services = parts.services.map(({ service }) => service);
    this.quarantines = rest.content.quarantines;
    this.jwt = rest.content.jwt;
    this.retryBudget = rest.content.retryBudget;
    const names = new Set(this.services.map(({ name }) => name));
    if (names.size < this.services.length) throw new Error('two services have one name');
    this.routes = new PartRoutes(this, rest.content, before?.routes);
  }

  /** All of them, whole. Costs a walk over the table: not for the path of a request. */
  get tenants(): readonly TenantRoute[] {
    return this.routes.wholeTenants();
  }
}

class PartRoutes implements Routes {
  readonly version: number;
  readonly table: TableOfParts;
  readonly pepper: string;
  readonly tenants: RowTable<'tenants'>;
  readonly keys: KeyTable;
  readonly entries: readonly Entry[];
  readonly quarantines: ReadonlyMap<string, QuarantineRule>;
  readonly tenantRules: ReadonlyMap<string, TenantRule>;
  readonly jwt: readonly JwtRule[];
  readonly keyRows: RowTable<'keys'>;
  readonly hostRows: RowTable<'hosts'>;
  readonly certificateRows: RowTable<'certificates'>;
  readonly tree: { find(path: string): Entry | undefined };

  constructor(table: TableOfParts, rest: Rest, before: PartRoutes | undefined) {
    const { parts } = table;
    this.version = table.version;
    this.table = table;
    this.pepper = table.pepper;
    this.jwt = table.jwt;
    this.tenants = kept('tenants', parts.tenants, before?.tenants);
    this.keyRows = kept('keys', parts.keys, before?.keyRows);
    this.hostRows = kept('hosts', parts.hosts, before?.hostRows);
    this.certificateRows = kept('certificates', parts.certificates, before?.certificateRows);
    const isKept = before?.tenants === this.tenants && before.keys.rows === this.keyRows;
    this.keys = isKept ? before.keys : new KeyTable(this.keyRows, this.tenants);
    if (before !== undefined && isSame(parts.services, before.table.parts.services)) {
      this.entries = before.entries;
      this.tree = before.tree;
    } else {
      this.entries = parts.services
        .flatMap(({ entries }) => entries)
        .toSorted((a, b) => b.route.prefix.length - a.route.prefix.length);
      this.tree = openPrefixTree(this.entries, ({ route }) => route.prefix);
    }
    this.quarantines = new Map(table.quarantines.map((q) => [combination(q), q]));
    this.tenantRules = new Map((rest.tenantRules ?? []).map((r) => [r.tenant, r]));
  }

  tenant(id: string): TenantRoute | undefined {
    return this.tenants.get(id);
  }

  key(id: string): KnownKey | undefined {
    return this.keys.get(id);
  }

  findEntry(path: string): Entry | undefined {
    return this.tree.find(path);
  }

  hostTenant(host: string): TenantRoute | undefined {
    if (this.hostRows.size === 0) return undefined;
    const tenant = this.hostRows.get(bareHost(host));
    return tenant === undefined ? undefined : this.tenants.get(tenant);
  }

  certificate(identity: string): TenantRoute | undefined {
    const tenant = this.certificateRows.get(identity);
    return tenant === undefined ? undefined : this.tenants.get(tenant);
  }

  wholeTenants(): TenantRoute[] {
    const keys = new Map<string, KeyRule[]>();
    for (const { tenant, rule } of this.keyRows.values()) addTo(keys, tenant, rule);
    const hosts = namesByTenant(this.hostRows);
    const certificates = namesByTenant(this.certificateRows);
    return [...this.tenants.values()].map((tenant) => {
      const own = { hosts: hosts.get(tenant.id), certificates: certificates.get(tenant.id) };
      return {
        ...tenant,
        keys: keys.get(tenant.id) ?? [],
        ...(own.hosts === undefined ? {} : { hosts: own.hosts }),
        ...(own.certificates === undefined ? {} : { certificates: own.certificates }),
      };
    });
  }
}

function kept<F extends 'tenants' | 'keys' | 'hosts' | 'certificates'>(
  family: F,
  parts: RowTable<F>['parts'],
  before: RowTable<F> | undefined,
): RowTable<F> {
  if (before !== undefined && isSame(before.parts, parts)) return before;
  return new RowTable(family, parts);
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i]);
}

function namesByTenant(rows: ReadonlyMap<string, string>): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const [name, tenant] of rows.entries()) addTo(names, tenant, name);
  return names;
}

function addTo<V>(lists: Map<string, V[]>, name: string, value: V): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [value]);
  else list.push(value);
}

function bareHost(host: string): string {
  const colon = host.startsWith('[') ? host.indexOf(':', host.indexOf(']')) : host.indexOf(':');
  let bare = colon < 0 ? host : host.slice(0, colon);
  if (bare.endsWith('.')) bare = bare.slice(0, -1);
  return /[A-Z]/u.test(bare) ? bare.toLowerCase() : bare;
}

export function findEntry(routes: Routes, path: string): Entry | undefined {
  return routes.findEntry(path);
}
