// What does a segment really hold, and if it ends badly, why? One reader for recovery, for the
// check (fsck) and for the export, so that they can never disagree.
// S1. A record counts only when its checksums, its index and the hash of its predecessor fit.
// S2. Damage in front of a valid record, or that no torn write explains, is damage and never
//     truncated. A torn write leaves whole 512-byte sectors as zeros: storage writes sectors
//     atomically and segments are zeroed beforehand.

import type { Files } from './files.ts';
import { LedgerError } from './errors.ts';
import {
  RECORD_ALIGN,
  firstNonZero,
  isZero,
  nonZeroEnd,
  readHeader,
  readRecord,
} from './record.ts';
import type { RecordView } from './record.ts';

const SECTOR = 512;
const SEGMENT_BYTES_MAX = 1024 * 1024 * 1024;

export interface SegmentName {
  readonly file: string;
  readonly first: number;
}

export interface ChainState {
  readonly index: number;
  readonly hash: Uint8Array;
}

export const CHAIN_START: ChainState = { index: 0, hash: new Uint8Array(32) };

export type SegmentEnd =
  | { readonly kind: 'end'; readonly offset: number }
  | {
      readonly kind: 'torn';
      readonly offset: number;
      readonly until: number;
      readonly reason: string;
    }
  | {
      readonly kind: 'damaged';
      readonly offset: number;
      readonly until: number;
      readonly tail: boolean;
      readonly reason: string;
    };

export function segmentFile(first: number, attempt: number): string {
  return `${String(first).padStart(16, '0')}-${attempt}.wal`;
}

/** In the order of the log; a later attempt for the same index stands after the poisoned one. */
export async function listSegments(files: Files, dir: string): Promise<SegmentName[]> {
  const found: SegmentName[] = [];
  for (const file of await files.list(dir)) {
    const match = /^(\d{16})-(\d{1,4})\.wal$/.exec(file);
    if (match !== null) found.push({ file, first: Number(match[1]) });
  }
  return found.sort((a, b) => a.first - b.first || attemptOf(a.file) - attemptOf(b.file));
}

export function attemptOf(file: string): number {
  return Number(/-(\d+)\.wal$/.exec(file)?.[1] ?? 0);
}

export async function loadSegment(files: Files, path: string): Promise<Buffer> {
  const bytes = await files.readWhole(path, SEGMENT_BYTES_MAX);
  if (bytes === undefined) throw new LedgerError('KIN_LEDGER_IO', `${path} is gone`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export interface ScanStep {
  readonly chain: ChainState;
  readonly end: SegmentEnd;
}

/**
 * Hands each good record from byte `from` on to `visit`, in order. Stops in front of index `limit`:
 * the next segment starts there and repeats what a failed sync left in doubt.
 */
export function scanSegment(
  segment: Buffer,
  start: ChainState,
  limit: number,
  visit: (record: RecordView) => void,
  from = 0,
): ScanStep {
  let chain = start;
  let offset = from;
  while (offset < segment.length && chain.index < limit) {
    const read = readRecord(segment, offset);
    if (read.kind === 'bad') {
      return { chain, end: explainEnd(segment, offset, read.reason) };
    }
    const { record } = read;
    const misfit = chainMisfit(record, chain);
    if (misfit !== undefined) {
      const until = offset + record.length;
      return { chain, end: { kind: 'damaged', offset, until, tail: false, reason: misfit } };
    }
    visit(record);
    chain = { index: record.firstIndex + record.count, hash: Uint8Array.from(record.hash) };
    offset += record.length;
  }
  return { chain, end: { kind: 'end', offset } };
}

function chainMisfit(record: RecordView, chain: ChainState): string | undefined {
  if (record.firstIndex !== chain.index) {
    return `record starts at index ${record.firstIndex}, expected ${chain.index}`;
  }
  if (Buffer.compare(record.previous, chain.hash) !== 0) return 'previous record hash differs';
  return undefined;
}

/** S2: is what stands at `offset` the end of the log, a torn write, or damage? */
export function explainEnd(segment: Buffer, offset: number, reason: string): SegmentEnd {
  if (firstNonZero(segment, offset) === undefined) return { kind: 'end', offset };
  const until = nonZeroEnd(segment, offset);
  for (let at = offset + RECORD_ALIGN; at < until; at += RECORD_ALIGN) {
    if (readRecord(segment, at).kind === 'record') {
      return { kind: 'damaged', offset, until: at, tail: false, reason };
    }
  }
  const torn = tornReason(segment, offset);
  if (torn !== undefined) return { kind: 'torn', offset, until, reason: torn };
  return { kind: 'damaged', offset, until, tail: true, reason };
}

function tornReason(segment: Buffer, offset: number): string | undefined {
  if (isZero(segment.subarray(offset, offset + SECTOR))) return 'header sector never written';
  const head = readHeader(segment, offset);
  if (head.kind === 'bad') return undefined;
  const end = Math.min(offset + head.used, segment.length);
  for (let at = offset; at < end; at += SECTOR) {
    if (isZero(segment.subarray(at, Math.min(at + SECTOR, end)))) return 'sectors never written';
  }
  return undefined;
}
