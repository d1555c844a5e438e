// Is every byte of this folder what the log signed? Reads everything again, trusts no index, and
// needs only the public key. Safe beside a running writer (it takes no lock and writes nothing).
// X1. Damage is located: file, byte offset, index of the first entry of the damaged record.
// X2. Every root is recomputed and every signature checked, so a rewritten history with correct
//     checksums is found as well.

import { fromUtf8, toBase64 } from './bytes.ts';
import { errorText } from './errors.ts';
import type { Files } from './files.ts';
import { emptyRoot } from './merkle.ts';
import { nodeFiles } from './node-files.ts';
import { formatTreeHead } from './note.ts';
import type { RecordView } from './record.ts';
import { RECORD_ALIGN, readRecord } from './record.ts';
import { CHAIN_START, listSegments, loadSegment, scanSegment } from './scan.ts';
import type { ChainState, ScanStep, SegmentName } from './scan.ts';
import { HashTree, hashLeaf } from './tree.ts';
import { verifyCheckpoint } from './verify.ts';
import { parseVkey } from './note.ts';

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
  /** Accepts the unsigned trailers of a ledger opened with `signing: 'lazy'`. */
  readonly allowUnsigned?: boolean;
}

const FINDINGS_MAX = 100;
const LIVE_ROUNDS = 8;

/** `dir` is the ledger's folder. */
export function verifyLedgerDir(
  dir: string,
  vkey: string,
  options: FsckOptions = {},
): Promise<FsckReport> {
  return new Check(dir, vkey, options).run();
}

class Check {
  readonly #dir: string;
  readonly #vkey: string;
  readonly #files: Files;
  readonly #allowUnsigned: boolean;
  readonly #findings: FsckFinding[] = [];
  readonly #notes: FsckNote[] = [];
  readonly #tree = new HashTree(() => Promise.reject(new Error('not needed')));
  #records = 0;
  #checkpoint = '';
  #publishedText = '';
  #publishedSize = 0;
  #publishedRoot: string | undefined;

  constructor(dir: string, vkey: string, options: FsckOptions) {
    this.#dir = dir.replace(/\/+$/, '');
    this.#vkey = vkey;
    this.#files = options.files ?? nodeFiles();
    this.#allowUnsigned = options.allowUnsigned ?? false;
  }

  async run(): Promise<FsckReport> {
    let segments = 0;
    try {
      // Read first: a writer that goes on meanwhile can only make the log longer.
      await this.#readPublished();
      await this.#checkIdentity();
      const names = await listSegments(this.#files, `${this.#dir}/seg`);
      segments = names.length;
      if (segments === 0) this.#find('seg', 0, 0, 'there are no segments');
      await this.#checkSegments(names);
      this.#comparePublished();
    } catch (cause) {
      this.#add({
        code: 'KIN_LEDGER_IO',
        file: this.#dir,
        offset: 0,
        index: 0,
        reason: errorText(cause),
      });
    }
    const totals: FsckTotals = {
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
    const bytes = await this.#files.readWhole(`${this.#dir}/log.json`, 65_536);
    const text = bytes === undefined ? '' : (fromUtf8(bytes) ?? '');
    const origin = parseVkey(this.#vkey)?.name ?? '';
    const expected = `{"format":1,"origin":${JSON.stringify(origin)},"vkey":"${this.#vkey}"}\n`;
    if (text === expected) return;
    const reason = text === '' ? 'missing' : 'not the identity of the log of this key';
    this.#find('log.json', 0, 0, reason);
  }

  async #checkSegments(names: readonly SegmentName[]): Promise<void> {
    let chain = CHAIN_START;
    for (const [at, name] of names.entries()) {
      const limit = names[at + 1]?.first ?? Infinity;
      const { bytes, step } = await this.#scan(name.file, chain, limit);
      chain = step.chain;
      const go = this.#segmentEnd(name, bytes, limit, step);
      if (!go) return;
    }
  }

  /**
   * In the last segment a running writer may put records where we have looked already. Damage does
   * not go away by looking again; a record that was being written does.
   */
  async #scan(
    file: string,
    chain: ChainState,
    limit: number,
  ): Promise<{ bytes: Buffer; step: ScanStep }> {
    const path = `${this.#dir}/seg/${file}`;
    const visit = (record: RecordView): void => this.#record(file, record);
    let bytes = await loadSegment(this.#files, path);
    let step = scanSegment(bytes, chain, limit, visit);
    for (let round = 0; round < LIVE_ROUNDS && limit === Infinity; round++) {
      const { end } = step;
      if (end.kind !== 'damaged') break;
      const again = await loadSegment(this.#files, path);
      const before = bytes.subarray(end.offset, end.until);
      if (Buffer.compare(before, again.subarray(end.offset, end.until)) === 0) break;
      bytes = again;
      step = scanSegment(bytes, step.chain, limit, visit, end.offset);
    }
    return { bytes, step };
  }

  /** False: the chain is broken here, later entries cannot be tied to the tree any more. */
  #segmentEnd(name: SegmentName, bytes: Buffer, limit: number, step: ScanStep): boolean {
    const { chain, end } = step;
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
    for (const entry of record.entries) {
      this.#tree.append(hashLeaf(entry));
      if (this.#tree.size === this.#publishedSize) {
        this.#publishedRoot = toBase64(this.#tree.root());
      }
    }
    this.#records += 1;
    const text = fromUtf8(record.trailer) ?? '';
    this.#checkpoint = text;
    const origin = parseVkey(this.#vkey)?.name ?? '';
    const expected = formatTreeHead(origin, this.#tree.size, this.#tree.root());
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
    const bytes = await this.#files.readWhole(`${this.#dir}/checkpoint`, 1_000_000);
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
    if (this.#publishedRoot === undefined) {
      const reason = `${this.#publishedSize} entries were published, the segments hold fewer`;
      this.#find('checkpoint', 0, this.#tree.size, reason);
    } else if (this.#publishedText.split('\n')[2] !== this.#publishedRoot) {
      this.#find('checkpoint', 0, this.#publishedSize, 'published root differs');
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
