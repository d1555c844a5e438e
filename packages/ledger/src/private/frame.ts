// How do payloads and wrapped keys lie on disk? As frames: a head that stays, a body that can be
// destroyed in place, and a small state that says so. All numbers are big-endian.
//
//   0 magic "KFRM"   4 used bytes u32   8 offset of its group u32   12 head bytes u16   14 version
//  16 crc32 of bytes 0..15 and the head     20 crc32 of the body
//  24 state u8 (0 live, 1 erased, 2 retired, 3 orphan), 3 zero   28 ledger index u64   36 crc32 of
//     24..35 (zero while live)              40 head, body, zeros up to a multiple of 16
//
// Groups start at multiples of 4096, so a torn write never touches a sector of an older group. A
// file opens with one block: "KFFH", version, file number, end of the file before it, crc32.
// R1. Removal changes only the body and the state; the head keeps saying what was there.
// R2. A damaged frame is never taken for a live one: head and body have a checksum each.

import { crc32 } from 'node:zlib';

export const FRAME_HEADER = 40;
export const FRAME_ALIGN = 16;
export const GROUP_ALIGN = 4096;
export const FRAME_BYTES_MAX = 1024 * 1024;
const MAGIC = 0x4b_46_52_4d;
const FILE_MAGIC = 0x4b_46_46_48;
const VERSION = 1;
const STATE_AT = 24;
const STATE_BYTES = 16;

export type RemovalCause = 'erased' | 'retired' | 'orphan';
const CAUSES: readonly RemovalCause[] = ['erased', 'retired', 'orphan'];

export type FrameState =
  | { readonly kind: 'live' }
  /** `index` is the ledger entry that ordered it. */
  | { readonly kind: 'removed'; readonly cause: RemovalCause; readonly index: number }
  /** Neither: a removal was cut off, or a bit flipped. */
  | { readonly kind: 'unclear' };

export interface Frame {
  readonly offset: number;
  /** Without padding. */
  readonly length: number;
  readonly groupStart: number;
  readonly head: Buffer;
  readonly body: Buffer;
  readonly state: FrameState;
  readonly bodyIntact: boolean;
}

export type ReadFrame =
  | { readonly kind: 'frame'; readonly frame: Frame }
  | { readonly kind: 'bad'; readonly reason: string };

export function padTo(bytes: number, align: number): number {
  return Math.ceil(bytes / align) * align;
}

/** Room for a frame; head and body are filled in by the caller, then `finishFrame`. */
export function blankFrame(headBytes: number, bodyBytes: number): Buffer {
  const used = FRAME_HEADER + headBytes + bodyBytes;
  const frame = Buffer.allocUnsafe(padTo(used, FRAME_ALIGN));
  frame.writeUInt32BE(MAGIC, 0);
  frame.writeUInt32BE(used, 4);
  frame.writeUInt16BE(headBytes, 12);
  frame.writeUInt16BE(VERSION, 14);
  // A call of `fill` costs more than these few bytes.
  for (let at = STATE_AT; at < FRAME_HEADER; at++) frame[at] = 0;
  for (let at = used; at < frame.length; at++) frame[at] = 0;
  return frame;
}

export function encodeFrame(head: Uint8Array, body: Uint8Array): Buffer {
  const frame = blankFrame(head.length, body.length);
  frame.set(head, FRAME_HEADER);
  frame.set(body, FRAME_HEADER + head.length);
  finishFrame(frame);
  return frame;
}

export function finishFrame(frame: Buffer): void {
  const bodyAt = FRAME_HEADER + frame.readUInt16BE(12);
  frame.writeUInt32BE(crc32(frame.subarray(bodyAt, frame.readUInt32BE(4))), 20);
}

/** The last step before the disk, when its group is known. */
export function placeFrame(frame: Buffer, groupStart: number): void {
  frame.writeUInt32BE(groupStart, 8);
  frame.writeUInt32BE(headChecksum(frame, frame.readUInt16BE(12)), 16);
}

function headChecksum(frame: Buffer, headBytes: number): number {
  const head = frame.subarray(FRAME_HEADER, FRAME_HEADER + headBytes);
  return crc32(head, crc32(frame.subarray(0, 16)));
}

