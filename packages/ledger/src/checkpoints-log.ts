// Which checkpoints did this log ever publish, and who cosigned them? `checkpoints.log`: one line
// for each, append only; full files are renamed and kept for ever.
// CL1. A line is durable before `append` resolves, and carries its own checksum.
// CL2. A torn last line was never acknowledged and is dropped; damage before the last line is
//      refused with its place.
// CL3. Rotation loses nothing: the full file gets its own name first, and its name is durable
//      before a new file takes lines.
// CL4. Lines that a killed process left in the cache are synced before anybody builds on them.

import { crc32 } from 'node:zlib';
import { fromUtf8, utf8 } from './bytes.ts';
import { LedgerError, typedError } from './errors.ts';
import { replaceFile, syncFile } from './files.ts';
import type { Files, OpenFile } from './files.ts';
import { canonicalJson } from './json.ts';

export type CheckpointLine =
  | {
      readonly kind: 'published';
      readonly at: string;
      readonly size: number;
      /** The signed note as it was published first. */
      readonly note: string;
    }
  | {
      readonly kind: 'cosigned';
      readonly at: string;
      readonly size: number;
      /** The witness' name in the policy. */
      readonly witness: string;
      /** Signature lines for the note of that size. */
      readonly lines: string;
    };

const CURRENT = 'checkpoints.log';
const ARCHIVE = /^checkpoints\.(\d{8})\.log$/;
const FILE_BYTES = 16 * 1024 * 1024;
const LINE_BYTES_MAX = 1024 * 1024;

export interface CheckpointsLogOptions {
  readonly files: Files;
  readonly dir: string;
  /** A file that is larger is closed and kept. Default 16 MiB. */
  readonly fileBytes?: number;
}

