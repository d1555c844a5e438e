// How does a table become parts? Cut anew at each push, but what is the same object as last time is
// the same part: a changed replica must not cost the serialising of 100 000 tenants.
//
//   CU1. What did not change is neither serialised nor digested again.
//   CU2. A cutter that fails or is stopped half-way keeps what it knew.
import type { RoutingTable, ServiceRoute, TenantRoute } from '../model/routing.ts';
import { PartDraft } from './part-draft.ts';
import {
  BUCKETS_MAX,
  PARTS_MAX,
  PART_ROWS_MAX,
  ROWS_MAX,
  SERVICES_MAX,
  TABLE_BYTES_MAX,
  bucketsFor,
  limit,
  nameHash,
  partOf,
} from './parts.ts';
import type { Family, Part, RowFamily } from './parts.ts';
import { rowText } from './row-text.ts';
import type { RowSource } from './row-text.ts';
import type { Steps } from './slices.ts';

/** Rows that are looked at between two looks at the clock. */
const ROWS_AT_ONCE = 1_024;
const BUCKETS_AT_ONCE = 16;

export interface CutTable {
  readonly version: number;
  readonly parts: Readonly<Record<Family, readonly Part[]>>;
}

/** The rows of a family, side by side: what each is made from. The same gives the same row. */
interface Rows {
  readonly tenants: TenantRoute[];
  readonly sources: RowSource[];
  /** Of the names; only the bits that choose a bucket. */
  readonly hashes: number[];
}

interface Sorted extends Rows {
  readonly buckets: Uint16Array;
  /** Rows bucket by bucket; `ends` says where those of each end. */
  readonly order: Uint32Array;
  readonly ends: Uint32Array;
}

interface CutRows {
  readonly sorted: Sorted;
  readonly parts: readonly Part[];
}

type RowParts = Readonly<Record<RowFamily, readonly Part[]>>;

