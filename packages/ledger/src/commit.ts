// When is an entry in the log? Appends wait in a bounded queue; whatever waits becomes one group:
// hashed, signed, written, synced, and only then acknowledged.
// C1. An append settles: acknowledged after the sync, or rejected with a code. A missed deadline is
//     KIN_LEDGER_DEADLINE, also when the disk never answers.
// C2. A signed checkpoint leaves this file only after the sync that covers it, so a crash never
//     leaves a signature for a tree that is not on disk.
// C3. Once writing has failed for good, nothing is accepted any more (fail closed).

import type { Checkpoint, LedgerState } from './api.ts';
import { DeadlineWatch, rejectOnce } from './deadline-watch.ts';
import { LedgerError, typedError } from './errors.ts';
import type { LedgerClock } from './files.ts';
import { followAll } from './follow.ts';
import type { EntryFollower } from './follow.ts';
import type { History } from './history.ts';
import { encodeRecord, recordSpace, roomFor } from './record.ts';
import type { EncodedRecord, RecordInput } from './record.ts';
import type { ChainState } from './scan.ts';
import type { RecordWriter } from './store.ts';
import { hashLeaf } from './tree.ts';
import type { HashTree } from './tree.ts';

export type Priority = 'ordinary' | 'reserved';

export interface Submission {
  readonly bytes: Uint8Array;
  readonly priority: Priority;
  /** Infinity: wait as long as it takes (queued entries). */
  readonly deadlineMs: number;
  /** Told when an entry became durable after its caller had been sent away. */
  readonly onLate?: (index: number) => void;
}

export interface Committed {
  readonly index: number;
  readonly leaf: Uint8Array;
  readonly checkpoint: Checkpoint;
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly priority: Priority;
  readonly onLate: ((index: number) => void) | undefined;
  readonly dueAtMs: number;
  settled: boolean;
  readonly resolve: (committed: Committed) => void;
  readonly reject: (error: LedgerError) => void;
}

export interface CommitLimits {
  readonly queueEntriesMax: number;
  readonly queueBytesMax: number;
  readonly groupEntriesMax: number;
  readonly groupBytesMax: number;
}

export interface CommitterParts {
  readonly wal: RecordWriter;
  readonly tree: HashTree;
  readonly history: History;
  readonly followers: readonly EntryFollower[];
  readonly clock: LedgerClock;
  readonly limits: CommitLimits;
  readonly chain: ChainState;
  /** Makes the checkpoint of a root; its text is the trailer unless `unsignedTrailer` gives one. */
  readonly checkpointFor: (size: number, root: Uint8Array) => Checkpoint;
  readonly unsignedTrailer: ((size: number, root: Uint8Array) => string) | undefined;
  readonly onCommitted: (committed: Checkpoint) => void;
  readonly onSpaceChange: (full: boolean) => void;
}

/** Outcomes and the ledger's own notes may exceed the queue bound by this many entries. */
const RESERVED_QUEUE_MAX = 4096;

export class Committer {
  readonly #parts: CommitterParts;
  #queue: Waiting[] = [];
  #inFlight: readonly Waiting[] = [];
  #queueBytes = 0;
  #pumping: Promise<void> | undefined;
  #chain: ChainState;
  #checkpoint: Checkpoint;
  readonly #watch: DeadlineWatch;
  #room: Buffer | undefined;
  #failure: LedgerError | undefined;
  #closing = false;
  #wasFull = false;
  groups = 0;

