// The rows of a family over all of its buckets, as a map that can be asked and walked.
//
//   RT1. Every row lies in the bucket that its name asks for, or the table is refused.
import { nameHash } from './parts.ts';
import type { RowFamily } from './parts.ts';
import type { RowPart } from './row-part.ts';
import type { KeyRow, KnownKey, RowValue } from './rows.ts';

/** What of a map is answered from its look-up and its walk alone. */
abstract class WalkedMap<V> implements ReadonlyMap<string, V> {
  abstract readonly size: number;
  abstract get(name: string): V | undefined;
  abstract has(name: string): boolean;
  abstract entries(): Generator<[string, V], undefined>;

  [Symbol.iterator](): Generator<[string, V], undefined> {
    return this.entries();
  }

  *keys(): Generator<string, undefined> {
    for (const [name] of this.entries()) yield name;
    return undefined;
  }

  *values(): Generator<V, undefined> {
    for (const [, value] of this.entries()) yield value;
    return undefined;
  }

  forEach(visit: (value: V, name: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [name, value] of this.entries()) visit(value, name, this);
  }
}

export class RowTable<F extends RowFamily> extends WalkedMap<RowValue[F]> {
  readonly parts: readonly RowPart<F>[];
  readonly size: number;
  readonly #mask: number;

  /** Throws when the buckets are not 2^n, or a row lies in the wrong one. */
  constructor(family: F, parts: readonly RowPart<F>[]) {
    super();
    const count = parts.length;
    this.parts = parts;
    this.size = parts.reduce((sum, part) => sum + part.size, 0);
    this.#mask = count - 1;
    const isSorted = parts.every((part, i) => part.isBucket(i, count));
    if ((count & this.#mask) !== 0 || !isSorted) {
      throw new Error(`the ${family} are not in their buckets`);
    }
  }

  get(name: string): RowValue[F] | undefined {
    const hash = nameHash(name);
    return this.parts[hash & this.#mask]?.find(name, hash);
  }

  has(name: string): boolean {
    const hash = nameHash(name);
    return this.parts[hash & this.#mask]?.has(name, hash) ?? false;
  }

  *entries(): Generator<[string, RowValue[F]], undefined> {
    for (const part of this.parts) {
      for (const { name, value } of part.rows()) yield [name, value];
    }
    return undefined;
  }
}

/** Keys together with their tenants. One whose tenant is not there is not there either. */
export class KeyTable extends WalkedMap<KnownKey> {
  readonly rows: RowTable<'keys'>;
  readonly tenants: RowTable<'tenants'>;

  constructor(rows: RowTable<'keys'>, tenants: RowTable<'tenants'>) {
    super();
    this.rows = rows;
    this.tenants = tenants;
  }

  get size(): number {
    return this.rows.size;
  }

  get(name: string): KnownKey | undefined {
    const row = this.rows.get(name);
    return row === undefined ? undefined : this.#join(row);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  *entries(): Generator<[string, KnownKey], undefined> {
    for (const [name, row] of this.rows.entries()) {
      const known = this.#join(row);
      if (known !== undefined) yield [name, known];
    }
    return undefined;
  }

  /** Rows outlive tables: what one remembers holds for the tenants it was asked with. */
  #join(row: KeyRow): KnownKey | undefined {
    if (row.tenants === this.tenants) return row.known;
    const tenant = this.tenants.get(row.tenant);
    if (tenant === undefined) return undefined;
    row.known = { tenant, rule: row.rule };
    row.tenants = this.tenants;
    return row.known;
  }
}
