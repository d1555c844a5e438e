// Where is everything written down for ever? The part of the ledger that the loop needs; the real
// one is `@kintsugi/ledger`, wired in `main.ts`, and the simulator uses it over memory.
//
//   L1. `intent` resolves only when the entry is durable; without it there is no receipt.
//   L2. No call hangs: past its deadline it rejects with a typed error, and actions stop (P7).
import type { PrivateOf } from '../model/audit.ts';
import type { EntryKind } from '../model/entry.ts';
import type { EvidenceTrouble } from '../model/signal.ts';

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

export interface IntentTerms {
  /** After this an intent without an outcome is an incident. */
  readonly deadlineMs: number;
  /** How far it must be before its act may begin. */
  readonly level: 'durable' | 'witnessed';
  /** Whose data or access it is about: it stands in that tenant's own log as well. */
  readonly tenant: string | undefined;
}

/** Whose entry it is: it stands in that tenant's own log as well. */
export interface EntryScope {
  readonly tenant: string;
  /** Fields of people, kept apart from the log so that they can be erased. */
  readonly private: readonly PrivateOf[];
}

export interface Ledger {
  intent(subject: string, detail: unknown, terms: IntentTerms): Promise<Written>;
  outcome(
    intentIndex: number,
    result: 'succeeded' | 'failed' | 'unknown',
    detail: unknown,
  ): Promise<Written>;
  /** Durable when resolved. */
  record(kind: EntryKind, detail: unknown): Promise<Written>;
  /** Access events: written with the next group, never waited for; a loss is counted. */
  note(kind: EntryKind, detail: unknown, scope?: EntryScope): void;
  /** Intents without an outcome, oldest first: reconciled after a start. */
  openIntents(): readonly OpenIntent[];
  /** What is wrong with the evidence right now; cheap. */
  troubles(): readonly EvidenceTrouble[];
  /** Entries and signed head, for status. */
  head(): { readonly size: number; readonly checkpoint: string };
  close(): Promise<void>;
}
