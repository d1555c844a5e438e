// Are the sealed fields and the wrapped keys whole? Every frame has checksums of its own, so that
// nobody who checks them has to be able to read them.
// VF2. Keys or marks that are missing beside what they protect are damage.
// VF1. Damage counts only when it is there again on a second look: a writer may be at work.

import type { Files } from '../files.ts';
import { scanFrames, trustedEnd } from '../private/frame-scan.ts';
import type { FileScan } from '../private/frame-scan.ts';
import { FRAME_BYTES_MAX } from '../private/frame.ts';
import type { Frame } from '../private/frame.ts';
import { readKeyHead } from '../private/key-frames.ts';
import { readMarks } from '../private/marks.ts';
import type { MarksContent } from '../private/marks.ts';
import { readPayloadHead } from '../private/payload.ts';
import type { EvidenceFinding, EvidenceNote } from './verify-dir.ts';

export interface FramesLook {
  /** Sees every whole frame; those of a second look again. */
  readonly onFrame?: (frame: Frame) => void;
  /** Keys are expected: payloads are there. */
  readonly isNeeded?: boolean;
}

export interface FramesReport {
  readonly frames: number;
  readonly findings: readonly EvidenceFinding[];
  readonly notes: readonly EvidenceNote[];
}

const FILE_BYTES_MAX = 1024 * 1024 * 1024 + FRAME_BYTES_MAX;
const MARKS_BYTES_MAX = 16 * 1024 * 1024;
export const MARKS = 'keys/marks.json';
const ENDS = { payload: /^\d{8}\.pay$/, keys: /^\d{8}\.key$/ } as const;

export async function verifyFrames(
  files: Files,
  dir: string,
  part: 'payload' | 'keys',
  options: FramesLook = {},
): Promise<FramesReport> {
  const first = await look(files, dir, part, options);
  if (first.findings.length === 0) return first;
  const again = await look(files, dir, part, options);
  const seen = new Set(first.findings.map(placeOf));
  return { ...again, findings: again.findings.filter((finding) => seen.has(placeOf(finding))) };
}

function placeOf({ file, offset, reason }: EvidenceFinding): string {
  return `${file} ${offset} ${reason}`;
}

async function look(
  files: Files,
  dir: string,
  part: 'payload' | 'keys',
  { onFrame, isNeeded = false }: FramesLook,
): Promise<FramesReport> {
  const findings: EvidenceFinding[] = [];
  const notes: EvidenceNote[] = [];
  const find = (file: string, offset: number, reason: string): void => {
    findings.push({ part, code: 'KIN_LEDGER_CORRUPT', file, offset, index: undefined, reason });
  };
  const names = await namesIn(files, `${dir}/${part}`);
  let frames = 0;
  let next: FileScan | undefined;
  // Newest first, because each file says how far the one before it was good.
  for (const name of names.filter((one) => ENDS[part].test(one)).toReversed()) {
    const file = `${part}/${name}`;
    const bytes = await files.readWhole(`${dir}/${file}`, FILE_BYTES_MAX);
    if (bytes === undefined) continue;
    const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const scan = scanFrames(content, trustedEnd(next));
    // A last file that was begun and never written to says nothing about the one before it.
    const isUnused = next === undefined && scan.frames.length + scan.damaged.length === 0;
    if (!isUnused) next = scan;
    frames += scan.frames.length;
    for (const { from, reason } of scan.damaged) find(file, from, reason);
    for (const { from, reason } of scan.torn) {
      notes.push({ part, kind: 'torn', reason: `${file} at byte ${from}: ${reason}` });
    }
    for (const frame of scan.frames) {
      const reason = doubtAbout(frame, part);
      if (reason !== undefined) find(file, frame.offset, reason);
      onFrame?.(frame);
    }
  }
  if (part === 'keys') {
    if (isNeeded && frames === 0) find('keys', 0, 'no keys beside payloads');
    const reason = await doubtAboutMarks(files, dir, isNeeded || frames > 0);
    if (reason !== undefined) find(MARKS, 0, reason);
  }
  return { frames, findings, notes };
}

async function doubtAboutMarks(
  files: Files,
  dir: string,
  isNeeded: boolean,
): Promise<string | undefined> {
  const bytes = await files.readWhole(`${dir}/${MARKS}`, MARKS_BYTES_MAX);
  if (bytes === undefined) {
    return isNeeded ? 'missing: legal holds, restrictions and minimums are not known' : undefined;
  }
  if (readMarks(bytes) !== undefined) return undefined;
  return 'legal holds and erasures under way cannot be read';
}

/** Undefined where they cannot be read: the look at the keys says so. */
export async function marksIn(files: Files, dir: string): Promise<MarksContent | undefined> {
  const bytes = await files.readWhole(`${dir}/${MARKS}`, MARKS_BYTES_MAX);
  return bytes === undefined ? undefined : readMarks(bytes);
}

function doubtAbout(frame: Frame, part: 'payload' | 'keys'): string | undefined {
  const { head, state, bodyIntact } = frame;
  if (state.kind === 'unclear') return 'neither kept nor removed';
  if (state.kind === 'live' && !bodyIntact) return 'the body was changed';
  const isKnown = part === 'keys' ? readKeyHead(head) : readPayloadHead(head);
  return isKnown === undefined ? 'the head cannot be read' : undefined;
}

async function namesIn(files: Files, dir: string): Promise<readonly string[]> {
  try {
    return await files.list(dir);
  } catch (cause) {
    // A folder that was never made holds nothing.
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return [];
    throw cause;
  }
}
