// What does one group of entries look like on disk? Format version 1, little by little:
//
//   0  magic "KTLR"        4  version u16   6  flags u16   8  body bytes   12  trailer bytes (u32)
//   16 first index u64     24 count u32     28 crc32 of body and trailer
//   32 hash of the previous record (32)     64 crc32 of bytes 0..63              68  zero u32
//   72 body: count × (u16 length, bytes): byte-identical to a tlog-tiles entry bundle
//      trailer: the signed checkpoint of the tree after this record; then zeros up to 4096
//
// All numbers are big-endian. Records start at multiples of 4096, so a torn write can never touch
// a sector that holds an acknowledged entry.
// W1. Every bit is covered: by a CRC, by the zero padding rule, or by the chain of record hashes.
// W2. The record hash is SHA-256(header || trailer): the trailer's root commits to the body.

import { hash as digest } from 'node:crypto';
import { crc32 } from 'node:zlib';

export const RECORD_ALIGN = 4096;
export const HEADER_BYTES = 72;
export const FORMAT_VERSION = 1;
export const FLAG_UNSIGNED = 1;
const MAGIC = 0x4b_54_4c_52;
const TRAILER_BYTES_MAX = 64 * 1024;
const BODY_BYTES_MAX = 64 * 1024 * 1024;

export interface RecordInput {
  readonly firstIndex: number;
  readonly entries: readonly Uint8Array[];
  readonly previous: Uint8Array;
  readonly trailer: Uint8Array;
  readonly unsigned: boolean;
}

export interface EncodedRecord {
  readonly bytes: Buffer;
  readonly hash: Uint8Array;
}

export interface RecordView {
  readonly offset: number;
  /** With padding. */
  readonly length: number;
  readonly firstIndex: number;
  readonly count: number;
  readonly unsigned: boolean;
  readonly previous: Uint8Array;
  readonly hash: Uint8Array;
  /** The entries, each behind its length: read with `eachEntry` or `entriesOf`. */
  readonly body: Buffer;
  readonly trailer: Uint8Array;
}

export type ReadRecord =
  | { readonly kind: 'record'; readonly record: RecordView }
  | { readonly kind: 'bad'; readonly reason: string; readonly headerLength: number | undefined };

export function paddedLength(bytes: number): number {
  return Math.ceil(bytes / RECORD_ALIGN) * RECORD_ALIGN;
}

/** An upper bound on the space that a group takes, before its trailer exists. */
export function recordSpace(bodyBytes: number, trailerBytes: number): number {
  return paddedLength(HEADER_BYTES + bodyBytes + trailerBytes);
}

/**
 * Memory that serves one group after another: a new block for each would lie outside of the heap
 * until the engine happens to collect it.
 */
export function roomFor(room: Buffer | undefined, bytes: number): Buffer {
  if (room !== undefined && room.length >= bytes) return room;
  return Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(bytes)));
}

/** `allocate` gives at least so many bytes; what they hold does not matter. */
export function encodeRecord(
  input: RecordInput,
  allocate: (bytes: number) => Buffer = (bytes) => Buffer.allocUnsafe(bytes),
): EncodedRecord {
  const body = input.entries.reduce((sum, entry) => sum + 2 + entry.length, 0);
  const used = HEADER_BYTES + body + input.trailer.length;
  const length = paddedLength(used);
  const bytes = allocate(length).subarray(0, length);
  let at = HEADER_BYTES;
  for (const entry of input.entries) {
    bytes.writeUInt16BE(entry.length, at);
    bytes.set(entry, at + 2);
    at += 2 + entry.length;
  }
  bytes.set(input.trailer, at);
  bytes.fill(0, used);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt16BE(FORMAT_VERSION, 4);
  bytes.writeUInt16BE(input.unsigned ? FLAG_UNSIGNED : 0, 6);
  bytes.writeUInt32BE(body, 8);
  bytes.writeUInt32BE(input.trailer.length, 12);
  bytes.writeBigUInt64BE(BigInt(input.firstIndex), 16);
  bytes.writeUInt32BE(input.entries.length, 24);
  bytes.writeUInt32BE(crc32(bytes.subarray(HEADER_BYTES, used)), 28);
  bytes.set(input.previous, 32);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 64)), 64);
  bytes.writeUInt32BE(0, 68);
  return { bytes, hash: recordHash(bytes.subarray(0, HEADER_BYTES), input.trailer) };
}

function recordHash(header: Uint8Array, trailer: Uint8Array): Uint8Array {
  return digest('sha256', Buffer.concat([header, trailer]), 'buffer');
}

