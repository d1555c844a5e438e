// When is a frame on disk? Frames wait in a bounded queue; whatever waits becomes one group: one
// write, one fdatasync, and only then the promises resolve.
// R4. `append` settles: durable, or refused with a code; a deadline is kept though the disk hangs.
// R5. A file whose write or sync failed is never written again; the group goes to a new file once,
//     and a second failure ends writing for good.

import { DeadlineWatch, rejectOnce } from '../deadline-watch.ts';
import { LedgerError, errorText, isLedgerError, typedError } from '../errors.ts';
import { isDiskFull } from '../files.ts';
import type { LedgerClock } from '../files.ts';
import { roomFor } from '../record.ts';
import { GROUP_ALIGN, padTo, placeFrame } from './frame.ts';

export interface FramePlace {
  readonly file: number;
  readonly offset: number;
  readonly length: number;
}

/** The file that grows. `put` writes and syncs; `renew` gives it up and begins another. */
export interface GrowingFile {
  readonly file: number;
  readonly offset: number;
  fits(bytes: number): boolean;
  put(group: Buffer): Promise<void>;
}

export interface WriterParts {
  readonly current: () => GrowingFile | undefined;
  readonly renew: () => Promise<GrowingFile>;
  readonly abandon: () => Promise<void>;
  readonly clock: LedgerClock;
  readonly queueBytesMax: number;
  readonly groupBytesMax: number;
}

interface Waiting {
  readonly frame: Buffer;
  readonly dueAtMs: number;
  settled: boolean;
  readonly resolve: (place: FramePlace) => void;
  readonly reject: (error: LedgerError) => void;
}

