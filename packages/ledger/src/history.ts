// Where on the disk is entry N? The place of every record, and a small cache of decoded ones.

import { LedgerError, typedError } from './errors.ts';
import type { Files } from './files.ts';
import { HEADER_BYTES, RECORD_ALIGN, paddedLength, readHeader, readRecord } from './record.ts';
import type { RecordView } from './record.ts';

const CACHED_MAX = 8;
const PAGE_BYTES = 4 * 1024 * 1024;

export class History {
  readonly #files: Files;
  readonly #dir: string;
  readonly #firsts: number[] = [];
  readonly #offsets: number[] = [];
  readonly #segments: number[] = [];
  readonly #segmentFiles: string[] = [];
  readonly #cache = new Map<number, readonly Uint8Array[]>();

  constructor(files: Files, dir: string) {
    this.#files = files;
    this.#dir = dir;
  }

  add(firstIndex: number, file: string, offset: number): void {
    if (this.#segmentFiles.at(-1) !== file) this.#segmentFiles.push(file);
    this.#firsts.push(firstIndex);
    this.#offsets.push(offset);
    this.#segments.push(this.#segmentFiles.length - 1);
  }

  async entry(index: number): Promise<Uint8Array> {
    const [entry] = await this.range(index, 1);
    if (entry === undefined) throw new LedgerError('KIN_LEDGER_RANGE', `no entry ${index}`);
    return entry;
  }

  /** At least one entry, at most `count`, and about PAGE_BYTES unless `whole`. */
  async range(from: number, count: number, whole = false): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = [];
    let bytes = 0;
    let at = this.#recordOf(from);
    while (found.length < count && at < this.#firsts.length) {
      const entries = await this.#record(at);
      const skip = Math.max(0, from - (this.#firsts[at] ?? 0));
      for (const entry of entries.slice(skip, skip + count - found.length)) {
        if (!whole && bytes > PAGE_BYTES) return found;
        found.push(entry);
        bytes += entry.length;
      }
      at += 1;
    }
    return found;
  }

  /** Binary search: the last record that starts at or before the index. */
  #recordOf(index: number): number {
    let low = 0;
    let high = this.#firsts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#firsts[middle] ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  async #record(at: number): Promise<readonly Uint8Array[]> {
    const cached = this.#cache.get(at);
    if (cached !== undefined) return cached;
    const { entries } = await this.#load(at).catch((cause: unknown) => {
      throw typedError(cause, `cannot read the ledger in ${this.#dir}`);
    });
    this.#cache.set(at, entries);
    for (const key of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_MAX) break;
      this.#cache.delete(key);
    }
    return entries;
  }

  async #load(at: number): Promise<RecordView> {
    const file = this.#segmentFiles[this.#segments[at] ?? 0] ?? '';
    const offset = this.#offsets[at] ?? 0;
    const index = this.#firsts[at] ?? 0;
    const handle = await this.#files.open(`${this.#dir}/${file}`, 'read');
    try {
      let bytes = asBuffer(await handle.read(offset, RECORD_ALIGN));
      const head = readHeader(bytes, 0);
      const used = head.kind === 'header' ? head.used : HEADER_BYTES;
      if (used > RECORD_ALIGN) bytes = asBuffer(await handle.read(offset, paddedLength(used)));
      const read = readRecord(bytes, 0);
      if (read.kind === 'record' && read.record.firstIndex === index) return read.record;
      const reason = read.kind === 'bad' ? read.reason : 'another record stands there';
      throw new LedgerError('KIN_LEDGER_CORRUPT', `${file} at byte ${offset}: ${reason}`, {
        place: { file, offset, index },
      });
    } finally {
      await handle.close();
    }
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