/** The bytes that a record at `offset` claims to take, or why its header cannot be believed. */
export function readHeader(
  segment: Buffer,
  offset: number,
): { readonly kind: 'header'; readonly used: number } | { kind: 'bad'; reason: string } {
  if (offset + HEADER_BYTES > segment.length) return { kind: 'bad', reason: 'header cut off' };
  const header = segment.subarray(offset, offset + HEADER_BYTES);
  if (header.readUInt32BE(0) !== MAGIC) return { kind: 'bad', reason: 'no record magic' };
  if (header.readUInt32BE(64) !== crc32(header.subarray(0, 64))) {
    return { kind: 'bad', reason: 'header checksum' };
  }
  if (header.readUInt32BE(68) !== 0) return { kind: 'bad', reason: 'reserved header bytes' };
  if (header.readUInt16BE(4) !== FORMAT_VERSION) {
    return { kind: 'bad', reason: `format version ${header.readUInt16BE(4)}` };
  }
  if ((header.readUInt16BE(6) & ~FLAG_UNSIGNED) !== 0) {
    return { kind: 'bad', reason: 'unknown flags' };
  }
  const body = header.readUInt32BE(8);
  const trailer = header.readUInt32BE(12);
  if (body > BODY_BYTES_MAX || trailer > TRAILER_BYTES_MAX) {
    return { kind: 'bad', reason: 'length over the limit' };
  }
  return { kind: 'header', used: HEADER_BYTES + body + trailer };
}

/** Views into `segment`; nothing is copied. */
export function readRecord(segment: Buffer, offset: number): ReadRecord {
  const head = readHeader(segment, offset);
  if (head.kind === 'bad') return { ...head, headerLength: undefined };
  const { used } = head;
  const bad = (reason: string): ReadRecord => ({ kind: 'bad', reason, headerLength: used });
  const length = paddedLength(used);
  if (offset + length > segment.length) return bad('record cut off');
  const bytes = segment.subarray(offset, offset + length);
  if (bytes.readUInt32BE(28) !== crc32(bytes.subarray(HEADER_BYTES, used))) {
    return bad('body checksum');
  }
  if (!isZero(bytes.subarray(used))) return bad('padding is not zero');
  const bodyEnd = HEADER_BYTES + bytes.readUInt32BE(8);
  const body = bytes.subarray(HEADER_BYTES, bodyEnd);
  const count = bytes.readUInt32BE(24);
  if (count === 0 || countEntries(body) !== count) {
    return bad('body is no bundle of that many entries');
  }
  const firstIndex = Number(bytes.readBigUInt64BE(16));
  if (!Number.isSafeInteger(firstIndex + count)) return bad('index over the limit');
  const trailer = bytes.subarray(bodyEnd, used);
  const record: RecordView = {
    offset,
    length,
    firstIndex,
    count,
    unsigned: (bytes.readUInt16BE(6) & FLAG_UNSIGNED) !== 0,
    previous: bytes.subarray(32, 64),
    hash: recordHash(bytes.subarray(0, HEADER_BYTES), trailer),
    body,
    trailer,
  };
  return { kind: 'record', record };
}

/** Undefined when the lengths do not end exactly at the end of the body. */
function countEntries(body: Buffer): number | undefined {
  let at = 0;
  let count = 0;
  while (at + 2 <= body.length) {
    at += 2 + (((body[at] ?? 0) << 8) | (body[at + 1] ?? 0));
    count += 1;
  }
  return at === body.length ? count : undefined;
}

/** Hands out views into the body of a record that was read: nothing is copied. */
export function eachEntry(record: RecordView, visit: (entry: Buffer, index: number) => void): void {
  const { body, firstIndex, count } = record;
  let at = 0;
  for (let nth = 0; nth < count; nth++) {
    const end = at + 2 + (((body[at] ?? 0) << 8) | (body[at + 1] ?? 0));
    visit(body.subarray(at + 2, end), firstIndex + nth);
    at = end;
  }
}

export function entriesOf(record: RecordView): readonly Uint8Array[] {
  const entries: Uint8Array[] = [];
  eachEntry(record, (entry) => entries.push(entry));
  return entries;
}

const ZEROS = Buffer.alloc(64 * 1024);

export function isZero(bytes: Uint8Array): boolean {
  return firstNonZero(bytes, 0) === undefined;
}

/** Position of the first byte that is not zero, compared in blocks natively. */
export function firstNonZero(bytes: Uint8Array, from: number): number | undefined {
  for (let at = from; at < bytes.length; at += ZEROS.length) {
    const block = bytes.subarray(at, at + ZEROS.length);
    if (Buffer.compare(block, ZEROS.subarray(0, block.length)) === 0) continue;
    const inside = block.findIndex((byte) => byte !== 0);
    return at + inside;
  }
  return undefined;
}

/** One past the last byte that is not zero, at or after `from`. */
export function nonZeroEnd(bytes: Uint8Array, from: number): number {
  let end = from;
  for (let at = from; at < bytes.length; at += RECORD_ALIGN) {
    const block = bytes.subarray(at, at + RECORD_ALIGN);
    if (Buffer.compare(block, ZEROS.subarray(0, block.length)) === 0) continue;
    end = at + block.findLastIndex((byte) => byte !== 0) + 1;
  }
  return end;
}
