// Where is everything written down for ever? The part of the ledger that the loop needs; the real
// one is `@kintsugi/ledger`, wired in `main.ts`, and the simulator uses it over memory.
//
//   L1. `intent` resolves only when the entry is durable; without it there is no receipt.
//   L2. No call hangs: past its deadline it rejects with a typed error, and actions stop (P7).
import type { EntryKind } from '../model/entry.ts';

export interface Written {
  readonly index: number;
  /** Base64. */
  readonly leafHash: string;
}

export interface OpenIntent {
  readonly index: number;
  /** Subject given at `intent`. */
  readonly subject: string;
  readonly detail: unknown;
}

export interface Ledger {
  intent(subject: string, detail: unknown): Promise<Written>;
  outcome(
    intentIndex: number,
    result: 'succeeded' | 'failed' | 'unknown',
    detail: unknown,
  ): Promise<Written>;
  /** Durable when resolved. */
  record(kind: EntryKind, detail: unknown): Promise<Written>;
  /** Access events: written with the next group, never waited for; a loss is counted. */
  note(kind: EntryKind, detail: unknown): void;
  /** Intents without an outcome, oldest first: reconciled after a start. */
  openIntents(): readonly OpenIntent[];
  /** Entries and signed head, for status. */
  head(): { readonly size: number; readonly checkpoint: string };
  close(): Promise<void>;
}
