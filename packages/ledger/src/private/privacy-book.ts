// What does the log itself say is held, restricted or past its time? Learnt from its entries alone,
// to notice marks that were lost: they tell whom a hold is about, and the log tells that it is.
// PB1. A hold counts from its entry until that of its release; a restriction until it is lifted or
//      its person erased; a minimum when its retention succeeded.

import { fromUtf8, utf8 } from '../bytes.ts';
import { LedgerError } from '../errors.ts';
import type { EntryFollower } from '../follow.ts';
import { canonicalJson } from '../json.ts';
import type { JsonObject, JsonValue } from '../json.ts';
import { isObject } from './checks.ts';
import type { MarksContent } from './marks.ts';
import { ERASE, HOLD_PLACED, HOLD_RELEASED, RESTRICTED, RETAIN, UNRESTRICTED } from './port.ts';

export interface StandingMark {
  readonly id: string;
  readonly tenant: string;
  /** Of the entry that says so. */
  readonly index: number;
}

export interface StandingMinimum {
  readonly tenant: string;
  /** Of the intent. */
  readonly index: number;
  readonly before: { readonly index: number; readonly atMs: number };
}

export interface Standing {
  readonly holds: readonly StandingMark[];
  readonly restrictions: readonly StandingMark[];
  readonly minimums: readonly StandingMinimum[];
}

interface Order extends StandingMinimum {
  readonly action: string;
}

const INTENT_START = Buffer.from('{"action":"privacy.');
const RECORD_KIND = Buffer.from(',"kind":"privacy.');
const OUTCOME_KIND = Buffer.from('"kind":"outcome"');
/** Kind, salt, tenant and version of an entry of these kinds are not longer. */
const TAIL_BYTES = 192;

export class PrivacyBook implements EntryFollower {
  readonly name = 'privacy';
  readonly #holds = new Map<string, StandingMark>();
  readonly #restrictions = new Map<string, StandingMark>();
  readonly #minimums = new Map<string, StandingMinimum>();
  readonly #orders = new Map<number, Order>();
  /** Ended by an erasure before their own entry came. */
  readonly #ended = new Set<string>();

  /** Most entries are told apart by a few bytes and need no JSON.parse. */
  concerns(bytes: Uint8Array): boolean {
    if (startsWith(bytes, INTENT_START)) return true;
    const entry = asBuffer(bytes);
    if (entry.includes(RECORD_KIND, Math.max(0, entry.length - TAIL_BYTES))) return true;
    return this.#orders.size > 0 && entry.includes(OUTCOME_KIND);
  }

  follow(index: number, bytes: Uint8Array): void {
    if (!this.concerns(bytes)) return;
    const { v, kind, action, intent, result, tenant, detail = null } = parse(bytes);
    if (v !== 1 || !isObject(detail)) return;
    if (kind === 'outcome') this.#outcome(Number(intent), result === 'succeeded', detail);
    else if (typeof tenant !== 'string') return;
    else if (kind === 'intent') this.#order(index, textOr(action), tenant, detail);
    else this.#record(index, textOr(kind), tenant, detail);
  }

