// Which intents have no outcome yet? Learnt from the entries themselves, so that it is the same
// after a restart.
// I1. An outcome names an intent that is in the log; an intent has at most one outcome.

import type { OpenIntent } from './api.ts';
import { decodeEntry } from './entry.ts';
import type { IntentEntry } from './entry.ts';
import { LedgerError } from './errors.ts';

export class IntentBook {
  readonly #open = new Map<number, OpenIntent>();
  readonly #closing = new Set<number>();

  get size(): number {
    return this.#open.size;
  }

  /** From recovery: every entry in order. */
  learn(index: number, bytes: Uint8Array): void {
    const decoded = decodeEntry(bytes);
    if (decoded.type === 'intent') this.opened(index, decoded.entry);
    if (decoded.type === 'outcome') this.#open.delete(decoded.entry.intent);
  }

  opened(index: number, entry: IntentEntry): void {
    const { action, subject, plan, detail, at, deadlineAt } = entry;
    this.#open.set(index, {
      index,
      kind: action,
      subject,
      detail,
      at,
      ...(plan === undefined ? {} : { plan }),
      ...(deadlineAt === undefined ? {} : { deadlineAt }),
    });
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