export class TableCutter {
  readonly #services = new WeakMap<ServiceRoute, Part>();
  readonly #cut = new Map<RowFamily, CutRows>();
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
    const rows = yield* rowsOf(tenants);
    return {
      tenants: yield* this.#cutFamily('tenants', rows.tenants),
      keys: yield* this.#cutFamily('keys', rows.keys),
      hosts: yield* this.#cutFamily('hosts', rows.hosts),
      certificates: yield* this.#cutFamily('certificates', rows.certificates),
    };
  }

  *#cutFamily(family: RowFamily, rows: Rows): Steps<readonly Part[]> {
    const sorted = sort(family, rows);
    const known = yield* sameParts(this.#cut.get(family), sorted);
    const parts = yield* partsOf(family, sorted, known);
    this.#cut.set(family, { sorted, parts });
    return parts;
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

const noRows = (): Rows => ({ tenants: [], sources: [], hashes: [] });

function* rowsOf(tenants: readonly TenantRoute[]): Steps<Readonly<Record<RowFamily, Rows>>> {
  const all = { tenants: noRows(), keys: noRows(), hosts: noRows(), certificates: noRows() };
  let sinceYield = 0;
  for (const tenant of tenants) {
    add(all.tenants, tenant, tenant.id, tenant.id);
    for (const rule of tenant.keys) add(all.keys, tenant, rule, rule.id);
    for (const name of tenant.hosts ?? []) add(all.hosts, tenant, name, name);
    for (const name of tenant.certificates ?? []) add(all.certificates, tenant, name, name);
    sinceYield += 1;
    if (sinceYield % ROWS_AT_ONCE === 0) yield undefined;
  }
  return all;
}

function add(rows: Rows, tenant: TenantRoute, source: RowSource, name: string): void {
  rows.tenants.push(tenant);
  rows.sources.push(source);
  rows.hashes.push(nameHash(name) & (BUCKETS_MAX - 1));
}

/** By counting: rows of one bucket stand in the order of the table. */
function sort(family: RowFamily, rows: Rows): Sorted {
  const { hashes } = rows;
  const count = hashes.length;
  if (count > ROWS_MAX) throw limit(`it has ${count} of at most ${ROWS_MAX} ${family}`);
  const ends = new Uint32Array(bucketsFor(count));
  const buckets = new Uint16Array(hashes);
  const order = new Uint32Array(count);
  const mask = ends.length - 1;
  for (let row = 0; row < count; row += 1) {
    const bucket = (buckets[row] ?? 0) & mask;
    buckets[row] = bucket;
    ends[bucket] = (ends[bucket] ?? 0) + 1;
  }
  let end = 0;
  for (let bucket = 0; bucket < ends.length; bucket += 1) {
    const size = ends[bucket] ?? 0;
    if (size > PART_ROWS_MAX) {
      throw limit(`${size} ${family} fall into one bucket of ${PART_ROWS_MAX}`);
    }
    ends[bucket] = end;
    end += size;
  }
  // Now each is where its bucket begins, and moves to the end as rows are put there.
  for (let row = 0; row < count; row += 1) {
    const bucket = buckets[row] ?? 0;
    const at = ends[bucket] ?? 0;
    order[at] = row;
    ends[bucket] = at + 1;
  }
  return { ...rows, buckets, order, ends };
}

/** For each bucket the part that it was before, unless something in it has changed. */
function* sameParts(
  before: CutRows | undefined,
  sorted: Sorted,
): Steps<readonly (Part | undefined)[]> {
  const known: (Part | undefined)[] = [];
  for (let bucket = 0; bucket < sorted.ends.length; bucket += 1) {
    const part = before?.parts[bucket];
    const isKnown = before !== undefined && isSame(before.sorted, sorted, bucket);
    known.push(isKnown ? part : undefined);
    if (bucket % BUCKETS_AT_ONCE === 0) yield undefined;
  }
  return known;
}

function isSame(a: Sorted, b: Sorted, bucket: number): boolean {
  if (a.ends.length !== b.ends.length) return false;
  const [aFrom, bFrom] = [startOf(a, bucket), startOf(b, bucket)];
  const size = (a.ends[bucket] ?? 0) - aFrom;
  if (size !== (b.ends[bucket] ?? 0) - bFrom) return false;
  for (let i = 0; i < size; i += 1) {
    const one = a.order[aFrom + i] ?? 0;
    const other = b.order[bFrom + i] ?? 0;
    if (a.tenants[one] !== b.tenants[other] || a.sources[one] !== b.sources[other]) return false;
  }
  return true;
}

function startOf({ ends }: Sorted, bucket: number): number {
  return bucket === 0 ? 0 : (ends[bucket - 1] ?? 0);
}

function* partsOf(
  family: RowFamily,
  sorted: Sorted,
  known: readonly (Part | undefined)[],
): Steps<readonly Part[]> {
  const { tenants, sources, buckets, ends } = sorted;
  const rowBytes = usualBytes(family, sorted);
  const drafts: (PartDraft | undefined)[] = known.map(() => undefined);
  // Made when its first row comes: hundreds of buffers at once would be a pause.
  const draftOf = (i: number): PartDraft =>
    (drafts[i] ??= new PartDraft(family, (ends[i] ?? 0) - startOf(sorted, i), rowBytes));
  // In the order of the table, as it lies in memory: bucket by bucket each row would be fetched
  // from another corner of it, which takes several times as long.
  for (let row = 0; row < buckets.length; row += 1) {
    const bucket = buckets[row] ?? 0;
    const [tenant, source] = [tenants[row], sources[row]];
    if (known[bucket] === undefined && tenant !== undefined && source !== undefined) {
      draftOf(bucket).add(rowText(family, tenant, source));
    }
    if (row % ROWS_AT_ONCE === 0) yield undefined;
  }
  const parts: Part[] = [];
  for (const [bucket, part] of known.entries()) {
    parts.push(part ?? draftOf(bucket).close());
    drafts[bucket] = undefined;
    yield undefined;
  }
  return parts;
}

/** Of the row in the middle of the table and what parts it from the next one. */
function usualBytes(family: RowFamily, { tenants, sources }: Rows): number {
  const middle = sources.length >>> 1;
  const [tenant, source] = [tenants[middle], sources[middle]];
  if (tenant === undefined || source === undefined) return 0;
  return rowText(family, tenant, source).length + 2;
}