  standing(): Standing {
    return {
      holds: [...this.#holds.values()],
      restrictions: [...this.#restrictions.values()],
      minimums: [...this.#minimums.values()],
    };
  }

  snapshot(): Uint8Array {
    const orders = [...this.#orders.values()];
    return utf8(canonicalJson({ v: 1, ...this.standing(), orders, ended: [...this.#ended] }));
  }

  restore(bytes: Uint8Array): void {
    const { v, holds, restrictions, minimums, orders, ended } = parse(bytes);
    const lists = [holds, restrictions, minimums, orders, ended];
    if (v !== 1 || !lists.every(Array.isArray)) {
      throw new LedgerError('KIN_LEDGER_CORRUPT', 'the snapshot of "privacy" cannot be read');
    }
    // Written by `snapshot` and covered by the checksum of the base.
    const marks = (list: unknown): readonly StandingMark[] => list as readonly StandingMark[];
    fill(this.#holds, marks(holds), ({ id }) => id);
    fill(this.#restrictions, marks(restrictions), ({ id }) => id);
    fill(this.#minimums, minimums as unknown as StandingMinimum[], ({ tenant }) => tenant);
    fill(this.#orders, orders as unknown as Order[], ({ index }) => index);
    this.#ended.clear();
    for (const id of ended as readonly string[]) this.#ended.add(id);
  }

  #order(index: number, action: string, tenant: string, detail: JsonObject): void {
    if (action !== ERASE && action !== RETAIN) return;
    const { index: below, atMs } = objectOr(detail['before']);
    const before = { index: numberOr(below), atMs: numberOr(atMs) };
    this.#orders.set(index, { action, tenant, index, before });
  }

  #outcome(intent: number, isDone: boolean, detail: JsonObject): void {
    const order = this.#orders.get(intent);
    if (order === undefined) return;
    this.#orders.delete(intent);
    if (!isDone) return;
    const { action, tenant, before } = order;
    if (action === RETAIN) {
      const old = this.#minimums.get(tenant)?.before ?? { index: 0, atMs: 0 };
      const risen = {
        index: Math.max(old.index, before.index),
        atMs: Math.max(old.atMs, before.atMs),
      };
      this.#minimums.set(tenant, { tenant, index: intent, before: risen });
      return;
    }
    const ended = detail['restrictions'];
    for (const id of Array.isArray(ended) ? ended : []) {
      if (typeof id === 'string' && !this.#restrictions.delete(id)) this.#ended.add(id);
    }
  }

  #record(index: number, kind: string, tenant: string, detail: JsonObject): void {
    const hold = textOr(detail['hold']);
    const restriction = textOr(detail['restriction']);
    if (kind === HOLD_PLACED) this.#holds.set(hold, { id: hold, tenant, index });
    if (kind === HOLD_RELEASED) this.#holds.delete(hold);
    if (kind === RESTRICTED && !this.#ended.delete(restriction)) {
      this.#restrictions.set(restriction, { id: restriction, tenant, index });
    }
    if (kind === UNRESTRICTED) this.#restrictions.delete(restriction);
  }
}

export interface LostMark {
  /** Of the entry that says what the marks do not. */
  readonly index: number;
  readonly reason: string;
}

/** What the log says is in force and none of these marks knows. */
export function lostMarks(standing: Standing, ...known: readonly MarksContent[]): LostMark[] {
  const lost: LostMark[] = [];
  const lose = (index: number, what: string): void => {
    lost.push({ index, reason: `lacks ${what} of entry ${index}` });
  };
  const holds = new Set(known.flatMap((marks) => marks.holds.map(keyOfHold)));
  for (const { id, tenant, index } of standing.holds) {
    if (!holds.has(`${tenant} ${id}`)) lose(index, `the legal hold ${id}`);
  }
  const restrictions = new Set(
    known.flatMap((marks) => marks.restrictions.map((one) => `${one.tenant} ${one.restriction}`)),
  );
  for (const { id, tenant, index } of standing.restrictions) {
    if (!restrictions.has(`${tenant} ${id}`)) lose(index, `the restriction ${id}`);
  }
  for (const { tenant, index, before } of standing.minimums) {
    const isKept = known.some(({ retention }) =>
      retention.some(
        (one) => one.tenant === tenant && one.index >= before.index && one.atMs >= before.atMs,
      ),
    );
    if (!isKept) lose(index, `the retention minimum of tenant ${tenant}`);
  }
  return lost.toSorted((one, other) => one.index - other.index);
}

function keyOfHold({ tenant, hold }: MarksContent['holds'][number]): string {
  return `${tenant} ${hold}`;
}

function fill<Key, Item>(
  map: Map<Key, Item>,
  items: readonly Item[],
  keyOf: (item: Item) => Key,
): void {
  map.clear();
  for (const item of items) map.set(keyOf(item), item);
}

function parse(bytes: Uint8Array): JsonObject {
  try {
    return objectOr(JSON.parse(fromUtf8(bytes) ?? '') as JsonValue);
  } catch {
    return {};
  }
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  for (let at = 0; at < start.length; at++) if (bytes[at] !== start[at]) return false;
  return true;
}

function asBuffer(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function objectOr(value: JsonValue | undefined): JsonObject {
  return isObject(value) ? value : {};
}

function textOr(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : '';
}

function numberOr(value: JsonValue | undefined): number {
  return typeof value === 'number' ? value : 0;
}
