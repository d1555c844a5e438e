// What does publishing need, and what does it show? Types only: the contract between the ledger,
// the witnesses' rounds and whoever watches them.

import type { LedgerError } from '../errors.ts';
import type { Files, LedgerClock } from '../files.ts';
import type { Signer } from '../note.ts';
import type { Policy } from '../policy.ts';
import type { OwnCheckpoint, WitnessStatus } from '../witness/client.ts';
import type { WitnessEvidence } from '../witness/evidence.ts';
import type { WitnessHttp } from '../witness/http-client.ts';
import type { QuorumState } from './target.ts';

export type PublishClock = LedgerClock & Required<Pick<LedgerClock, 'sleep'>>;

export interface PublishedLog {
  /** The newest durable tree, signed by the log's first key. */
  checkpoint(): OwnCheckpoint;
  /** Base64 hashes, for 0 < before <= after <= the newest size. */
  consistency(before: number, after: number): Promise<readonly string[]>;
}

/** Where `checkpoint` and `checkpoint.witnessed` are: the ledger's store, or plain files. */
export interface PublishDocuments {
  readDocument(name: string, bytesMax: number): Promise<Uint8Array | undefined>;
  /** Atomic, and durable when it resolves. */
  replaceDocument(name: string, bytes: Uint8Array): Promise<void>;
}

export interface PublisherOptions {
  readonly log: PublishedLog;
  /** The log's first key, which signs `checkpoint()`. */
  readonly vkey: string;
  /** Further keys of the log, such as ML-DSA-44. */
  readonly signers?: readonly Signer[];
  /** Appends an epoch entry when a tenant's head changed. */
  readonly appendEpoch?: () => Promise<void>;
  /** `checkpoints.log` is there. */
  readonly files: Files;
  readonly dir: string;
  /** Default: files in `dir`. */
  readonly documents?: PublishDocuments;
  readonly clock: PublishClock;
  readonly policy?: Policy;
  readonly http?: WitnessHttp;
  readonly random?: () => number;
  /** Default 1000. */
  readonly publishEveryMs?: number;
  /** For one request. Default 1000. */
  readonly witnessTimeoutMs?: number;
  readonly retryMinMs?: number;
  readonly retryMaxMs?: number;
  /** How far the clock of a witness may differ from ours. Default one hour. */
  readonly skewMaxMs?: number;
  /**
   * Ask the witnesses at the start whether they know more than the log does, and refuse then.
   * `skip` when the caller asked already, before it appended anything. Default refuse.
   */
  readonly highWater?: 'refuse' | 'skip';
  /**
   * Looks whether the place that the log is written to is still there. Called at intervals, also
   * while nothing is written; when the place is lost, publishing stops as after a proven fork.
   */
  readonly checkPlace?: () => Promise<unknown>;
  /** Default 1000, at least 10. */
  readonly checkPlaceEveryMs?: number;
  readonly waitersMax?: number;
  readonly logFileBytes?: number;
  /** Rolled back, forked, or its place lost, for certain: the caller must stop appending too. */
  readonly onFatal?: (error: LedgerError) => void;
  readonly onChange?: (state: PublishState) => void;
}

export interface PublishState {
  /** Of the log. */
  readonly size: number;
  readonly publishedSize: number;
  readonly witnessedSize: number;
  readonly anchoredSize: number;
  /** Of the newest published checkpoint. */
  readonly quorum: QuorumState;
  readonly witnesses: readonly WitnessStatus[];
  readonly health:
    | { readonly kind: 'good' }
    | { readonly kind: 'failing'; readonly reason: string; readonly since: string }
    | {
        readonly kind: 'stopped';
        readonly reason: string;
        readonly since: string;
        readonly evidence: readonly WitnessEvidence[];
      }
    | { readonly kind: 'closed' };
}