export class FrameWriter {
  readonly #parts: WriterParts;
  #queue: Waiting[] = [];
  #queueBytes = 0;
  #inFlight: readonly Waiting[] = [];
  #pumping: Promise<void> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #watch: DeadlineWatch;
  #room: Buffer | undefined;
  #failure: LedgerError | undefined;
  #closed = false;
  groups = 0;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#watch = new DeadlineWatch({
      clock: parts.clock,
      open: () => [this.#inFlight, this.#queue],
      expire: () => this.#expire(),
    });
  }

  get failure(): LedgerError | undefined {
    return this.#failure;
  }

  append(frame: Buffer, deadlineMs: number): Promise<FramePlace> {
    const refusal = this.#refusal(frame);
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const dueAtMs = this.#parts.clock.monotonicMs() + deadlineMs;
      this.#queue.push({ frame, dueAtMs, settled: false, resolve, reject });
      this.#queueBytes += frame.length;
      if (this.#pumping !== undefined && dueAtMs < this.#watch.wakeAtMs) this.#watch.start();
      // A microtask later, so that frames of the same tick share one group.
      this.#pumping ??= Promise.resolve().then(() => this.#pump());
    });
  }

  /** Runs between two groups, alone with the files. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  /** Resolves when everything accepted so far has settled. */
  async idle(): Promise<void> {
    await this.#pumping;
    await this.#turn;
  }

  async close(deadlineMs: number): Promise<void> {
    this.#closed = true;
    const { clock } = this.#parts;
    const giveUp = new AbortController();
    const late = clock.sleep?.(deadlineMs, giveUp.signal).then(() => 'late' as const);
    const done = this.idle().then(() => 'done' as const);
    const first = await Promise.race(late === undefined ? [done] : [done, late]);
    giveUp.abort();
    if (first === 'done') return;
    this.#fail(new LedgerError('KIN_LEDGER_DEADLINE', 'the disk did not answer while closing'));
    throw this.#failure ?? new LedgerError('KIN_LEDGER_CLOSED', 'closed');
  }

  #refusal(frame: Buffer): LedgerError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#closed) return new LedgerError('KIN_LEDGER_CLOSED', 'the payload store is closed');
    if (this.#queueBytes + frame.length <= this.#parts.queueBytesMax) return undefined;
    const waiting = `${this.#queue.length} payloads (${this.#queueBytes} bytes)`;
    return new LedgerError('KIN_LEDGER_OVERLOADED', `${waiting} already wait for the disk`);
  }

  async #pump(): Promise<void> {
    this.#watch.start();
    try {
      // Bounded by the queue: each round takes at least one frame out of it.
      while (this.#queue.length > 0 && this.#failure === undefined) {
        await this.exclusive(() => this.#round());
      }
    } finally {
      this.#pumping = undefined;
      this.#watch.stop();
      if (this.#failure !== undefined) this.#fail(this.#failure);
    }
  }

  async #round(): Promise<void> {
    this.#expire();
    const group = this.#takeGroup();
    if (group.length === 0) return;
    this.#inFlight = group;
    try {
      const bytes = padTo(
        group.reduce((sum, { frame }) => sum + frame.length, 0),
        GROUP_ALIGN,
      );
      const { file, start } = await this.#write(group, bytes);
      this.groups += 1;
      let offset = start;
      for (const waiting of group) {
        const { frame } = waiting;
        waiting.settled = true;
        waiting.resolve({ file, offset, length: frame.readUInt32BE(4) });
        offset += frame.length;
      }
    } catch (cause) {
      const error = typedError(cause, 'payloads were not written');
      if (error.code === 'KIN_LEDGER_POISONED') this.#failure = error;
      for (const waiting of group) rejectOnce(waiting, error);
    } finally {
      this.#inFlight = [];
    }
  }

  #takeGroup(): readonly Waiting[] {
    const group: Waiting[] = [];
    let bytes = 0;
    let taken = 0;
    for (const waiting of this.#queue) {
      const { frame } = waiting;
      if (group.length > 0 && bytes + frame.length > this.#parts.groupBytesMax) break;
      taken += 1;
      this.#queueBytes -= frame.length;
      if (waiting.settled) continue;
      group.push(waiting);
      bytes += frame.length;
    }
    this.#queue = this.#queue.slice(taken);
    return group;
  }

  /** R5. */
  async #write(
    group: readonly Waiting[],
    bytes: number,
  ): Promise<{ readonly file: number; readonly start: number }> {
    const current = this.#parts.current();
    let first: unknown;
    if (current !== undefined && current.fits(bytes)) {
      try {
        return await this.#put(current, group, bytes);
      } catch (cause) {
        if (isDiskFull(cause)) throw cause;
        first = cause;
        await this.#parts.abandon();
      }
    }
    // A second failure of the same group, or one in a file that was just made.
    let fresh: GrowingFile;
    try {
      fresh = await this.#parts.renew();
    } catch (cause) {
      throw isDiskFull(cause) || (isLedgerError(cause) && first === undefined)
        ? cause
        : poisoned(first, cause);
    }
    try {
      return await this.#put(fresh, group, bytes);
    } catch (cause) {
      if (isDiskFull(cause)) throw cause;
      await this.#parts.abandon();
      throw poisoned(first, cause);
    }
  }

  /** The room is taken back only after a write that went well: a failed one may still read it. */
  async #put(
    target: GrowingFile,
    group: readonly Waiting[],
    bytes: number,
  ): Promise<{ readonly file: number; readonly start: number }> {
    const room = roomFor(this.#room, bytes);
    this.#room = undefined;
    const placed = await putGroup(target, group, room.subarray(0, bytes));
    this.#room = room;
    return placed;
  }

  #expire(): void {
    const now = this.#parts.clock.monotonicMs();
    for (const waiting of this.#queue) if (waiting.dueAtMs <= now) rejectOnce(waiting, late('no'));
    for (const waiting of this.#inFlight) {
      if (waiting.dueAtMs <= now) rejectOnce(waiting, late('unknown'));
    }
  }

  #fail(error: LedgerError): void {
    this.#failure ??= error;
    for (const waiting of [...this.#inFlight, ...this.#queue]) rejectOnce(waiting, error);
    this.#queue = [];
    this.#queueBytes = 0;
  }
}

async function putGroup(
  target: GrowingFile,
  group: readonly Waiting[],
  block: Buffer,
): Promise<{ readonly file: number; readonly start: number }> {
  const { file, offset: start } = target;
  let at = 0;
  for (const { frame } of group) {
    placeFrame(frame, start);
    block.set(frame, at);
    at += frame.length;
  }
  block.fill(0, at);
  await target.put(block);
  return { file, start };
}

function poisoned(first: unknown, second: unknown): LedgerError {
  const before = first === undefined ? '' : ` (before: ${errorText(first)})`;
  const message = `writing payloads failed: ${errorText(second)}${before}`;
  return new LedgerError('KIN_LEDGER_POISONED', message, { cause: second });
}

function late(inLog: 'no' | 'unknown'): LedgerError {
  const fate = inLog === 'no' ? 'it is not stored' : 'it may still be stored, as an orphan';
  return new LedgerError('KIN_LEDGER_DEADLINE', `the payload missed its deadline; ${fate}`, {
    inLog,
  });
}
