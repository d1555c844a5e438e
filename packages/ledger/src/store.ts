// Where do the bytes of a log live? The one seam between the log and its place: segment files on a
// disk or rows of a database hold the same records, and everything above reads both alike.
// ST1. What `write` has answered survives a crash; a record is never changed afterwards.
// ST2. One writer at a time: a second one is refused with a code and can never fork the log.
// ST3. After `replaceDocument` the new bytes survive; until then readers see the old or the new.

import type { FolderLock } from './files.ts';

/** `file` is how damage reports name it: a segment or a row. */
export interface RecordPlace {
  readonly file: string;
  readonly offset: number;
}

/** A run of records one behind the other, each at a multiple of 4096. */
export interface Piece {
  readonly file: string;
  readonly first: number;
  /** First index of the piece behind this one; Infinity for the last. */
  readonly next: number;
  /** Reads it anew each time: a writer may have gone on. */
  load(): Promise<Buffer>;
}

export interface RecordWriter {
  /** True while there is no room for more than what is set aside. */
  readonly outOfSpace: boolean;
  /** May a record of that size be written now? The reserve is for what must not be lost. */
  hasRoom(bytes: number, mayUseReserve: boolean): boolean;
  /** Before a group: know whether there will be room before the reserve is touched. */
  makeRoom(groupBytes: number): Promise<void>;
  /** Resolves once the record is durable (ST1). */
  write(record: Uint8Array, firstIndex: number): Promise<RecordPlace>;
  /** After a group: gets ready for the next ones, in the background. */
  prepareSpare(): void;
  /** Is the place that we write to still the one that others will read? */
  isIntact(): Promise<boolean>;
  close(): Promise<void>;
}

export interface WriterOptions {
  readonly segmentBytes: number;
  readonly monotonicMs: () => number;
  /** Where recovery found the end; undefined for an empty log. */
  readonly resume: RecordPlace | undefined;
}

export interface RecordStore {
  /** For messages. */
  readonly place: string;
  /** ST2: throws KIN_LEDGER_LOCKED. */
  lock(): Promise<FolderLock>;
  readDocument(name: string, bytesMax: number): Promise<Uint8Array | undefined>;
  replaceDocument(name: string, bytes: Uint8Array): Promise<void>;
  removeDocument(name: string): Promise<void>;
  /** In the order of the log, those that start at `from` or later. One is held at a time. */
  pieces(from: number): AsyncIterable<Piece>;
  /** Where the last piece at or below that index starts; undefined when none does. */
  boundary(index: number): Promise<number | undefined>;
  read(file: string, offset: number, length: number): Promise<Uint8Array>;
  /** A crash may leave a last piece without any entry: removes it. Only under the lock. */
  dropUnusedLast(): Promise<void>;
  /**
   * What recovery has read may never have been synced: a killed writer leaves it in the cache,
   * where a power cut still takes it. `last` is the piece that the log ends in.
   */
  makeDurable(last: string | undefined): Promise<void>;
  /** Zeros over what a torn write left, so that it can never be mistaken for a record later. */
  erase(file: string, from: number, until: number): Promise<void>;
  /** The remains of a creation that never finished; refuses once the log exists. */
  removeUnborn(): Promise<void>;
  /** Every piece that starts below `first`. */
  removeBelow(first: number): Promise<void>;
  writer(options: WriterOptions): Promise<RecordWriter>;
}
