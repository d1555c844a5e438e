// What does a file look like without its removed frames? The bytes of the new file, and where each
// frame that stays has gone.

import { scanFrames } from './frame-scan.ts';
import type { Region } from './frame-scan.ts';
import {
  FRAME_ALIGN,
  FRAME_HEADER,
  GROUP_ALIGN,
  encodeFileHeader,
  padTo,
  placeFrame,
  tombstoneOf,
} from './frame.ts';
import type { OpenFile } from '../files.ts';
import type { FramePlace } from './frame-writer.ts';

export interface Packed {
  readonly kind: 'packed';
  readonly bytes: Buffer;
  readonly moves: readonly { readonly from: number; readonly to: FramePlace }[];
}

export function packFrames(
  file: number,
  bytes: Buffer,
  removed: 'keep-heads' | 'leave-out',
): Packed | { readonly kind: 'damaged' } {
  const { frames, header, damaged } = scanFrames(bytes, Number.MAX_SAFE_INTEGER);
  if (damaged.length > 0) return { kind: 'damaged' };
  const blocks = [encodeFileHeader(header ?? { file, previousEnd: 0 })];
  const moves: { readonly from: number; readonly to: FramePlace }[] = [];
  let at = GROUP_ALIGN;
  for (const frame of frames) {
    const { state, offset } = frame;
    if (state.kind === 'removed' && removed === 'leave-out') continue;
    const raw = bytes.subarray(offset, offset + frame.length);
    const kept = state.kind === 'removed' ? tombstoneOf(frame) : raw;
    const length = kept.readUInt32BE(4);
    const block = Buffer.concat([kept.subarray(0, length)], padTo(length, FRAME_ALIGN));
    // Each frame is a group of its own now: damage to one is never mistaken for a torn end.
    placeFrame(block, at);
    blocks.push(block);
    moves.push({ from: offset, to: { file, offset: at, length } });
    at += block.length;
  }
  return { kind: 'packed', bytes: Buffer.concat(blocks), moves };
}

const ZEROS = new Uint8Array(GROUP_ALIGN * 16);

export async function overwrite(handle: OpenFile, bytes: number): Promise<void> {
  for (let at = 0; at < bytes; at += ZEROS.length) {
    await handle.write(ZEROS.subarray(0, Math.min(ZEROS.length, bytes - at)), at);
  }
  await handle.datasync();
}

export async function zeroBody(handle: OpenFile, { offset, length }: FramePlace): Promise<void> {
  const start = Buffer.from(await handle.read(offset, FRAME_HEADER));
  const headEnd = FRAME_HEADER + start.readUInt16BE(12);
  if (headEnd < length) await handle.write(new Uint8Array(length - headEnd), offset + headEnd);
}

export async function zeroRegions(handle: OpenFile, regions: readonly Region[]): Promise<void> {
  for (const { from, until } of regions) {
    // A torn file header is written again together with the first group.
    if (from >= GROUP_ALIGN) await handle.write(new Uint8Array(until - from), from);
  }
  await handle.datasync();
}

export function byFile(places: readonly FramePlace[]): ReadonlyMap<number, readonly FramePlace[]> {
  const files = new Map<number, FramePlace[]>();
  for (const place of places) {
    const list = files.get(place.file);
    if (list === undefined) files.set(place.file, [place]);
    else list.push(place);
  }
  return files;
}
