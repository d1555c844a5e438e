// Which receipts do we hold? `anchors.log`: one JSON line a receipt, each with a CRC over its exact
// bytes, only ever appended, durable before `append` resolves.
//
//   AB1. A resolved `append` survives a crash; a torn tail is dropped at the next open and told.
//   AB2. Damage before the last line is never skipped: opening fails and names the line.
//   AB3. A failed write leaves the file as it was, or the book refuses every later append.
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import type { AnchorReceipt } from './anchor.ts';
import { AnchorError, errnoOf } from './errors.ts';

const BOOK_BYTES_MAX = 256 * 1024 * 1024;
const LINE_BYTES_MAX = 1024 * 1024;
const KINDS: ReadonlySet<unknown> = new Set(['rfc3161', 'evm', 'opentimestamps', 'file']);

export interface AnchorBook {
  /** Bytes of a torn last line that opening dropped. */
  readonly droppedBytes: number;
  append(receipt: AnchorReceipt): Promise<void>;
  /** The newest receipt of this anchor. */
  newest(anchor: string): AnchorReceipt | undefined;
  /** Newest first; a later receipt of the same anchor and size replaces an earlier one. */
  receipts(anchor: string, limit: number): readonly AnchorReceipt[];
  close(): Promise<void>;
}

export async function openAnchorBook(path: string): Promise<AnchorBook> {
  try {
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    const file = await open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    try {
      return await readBook(file, path);
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    if (error instanceof AnchorError) throw error;
    throw new AnchorError('KIN_ANCHOR_IO', `anchors.log cannot be opened (${errnoOf(error)})`);
  }
}

async function readBook(file: FileHandle, path: string): Promise<AnchorBook> {
  const { size, isRegular } = await file
    .stat()
    .then((stat) => ({ size: stat.size, isRegular: stat.isFile() }));
  if (!isRegular || size > BOOK_BYTES_MAX)
    throw new AnchorError('KIN_ANCHOR_BOOK_CORRUPT', 'anchors.log is no file, or too large');
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size;) {
    const { bytesRead } = await file.read(bytes, at, size - at, at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  const { receipts, goodBytes } = parseBook(bytes);
  if (goodBytes < size) await file.truncate(goodBytes);
  await file.datasync();
  await syncFolder(dirname(path));
  return new FileBook(file, receipts, goodBytes, size - goodBytes);
}

/** All whole lines; what stands behind the last good one may only be a torn tail. */
export function parseBook(bytes: Buffer): {
  readonly receipts: readonly AnchorReceipt[];
  readonly goodBytes: number;
} {
  const receipts: AnchorReceipt[] = [];
  let at = 0;
  for (let line = 1; at < bytes.length; line += 1) {
    const end = bytes.indexOf(0x0a, at);
    const receipt = end === -1 ? undefined : parseLine(bytes.subarray(at, end));
    if (receipt === undefined) {
      if (isTorn(bytes.subarray(at))) break;
      throw new AnchorError('KIN_ANCHOR_BOOK_CORRUPT', `line ${line} of anchors.log is damaged`);
    }
    receipts.push(receipt);
    at = end + 1;
  }
  return { receipts, goodBytes: at };
}

const UNWRITTEN = Buffer.alloc(16);

/**
 * Could a crash have left this? A line that was not finished, or one whose blocks were never all
 * written and read as zeros. Anything else was once acknowledged, and is damage.
 */
function isTorn(tail: Buffer): boolean {
  const end = tail.indexOf(0x0a);
  // A whole line with something else in the place of its end.
  if (end === -1) return parseLine(tail.subarray(0, -1)) === undefined;
  return end === tail.length - 1 && tail.includes(UNWRITTEN);
}

const LINE = /^\{"crc":"([0-9a-f]{8})","receipt":(\{.*\})\}$/s;

function parseLine(bytes: Buffer): AnchorReceipt | undefined {
  const [, crc, body] = LINE.exec(bytes.toString('utf8')) ?? [];
  if (crc === undefined || body === undefined || crc !== crcOf(body)) return undefined;
  try {
    return readReceipt(JSON.parse(body));
  } catch {
    return undefined;
  }
}

function crcOf(body: string): string {
  return crc32(Buffer.from(body, 'utf8')).toString(16).padStart(8, '0');
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
const isText = (value: unknown): boolean => typeof value === 'string';

const MEMBERS: Readonly<Record<AnchorReceipt['kind'], Readonly<Record<string, unknown>>>> = {
  rfc3161: { response: isText },
  evm: {
    chainId: isCount,
    contract: isText,
    owner: isText,
    transaction: isText,
    blockNumber: isCount,
    blockHash: isText,
    confirmations: isCount,
  },
  opentimestamps: {
    proof: isText,
    state: (value: unknown) => value === 'pending' || value === 'attested',
  },
  file: { layout: (value: unknown) => value === 'append' || value === 'objects' },
};

/** A receipt from outside (a line, an auditor's file): its shape is checked, its proof is not. */
export function readReceipt(value: unknown): AnchorReceipt {
  const bad = (why: string): AnchorError =>
    new AnchorError('KIN_ANCHOR_RECEIPT', `not an anchor receipt: ${why}`);
  if (typeof value !== 'object' || value === null) throw bad('no object');
  const fields = value as Readonly<Record<string, unknown>>;
  if (fields['v'] !== 1) throw bad('unknown version');
  if (!KINDS.has(fields['kind'])) throw bad('unknown kind');
  const checks: Readonly<Record<string, unknown>> = {
    anchor: isText,
    size: isCount,
    root: isText,
    checkpoint: isText,
    atMs: isCount,
    ...MEMBERS[fields['kind'] as AnchorReceipt['kind']],
  };
  for (const [name, check] of Object.entries(checks))
    if (typeof check === 'function' && check(fields[name]) !== true) throw bad(`member ${name}`);
  return value as AnchorReceipt;
}

class FileBook implements AnchorBook {
  readonly droppedBytes: number;
  readonly #file: FileHandle;
  /** By anchor, then by size, in order of writing. */
  readonly #receipts = new Map<string, Map<number, AnchorReceipt>>();
  #bytes: number;
  #isPoisoned = false;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(
    file: FileHandle,
    receipts: readonly AnchorReceipt[],
    bytes: number,
    droppedBytes: number,
  ) {
    this.#file = file;
    this.#bytes = bytes;
    this.droppedBytes = droppedBytes;
    for (const receipt of receipts) this.#keep(receipt);
  }

  append(receipt: AnchorReceipt): Promise<void> {
    const done = this.#tail.then(() => this.#write(receipt));
    this.#tail = done.catch(() => undefined);
    return done;
  }

  newest(anchor: string): AnchorReceipt | undefined {
    return this.receipts(anchor, 1)[0];
  }

  receipts(anchor: string, limit: number): readonly AnchorReceipt[] {
    const all = [...(this.#receipts.get(anchor)?.values() ?? [])];
    return all.slice(Math.max(0, all.length - limit)).toReversed();
  }

  async close(): Promise<void> {
    await this.#tail;
    this.#isPoisoned = true;
    await this.#file.close();
  }

  async #write(receipt: AnchorReceipt): Promise<void> {
    const io = (why: string): AnchorError => new AnchorError('KIN_ANCHOR_IO', `anchors.log ${why}`);
    if (this.#isPoisoned) throw io('takes no more: closed, or a write failed half-way');
    const body = JSON.stringify(receipt);
    const line = Buffer.from(`{"crc":"${crcOf(body)}","receipt":${body}}\n`, 'utf8');
    if (line.length > LINE_BYTES_MAX || this.#bytes + line.length > BOOK_BYTES_MAX)
      throw io('would grow past its limit');
    try {
      const { bytesWritten } = await this.#file.write(line, 0, line.length, this.#bytes);
      if (bytesWritten !== line.length) throw new Error('short write');
      await this.#file.datasync();
    } catch (error) {
      await this.#file.truncate(this.#bytes).catch(() => undefined);
      // After a failed sync nobody knows what the disk holds: only a new open may go on.
      this.#isPoisoned = true;
      throw io(`could not be written (${errnoOf(error)})`);
    }
    this.#bytes += line.length;
    this.#keep(receipt);
  }

  #keep(receipt: AnchorReceipt): void {
    const sizes = this.#receipts.get(receipt.anchor) ?? new Map<number, AnchorReceipt>();
    this.#receipts.set(receipt.anchor, sizes);
    sizes.set(receipt.size, receipt);
  }
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
