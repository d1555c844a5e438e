// Is every private field that an entry commits to still there, or was it ordered to go? Entries are
// compared with the heads of the payloads, which stay when a payload is overwritten; and what the
// log says is held or restricted with the marks.
// VP1. A digest without a head, or with one that no erasure or retention of its tenant explains, is
//      a finding with the index of its entry.
// VP2. The log is read after the heads: what is missing counts when a second look misses it too.

import { DigestIndex, Columns } from '../private/digest-index.ts';
import { privateDigests } from '../private/disclosure.ts';
import type { Frame, RemovalCause } from '../private/frame.ts';
import { readPayloadHead } from '../private/payload.ts';
import { ERASE, RETAIN } from '../private/port.ts';
import { PrivacyBook } from '../private/privacy-book.ts';
import { Redactions } from '../private/redactions.ts';
import { decodeEntry } from '../entry.ts';
import { tenantOf } from '../tenants/tenant-of.ts';

const DIGEST_BYTES = 32;
const MISSING_MAX = 10_000;
const CAUSES: readonly ('live' | RemovalCause)[] = ['live', 'erased', 'retired', 'orphan'];
const ORDERED_BY = { erased: ERASE, retired: RETAIN } as const;
const PRIVATE = Buffer.from('"private":[');

export type KnownPayload =
  | { readonly kind: 'live' }
  | { readonly kind: 'removed'; readonly cause: RemovalCause; readonly index: number };

/** The digests of all payloads, in about 60 bytes each. */
export class PayloadHeads {
  readonly #index = new DigestIndex();
  readonly #states = new Columns(2);
  #digests = Buffer.alloc(DIGEST_BYTES * 64);

  get count(): number {
    return this.#index.count;
  }

  learn({ head, state }: Frame): void {
    const cause = state.kind === 'removed' ? state.cause : 'live';
    const index = state.kind === 'removed' ? state.index : 0;
    for (const digest of readPayloadHead(head)?.digests ?? []) {
      const row = this.#states.push(CAUSES.indexOf(cause), index);
      const at = row * DIGEST_BYTES;
      if (at + DIGEST_BYTES > this.#digests.length) {
        this.#digests = Buffer.concat([this.#digests], this.#digests.length * 2);
      }
      this.#digests.set(digest, at);
      this.#index.add(digest, row);
    }
  }

  /** A live one before a removed one. */
  find(digest: Buffer): KnownPayload | undefined {
    let found: KnownPayload | undefined;
    for (const row of this.#index.candidates(digest)) {
      const at = row * DIGEST_BYTES;
      if (!this.#digests.subarray(at, at + DIGEST_BYTES).equals(digest)) continue;
      const cause = CAUSES[this.#states.get(row, 0)] ?? 'live';
      if (cause === 'live') return { kind: 'live' };
      found = { kind: 'removed', cause, index: this.#states.get(row, 1) };
    }
    return found;
  }
}

export interface PrivateFinding {
  readonly index: number;
  readonly reason: string;
}

interface MissingFields {
  readonly index: number;
  readonly tenant: string;
  readonly digests: readonly string[];
  /** How many the entry has. */
  readonly of: number;
  readonly atMs: number;
}

interface RemovedFields {
  readonly cause: RemovalCause;
  readonly order: number;
  readonly tenant: string;
  /** The first entry that they are about. */
  readonly index: number;
}

/** One reading of the log beside the heads that were read before it. */
export class PrivateAudit {
  readonly book = new PrivacyBook();
  readonly #heads: PayloadHeads;
  readonly #redactions = new Redactions();
  readonly #orders = new Map<number, string>();
  readonly #missing: MissingFields[] = [];
  readonly #removed = new Map<string, RemovedFields>();
  #first: number | undefined;
  #passedOver = 0;

  constructor(heads: PayloadHeads) {
    this.#heads = heads;
  }

  /** Entries with missing fields beyond the most that are looked at. */
  get passedOver(): number {
    return this.#passedOver;
  }

  follow(index: number, entry: Buffer): void {
    this.#first ??= index;
    if (this.book.concerns(entry)) {
      this.#redactions.learn(index, entry);
      this.#order(index, entry);
      this.book.follow(index, entry);
    }
    if (!entry.includes(PRIVATE)) return;
    const digests = privateDigests(entry);
    const tenant = tenantOf(entry);
    if (digests.length === 0 || tenant === undefined) return;
    const missing = digests.filter((digest) => !this.#isThere(index, tenant, digest));
    if (missing.length === 0) return;
    if (this.#missing.length >= MISSING_MAX) {
      this.#passedOver += 1;
      return;
    }
    const decoded = decodeEntry(entry);
    const at = decoded.type === 'raw' ? Number.NaN : Date.parse(decoded.entry.at);
    const atMs = Number.isNaN(at) ? Infinity : at;
    this.#missing.push({ index, tenant, digests: missing, of: digests.length, atMs });
  }

  /** Is a second look at the payloads needed? */
  get isComplete(): boolean {
    return this.#missing.length === 0;
  }

  /** `again`: the heads as they are now, after the log was read. `decoys`: some are of nothing. */
  *findings(again: PayloadHeads, decoys: boolean): Iterable<PrivateFinding> {
    for (const { index, tenant, digests, of, atMs } of this.#missing) {
      const gone = digests.filter((digest) => {
        if (again.find(Buffer.from(digest, 'base64url')) !== undefined) return false;
        return this.#redactions.explain({ tenant, index, digest, atMs }).kind === 'missing';
      });
      if (gone.length === 0 || (decoys && digests.length < of)) continue;
      const count = `${gone.length} of ${of} private fields`;
      yield { index, reason: `${count} have no payload, and no entry ordered it` };
    }
    for (const { cause, order, tenant, index } of this.#removed.values()) {
      if (cause === 'orphan') {
        yield { index, reason: 'a payload was overwritten as an orphan, and this entry names it' };
        continue;
      }
      // Retention took the entries below: their orders cannot be asked for.
      if (order < (this.#first ?? 0)) continue;
      const expected = `${ORDERED_BY[cause]} ${tenant}`;
      if (this.#orders.get(order) === expected) continue;
      const what = `a payload was overwritten as ${cause} by entry ${order}`;
      yield { index, reason: `${what}, which orders no such thing` };
    }
  }

  #order(index: number, entry: Buffer): void {
    const decoded = decodeEntry(entry);
    if (decoded.type !== 'intent') return;
    const { action, tenant } = decoded.entry;
    if (tenant !== undefined) this.#orders.set(index, `${action} ${tenant}`);
  }

  #isThere(index: number, tenant: string, digest: string): boolean {
    const found = this.#heads.find(Buffer.from(digest, 'base64url'));
    if (found?.kind === 'removed') {
      const { cause, index: order } = found;
      const key = `${cause} ${order} ${tenant}`;
      if (!this.#removed.has(key)) this.#removed.set(key, { cause, order, tenant, index });
    }
    return found !== undefined;
  }
}
