// Where is entry N? The place of every record, and a small cache of decoded ones.

import { LedgerError, isLedgerError, typedError } from './errors.ts';
import { HEADER_BYTES, RECORD_ALIGN, entriesOf, paddedLength } from './record.ts';
import { readHeader, readRecord } from './record.ts';
import type { RecordView } from './record.ts';
import type { RecordStore } from './store.ts';

const CACHED_MAX = 8;
const PAGE_BYTES = 4 * 1024 * 1024;

export class History {
  readonly #store: RecordStore;
  #firsts: number[] = [];
  #offsets: number[] = [];
  #pieces: number[] = [];
  readonly #files: string[] = [];
  readonly #cache = new Map<number, readonly Uint8Array[]>();
  #first = 0;

  constructor(store: RecordStore) {
    this.#store = store;
  }

  /** The first entry that is kept. */
  get first(): number {
    return this.#first;
  }

  add(firstIndex: number, file: string, offset: number): void {
    if (this.#files.at(-1) !== file) this.#files.push(file);
    this.#firsts.push(firstIndex);
    this.#offsets.push(offset);
    this.#pieces.push(this.#files.length - 1);
  }

  /** Entries below `first` are gone, or about to be. A record starts at `first`. */
  forget(first: number): void {
    this.#first = first;
    const from = this.#firsts.findIndex((start) => start >= first);
    const count = from < 0 ? this.#firsts.length : from;
    this.#firsts = this.#firsts.slice(count);
    this.#offsets = this.#offsets.slice(count);
    this.#pieces = this.#pieces.slice(count);
    this.#cache.clear();
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
    let next = from;
    // By index, not by position: pruning may move the positions while we read.
    while (found.length < count) {
      if (next < this.#first) throw pruned(this.#first);
      const at = this.#recordOf(next);
      const first = this.#firsts[at] ?? next;
      const entries = await this.#record(first, at);
      const wanted = entries.slice(next - first, next - first + count - found.length);
      if (wanted.length === 0) return found;
      for (const entry of wanted) {
        if (!whole && bytes > PAGE_BYTES) return found;
        found.push(entry);
        bytes += entry.length;
      }
      next += wanted.length;
    }
    return found;
  }

  /** The hash of the record in front of the one that starts at `first`. */
  async chainBefore(first: number): Promise<Uint8Array> {
    const at = this.#recordOf(first);
    if (this.#firsts[at] !== first) {
      throw new LedgerError('KIN_LEDGER_RANGE', `no record starts at ${first}`);
    }
    return Uint8Array.from((await this.#load(at)).previous);
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

  async #record(first: number, at: number): Promise<readonly Uint8Array[]> {
    const cached = this.#cache.get(first);
    if (cached !== undefined) return cached;
    if (at >= this.#firsts.length) return [];
    const entries = await this.#load(at).then(entriesOf, (cause: unknown) => {
      if (first < this.#first) throw pruned(this.#first);
      throw typedError(cause, `cannot read the ledger in ${this.#store.place}`);
    });
    this.#cache.set(first, entries);
    for (const key of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_MAX) break;
      this.#cache.delete(key);
    }
    return entries;
  }

  async #load(at: number): Promise<RecordView> {
    const file = this.#files[this.#pieces[at] ?? 0] ?? '';
    const offset = this.#offsets[at] ?? 0;
    const index = this.#firsts[at] ?? 0;
    let bytes = asBuffer(await this.#store.read(file, offset, RECORD_ALIGN));
    const head = readHeader(bytes, 0);
    const used = head.kind === 'header' ? head.used : HEADER_BYTES;
    if (used > RECORD_ALIGN) {
      bytes = asBuffer(await this.#store.read(file, offset, paddedLength(used)));
    }
    const read = readRecord(bytes, 0);
    if (read.kind === 'record' && read.record.firstIndex === index) return read.record;
    const reason = read.kind === 'bad' ? read.reason : 'another record stands there';
    throw new LedgerError('KIN_LEDGER_CORRUPT', `${file} at byte ${offset}: ${reason}`, {
      place: { file, offset, index },
    });
  }
}

/** Is that failure only retention at work? */
export function isPruned(cause: unknown): boolean {
  return isLedgerError(cause) && cause.code === 'KIN_LEDGER_PRUNED';
}

function pruned(first: number): LedgerError {
  return new LedgerError('KIN_LEDGER_PRUNED', `entries below ${first} were pruned`);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
