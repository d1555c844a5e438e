// How is a folder the place of a log? Preallocated segments under `seg`, small documents beside
// them, a lock file for the one writer. All through `Files`, so that a simulated disk fits as well.

import { LedgerError } from './errors.ts';
import { replaceFile } from './files.ts';
import type { Files, FolderLock } from './files.ts';
import { RECORD_ALIGN, isZero } from './record.ts';
import { listSegments, loadSegment } from './scan.ts';
import type { Piece, RecordStore, RecordWriter, WriterOptions } from './store.ts';
import { Wal } from './wal.ts';

export class LocalStore implements RecordStore {
  readonly place: string;
  readonly #files: Files;
  readonly #segments: string;

  constructor(files: Files, dir: string) {
    this.#files = files;
    this.place = dir;
    this.#segments = `${dir}/seg`;
  }

  async lock(): Promise<FolderLock> {
    await this.#files.mkdir(this.#segments);
    await this.#files.checkFolder?.(this.place, 'top');
    await this.#files.checkFolder?.(this.#segments, 'inner');
    return this.#files.lock(this.place);
  }

  readDocument(name: string, bytesMax: number): Promise<Uint8Array | undefined> {
    return this.#files.readWhole(`${this.place}/${name}`, bytesMax);
  }

  replaceDocument(name: string, bytes: Uint8Array): Promise<void> {
    return replaceFile(this.#files, this.place, name, bytes);
  }

  async removeDocument(name: string): Promise<void> {
    await this.#files.remove(`${this.place}/${name}`);
    await this.#files.syncDir(this.place);
  }

  async *pieces(from: number): AsyncGenerator<Piece> {
    const all = await listSegments(this.#files, this.#segments);
    const names = all.filter(({ first }) => first >= from);
    for (const [at, { file, first }] of names.entries()) {
      const next = names[at + 1]?.first ?? Infinity;
      const load = (): Promise<Buffer> => loadSegment(this.#files, this.#path(file));
      yield { file, first, next, load };
    }
  }

  async boundary(index: number): Promise<number | undefined> {
    const names = await listSegments(this.#files, this.#segments);
    return names.findLast(({ first }) => first <= index)?.first;
  }

  async read(file: string, offset: number, length: number): Promise<Uint8Array> {
    const handle = await this.#files.open(this.#path(file), 'read');
    try {
      return await handle.read(offset, length);
    } finally {
      await handle.close();
    }
  }

  async dropUnusedLast(): Promise<void> {
    const names = await listSegments(this.#files, this.#segments);
    // Bounded by the segments: each round removes one.
    for (let last = names.pop(); last !== undefined; last = names.pop()) {
      if (!isZero(await this.read(last.file, 0, RECORD_ALIGN))) return;
      if (!isZero(await loadSegment(this.#files, this.#path(last.file)))) return;
      await this.#files.remove(this.#path(last.file));
      await this.#files.syncDir(this.#segments);
    }
  }

  async makeDurable(last: string | undefined): Promise<void> {
    if (last !== undefined) {
      const handle = await this.#files.open(this.#path(last), 'write');
      try {
        await handle.datasync();
      } finally {
        await handle.close();
      }
    }
    await this.#files.syncDir(this.#segments);
    await this.#files.syncDir(this.place);
  }

  async erase(file: string, from: number, until: number): Promise<void> {
    const handle = await this.#files.open(this.#path(file), 'write');
    try {
      await handle.write(new Uint8Array(until - from), from);
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }

  async removeUnborn(): Promise<void> {
    const names = await listSegments(this.#files, this.#segments);
    for (const { file } of names) await this.#files.remove(this.#path(file));
    for (const name of ['checkpoint', 'base.bin', 'base.next']) {
      await this.#files.remove(`${this.place}/${name}`);
    }
    await this.#files.syncDir(this.#segments);
    await this.#files.syncDir(this.place);
  }

  async removeBelow(first: number): Promise<void> {
    const names = await listSegments(this.#files, this.#segments);
    const old = names.filter((segment) => segment.first < first);
    if (old.length === 0) return;
    if (old.length === names.length) {
      throw new LedgerError('KIN_LEDGER_RANGE', `no segment starts at ${first} or later`);
    }
    for (const { file } of old) await this.#files.remove(this.#path(file));
    await this.#files.syncDir(this.#segments);
  }

  async writer({ segmentBytes, monotonicMs, resume }: WriterOptions): Promise<RecordWriter> {
    const wal = new Wal({ files: this.#files, dir: this.#segments, segmentBytes, monotonicMs });
    await wal.adoptSpare();
    if (resume !== undefined) await wal.resume(resume.file, resume.offset);
    return wal;
  }

  #path(file: string): string {
    return `${this.#segments}/${file}`;
  }
}
