// How do intents, outcomes and plain entries become log entries, and how are they read and proved?
// L1. No receipt exists before its intent is durable and in the signed tree.
// L2. An intent whose caller was sent away (deadline) is closed by the ledger as failed once it
//     turns out to be durable: nobody holds a receipt for it, so nobody acted.
// L3. A queued entry that is lost is counted, and the count is written as `ledger.gap`.
// L4. Closing ends within its deadline, whatever the disk does.

import type {
  AppendOptions,
  Appended,
  AppendedDurably,
  Checkpoint,
  Intent,
  IntentInput,
  Ledger,
  LedgerReceipt,
  LedgerState,
  LedgerStats,
  OpenIntent,
  OutcomeInput,
  PruneOptions,
  PruneReport,
  StoredEntry,
} from './api.ts';
import { toBase64, utf8 } from './bytes.ts';
import type { Committed, Priority } from './commit.ts';
import { checkPlainKind, checkRawEntry, decodeEntry, encodeEntry, entryMembers } from './entry.ts';
import { LedgerError, errorText } from './errors.ts';
import { exportStatic } from './export.ts';
import { within } from './files.ts';
import { Gaps } from './gaps.ts';
import type { Losses } from './gaps.ts';
import { intentEntry } from './intent-entry.ts';
import { canonicalJson } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { LedgerParts } from './ledger-parts.ts';
import { Levels } from './levels.ts';
import type { PublishPort } from './levels.ts';
import { OWN } from './own.ts';
import { formatProof } from './proof.ts';
import { PRUNE_ACTION, prune } from './prune.ts';
import { makeReceipt } from './receipt.ts';

const PAGE_ENTRIES_MAX = 1000;
const CLOSE_DEADLINE_MS = 10_000;

