// What is in a file of frames after whatever happened? Every whole frame, the places that are
// damaged, and a torn end that nobody was promised.
// R3. Only what follows the last whole group of the last file counts as torn: damage before it is
//     reported with file and offset and never overwritten.

import { firstNonZero, nonZeroEnd } from '../record.ts';
import { FRAME_ALIGN, GROUP_ALIGN, hasMagic, padTo, readFileHeader, readFrame } from './frame.ts';
import type { FileHeader, Frame } from './frame.ts';

export interface Region {
  readonly from: number;
  readonly until: number;
  readonly reason: string;
}

export interface FileScan {
  readonly header: FileHeader | undefined;
  readonly frames: readonly Frame[];
  readonly damaged: readonly Region[];
  readonly torn: readonly Region[];
  /** Where the next group may start. */
  readonly end: number;
}

/** `trustedEnd`: how far the file was good according to the next one; undefined for the last. */
export function scanFrames(bytes: Buffer, trustedEnd: number | undefined): FileScan {
  const { frames, regions } = walk(bytes);
  const header = readFileHeader(bytes);
  const lastGroup = frames.reduce((most, { groupStart }) => Math.max(most, groupStart), 0);
  const all = [...regions];
  if (header === undefined && firstNonZero(bytes, 0) !== undefined) {
    all.unshift({ from: 0, until: GROUP_ALIGN, reason: 'file header' });
  }
  const isTorn = (at: number): boolean =>
    trustedEnd === undefined ? lastGroup <= at : at >= trustedEnd;
  // A body that did not arrive whole in the last group is as torn as a head.
  const kept = frames.filter((frame) => {
    const { offset, length, bodyIntact, state, groupStart } = frame;
    const isLoss = state.kind === 'live' && !bodyIntact && isTorn(groupStart);
    if (isLoss) all.push({ from: offset, until: offset + length, reason: 'body checksum' });
    return !isLoss;
  });
  const until = all.reduce((most, region) => Math.max(most, region.until), 0);
  const last = kept.reduce((most, { offset, length }) => Math.max(most, offset + length), 0);
  return {
    header,
    frames: kept,
    damaged: all.filter(({ from }) => !isTorn(from)),
    torn: all.filter(({ from }) => isTorn(from)),
    end: Math.max(GROUP_ALIGN, padTo(Math.max(last, until), GROUP_ALIGN)),
  };
}

function walk(bytes: Buffer): { readonly frames: Frame[]; readonly regions: Region[] } {
  const frames: Frame[] = [];
  const regions: Region[] = [];
  let at = GROUP_ALIGN;
  // Every round moves `at` forward by at least one alignment.
  while (at < bytes.length) {
    const found = readFrame(bytes, at);
    if (found.kind === 'frame') {
      frames.push(found.frame);
      at += padTo(found.frame.length, FRAME_ALIGN);
      continue;
    }
    const content = firstNonZero(bytes, at);
    if (content === undefined) break;
    const boundary = padTo(at, GROUP_ALIGN);
    if (boundary > at && content >= boundary) {
      at = boundary;
      continue;
    }
    const next = nextFrame(bytes, at + FRAME_ALIGN);
    const until = next ?? nonZeroEnd(bytes, GROUP_ALIGN * Math.floor(at / GROUP_ALIGN));
    regions.push({ from: at, until, reason: found.reason });
    if (next === undefined) break;
    at = next;
  }
  return { frames, regions };
}

function nextFrame(bytes: Buffer, from: number): number | undefined {
  for (let at = from; at < bytes.length; at += FRAME_ALIGN) {
    if (hasMagic(bytes, at) && readFrame(bytes, at).kind === 'frame') return at;
  }
  return undefined;
}

/** How far a file was good, according to the one that follows it. */
export function trustedEnd(next: FileScan | undefined): number | undefined {
  if (next === undefined) return undefined;
  // With a damaged header of the next file, everything that was here counts as acknowledged.
  return next.header?.previousEnd ?? Number.MAX_SAFE_INTEGER;
}