  constructor(parts: CommitterParts) {
    this.#parts = parts;
    this.#watch = new DeadlineWatch({
      clock: parts.clock,
      open: () => [this.#inFlight, this.#queue],
      expire: () => this.#expire(),
    });
    this.#chain = parts.chain;
    this.#checkpoint = parts.checkpointFor(parts.tree.size, parts.tree.root());
  }

  get checkpoint(): Checkpoint {
    return this.#checkpoint;
  }

  /** Durable entries; the tree may be ahead while a group is being written. */
  get size(): number {
    return this.#chain.index;
  }

  get queuedEntries(): number {
    return this.#queue.length;
  }

  state(): LedgerState {
    if (this.#failure !== undefined) return { kind: 'failed', reason: this.#failure.message };
    return this.#closing ? { kind: 'closed' } : { kind: 'open' };
  }

  submit(submission: Submission): Promise<Committed> {
    const refusal = this.#refusal(submission);
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const { bytes, priority, deadlineMs, onLate } = submission;
      const dueAtMs = this.#parts.clock.monotonicMs() + deadlineMs;
      this.#queue.push({ bytes, priority, onLate, dueAtMs, settled: false, resolve, reject });
      this.#queueBytes += bytes.length;
      if (this.#pumping !== undefined && dueAtMs < this.#watch.wakeAtMs) this.#watch.start();
      // A microtask later, so that appends of the same tick share one group.
      this.#pumping ??= Promise.resolve().then(() => this.#pump());
    });
  }

  /** C3. */
  fail(error: LedgerError): void {
    this.#failure ??= error;
    this.#rejectAll(this.#failure);
  }

  /** Accepts nothing more, waits until what was accepted has settled; false: the disk hangs. */
  async drain(deadlineMs: number): Promise<boolean> {
    this.#closing = true;
    if (this.#pumping === undefined) return true;
    const { clock } = this.#parts;
    const done = this.#pumping.then(() => true);
    if (clock.sleep === undefined) return done;
    const giveUp = new AbortController();
    const drained = await Promise.race([
      done,
      clock.sleep(deadlineMs, giveUp.signal).then(
        () => false,
        () => true,
      ),
    ]);
    giveUp.abort();
    if (!drained) this.fail(new LedgerError('KIN_LEDGER_DEADLINE', 'the disk did not answer'));
    return drained;
  }

  #refusal({ bytes, priority }: Submission): LedgerError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#closing) return new LedgerError('KIN_LEDGER_CLOSED', 'the ledger is closed');
    const { queueEntriesMax, queueBytesMax } = this.#parts.limits;
    const extra = priority === 'reserved' ? RESERVED_QUEUE_MAX : 0;
    const fits =
      this.#queue.length < queueEntriesMax + extra &&
      (priority === 'reserved' || this.#queueBytes + bytes.length <= queueBytesMax);
    if (fits) return undefined;
    return new LedgerError(
      'KIN_LEDGER_OVERLOADED',
      `${this.#queue.length} entries (${this.#queueBytes} bytes) already wait for the disk`,
    );
  }

  async #pump(): Promise<void> {
    this.#watch.start();
    try {
      // Bounded by the queue: each round takes at least one entry out of it.
      while (this.#queue.length > 0 && this.#failure === undefined) await this.#round();
    } finally {
      this.#pumping = undefined;
      this.#watch.stop();
      if (this.#failure !== undefined) this.#rejectAll(this.#failure);
    }
  }

  async #round(): Promise<void> {
    await this.#parts.wal.makeRoom(this.#parts.limits.groupBytesMax);
    this.#noticeSpace();
    this.#expire();
    const group = this.#takeGroup();
    if (group.length === 0) return;
    this.#inFlight = group;
    try {
      await this.#commit(group);
    } catch (cause) {
      this.#parts.tree.truncate(this.#chain.index);
      const error = typedError(cause, 'append failed');
      // A full disk is a state of the world; everything else means that we cannot trust the file.
      if (error.code !== 'KIN_LEDGER_FULL') this.#failure = error;
      for (const waiting of group) rejectOnce(waiting, error);
    } finally {
      this.#inFlight = [];
    }
    this.#noticeSpace();
  }

  /** Leaves out what no room is kept for: D3 of the write-ahead log. */
  #takeGroup(): readonly Waiting[] {
    const { groupEntriesMax, groupBytesMax } = this.#parts.limits;
    const group: Waiting[] = [];
    let bytes = 0;
    let taken = 0;
    for (const waiting of this.#queue) {
      if (group.length >= groupEntriesMax) break;
      if (group.length > 0 && bytes + waiting.bytes.length + 2 > groupBytesMax) break;
      taken += 1;
      this.#queueBytes -= waiting.bytes.length;
      if (waiting.settled) continue;
      const space = recordSpace(bytes + waiting.bytes.length + 2, 4096);
      if (!this.#parts.wal.hasRoom(space, waiting.priority === 'reserved')) {
        rejectOnce(waiting, new LedgerError('KIN_LEDGER_FULL', 'the disk of the ledger is full'));
        continue;
      }
      group.push(waiting);
      bytes += waiting.bytes.length + 2;
    }
    this.#queue = this.#queue.slice(taken);
    return group;
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const { tree, wal, history, followers, checkpointFor, unsignedTrailer } = this.#parts;
    const firstIndex = this.#chain.index;
    const leaves = group.map(({ bytes }) => hashLeaf(bytes));
    for (const leaf of leaves) tree.append(leaf);
    const root = tree.root();
    const checkpoint = checkpointFor(tree.size, root);
    const trailer = unsignedTrailer?.(tree.size, root) ?? checkpoint.text;
    const record = this.#encode(group, trailer, unsignedTrailer !== undefined);
    const place = await wal.write(record.bytes, firstIndex);
    this.#room = record.room;
    this.#chain = { index: firstIndex + group.length, hash: record.hash };
    this.#checkpoint = checkpoint;
    this.groups += 1;
    history.add(firstIndex, place.file, place.offset);
    let index = firstIndex;
    for (const { bytes } of group) {
      followAll(followers, index, bytes, leaves[index - firstIndex] ?? hashLeaf(bytes));
      index += 1;
    }
    index = firstIndex;
    for (const waiting of group) {
      if (waiting.settled) waiting.onLate?.(index);
      waiting.settled = true;
      const leaf = leaves[index - firstIndex] ?? hashLeaf(waiting.bytes);
      waiting.resolve({ index, leaf, checkpoint });
      index += 1;
    }
    this.#parts.onCommitted(checkpoint);
    wal.prepareSpare();
  }

  /** The room is taken back only after a write that went well: a failed one may still read it. */
  #encode(
    group: readonly Waiting[],
    trailer: string,
    unsigned: boolean,
  ): EncodedRecord & { readonly room: Buffer | undefined } {
    let room = this.#room;
    this.#room = undefined;
    const input: RecordInput = {
      firstIndex: this.#chain.index,
      entries: group.map((waiting) => waiting.bytes),
      previous: this.#chain.hash,
      trailer: Buffer.from(trailer),
      unsigned,
    };
    const record = encodeRecord(input, (bytes) => (room = roomFor(room, bytes)));
    return { ...record, room };
  }

  #noticeSpace(): void {
    const full = this.#parts.wal.outOfSpace;
    if (full === this.#wasFull) return;
    this.#wasFull = full;
    this.#parts.onSpaceChange(full);
  }

  #expire(): void {
    const now = this.#parts.clock.monotonicMs();
    for (const waiting of this.#queue) if (waiting.dueAtMs <= now) rejectOnce(waiting, late('no'));
    for (const waiting of this.#inFlight) {
      if (waiting.dueAtMs <= now) rejectOnce(waiting, late('unknown'));
    }
  }

  #rejectAll(error: LedgerError): void {
    for (const waiting of [...this.#inFlight, ...this.#queue]) rejectOnce(waiting, error);
    this.#queue = [];
    this.#queueBytes = 0;
  }
}

function late(inLog: 'no' | 'unknown'): LedgerError {
  const fate = inLog === 'no' ? 'it is not in the log' : 'it may still become durable';
  return new LedgerError('KIN_LEDGER_DEADLINE', `the append missed its deadline; ${fate}`, {
    inLog,
  });
}
