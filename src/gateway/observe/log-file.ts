// How do lines get to disk without anybody waiting for it? Batches are appended one after the other
// in the background; the file is rotated between two batches, so that no line is torn or lost.
//
//   LF1. Files are 0600; a link or anything that is no plain file in its place is refused.
//   LF2. A file grows past `maxBytes` by no byte, unless one batch alone is larger; at most `files`
//        are kept.
//   LF3. A disk that is full or a folder that is gone costs lines, which are counted, and is told
//        once, and once more when it is over. A half-written batch is taken back.
import { constants } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { messageOf } from '../../model/errors.ts';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 30_000;
const LOOK_MS = 1_000;
const LINE_FEED = 10;

export interface LogFileLimits {
  readonly maxBytes: number;
  readonly files: number;
}

export interface LogFileSetup {
  /** `…/access-gateway-1.ndjson`; older ones are `…/access-gateway-1.1.ndjson` and so on. */
  readonly path: string;
  readonly warn: (text: string) => void;
  readonly monotonicMs: () => number;
  /** The bytes may be used again. */
  readonly onFree: (bytes: Buffer) => void;
}

interface Batch {
  readonly bytes: Buffer;
  readonly length: number;
  readonly lines: number;
}

type State =
  | { readonly kind: 'closed' }
  | { readonly kind: 'open'; readonly file: FileHandle; readonly inode: number; size: number }
  | { readonly kind: 'broken'; readonly untilMs: number; readonly pauseMs: number };

export class LogFile {
  readonly #setup: LogFileSetup;
  #limits: LogFileLimits;
  readonly #queue: Batch[] = [];
  #state: State = { kind: 'closed' };
  #running: Promise<void> | undefined;
  #written = 0;
  #dropped = 0;
  #droppedSince = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(setup: LogFileSetup, limits: LogFileLimits) {
    this.#setup = setup;
    this.#limits = limits;
  }

  /** Lines that are on disk. */
  get written(): number {
    return this.#written;
  }

  get dropped(): number {
    return this.#dropped;
  }

  limit(limits: LogFileLimits): void {
    this.#limits = limits;
  }

  /** Batches are bounded by the number of buffers that there are. */
  write(bytes: Buffer, length: number, lines: number): void {
    this.#queue.push({ bytes, length, lines });
    this.#running ??= this.#run();
  }

  async settled(): Promise<void> {
    await this.#running;
  }

  /** Writes what waits, and closes. */
  async close(): Promise<void> {
    await this.settled();
    await closeQuietly(this.#state);
    this.#state = { kind: 'closed' };
  }

  async #run(): Promise<void> {
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      try {
        if (await this.#append(batch)) this.#written += batch.lines;
        else this.#drop(batch.lines);
      } catch (error) {
        this.#drop(batch.lines);
        await this.#broke(error);
      }
      this.#setup.onFree(batch.bytes);
    }
    this.#running = undefined;
  }

  #drop(lines: number): void {
    this.#dropped += lines;
    this.#droppedSince += lines;
  }

  /** False: it is not even tried, because it failed a moment ago. */
  async #append(batch: Batch): Promise<boolean> {
    const before = this.#state;
    if (before.kind === 'broken' && this.#setup.monotonicMs() < before.untilMs) return false;
    let at = await this.#opened();
    if (at.size > 0 && at.size + batch.length > this.#limits.maxBytes) {
      await this.#rotate(at.file);
      at = await this.#opened();
    }
    await writeWhole(at.file, batch, at.size);
    at.size += batch.length;
    this.#state = at;
    if (before.kind === 'broken') {
      const lost = this.#droppedSince;
      this.#setup.warn(`the access log is written again; ${lost} lines are missing`);
    }
    this.#droppedSince = 0;
    return true;
  }

  async #opened(): Promise<Extract<State, { kind: 'open' }>> {
    const { path } = this.#setup;
    if (this.#state.kind === 'open') {
      const nowMs = this.#setup.monotonicMs();
      if (nowMs - this.#lookedMs < LOOK_MS) return this.#state;
      this.#lookedMs = nowMs;
      // Somebody may have moved or removed it: then what comes goes into a new one.
      const found = await stat(path).catch(() => undefined);
      if (found?.ino === this.#state.inode) return this.#state;
      await this.#state.file.close();
      this.#state = { kind: 'closed' };
    }
    const file = await open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o600);
    try {
      const found = await file.stat();
      if (!found.isFile()) throw new Error('what is in its place is no plain file');
      const own = process.geteuid?.() ?? found.uid;
      if (found.uid !== own) throw new Error('the file in its place belongs to another user');
      if ((found.mode & 0o077) !== 0) await file.chmod(0o600);
      const size = await endWithLine(file, found.size);
      const opened = { kind: 'open', file, inode: found.ino, size } as const;
      this.#state = opened;
      return opened;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #rotate(file: FileHandle): Promise<void> {
    const { path } = this.#setup;
    const { files } = this.#limits;
    this.#state = { kind: 'closed' };
    await file.close();
    if (files <= 1) {
      await rm(path, { force: true });
      return;
    }
    // Fewer may be wanted than there were: the one after the last goes too.
    await rm(olderPath(path, files), { force: true });
    for (let age = files - 1; age >= 1; age -= 1) {
      const from = age === 1 ? path : olderPath(path, age - 1);
      await rename(from, olderPath(path, age)).catch(ignoreMissing);
    }
  }

  async #broke(error: unknown): Promise<void> {
    const [state, setup] = [this.#state, this.#setup];
    await closeQuietly(state);
    const isFirst = state.kind !== 'broken';
    const pauseMs = isFirst ? RETRY_MIN_MS : Math.min(RETRY_MAX_MS, state.pauseMs * 2);
    this.#state = { kind: 'broken', untilMs: setup.monotonicMs() + pauseMs, pauseMs };
    if (!isFirst) return;
    const why = `KIN_GATEWAY_LOG: the access log cannot be written: ${messageOf(error)}`;
    setup.warn(`${why}. Requests go on, their lines are dropped and counted.`);
  }
}

export function olderPath(path: string, age: number): string {
  return path.replace(/(?:\.ndjson)?$/u, `.${age}.ndjson`);
}

async function closeQuietly(state: State): Promise<void> {
  if (state.kind === 'open') await state.file.close().catch(() => undefined);
}

/** All of it or, as far as the disk lets us, nothing. */
async function writeWhole(file: FileHandle, batch: Batch, size: number): Promise<void> {
  let at = 0;
  try {
    while (at < batch.length) {
      const { bytesWritten } = await file.write(batch.bytes, at, batch.length - at, null);
      at += bytesWritten;
    }
  } catch (error) {
    const found = at === 0 ? undefined : await file.stat().catch(() => undefined);
    // Only if nobody else wrote after us, as an old worker does for a moment at a reload.
    if (found?.size === size + at) await file.truncate(size).catch(() => undefined);
    throw error;
  }
}

/** After a crash the last line may be half there: the next one must not be stuck to it. */
async function endWithLine(file: FileHandle, size: number): Promise<number> {
  if (size === 0) return 0;
  const last = Buffer.alloc(1);
  await file.read(last, 0, 1, size - 1);
  if (last[0] === LINE_FEED) return size;
  await file.write('\n');
  return size + 1;
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
}
