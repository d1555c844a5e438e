// What can a caller do with a ledger, and what is promised back? Types only: the contract that the
// loop, the drivers, the CLI and the console code against.

import type { DecodedEntry, OutcomeResult } from './entry.ts';
import type { Files, LedgerClock } from './files.ts';
import type { EntryFollower } from './follow.ts';
import type { JsonValue } from './json.ts';
import type { PublishPort } from './levels.ts';
import type { Signer } from './note.ts';
import type { Own } from './own.ts';
import type { RecordStore } from './store.ts';

export interface LedgerOptions {
  /** The ledger's folder, unless `store` says where else the log lives. */
  readonly dir?: string;
  readonly store?: RecordStore;
  /** Identity of the log: a URL without scheme, e.g. `kintsugi.example.com/ledger`. */
  readonly origin: string;
  /** Its name must equal `origin`. */
  readonly signer: Signer;
  readonly files?: Files;
  readonly clock?: LedgerClock;
  /** How long an append may take before KIN_LEDGER_DEADLINE. Default 2000. */
  readonly appendDeadlineMs?: number;
  /** Entries that may wait for the disk before KIN_LEDGER_OVERLOADED. Default 16384. */
  readonly queueEntriesMax?: number;
  readonly queueBytesMax?: number;
  readonly groupEntriesMax?: number;
  readonly groupBytesMax?: number;
  /** Size of a preallocated segment file. Default 16 MiB; one spare of this size is kept. */
  readonly segmentBytes?: number;
  /** How often the `checkpoint` file follows the log. Default 1000. */
  readonly publishEveryMs?: number;
  /** `lazy` leaves trailers unsigned and signs on demand: for simulations only. */
  readonly signing?: 'every-group' | 'lazy';
  /** What somebody outside this folder remembers of the log; less than that is a roll-back. */
  readonly highWater?: HighWater;
  /**
   * A damaged last record that no torn write explains is refused; `drop` is an operator's explicit
   * decision to lose it, which is recorded.
   */
  readonly damagedTail?: 'refuse' | 'drop';
  /** 16 random bytes in base64url: outcomes of a tenant's intents are that tenant's, too. */
  readonly salt?: () => string;
  /** Views of the log that learn from every entry, at recovery and after each group. */
  readonly followers?: readonly EntryFollower[];
}

export interface HighWater {
  readonly size: number;
  /** Base64 root hash at that size. */
  readonly root: string;
}

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  /** Base64. */
  readonly root: string;
  /** The signed note (tlog-checkpoint). */
  readonly text: string;
}

/** queued < durable < published < witnessed < anchored. */
export type Wait = 'queued' | 'durable' | 'published' | 'witnessed' | 'anchored';

/** What makes an entry a tenant's as well; `private` are digests of fields kept elsewhere. */
export interface EntryMembers {
  readonly tenant: string;
  /** 128 random bits in base64url. */
  readonly salt: string;
  readonly private?: readonly string[];
}

export interface AppendOptions extends Own {
  /** For `record` only. */
  readonly members?: EntryMembers;
  /**
   * `queued` returns at once; a loss is counted and shows as a `ledger.gap` entry, in the log of
   * its tenant as well, if need be after the next start. The levels above `published` need a
   * publisher. When one is not reached in time, the entry stays in the log.
   */
  readonly wait?: Wait;
  /** Until it is durable. */
  readonly deadlineMs?: number;
  /** From durable to the level above. */
  readonly levelDeadlineMs?: number;
}

export type Appended =
  | {
      readonly kind: 'durable';
      readonly index: number;
      /** Base64 of the RFC 6962 leaf hash. */
      readonly leafHash: string;
      /** Signed; its tree holds the entry. */
      readonly checkpoint: Checkpoint;
    }
  | { readonly kind: 'queued' };

export type AppendedDurably = Extract<Appended, { kind: 'durable' }>;

declare const receiptBrand: unique symbol;

/**
 * The right to act: proof that the intent is on disk and in the signed tree. Only the ledger makes
 * one; `isReceipt` tells a real one from a look-alike at run time.
 */
export interface LedgerReceipt {
  readonly [receiptBrand]: true;
  readonly index: number;
  /** Base64 of the RFC 6962 leaf hash. */
  readonly leafHash: string;
  /** `sha256:` and the hexadecimal digest of the entry bytes. */
  readonly entryDigest: string;
  /** The signed checkpoint whose tree holds the entry. */
  readonly checkpoint: string;
  /** The tlog-proof@v1 text against that checkpoint. */
  proof(): Promise<string>;
  toJSON(): ReceiptJson;
}

export interface ReceiptJson {
  readonly index: number;
  readonly leafHash: string;
  readonly entryDigest: string;
  readonly checkpoint: string;
}

