// How does a table become parts? Cut anew at each push, but what is the same object as last time is
// the same part: a changed replica must not cost the serialising of 100 000 tenants.
//
//   CU1. What did not change is neither serialised nor digested again.
//   CU2. A cutter that fails or is stopped half-way keeps what it knew.
import type { KeyRule, RoutingTable, ServiceRoute, TenantRoute } from '../model/routing.ts';
import {
  PARTS_MAX,
  PART_ROWS_MAX,
  ROWS_MAX,
  SERVICES_MAX,
  TABLE_BYTES_MAX,
  bucketsFor,
  limit,
  nameHash,
  partOf,
  rowsContent,
} from './parts.ts';
import type { Family, Part, RowFamily } from './parts.ts';
import type { Steps } from './slices.ts';

/** Tenants that are sorted into buckets between two looks at the clock. */
const SORT_AT_ONCE = 2_048;

export interface CutTable {
  readonly version: number;
  readonly parts: Readonly<Record<Family, readonly Part[]>>;
}

/** What a row is made from. The same objects give the same row. */
interface Source {
  readonly name: string;
  readonly tenant: TenantRoute;
  readonly rule: KeyRule | undefined;
}

interface Bucket {
  readonly sources: readonly Source[];
  readonly part: Part;
}

type RowParts = Readonly<Record<RowFamily, readonly Part[]>>;

export class TableCutter {
  readonly #services = new WeakMap<ServiceRoute, Part>();
  readonly #buckets = new Map<RowFamily, readonly Bucket[]>();
  #tenants: readonly TenantRoute[] | undefined;
  #rows: RowParts = { tenants: [], keys: [], hosts: [], certificates: [] };
  #rest: { readonly content: string; readonly part: Part } | undefined;

  *cut(table: RoutingTable, pepper: string): Steps<CutTable> {
    if (!Array.isArray(table.services) || !Array.isArray(table.tenants)) {
      throw new Error('a table without services or tenants is none');
    }
    const services = this.#cutServices(table.services);
    yield undefined;
    const rest = [this.#cutRest(table, pepper)];
    if (table.tenants !== this.#tenants) {
      const rows = yield* this.#cutRows(table.tenants);
      this.#rows = rows;
      this.#tenants = table.tenants;
    }
    const parts = { rest, services, ...this.#rows };
    checkWhole(parts);
    return { version: table.version, parts };
  }

  #cutServices(services: readonly ServiceRoute[]): Part[] {
    if (services.length > SERVICES_MAX) {
      throw limit(`it has ${services.length} of at most ${SERVICES_MAX} services`);
    }
    return services.map((service) => {
      const known = this.#services.get(service);
      if (known !== undefined) return known;
      const part = partOf('services', JSON.stringify(service));
      this.#services.set(service, part);
      return part;
    });
  }

  #cutRest(table: RoutingTable, pepper: string): Part {
    const { v: _, version: _version, services: _services, ...rest } = table;
    const content = JSON.stringify({ pepper, ...rest, tenants: undefined });
    if (this.#rest?.content === content) return this.#rest.part;
    const part = partOf('rest', content);
    this.#rest = { content, part };
    return part;
  }

  *#cutRows(tenants: readonly TenantRoute[]): Steps<RowParts> {
    const count = { tenants: tenants.length, keys: 0, hosts: 0, certificates: 0 };
    for (const { keys, hosts, certificates } of tenants) {
      count.keys += keys.length;
      count.hosts += hosts?.length ?? 0;
      count.certificates += certificates?.length ?? 0;
    }
    yield undefined;
    const sources = {
      tenants: emptyBuckets('tenants', count.tenants),
      keys: emptyBuckets('keys', count.keys),
      hosts: emptyBuckets('hosts', count.hosts),
      certificates: emptyBuckets('certificates', count.certificates),
    };
    for (const [i, tenant] of tenants.entries()) {
      place(sources.tenants, { name: tenant.id, tenant, rule: undefined });
      for (const rule of tenant.keys) place(sources.keys, { name: rule.id, tenant, rule });
      for (const name of tenant.hosts ?? []) {
        place(sources.hosts, { name, tenant, rule: undefined });
      }
      for (const name of tenant.certificates ?? []) {
        place(sources.certificates, { name, tenant, rule: undefined });
      }
      if (i % SORT_AT_ONCE === 0) yield undefined;
    }
    return {
      tenants: yield* this.#cutBuckets('tenants', sources.tenants),
      keys: yield* this.#cutBuckets('keys', sources.keys),
      hosts: yield* this.#cutBuckets('hosts', sources.hosts),
      certificates: yield* this.#cutBuckets('certificates', sources.certificates),
    };
  }