export function hasMagic(bytes: Buffer, offset: number): boolean {
  return offset + FRAME_HEADER <= bytes.length && bytes.readUInt32BE(offset) === MAGIC;
}

/** Views into `bytes`; `shift` is where `bytes` starts in its file. */
export function readFrame(bytes: Buffer, at: number, shift = 0): ReadFrame {
  if (!hasMagic(bytes, at)) return { kind: 'bad', reason: 'no frame starts here' };
  const length = bytes.readUInt32BE(at + 4);
  const headBytes = bytes.readUInt16BE(at + 12);
  if (length > FRAME_BYTES_MAX || length < FRAME_HEADER + headBytes) {
    return { kind: 'bad', reason: 'impossible length' };
  }
  if (at + length > bytes.length) return { kind: 'bad', reason: 'cut off' };
  const frame = bytes.subarray(at, at + length);
  if (frame.readUInt32BE(16) !== headChecksum(frame, headBytes)) {
    return { kind: 'bad', reason: 'head checksum' };
  }
  if (frame.readUInt16BE(14) !== VERSION) return { kind: 'bad', reason: 'unknown version' };
  const body = frame.subarray(FRAME_HEADER + headBytes);
  return {
    kind: 'frame',
    frame: {
      offset: at + shift,
      length,
      groupStart: frame.readUInt32BE(8),
      head: frame.subarray(FRAME_HEADER, FRAME_HEADER + headBytes),
      body,
      state: readState(frame),
      bodyIntact: frame.readUInt32BE(20) === crc32(body),
    },
  };
}

function readState(frame: Buffer): FrameState {
  const area = frame.subarray(STATE_AT, STATE_AT + STATE_BYTES);
  if (area.every((byte) => byte === 0)) return { kind: 'live' };
  const cause = CAUSES[(area[0] ?? 0) - 1];
  const isWhole = area.readUInt32BE(12) === crc32(area.subarray(0, 12));
  if (!isWhole || cause === undefined) return { kind: 'unclear' };
  return { kind: 'removed', cause, index: Number(area.readBigUInt64BE(4)) };
}

export function encodeState(cause: RemovalCause, index: number): Buffer {
  const area = Buffer.alloc(STATE_BYTES);
  area[0] = CAUSES.indexOf(cause) + 1;
  area.writeBigUInt64BE(BigInt(index), 4);
  area.writeUInt32BE(crc32(area.subarray(0, 12)), 12);
  return area;
}

/** The removed form of a frame that is written again: its head and its state, no body (R1). */
export function tombstoneOf(frame: Frame): Buffer {
  const bytes = encodeFrame(frame.head, Buffer.alloc(0));
  if (frame.state.kind === 'removed') {
    bytes.set(encodeState(frame.state.cause, frame.state.index), STATE_AT);
  }
  return bytes;
}

/** Where the state of a frame lies, so that a removal can write it. */
export function stateOffset(frameOffset: number): number {
  return frameOffset + STATE_AT;
}

export interface FileHeader {
  readonly file: number;
  /** Where the file before ended when this one was begun; beyond is what a failed write left. */
  readonly previousEnd: number;
}

export function encodeFileHeader({ file, previousEnd }: FileHeader): Buffer {
  const block = Buffer.alloc(GROUP_ALIGN);
  block.writeUInt32BE(FILE_MAGIC, 0);
  block.writeUInt32BE(VERSION, 4);
  block.writeUInt32BE(file, 8);
  block.writeUInt32BE(previousEnd, 12);
  block.writeUInt32BE(crc32(block.subarray(0, 16)), 16);
  return block;
}

export function readFileHeader(bytes: Buffer): FileHeader | undefined {
  if (bytes.length < GROUP_ALIGN || bytes.readUInt32BE(0) !== FILE_MAGIC) return undefined;
  if (bytes.readUInt32BE(16) !== crc32(bytes.subarray(0, 16))) return undefined;
  if (bytes.readUInt32BE(4) !== VERSION) return undefined;
  return { file: bytes.readUInt32BE(8), previousEnd: bytes.readUInt32BE(12) };
}