export interface IntentInput extends Own {
  /** The action, e.g. `heal.restart`. */
  readonly kind: string;
  readonly subject: string;
  readonly plan?: string;
  /** Plain JSON; checked at run time. */
  readonly detail: unknown;
  /** How long the action may take; afterwards an open intent is overdue. */
  readonly deadlineMs?: number;
  readonly appendDeadlineMs?: number;
  readonly members?: EntryMembers;
  /** The receipt is issued at this level; an intent that misses it is closed as failed. */
  readonly wait?: Exclude<Wait, 'queued'>;
  /** From durable to the level above. */
  readonly levelDeadlineMs?: number;
}

export interface OutcomeInput {
  readonly result: OutcomeResult;
  readonly detail: unknown;
}

export interface Intent {
  readonly index: number;
  readonly receipt: LedgerReceipt;
  outcome(outcome: OutcomeInput): Promise<AppendedDurably>;
}

export interface OpenIntent {
  readonly index: number;
  readonly kind: string;
  readonly subject: string;
  readonly plan?: string;
  readonly detail: JsonValue;
  readonly at: string;
  readonly deadlineAt?: string;
  readonly tenant?: string;
}

export interface StoredEntry {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly decoded: DecodedEntry;
}

export type LedgerState =
  | { readonly kind: 'open' }
  | { readonly kind: 'full'; readonly since: string }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'closed' };

export interface PruneOptions {
  /** Entries below may go; what does not fill a whole piece of storage stays. */
  readonly first: number;
  /** On what grounds, e.g. the retention rule; recorded. */
  readonly basis: string;
}

export type PruneReport =
  | { readonly kind: 'pruned'; readonly first: number }
  | {
      readonly kind: 'nothing';
      readonly first: number;
      readonly reason: 'no-whole-piece' | 'open-intent';
    };

export interface LedgerStats {
  /** Index of the first entry that retention has kept. */
  readonly first: number;
  readonly size: number;
  readonly state: LedgerState;
  readonly openIntents: number;
  readonly queuedEntries: number;
  readonly groups: number;
  readonly lostQueuedEntries: number;
  /** What the last open found: a torn tail that was dropped, or nothing. */
  readonly recovery: RecoveryReport;
}

export type RecoveryReport =
  | { readonly kind: 'created' }
  | { readonly kind: 'clean' }
  | {
      readonly kind: 'tail-dropped';
      readonly file: string;
      readonly offset: number;
      readonly droppedBytes: number;
      readonly reason: string;
    };

export interface Ledger {
  readonly origin: string;
  readonly vkey: string;
  /** Entries that are durable and in the signed tree. */
  readonly size: number;
  append(
    entry: Uint8Array,
    options?: AppendOptions & { wait?: 'durable' },
  ): Promise<AppendedDurably>;
  append(entry: Uint8Array, options: AppendOptions): Promise<Appended>;
  /** Resolves when the intent is durable. No receipt, no side effect. */
  intent(input: IntentInput): Promise<Intent>;
  /** A plain entry: verdict, finding, refusal, access event. */
  record(
    kind: string,
    detail: unknown,
    options?: AppendOptions & { wait?: 'durable' },
  ): Promise<AppendedDurably>;
  record(kind: string, detail: unknown, options: AppendOptions): Promise<Appended>;
  /** Intents without an outcome, oldest first; to be reconciled after a restart. */
  openIntents(): readonly OpenIntent[];
  closeIntent(index: number, outcome: OutcomeInput): Promise<AppendedDurably>;
  /** A receipt for an entry that is in the log already, e.g. an intent found open after a crash. */
  receipt(index: number): Promise<LedgerReceipt>;
  checkpoint(): Checkpoint;
  /** The tlog-proof@v1 text of an entry against the newest checkpoint. */
  prove(index: number): Promise<string>;
  /** Base64 hashes that prove that the tree of `before` entries is a prefix of that of `after`. */
  consistency(before: number, after?: number): Promise<readonly string[]>;
  /** The root (base64) of the first `size` entries. */
  rootAt(size: number): Promise<string>;
  read(index: number): Promise<StoredEntry>;
  /** One page, at most 1000 entries or about 4 MiB; the next page starts after its last index. */
  entries(range: {
    readonly from: number;
    readonly limit: number;
  }): Promise<readonly StoredEntry[]>;
  /** Writes the `checkpoint` file now instead of within `publishEveryMs`. */
  publish(): Promise<Checkpoint>;
  /**
   * Is the place that we write to still there? Otherwise writing stops (KIN_LEDGER_SEGMENT_LOST).
   * Each publication asks this; call it on a timer to notice it while nobody writes.
   */
  checkPlace(): Promise<void>;
  /** Somebody else publishes from now on, e.g. with witnesses; undefined: the ledger again. */
  publishThrough(port: PublishPort | undefined): void;
  /** Retention: removes whole pieces below `first`, never an open intent. Recorded. */
  prune(options: PruneOptions): Promise<PruneReport>;
  /** Writes the tlog-tiles tree of the current checkpoint for third-party tools. */
  exportStatic(dir: string): Promise<Checkpoint>;
  stats(): LedgerStats;
  close(): Promise<void>;
}
