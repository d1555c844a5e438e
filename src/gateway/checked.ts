// Which parts has this gateway, checked and ready? A part that is in order once is in order for
// ever: it is found again by its digest, whatever table names it.
//
//   CH1. A part is what its digest says, and in order, or it is not used.
import { FAMILIES, digestOf } from './parts.ts';
import type { Family, Part } from './parts.ts';
import { RowPart } from './row-part.ts';
import { readRest, readService } from './service-part.ts';
import type { RestPart, ServicePart } from './service-part.ts';

export interface CheckedOf {
  readonly rest: RestPart;
  readonly services: ServicePart;
  readonly tenants: RowPart<'tenants'>;
  readonly keys: RowPart<'keys'>;
  readonly hosts: RowPart<'hosts'>;
  readonly certificates: RowPart<'certificates'>;
}

export type Checked = CheckedOf[Family];
export type CheckedParts = { readonly [F in Family]: readonly CheckedOf[F][] };

const READERS: { readonly [F in Family]: (part: Part) => CheckedOf[F] } = {
  rest: readRest,
  services: readService,
  tenants: (part) => new RowPart('tenants', part),
  keys: (part) => new RowPart('keys', part),
  hosts: (part) => new RowPart('hosts', part),
  certificates: (part) => new RowPart('certificates', part),
};

/** Throws when it is not in order. */
export function readPart<F extends Family>(family: F, part: Part): CheckedOf[F] {
  return READERS[family](part);
}

export type PartNames = { readonly [F in Family]: readonly string[] };

/** The parts that a gateway holds, by family and digest. */
export class PartShelf {
  readonly #shelves: { readonly [F in Family]: Map<string, CheckedOf[F]> } = {
    rest: new Map(),
    services: new Map(),
    tenants: new Map(),
    keys: new Map(),
    hosts: new Map(),
    certificates: new Map(),
  };

  has(family: Family, digest: string): boolean {
    return this.#shelves[family].has(digest);
  }

  /** Throws when the body is not what the digest says, or not in order. */
  add(family: Family, { digest, body }: Part): void {
    if (digestOf(body) !== digest) throw new Error(`a part of the ${family} was damaged`);
    this.#put(family, readPart(family, { digest, body }));
  }

  #put<F extends Family>(family: F, part: CheckedOf[F]): void {
    this.#shelves[family].set(part.digest, part);
  }

  /** Takes over parts that have been checked before. */
  adopt(parts: CheckedParts): void {
    const adoptAll = <F extends Family>(family: F): void => {
      for (const part of parts[family]) this.#put(family, part);
    };
    for (const family of FAMILIES) adoptAll(family);
  }

  /** Lets go of all but these. */
  keepOnly(kept: readonly PartNames[]): void {
    for (const family of FAMILIES) {
      const names = new Set(kept.flatMap((parts) => parts[family]));
      const shelf = this.#shelves[family];
      for (const digest of shelf.keys()) if (!names.has(digest)) shelf.delete(digest);
    }
  }

  /** Throws when one is missing. */
  take(names: PartNames): CheckedParts {
    const all = <F extends Family>(family: F): CheckedOf[F][] =>
      names[family].map((digest) => {
        const part = this.#shelves[family].get(digest);
        if (part === undefined) throw new Error(`a part of the ${family} is missing`);
        return part;
      });
    return {
      rest: all('rest'),
      services: all('services'),
      tenants: all('tenants'),
      keys: all('keys'),
      hosts: all('hosts'),
      certificates: all('certificates'),
    };
  }
}

export function namesOf(parts: { readonly [F in Family]: readonly Part[] }): PartNames {
  const names = (family: Family): string[] => parts[family].map(({ digest }) => digest);
  return {
    rest: names('rest'),
    services: names('services'),
    tenants: names('tenants'),
    keys: names('keys'),
    hosts: names('hosts'),
    certificates: names('certificates'),
  };
}