export class LocalLedger implements Ledger {
  readonly #parts: LedgerParts;
  readonly #levels: Levels;
  readonly #gaps: Gaps;
  #nowMs = NaN;
  #nowText = '';
  #fullSince: string | undefined;
  #pruning: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(parts: LedgerParts) {
    this.#parts = parts;
    this.#levels = new Levels(parts);
    this.#gaps = new Gaps({
      ...parts,
      state: () => this.#state().kind,
      write: (entry, deadlineMs) => this.#commit(entry, 'reserved', deadlineMs),
    });
  }

  get origin(): string {
    return this.#parts.origin;
  }

  get vkey(): string {
    return this.#parts.vkey;
  }

  get size(): number {
    return this.#parts.committer.size;
  }

  append(
    entry: Uint8Array,
    options?: AppendOptions & { wait?: 'durable' },
  ): Promise<AppendedDurably>;
  append(entry: Uint8Array, options: AppendOptions): Promise<Appended>;
  async append(entry: Uint8Array, options: AppendOptions = {}): Promise<Appended> {
    checkRawEntry(entry);
    // The caller may reuse its buffer while the entry still waits for the disk.
    return this.#add(Uint8Array.from(entry), options);
  }

  record(
    kind: string,
    detail: unknown,
    options?: AppendOptions & { wait?: 'durable' },
  ): Promise<AppendedDurably>;
  record(kind: string, detail: unknown, options: AppendOptions): Promise<Appended>;
  async record(kind: string, detail: unknown, options: AppendOptions = {}): Promise<Appended> {
    checkPlainKind(kind, options[OWN]);
    const own = { v: 1, kind, at: this.#now(), detail: detail ?? null };
    return this.#add(encodeEntry({ ...own, ...entryMembers(options.members) }), options);
  }

  async intent(input: IntentInput): Promise<Intent> {
    const { wait = 'durable', levelDeadlineMs } = input;
    this.#levels.check(wait);
    checkPlainKind(input.kind, input[OWN]);
    const entry = intentEntry(input, this.#parts.clock.nowMs());
    const bytes = encodeEntry({ ...entry, ...entryMembers(input.members) });
    const { index, checkpoint } = await this.#parts.committer.submit({
      bytes,
      priority: 'ordinary',
      deadlineMs: input.appendDeadlineMs ?? this.#parts.appendDeadlineMs,
      onLate: (late) => this.#closeLate(late),
    });
    if (wait !== 'durable') {
      await this.#levels.reach(index, wait, levelDeadlineMs).catch((cause: unknown) => {
        // L2: nobody gets a receipt for it.
        this.#closeLate(index);
        throw cause;
      });
    }
    return {
      index,
      receipt: this.#receipt(index, bytes, checkpoint),
      outcome: (outcome) => this.closeIntent(index, outcome),
    };
  }

  openIntents(): readonly OpenIntent[] {
    return this.#parts.intents.list();
  }

  async closeIntent(index: number, { result, detail }: OutcomeInput): Promise<AppendedDurably> {
    const { intents } = this.#parts;
    const entry = { v: 1, kind: 'outcome', at: this.#now(), intent: index, result, detail };
    intents.claim(index, this.size);
    const owner = this.#ownerOf(index);
    const bytes = encodeEntry({ ...entry, detail: detail ?? null, ...owner });
    try {
      const committed = await this.#commit(bytes, 'reserved', this.#parts.appendDeadlineMs, () =>
        intents.closed(index),
      );
      intents.closed(index);
      return durable(committed);
    } catch (cause) {
      // With an unknown fate the claim stays: a second outcome could contradict the first.
      const unknown = cause instanceof LedgerError && cause.inLog === 'unknown';
      if (!unknown) intents.unclaim(index);
      throw cause;
    }
  }

  async receipt(index: number): Promise<LedgerReceipt> {
    this.#checkKept(index);
    const checkpoint = this.checkpoint();
    return this.#receipt(index, await this.#parts.history.entry(index), checkpoint);
  }

  checkpoint(): Checkpoint {
    return this.#parts.committer.checkpoint;
  }

  async prove(index: number): Promise<string> {
    this.#checkKept(index);
    const { size, text } = this.checkpoint();
    const hashes = await this.#parts.tree.inclusion(index, size);
    return formatProof({ index: BigInt(index), hashes, checkpoint: text });
  }

  async consistency(before: number, after: number = this.size): Promise<readonly string[]> {
    this.#checkIndex(before - 1);
    this.#checkIndex(after - 1);
    if (before > after) throw new LedgerError('KIN_LEDGER_RANGE', `${before} is after ${after}`);
    return (await this.#parts.tree.consistency(before, after)).map(toBase64);
  }

  async rootAt(size: number): Promise<string> {
    if (size !== 0) this.#checkIndex(size - 1);
    return toBase64(await this.#parts.tree.rootAt(size));
  }

  async read(index: number): Promise<StoredEntry> {
    this.#checkKept(index);
    const bytes = await this.#parts.history.entry(index);
    return { index, bytes, decoded: decodeEntry(bytes) };
  }

  async entries({ from, limit }: { from: number; limit: number }): Promise<readonly StoredEntry[]> {
    if (!Number.isSafeInteger(from) || from < 0 || !Number.isSafeInteger(limit) || limit < 1) {
      throw new LedgerError('KIN_LEDGER_RANGE', `not a range: from ${from}, limit ${limit}`);
    }
    const count = Math.min(limit, PAGE_ENTRIES_MAX, this.size - from);
    if (count <= 0) return [];
    const page = await this.#parts.history.range(from, count);
    return page.map((bytes, at) => ({ index: from + at, bytes, decoded: decodeEntry(bytes) }));
  }

  publish(): Promise<Checkpoint> {
    return this.#levels.publish();
  }

  checkPlace(): Promise<void> {
    return this.#levels.checkPlace();
  }

  publishThrough(port: PublishPort | undefined): void {
    this.#levels.through(port);
  }

  prune(options: PruneOptions): Promise<PruneReport> {
    const pruned = this.#pruning.then(() => this.#pruneNow(options));
    this.#pruning = pruned.catch(() => undefined);
    return pruned;
  }

  exportStatic(dir: string): Promise<Checkpoint> {
    const { files, vkey, allowUnsigned, store } = this.#parts;
    const { text, size } = this.checkpoint();
    const upTo = { size, text };
    return exportStatic(store.place, dir, vkey, { files, store, upTo, allowUnsigned });
  }

  stats(): LedgerStats {
    const { committer, history, intents, recovery } = this.#parts;
    return {
      first: history.first,
      size: this.size,
      state: this.#state(),
      openIntents: intents.size,
      queuedEntries: committer.queuedEntries,
      groups: committer.groups,
      lostQueuedEntries: this.#gaps.lostTotal,
      recovery,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeNow();
    return this.#closing;
  }

  /** Called after every group. */
  committed(): void {
    this.#levels.grown();
    this.#gaps.tick();
  }

  /** While opening: losses that an earlier process could not write down any more. */
  recoverGap(outage: Losses | 'damaged', deadlineMs: number): Promise<void> {
    return this.#gaps.recover(outage, deadlineMs);
  }

  /** The disk has no room for another segment, or has again: recorded in the reserved space. */
  spaceChanged(full: boolean): void {
    this.#fullSince = full ? this.#now() : undefined;
    void this.#note(full ? 'ledger.full' : 'ledger.space-restored', { size: this.size });
    if (!full) this.#gaps.resumed();
  }

  /** An entry of the ledger's own. */
  async #note(kind: string, detail: JsonValue): Promise<void> {
    const bytes = utf8(canonicalJson({ v: 1, kind, at: this.#now(), detail }));
    try {
      await this.#commit(bytes, 'reserved', Infinity);
    } catch {
      // The cause is already visible in the state of the ledger and in every refused append.
    }
  }

  async #add(bytes: Uint8Array, options: AppendOptions): Promise<Appended> {
    if (options.wait === 'queued') {
      const atMs = this.#parts.clock.nowMs();
      this.#commit(bytes, 'ordinary', Infinity).catch(() => this.#gaps.count(bytes, atMs));
      return { kind: 'queued' };
    }
    const { wait = 'durable', deadlineMs = this.#parts.appendDeadlineMs } = options;
    this.#levels.check(wait);
    const committed = await this.#commit(bytes, 'ordinary', deadlineMs);
    if (wait !== 'durable') {
      await this.#levels.reach(committed.index, wait, options.levelDeadlineMs);
    }
    return durable(committed);
  }

  #commit(
    bytes: Uint8Array,
    priority: Priority,
    deadlineMs: number,
    onLate?: (index: number) => void,
  ): Promise<Committed> {
    const { committer } = this.#parts;
    return committer.submit({ bytes, priority, deadlineMs, ...(onLate ? { onLate } : {}) });
  }

  /** L2. */
  #closeLate(index: number): void {
    const detail = { reason: 'receipt-not-issued' };
    this.closeIntent(index, { result: 'failed', detail }).catch(() => {
      // Stays open and is reconciled like any other intent without an outcome.
    });
  }

  /** An outcome is its tenant's like the intent that it closes. */
  #ownerOf(index: number): object {
    const tenant = this.#parts.intents.tenantOf(index);
    const { salt } = this.#parts;
    return tenant === undefined || salt === undefined ? {} : { tenant, salt: salt() };
  }

  #receipt(index: number, entry: Uint8Array, checkpoint: Checkpoint): LedgerReceipt {
    const hashes = (): Promise<readonly Uint8Array[]> =>
      this.#parts.tree.inclusion(index, checkpoint.size);
    return makeReceipt({ index, entry, checkpoint, hashes });
  }

  #pruneNow(options: PruneOptions): Promise<PruneReport> {
    const at = (): string => this.#now();
    const reserved = (entry: object): Promise<Committed> =>
      this.#commit(encodeEntry(entry), 'reserved', this.#parts.appendDeadlineMs);
    return prune(
      {
        ...this.#parts,
        size: () => this.size,
        checkpoint: () => this.checkpoint(),
        publish: () => this.publish(),
        intent: async (detail: JsonObject) => {
          const entry = { v: 1, kind: 'intent', at: at(), action: PRUNE_ACTION };
          return (await reserved({ ...entry, subject: this.origin, detail })).index;
        },
        record: (kind, detail) => reserved({ v: 1, kind, at: at(), detail }),
        close: (index, result, detail) => this.closeIntent(index, { result, detail }),
      },
      options,
    );
  }

  async #closeNow(): Promise<void> {
    const { committer, clock } = this.#parts;
    this.#gaps.writeLast();
    const drained = await committer.drain(CLOSE_DEADLINE_MS);
    const ended = drained && (await within(clock, CLOSE_DEADLINE_MS, this.#release()));
    if (ended) return;
    // Whoever writes the last losses down does it under the lock, too.
    if (!drained) void this.#gaps.end();
    // A write may still arrive: the lock stays until the process ends, so that nobody overlaps.
    throw new LedgerError('KIN_LEDGER_DEADLINE', 'the disk did not answer while closing');
  }

  async #release(): Promise<void> {
    const { committer, wal, lock } = this.#parts;
    const failed = committer.state().kind === 'failed';
    let problem: LedgerError | undefined;
    try {
      if (!failed) await this.publish();
    } catch (cause) {
      const message = `checkpoint not published: ${errorText(cause)}`;
      problem = new LedgerError('KIN_LEDGER_IO', message, { cause });
    }
    await wal.close();
    const untold = await this.#gaps.end();
    await lock.release();
    if (problem !== undefined) throw problem;
    if (untold === 0) return;
    throw new LedgerError('KIN_LEDGER_IO', `${untold} lost entries are written down nowhere`);
  }

  #state(): LedgerState {
    const state = this.#parts.committer.state();
    if (state.kind === 'open' && this.#fullSince !== undefined) {
      return { kind: 'full', since: this.#fullSince };
    }
    return state;
  }

  #now(): string {
    const nowMs = this.#parts.clock.nowMs();
    if (nowMs !== this.#nowMs) {
      this.#nowMs = nowMs;
      this.#nowText = new Date(nowMs).toISOString();
    }
    return this.#nowText;
  }

  #checkKept(index: number): void {
    this.#checkIndex(index);
    const { first } = this.#parts.history;
    if (index >= first) return;
    throw new LedgerError('KIN_LEDGER_PRUNED', `${index} is below ${first}, the first kept entry`);
  }

  #checkIndex(index: number): void {
    if (Number.isSafeInteger(index) && index >= 0 && index < this.size) return;
    throw new LedgerError('KIN_LEDGER_RANGE', `${index} is not below the size ${this.size}`);
  }
}

function durable({ index, leaf, checkpoint }: Committed): AppendedDurably {
  const leafHash = Buffer.from(leaf.buffer, leaf.byteOffset, leaf.length).toString('base64');
  return { kind: 'durable', index, leafHash, checkpoint };
}
