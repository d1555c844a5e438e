// How does a table arrive? It is offered by the digests of its parts; those that are not here are
// asked for, checked as they come, a few milliseconds at a time, and when all are here the table is
// made and handed over whole.
//
//   AR1. Requests never wait longer than a slice: parts are read from the wire, and checked later.
//   AR2. A newer offer wins at once; parts that it shares with the one before are not sent again.
//   AR3. A part that is damaged or not in order, or a limit, ends this table only: what is in force
//        stays in force, and the controller is told why.
import { messageOf } from '../model/errors.ts';
import { PartShelf, namesOf } from './checked.ts';
import type { PartNames } from './checked.ts';
import { isRecord } from './lines.ts';
import { DIGEST, FAMILIES, PARTS_MAX, PART_BYTES_MAX, TABLE_BYTES_MAX, limit } from './parts.ts';
import type { Family } from './parts.ts';
import { TableOfParts } from './routes.ts';
import { startSliced } from './slices.ts';
import type { Steps } from './slices.ts';

/** With some requests in between, a pause stays far below 20 ms. */
const SLICE_MS = 2;

export interface ArrivalDeps {
  /** In force now: its parts need not come again. */
  readonly saved: TableOfParts | undefined;
  readonly version: () => number;
  /** What is offered is not newer than what is in force. */
  readonly kept: () => void;
  readonly want: (version: number, digests: readonly string[]) => void;
  readonly ready: (table: TableOfParts) => void;
  readonly refused: (version: number, reason: string) => void;
}

interface Assembly {
  readonly version: number;
  readonly names: PartNames;
  /** What is still to come, and the family that it is for. */
  readonly missing: Map<string, Family>;
  bytes: number;
}

const NOTHING: PartNames = {
  rest: [],
  services: [],
  tenants: [],
  keys: [],
  hosts: [],
  certificates: [],
};

export class Arrival {
  readonly #deps: ArrivalDeps;
  readonly #shelf = new PartShelf();
  readonly #queue: { readonly digest: string; readonly body: Buffer }[] = [];
  #last: TableOfParts | undefined;
  #offered = NOTHING;
  #assembly: Assembly | undefined;
  #working = false;

  constructor(deps: ArrivalDeps) {
    this.#deps = deps;
    this.#last = deps.saved;
    if (deps.saved !== undefined) this.#shelf.adopt(deps.saved.parts);
  }

  /** A new connection: what comes next is a whole offer. Parts that have come are kept. */
  restart(): void {
    this.#offered = NOTHING;
    this.#assembly = undefined;
    this.#queue.length = 0;
  }

  /** Answers why this is no offer. */
  offer(frame: Readonly<Record<string, unknown>>): string | undefined {
    const { version, parts } = frame as { readonly version?: unknown; readonly parts?: unknown };
    if (typeof version !== 'number' || !isRecord(parts)) return 'an odd offer';
    const names = readNames(this.#offered, parts);
    if (names === undefined) return 'an offer of odd parts';
    this.#offered = names;
    if (version <= this.#deps.version()) {
      this.#deps.kept();
      return undefined;
    }
    if (this.#assembly !== undefined && version < this.#assembly.version) return undefined;
    this.#assemble(version, names);
    return undefined;
  }

  #assemble(version: number, names: PartNames): void {
    const missing = new Map<string, Family>();
    let count = 0;
    for (const family of FAMILIES) {
      count += names[family].length;
      for (const digest of names[family]) {
        if (!this.#shelf.has(family, digest)) missing.set(digest, family);
      }
    }
    // The last one is finished or given up: whatever it had and this one has not, can go.
    this.#assembly = { version, names, missing, bytes: 0 };
    const inForce = this.#last === undefined ? NOTHING : namesOf(this.#last.parts);
    this.#shelf.keepOnly([names, inForce]);
    if (count > PARTS_MAX) {
      this.#give(limit(`it has ${count} of at most ${PARTS_MAX} parts`));
      return;
    }
    const queued = new Set(this.#queue.map(({ digest }) => digest));
    const wanted = [...missing.keys()].filter((digest) => !queued.has(digest));
    if (wanted.length > 0) this.#deps.want(version, wanted);
    this.#work();
  }

  /** May so many bytes come under this name? Answers why not. */
  expects(digest: unknown, bytes: unknown): string | undefined {
    if (typeof digest !== 'string' || !DIGEST.test(digest)) return 'a part without a name';
    if (typeof bytes !== 'number' || !Number.isInteger(bytes) || bytes < 1) return 'an odd part';
    return bytes > PART_BYTES_MAX ? 'a part that is too large' : undefined;
  }

  body(digest: string, body: Buffer): void {
    const assembly = this.#assembly;
    // It may belong to an offer that was given up meanwhile.
    if (assembly?.missing.has(digest) !== true) return;
    assembly.bytes += body.length;
    if (assembly.bytes > TABLE_BYTES_MAX) {
      this.#give(limit(`more than ${TABLE_BYTES_MAX} bytes came`));
      return;
    }
    this.#queue.push({ digest, body });
    this.#work();
  }

  #work(): void {
    if (this.#working) return;
    this.#working = true;
    // Not in the event that brought the bytes: more of them are read in one go.
    setImmediate(() => {
      startSliced(this.#steps(), {
        budgetMs: SLICE_MS,
        onDone: () => {
          this.#working = false;
          // A newer offer may have come in the last pause, and lack nothing.
          if (this.#queue.length > 0 || this.#assembly?.missing.size === 0) this.#work();
        },
        onFault: (error) => {
          this.#working = false;
          this.#give(error);
        },
      });
    });
  }

  *#steps(): Steps<undefined> {
    for (let part = this.#queue.shift(); part !== undefined; part = this.#queue.shift()) {
      const assembly = this.#assembly;
      const family = assembly?.missing.get(part.digest);
      if (assembly === undefined || family === undefined) continue;
      this.#shelf.add(family, part);
      assembly.missing.delete(part.digest);
      yield undefined;
    }
    const assembly = this.#assembly;
    if (assembly?.missing.size !== 0) return undefined;
    const { version, names } = assembly;
    const table = new TableOfParts(version, this.#shelf.take(names), this.#last);
    yield undefined;
    // While it was made, a newer one may have been offered.
    if (this.#assembly === assembly) this.#finish(names, table);
    return undefined;
  }

  #finish(names: PartNames, table: TableOfParts): void {
    this.#assembly = undefined;
    this.#last = table;
    this.#shelf.keepOnly([names]);
    this.#deps.ready(table);
  }

  #give(error: unknown): void {
    const version = this.#assembly?.version ?? 0;
    this.#assembly = undefined;
    this.#queue.length = 0;
    this.#deps.refused(version, messageOf(error));
  }
}

/** Families that are not named are those of the offer before. */
function readNames(
  before: PartNames,
  parts: Readonly<Record<string, unknown>>,
): PartNames | undefined {
  const names: Record<Family, readonly string[]> = { ...before };
  for (const family of FAMILIES) {
    const given = parts[family];
    if (given === undefined) continue;
    if (!Array.isArray(given) || !given.every(isDigest)) return undefined;
    names[family] = given;
  }
  return names;
}

function isDigest(value: unknown): value is string {
  return typeof value === 'string' && DIGEST.test(value);
}