export class CheckpointsLog {
  readonly #files: Files;
  readonly #dir: string;
  readonly #fileBytes: number;
  /** What was found at open: the lines of the newest file that has some. */
  readonly tail: readonly CheckpointLine[];
  #file: OpenFile | undefined;
  #length: number;
  #suspect = false;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: CheckpointsLogOptions, found: Found, file: OpenFile) {
    this.#files = options.files;
    this.#dir = options.dir;
    this.#fileBytes = options.fileBytes ?? FILE_BYTES;
    this.tail = found.lines;
    this.#length = found.length;
    this.#file = file;
  }

  static async open(options: CheckpointsLogOptions): Promise<CheckpointsLog> {
    const { files, dir } = options;
    await makeDurable(files, dir);
    let found = await read(files, dir, CURRENT, bytesMax(options));
    if (found === undefined) {
      await create(files, dir);
      found = { lines: [], length: 0, torn: false };
    } else if (found.torn) {
      // CL2: the rest of a torn line must not stand behind the next one.
      await keepPrefix(files, dir, found.length, bytesMax(options));
    }
    if (found.lines.length === 0) {
      const [newest] = (await archives(files, dir)).reverse();
      const older =
        newest === undefined ? undefined : await read(files, dir, newest, bytesMax(options));
      if (older?.torn === true) throw damaged(newest ?? '', older.length);
      if (older !== undefined) found = { ...found, lines: older.lines };
    }
    return new CheckpointsLog(options, found, await files.open(`${dir}/${CURRENT}`, 'write'));
  }

  /** CL1. One after the other; a failed append leaves no trace that a later one could not cover. */
  append(line: CheckpointLine): Promise<void> {
    const done = this.#turn.then(() => this.#append(line));
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#file?.close();
    this.#file = undefined;
  }

  async #append(line: CheckpointLine): Promise<void> {
    const bytes = encode(line);
    if (bytes.length > LINE_BYTES_MAX) {
      throw new LedgerError('KIN_LEDGER_OPTION_INVALID', 'a checkpoint line is above 1 MiB');
    }
    try {
      if (this.#suspect) await this.#rebuild();
      if (this.#length > 0 && this.#length + bytes.length > this.#fileBytes) await this.#rotate();
      const file = this.#opened();
      // Until the sync answered, nobody knows what is on disk, and a failed one is never repeated.
      this.#suspect = true;
      await file.write(bytes, this.#length);
      await file.datasync();
      this.#suspect = false;
      this.#length += bytes.length;
    } catch (cause) {
      throw typedError(cause, `cannot append to ${CURRENT}`);
    }
  }

  /** After a failure: the good lines in a new file, so that the failed sync is not repeated. */
  async #rebuild(): Promise<void> {
    await keepPrefix(this.#files, this.#dir, this.#length, this.#fileBytes + LINE_BYTES_MAX);
    await this.#reopen();
    this.#suspect = false;
  }

  /** CL3. */
  async #rotate(): Promise<void> {
    const [newest] = (await archives(this.#files, this.#dir)).reverse();
    const number = Number(ARCHIVE.exec(newest ?? '')?.[1] ?? '0') + 1;
    const name = `checkpoints.${String(number).padStart(8, '0')}.log`;
    this.#suspect = true;
    await this.#files.rename(`${this.#dir}/${CURRENT}`, `${this.#dir}/${name}`);
    this.#length = 0;
    await this.#files.syncDir(this.#dir);
    await create(this.#files, this.#dir);
    await this.#reopen();
    this.#suspect = false;
  }

  async #reopen(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    this.#file = await this.#files.open(`${this.#dir}/${CURRENT}`, 'write');
  }

  #opened(): OpenFile {
    if (this.#file !== undefined) return this.#file;
    throw new LedgerError('KIN_LEDGER_CLOSED', `${CURRENT} is closed`);
  }
}

/** Every line of every file, oldest first: for auditors and for the export. */
export async function* readCheckpointsLog(
  files: Files,
  dir: string,
  fileBytesMax = FILE_BYTES + LINE_BYTES_MAX,
): AsyncGenerator<CheckpointLine> {
  for (const name of await archives(files, dir)) {
    const found = await read(files, dir, name, fileBytesMax);
    if (found?.torn === true) throw damaged(name, found.length);
    yield* found?.lines ?? [];
  }
  // The current file may be in the middle of an append: its torn last line is not there yet.
  yield* (await read(files, dir, CURRENT, fileBytesMax))?.lines ?? [];
}

export type PlacedLine =
  | {
      readonly kind: 'line';
      readonly file: string;
      readonly offset: number;
      readonly line: CheckpointLine;
    }
  | { readonly kind: 'damaged'; readonly file: string; readonly offset: number }
  /** The end of the newest file: never acknowledged, or being written just now. */
  | { readonly kind: 'torn'; readonly file: string; readonly offset: number };

/** The same for a check: each line with its place, and damage as a place instead of an error. */
export async function* placedCheckpointLines(
  files: Files,
  dir: string,
  fileBytesMax = FILE_BYTES + LINE_BYTES_MAX,
): AsyncGenerator<PlacedLine> {
  for (const file of [...(await archives(files, dir)), CURRENT]) {
    const bytes = await files.readWhole(`${dir}/${file}`, fileBytesMax);
    if (bytes === undefined) continue;
    let badAt: number | undefined;
    for (const { at, line } of eachLine(bytes)) {
      if (line === undefined) badAt ??= at;
      else {
        if (badAt !== undefined) yield { kind: 'damaged', file, offset: badAt };
        badAt = undefined;
        yield { kind: 'line', file, offset: at, line };
      }
    }
    if (badAt === undefined) continue;
    yield { kind: file === CURRENT ? 'torn' : 'damaged', file, offset: badAt };
  }
}

function bytesMax({ fileBytes = FILE_BYTES }: CheckpointsLogOptions): number {
  return fileBytes + LINE_BYTES_MAX;
}

async function archives(files: Files, dir: string): Promise<string[]> {
  return (await files.list(dir)).filter((name) => ARCHIVE.test(name)).toSorted();
}

/** CL4. Full files were synced line by line; only their names may be new. */
async function makeDurable(files: Files, dir: string): Promise<void> {
  const path = `${dir}/${CURRENT}`;
  if ((await files.identity(path)) !== undefined) await syncFile(files, path);
  await files.syncDir(dir);
}

async function create(files: Files, dir: string): Promise<void> {
  const file = await files.open(`${dir}/${CURRENT}`, 'create');
  await file.datasync();
  await file.close();
  await files.syncDir(dir);
}

/** A crash in here leaves the old file, which is repaired in the same way again. */
async function keepPrefix(files: Files, dir: string, length: number, max: number): Promise<void> {
  const bytes = (await files.readWhole(`${dir}/${CURRENT}`, max)) ?? new Uint8Array(0);
  await replaceFile(files, dir, CURRENT, bytes.subarray(0, length));
}

interface Found {
  readonly lines: readonly CheckpointLine[];
  /** Bytes of the good lines. */
  readonly length: number;
  readonly torn: boolean;
}

/** Eight hexadecimal digits of the CRC-32 of the JSON, a space, the JSON, a newline. */
function encode(line: CheckpointLine): Uint8Array {
  const json = canonicalJson({ v: 1, ...line });
  return utf8(`${crcOf(json)} ${json}\n`);
}

function crcOf(json: string): string {
  return crc32(json).toString(16).padStart(8, '0');
}

async function read(
  files: Files,
  dir: string,
  name: string,
  max: number,
): Promise<Found | undefined> {
  const bytes = await files.readWhole(`${dir}/${name}`, max);
  if (bytes === undefined) return undefined;
  const lines: CheckpointLine[] = [];
  let badAt: number | undefined;
  for (const { at, line } of eachLine(bytes)) {
    if (line === undefined) badAt ??= at;
    else if (badAt === undefined) lines.push(line);
    // A good line behind a bad one: no torn write leaves that.
    else throw damaged(name, badAt);
  }
  return { lines, length: badAt ?? bytes.length, torn: badAt !== undefined };
}

/** Undefined for what is no whole, good line. */
function* eachLine(
  bytes: Uint8Array,
): Generator<{ readonly at: number; readonly line: CheckpointLine | undefined }> {
  for (let at = 0; at < bytes.length;) {
    const newline = bytes.indexOf(0x0a, at);
    const end = newline < 0 ? bytes.length : newline;
    yield { at, line: newline < 0 ? undefined : decode(bytes.subarray(at, end)) };
    at = end + 1;
  }
}

function decode(bytes: Uint8Array): CheckpointLine | undefined {
  const text = fromUtf8(bytes) ?? '';
  const json = text.slice(9);
  if (text[8] !== ' ' || text.slice(0, 8) !== crcOf(json)) return undefined;
  const value: unknown = JSON.parse(json);
  if (typeof value !== 'object' || value === null) return undefined;
  const { v, kind, at, size, note, witness, lines } = value as Record<string, unknown>;
  if (v !== 1 || typeof at !== 'string' || !Number.isSafeInteger(size)) return undefined;
  const head = { at, size: Number(size) };
  if (kind === 'published' && typeof note === 'string') return { kind, ...head, note };
  if (kind !== 'cosigned' || typeof witness !== 'string' || typeof lines !== 'string') {
    return undefined;
  }
  return { kind, ...head, witness, lines };
}

function damaged(file: string, offset: number): LedgerError {
  return new LedgerError('KIN_LEDGER_CORRUPT', `${file} is damaged at byte ${offset}`, {
    place: { file, offset, index: 0 },
  });
}
