// Is every byte of this folder what the log signed? Reads everything again, trusts no index, and
// needs only the public key. Safe beside a running writer (it takes no lock and writes nothing).
// X1. Damage is located: file, byte offset, index of the first entry of the damaged record.
// X2. Every root is recomputed and every signature checked, so a rewritten history with correct
//     checksums is found as well.

import { BASE, PruneNotes, readBase } from './base.ts';
import type { ReadBase } from './base.ts';
import { fromUtf8, toBase64 } from './bytes.ts';
import { LedgerError, errorText } from './errors.ts';
import type { Files } from './files.ts';
import { canonicalJson } from './json.ts';
import { LocalStore } from './local-store.ts';
import { emptyRoot } from './merkle.ts';
import { nodeFiles } from './node-files.ts';
import { formatTreeHead, parseVkey } from './note.ts';
import type { RecordView } from './record.ts';
import { RECORD_ALIGN, eachEntry, readRecord } from './record.ts';
import { CHAIN_START, scanSegment } from './scan.ts';
import type { ChainState, ScanStep } from './scan.ts';
import type { Piece, RecordStore } from './store.ts';
import { HashTree, hashLeaf } from './tree.ts';
import { verifyCheckpoint } from './verify.ts';

export interface FsckFinding {
  readonly code: 'KIN_LEDGER_CORRUPT' | 'KIN_LEDGER_WRONG_KEY' | 'KIN_LEDGER_IO';
  readonly file: string;
  readonly offset: number;
  readonly index: number;
  readonly reason: string;
}

/** An unfinished last write, or the failed write that the next segment repeats. Nothing is lost. */
export interface FsckNote {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  readonly reason: string;
}

export interface FsckTotals {
  /** The first entry that retention has kept. */
  readonly first: number;
  readonly size: number;
  readonly root: string;
  readonly records: number;
  readonly segments: number;
  readonly notes: readonly FsckNote[];
}

export type FsckReport =
  | ({ readonly kind: 'intact'; readonly checkpoint: string } & FsckTotals)
  | ({ readonly kind: 'damaged'; readonly findings: readonly FsckFinding[] } & FsckTotals);

export interface FsckOptions {
  readonly files?: Files;
  /** Where the log lives, when it is no folder. */
  readonly store?: RecordStore;
  /** Accepts the unsigned trailers of a ledger opened with `signing: 'lazy'`. */
  readonly allowUnsigned?: boolean;
  /** Sees every entry in order. Asked for anew when everything has to be read again. */
  readonly observer?: () => FsckObserver;
}

export interface FsckObserver {
  /** Views that must be copied. The entry is already in the tree whose root can be asked for. */
  entry(index: number, entry: Buffer, leaf: Uint8Array, place: ObservedPlace): void;
}

export interface ObservedPlace {
  readonly file: string;
  /** Of the first `index + 1` entries. */
  root(): Uint8Array;
}

const FINDINGS_MAX = 100;
const LIVE_ROUNDS = 8;

/** `dir` is the ledger's folder. */
export async function verifyLedgerDir(
  dir: string,
  vkey: string,
  options: FsckOptions = {},
): Promise<FsckReport> {
  const place = dir.replace(/\/+$/, '');
  const store = options.store ?? new LocalStore(options.files ?? nodeFiles(), place);
  let report: FsckReport;
  let check: Check;
  let rounds = 0;
  do {
    check = new Check(store, vkey, options.allowUnsigned ?? false, options.observer?.());
    report = await check.run();
    rounds += 1;
    // Pruning beside us takes away what we were about to read: then everything is read again.
  } while (report.kind === 'damaged' && rounds < LIVE_ROUNDS && (await check.isOvertaken()));
  return report;
}

class Check {
  readonly #store: RecordStore;
  readonly #vkey: string;
  readonly #origin: string;
  readonly #allowUnsigned: boolean;
  readonly #findings: FsckFinding[] = [];
  readonly #notes: FsckNote[] = [];
  readonly #tree = new HashTree(() => Promise.reject(new Error('not needed')));
  readonly #pruned = new PruneNotes();
  readonly #observer: FsckObserver | undefined;
  readonly #observed = { file: '', root: (): Uint8Array => this.#tree.root() };
  #base: ReadBase | undefined;
  #baseRoot: string | undefined;
  #records = 0;
  #checkpoint = '';
  #publishedText = '';
  #publishedSize = 0;
  #publishedRoot: string | undefined;

