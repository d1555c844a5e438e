// How far must an entry be before its caller is told? Durable is the committer's business; what
// comes after it is published by the ledger itself, or by a publisher that also asks witnesses.
// LV1. A level that nobody can reach is refused before anything is appended.
// LV2. Each publication first looks whether the place that we write to is still there; if it is
//      not, nothing is accepted any more.
// LV3. A checkpoint that is public already is left as it is: others have added their signatures.

import type { Checkpoint, Wait } from './api.ts';
import { fromUtf8, utf8 } from './bytes.ts';
import type { Committer } from './commit.ts';
import { LedgerError, typedError } from './errors.ts';
import type { LedgerClock } from './files.ts';
import type { RecordStore, RecordWriter } from './store.ts';

const CHECKPOINT_BYTES_MAX = 1_000_000;

export type PublishLevel = 'published' | 'witnessed' | 'anchored';

/** Whoever writes the `checkpoint` file in place of the ledger. */
export interface PublishPort {
  /** The log grew; cheap. */
  grown(): void;
  /** Resolves when a checkpoint at least as new as the log at this moment is public. */
  publish(options?: { readonly now?: boolean }): Promise<unknown>;
  /** Rejects with a typed error when the level is not reached in time. */
  waitFor(index: number, level: PublishLevel, deadlineMs?: number): Promise<unknown>;
}

export interface LevelParts {
  readonly store: RecordStore;
  readonly wal: RecordWriter;
  readonly committer: Committer;
  readonly clock: LedgerClock;
  readonly publishEveryMs: number;
}

export class Levels {
  readonly #parts: LevelParts;
  #port: PublishPort | undefined;
  #publishedAtMs: number;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: LevelParts) {
    this.#parts = parts;
    this.#publishedAtMs = parts.clock.monotonicMs();
  }

  through(port: PublishPort | undefined): void {
    this.#port = port;
  }

  /** After every group: keeps the `checkpoint` file near the log without any timer. */
  grown(): void {
    this.#port?.grown();
    const { clock, publishEveryMs } = this.#parts;
    if (clock.monotonicMs() - this.#publishedAtMs < publishEveryMs) return;
    // A full disk must not stop appends: the log itself is safe without this file.
    const work = async (): Promise<unknown> =>
      this.#port === undefined ? this.#write() : this.#checkPlace();
    this.#inTurn(work).catch(() => undefined);
  }

  /** The newest checkpoint, public when this resolves. */
  async publish(): Promise<Checkpoint> {
    const port = this.#port;
    if (port === undefined) return this.#inTurn(() => this.#write());
    await this.checkPlace();
    const { checkpoint } = this.#parts.committer;
    await port.publish({ now: true });
    return checkpoint;
  }

  /** LV1. */
  check(wait: Wait): void {
    const isOurs = wait === 'queued' || wait === 'durable' || wait === 'published';
    if (isOurs || this.#port !== undefined) return;
    const message = `nothing is ${wait} without a publisher`;
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', message);
  }

  async reach(index: number, wait: Wait, deadlineMs: number | undefined): Promise<void> {
    if (wait === 'queued' || wait === 'durable') return;
    if (this.#port === undefined) await this.publish();
    else await this.#port.waitFor(index, wait, deadlineMs);
  }

  checkPlace(): Promise<void> {
    return this.#inTurn(() => this.#checkPlace());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#publishedAtMs = this.#parts.clock.monotonicMs();
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #write(): Promise<Checkpoint> {
    await this.#checkPlace();
    const { store, committer } = this.#parts;
    const { checkpoint } = committer;
    if (await this.#isPublic(checkpoint.text)) return checkpoint;
    await store.replaceDocument('checkpoint', utf8(checkpoint.text)).catch((cause: unknown) => {
      throw typedError(cause, 'the checkpoint cannot be published');
    });
    return checkpoint;
  }

  /** LV3: the same tree, with cosignatures perhaps. */
  async #isPublic(text: string): Promise<boolean> {
    const bytes = await this.#parts.store.readDocument('checkpoint', CHECKPOINT_BYTES_MAX);
    if (bytes === undefined) return false;
    const body = text.slice(0, text.lastIndexOf('\n\n') + 2);
    const found = fromUtf8(bytes) ?? '';
    return found.startsWith(body) && found.includes(text.slice(body.length));
  }

  /** LV2. */
  async #checkPlace(): Promise<void> {
    const { store, wal, committer } = this.#parts;
    const isIntact = await wal.isIntact().catch((cause: unknown) => {
      throw typedError(cause, `cannot look at ${store.place}`);
    });
    if (isIntact) return;
    const message = `the place that ${store.place} is written to was removed or replaced`;
    const lost = new LedgerError('KIN_LEDGER_SEGMENT_LOST', message);
    // What comes now could be acknowledged and never be read again.
    committer.fail(lost);
    throw lost;
  }
}