  *#cutBuckets(family: RowFamily, sources: readonly Source[][]): Steps<readonly Part[]> {
    const before = this.#buckets.get(family) ?? [];
    const buckets: Bucket[] = [];
    for (const [i, list] of sources.entries()) {
      const known = before[i];
      if (known !== undefined && isSame(known.sources, list)) buckets.push(known);
      else buckets.push({ sources: list, part: rowPart(family, list) });
      yield undefined;
    }
    this.#buckets.set(family, buckets);
    return buckets.map(({ part }) => part);
  }
}

function checkWhole(parts: CutTable['parts']): void {
  let count = 0;
  let bytes = 0;
  for (const list of Object.values(parts)) {
    count += list.length;
    for (const { body } of list) bytes += body.length;
  }
  if (count > PARTS_MAX) throw limit(`it has ${count} of at most ${PARTS_MAX} parts`);
  if (bytes > TABLE_BYTES_MAX) throw limit(`it has ${bytes} of at most ${TABLE_BYTES_MAX} bytes`);
}

function emptyBuckets(family: RowFamily, rows: number): Source[][] {
  if (rows > ROWS_MAX) throw limit(`it has ${rows} of at most ${ROWS_MAX} ${family}`);
  return Array.from({ length: bucketsFor(rows) }, () => []);
}

function place(buckets: readonly Source[][], source: Source): void {
  buckets[nameHash(source.name) & (buckets.length - 1)]?.push(source);
}

function isSame(a: readonly Source[], b: readonly Source[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) {
    const [one, other] = [a[i], b[i]];
    if (one?.tenant !== other?.tenant || one?.rule !== other?.rule) return false;
    if (one?.name !== other?.name) return false;
  }
  return true;
}

function rowPart(family: RowFamily, sources: readonly Source[]): Part {
  if (sources.length > PART_ROWS_MAX) {
    throw limit(`${sources.length} ${family} fall into one bucket of ${PART_ROWS_MAX}`);
  }
  return partOf(
    family,
    rowsContent(sources.map((source) => JSON.stringify(rowOf(family, source)))),
  );
}

function rowOf(family: RowFamily, { name, tenant, rule }: Source): readonly unknown[] {
  if (family === 'tenants') return tenantRow(tenant);
  if (family !== 'keys' || rule === undefined) return [name, tenant.id];
  const { id, mac, expiresAtMs, ...more } = rule;
  return withMore([id, tenant.id, mac, expiresAtMs ?? 0], more);
}

function tenantRow(tenant: TenantRoute): readonly unknown[] {
  const { id, region, status, ratePerSecond, burst, concurrency, bodyBytes, ...others } = tenant;
  const { keys: _, hosts: _hosts, certificates: _certificates, ...more } = others;
  const suspended = status === 'suspended' ? 1 : 0;
  return withMore([id, region, suspended, ratePerSecond, burst, concurrency, bodyBytes], more);
}

/** What few have stands under its name at the end of the row. */
function withMore(row: readonly unknown[], more: object): readonly unknown[] {
  for (const value of Object.values(more)) if (value !== undefined) return [...row, more];
  return row;
}
