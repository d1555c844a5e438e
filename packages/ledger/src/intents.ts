// Which intents have no outcome yet? Learnt from the entries themselves, so that it is the same
// after a restart.
// I1. An outcome names an intent that is in the log; an intent has at most one outcome.

import type { OpenIntent } from './api.ts';
import { fromUtf8, utf8 } from './bytes.ts';
import { decodeEntry } from './entry.ts';
import type { IntentEntry } from './entry.ts';
import { LedgerError, errorText } from './errors.ts';
import type { EntryFollower } from './follow.ts';
import { canonicalJson } from './json.ts';

const INTENT_START = utf8('{"action":"');
const OUTCOME_KIND = utf8('"kind":"outcome"');

export class IntentBook implements EntryFollower {
  readonly name = 'intents';
  readonly #open = new Map<number, OpenIntent>();
  readonly #closing = new Set<number>();

  get size(): number {
    return this.#open.size;
  }

  /**
   * Only the ledger writes these kinds, always in canonical form with sorted keys (entry E2): most
   * entries are told apart by a few bytes and need no JSON.parse.
   */
  follow(index: number, bytes: Uint8Array): void {
    const mayIntent = startsWith(bytes, INTENT_START);
    if (!mayIntent && !asBuffer(bytes).includes(OUTCOME_KIND)) return;
    const decoded = decodeEntry(bytes);
    if (decoded.type === 'intent') this.#opened(index, decoded.entry);
    if (decoded.type === 'outcome') this.closed(decoded.entry.intent);
  }

  snapshot(): Uint8Array {
    return utf8(canonicalJson(this.list()));
  }

  restore(bytes: Uint8Array): void {
    const found = parseSnapshot(bytes);
    this.#open.clear();
    this.#closing.clear();
    for (const intent of found) this.#open.set(intent.index, intent);
  }

  #opened(index: number, entry: IntentEntry): void {
    const { action, subject, plan, detail, at, deadlineAt, tenant } = entry;
    this.#open.set(index, {
      index,
      kind: action,
      subject,
      detail,
      at,
      ...(plan === undefined ? {} : { plan }),
      ...(deadlineAt === undefined ? {} : { deadlineAt }),
      ...(tenant === undefined ? {} : { tenant }),
    });
  }

  /** Whose open intent it is. */
  tenantOf(index: number): string | undefined {
    return this.#open.get(index)?.tenant;
  }

  list(): readonly OpenIntent[] {
    return [...this.#open.values()].sort((a, b) => a.index - b.index);
  }

  /** Claims the only outcome (I1); give it back with `unclaim` when it could not be written. */
  claim(index: number, size: number): void {
    if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
      throw new LedgerError('KIN_LEDGER_INTENT_UNKNOWN', `there is no intent ${index}`);
    }
    if (!this.#open.has(index) || this.#closing.has(index)) {
      throw new LedgerError('KIN_LEDGER_INTENT_CLOSED', `${index} is not an open intent`);
    }
    this.#closing.add(index);
  }

  closed(index: number): void {
    this.#open.delete(index);
    this.#closing.delete(index);
  }

  unclaim(index: number): void {
    this.#closing.delete(index);
  }
}

function parseSnapshot(bytes: Uint8Array): readonly OpenIntent[] {
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(bytes) ?? '');
  } catch (cause) {
    throw nonsense(errorText(cause));
  }
  if (!Array.isArray(value)) throw nonsense('no list');
  return value.map((item: unknown) => {
    if (!isOpenIntent(item)) throw nonsense('an intent lacks its members');
    return item;
  });
}

function isOpenIntent(value: unknown): value is OpenIntent {
  if (typeof value !== 'object' || value === null) return false;
  if (!('index' in value) || !Number.isSafeInteger(value.index) || !('detail' in value)) {
    return false;
  }
  if (!('kind' in value) || !('subject' in value) || !('at' in value)) return false;
  return [value.kind, value.subject, value.at].every((text) => typeof text === 'string');
}

function nonsense(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_CORRUPT', `the snapshot of open intents is damaged: ${why}`);
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  for (let at = 0; at < start.length; at++) if (bytes[at] !== start[at]) return false;
  return true;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
