// A field is not shown: was it erased, or is it missing? Told from the log's own entries, without
// the payload store: for an auditor, pure, for the browser as well.
// P3. An erasure counts only when its intent is in the log, its outcome says that it succeeded, and
//     it names this entry (or digest) of its own tenant. Anything else is missing.

import { fromUtf8 } from '../bytes.ts';
import type { JsonObject, JsonValue } from '../json.ts';
import { isDigest } from './disclosure.ts';
import { ERASE, ERASED_PAGE, RETAIN } from './port.ts';

export type Absence =
  | {
      readonly kind: 'redacted';
      readonly by: 'erasure' | 'retention';
      /** Index of the intent. */
      readonly index: number;
      readonly basis: string;
    }
  | { readonly kind: 'missing' };

export interface AbsentField {
  readonly tenant: string;
  /** Log index of the entry. */
  readonly index: number;
  readonly digest: string;
  /** The entry's `at`, for a retention by time; milliseconds. */
  readonly atMs?: number;
}

interface Order {
  readonly kind: 'erasure' | 'retention';
  readonly index: number;
  readonly tenant: string;
  readonly basis: string;
  readonly named: Set<number | string>;
  readonly before: { readonly index: number; readonly atMs: number };
  isDone: boolean;
}

/** Fed with entries in index order, such as those of a tenant's log or a whole export. */
export class Redactions {
  readonly #orders = new Map<number, Order>();
  readonly #byName = new Map<number | string, Order[]>();
  readonly #retentions: Order[] = [];

  learn(index: number, bytes: Uint8Array): void {
    const { v, kind, action, intent, result, detail = null } = readEntry(bytes);
    if (v !== 1) return;
    if (kind === 'intent' && (action === ERASE || action === RETAIN)) {
      this.#intent(index, action, detail);
      return;
    }
    if (kind === 'outcome') {
      const order = this.#orders.get(Number(intent));
      if (order !== undefined && !order.isDone && result === 'succeeded') this.#done(order, detail);
    } else if (kind === ERASED_PAGE) {
      const order = this.#orders.get(Number(asObject(detail)['intent']));
      if (order !== undefined && !order.isDone) addNames(order, asObject(detail));
    }
  }

  /** P3. */
  explain({ tenant, index, digest, atMs }: AbsentField): Absence {
    const named = [...(this.#byName.get(index) ?? []), ...(this.#byName.get(digest) ?? [])];
    const order =
      named.find((one) => one.tenant === tenant && index < one.index) ??
      this.#retentions.find(
        ({ before, ...one }) =>
          one.tenant === tenant && (index < before.index || (atMs ?? Infinity) < before.atMs),
      );
    if (order === undefined) return { kind: 'missing' };
    return { kind: 'redacted', by: order.kind, index: order.index, basis: order.basis };
  }

  #intent(index: number, action: string, value: JsonValue): void {
    const detail = asObject(value);
    const before = asObject(detail['before']);
    this.#orders.set(index, {
      kind: action === ERASE ? 'erasure' : 'retention',
      index,
      tenant: textOr(detail['tenant']),
      basis: textOr(asObject(detail['basis'])['text']),
      named: new Set(),
      before: { index: numberOr(before['index']), atMs: numberOr(before['atMs']) },
      isDone: false,
    });
  }

  #done(order: Order, detail: JsonValue): void {
    order.isDone = true;
    if (order.kind === 'retention') {
      this.#retentions.push(order);
      return;
    }
    addNames(order, asObject(detail));
    for (const name of order.named) {
      this.#byName.set(name, [...(this.#byName.get(name) ?? []), order]);
    }
    order.named.clear();
  }
}

/** Here and not `entry.ts`, which the writer needs and a browser does not. */
function readEntry(bytes: Uint8Array): JsonObject {
  if (bytes[0] !== 0x7b) return {};
  try {
    return asObject(JSON.parse(fromUtf8(bytes) ?? '') as JsonValue);
  } catch {
    return {};
  }
}

function addNames({ named }: Order, detail: JsonObject): void {
  const list = detail['named'];
  if (!Array.isArray(list)) return;
  const names: readonly unknown[] = list;
  for (const name of names) {
    if (isDigest(name) || (typeof name === 'number' && Number.isSafeInteger(name))) named.add(name);
  }
}

function asObject(value: JsonValue | undefined): JsonObject {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as JsonObject) : {};
}

function numberOr(value: JsonValue | undefined): number {
  return typeof value === 'number' ? value : 0;
}

function textOr(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : '';
}