  constructor(
    store: RecordStore,
    vkey: string,
    allowUnsigned: boolean,
    observer: FsckObserver | undefined,
  ) {
    this.#observer = observer;
    this.#store = store;
    this.#vkey = vkey;
    this.#origin = parseVkey(vkey)?.name ?? '';
    this.#allowUnsigned = allowUnsigned;
  }

  async run(): Promise<FsckReport> {
    let segments = 0;
    try {
      // Read first: a writer that goes on meanwhile can only make the log longer.
      await this.#readPublished();
      await this.#checkIdentity();
      await this.#readBase();
      segments = await this.#checkPieces();
      if (segments === 0) this.#find('seg', 0, 0, 'there are no segments');
      this.#compareBase();
      this.#comparePublished();
    } catch (cause) {
      this.#failed(cause);
    }
    const totals: FsckTotals = {
      first: this.#base?.base.first ?? 0,
      size: this.#tree.size,
      root: toBase64(this.#tree.root()),
      records: this.#records,
      segments,
      notes: this.#notes,
    };
    if (this.#findings.length > 0) return { kind: 'damaged', findings: this.#findings, ...totals };
    return { kind: 'intact', checkpoint: this.#checkpoint, ...totals };
  }

  async #checkIdentity(): Promise<void> {
    const bytes = await this.#store.readDocument('log.json', 65_536);
    const text = bytes === undefined ? '' : (fromUtf8(bytes) ?? '');
    const identity = canonicalJson({ format: 1, origin: this.#origin, vkey: this.#vkey });
    if (text === `${identity}\n`) return;
    const reason = bytes === undefined ? 'missing' : 'not the identity of the log of this key';
    this.#find('log.json', 0, 0, reason);
  }

  async isOvertaken(): Promise<boolean> {
    const now = await readBase(this.#store, BASE, this.#vkey).catch(() => this.#base);
    return now?.digest !== this.#base?.digest;
  }

  async #readBase(): Promise<void> {
    this.#base = await readBase(this.#store, BASE, this.#vkey);
    if (this.#base !== undefined) this.#tree.restore(this.#base.base.prefix);
  }

  async #checkPieces(): Promise<number> {
    const base = this.#base?.base;
    let chain = base === undefined ? CHAIN_START : { index: base.first, hash: base.chain };
    let pieces = 0;
    for await (const piece of this.#store.pieces(chain.index)) {
      pieces += 1;
      if (pieces === 1 && piece.first !== chain.index) {
        const reason = `entries ${chain.index} to ${piece.first - 1} are missing`;
        this.#find(piece.file, 0, chain.index, reason);
        return pieces;
      }
      const { bytes, step } = await this.#scan(piece, chain);
      chain = step.chain;
      if (!this.#pieceEnd(piece, bytes, step)) return pieces;
    }
    return pieces;
  }

  /**
   * In the last piece a running writer may put records where we have looked already. Damage does
   * not go away by looking again; a record that was being written does.
   */
  async #scan(piece: Piece, chain: ChainState): Promise<{ bytes: Buffer; step: ScanStep }> {
    const visit = (record: RecordView): void => this.#record(piece.file, record);
    let bytes = await piece.load();
    let step = scanSegment(bytes, chain, piece.next, visit);
    for (let round = 0; round < LIVE_ROUNDS && piece.next === Infinity; round++) {
      const { end } = step;
      if (end.kind !== 'damaged') break;
      const again = await piece.load();
      const before = bytes.subarray(end.offset, end.until);
      if (Buffer.compare(before, again.subarray(end.offset, end.until)) === 0) break;
      bytes = again;
      step = scanSegment(bytes, step.chain, piece.next, visit, end.offset);
    }
    return { bytes, step };
  }

  /** False: the chain is broken here, later entries cannot be tied to the tree any more. */
  #pieceEnd(name: Piece, bytes: Buffer, step: ScanStep): boolean {
    const { chain, end } = step;
    const limit = name.next;
    if (chain.index === limit) {
      if (end.kind !== 'end') this.#note(name.file, end, 'repeated in the next segment');
      return true;
    }
    if (end.kind === 'damaged') {
      this.#find(name.file, end.offset, chain.index, end.reason);
      this.#findMore(name.file, bytes, end.until, chain);
      return false;
    }
    if (limit !== Infinity) {
      const reason = end.kind === 'end' ? 'entries are missing' : end.reason;
      this.#find(name.file, end.offset, chain.index, reason);
      return false;
    }
    if (end.kind === 'torn') this.#note(name.file, end, end.reason);
    return true;
  }

  /** Further unreadable records behind the first: their entries have no place in the tree. */
  #findMore(file: string, bytes: Buffer, from: number, chain: ChainState): void {
    let index = chain.index;
    for (let at = from; at < bytes.length;) {
      const read = readRecord(bytes, at);
      if (read.kind === 'record') {
        index = read.record.firstIndex + read.record.count;
        at += read.record.length;
        continue;
      }
      if (bytes.readUInt32BE(at) !== 0) this.#find(file, at, index, read.reason);
      at += RECORD_ALIGN;
    }
  }

  /** X2. */
  #record(file: string, record: RecordView): void {
    const baseSize = this.#base?.base.size ?? -1;
    this.#observed.file = file;
    eachEntry(record, (entry, index) => {
      const leaf = hashLeaf(entry);
      this.#tree.append(leaf);
      this.#observer?.entry(index, entry, leaf, this.#observed);
      if (this.#base !== undefined) this.#pruned.learn(entry);
      const { size } = this.#tree;
      if (size === this.#publishedSize) this.#publishedRoot = toBase64(this.#tree.root());
      if (size === baseSize) this.#baseRoot = toBase64(this.#tree.root());
    });
    this.#records += 1;
    const text = fromUtf8(record.trailer) ?? '';
    this.#checkpoint = text;
    const expected = formatTreeHead(this.#origin, this.#tree.size, this.#tree.root());
    if (record.unsigned && this.#allowUnsigned) {
      if (text !== expected) this.#find(file, record.offset, record.firstIndex, 'root differs');
      return;
    }
    const verdict = verifyCheckpoint(text, this.#vkey);
    if (verdict.kind === 'invalid') {
      const { firstIndex: index, offset } = record;
      this.#add({ code: 'KIN_LEDGER_WRONG_KEY', file, offset, index, reason: verdict.reason });
    } else if (!text.startsWith(expected)) {
      this.#find(file, record.offset, record.firstIndex, 'root differs from the checkpoint');
    }
  }

  async #readPublished(): Promise<void> {
    const bytes = await this.#store.readDocument('checkpoint', 1_000_000);
    if (bytes === undefined) return;
    this.#publishedText = fromUtf8(bytes) ?? '?';
    const verdict = verifyCheckpoint(this.#publishedText, this.#vkey);
    if (verdict.kind === 'invalid') {
      this.#find('checkpoint', 0, 0, verdict.reason);
      this.#publishedText = '';
      return;
    }
    this.#publishedSize = Number(verdict.head.size);
    if (this.#publishedSize === 0) this.#publishedRoot = toBase64(emptyRoot());
  }

  #comparePublished(): void {
    if (this.#publishedText === '' || this.#findings.length > 0) return;
    const isBelowBase = this.#publishedSize < (this.#base?.base.first ?? 0);
    if (this.#publishedRoot === undefined && isBelowBase) {
      this.#find('checkpoint', 0, this.#publishedSize, 'older than the pruned entries');
    } else if (this.#publishedRoot === undefined) {
      const reason = `${this.#publishedSize} entries were published, the segments hold fewer`;
      this.#find('checkpoint', 0, this.#tree.size, reason);
    } else if (this.#publishedText.split('\n')[2] !== this.#publishedRoot) {
      this.#find('checkpoint', 0, this.#publishedSize, 'published root differs');
    }
  }

  /** BA1 of the base. */
  #compareBase(): void {
    if (this.#base === undefined || this.#findings.length > 0) return;
    const { base, digest, root } = this.#base;
    const reason =
      this.#baseRoot === undefined
        ? `the log ends below its size ${base.size}`
        : this.#baseRoot !== root
          ? 'its root differs'
          : this.#pruned.names(digest)
            ? undefined
            : 'no entry of the log names it';
    if (reason !== undefined) this.#find(BASE, 0, base.first, reason);
  }

  #failed(cause: unknown): void {
    const place = cause instanceof LedgerError ? cause.place : undefined;
    const reason = errorText(cause);
    if (place !== undefined) this.#find(place.file, place.offset, place.index, reason);
    else {
      const file = this.#store.place;
      this.#add({ code: 'KIN_LEDGER_IO', file, offset: 0, index: 0, reason });
    }
  }

  #note(file: string, end: { offset: number; until?: number }, reason: string): void {
    const bytes = (end.until ?? end.offset) - end.offset;
    this.#notes.push({ file, offset: end.offset, bytes, reason });
  }

  #find(file: string, offset: number, index: number, reason: string): void {
    this.#add({ code: 'KIN_LEDGER_CORRUPT', file, offset, index, reason });
  }

  #add(finding: FsckFinding): void {
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding);
  }
}
