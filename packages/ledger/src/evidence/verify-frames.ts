// Are the sealed fields and the wrapped keys whole? Every frame has checksums of its own, so that
// nobody who checks them has to be able to read them.
// VF1. Damage counts only when it is there again on a second look: a writer may be at work.

import type { Files } from '../files.ts';
import { scanFrames, trustedEnd } from '../private/frame-scan.ts';
import type { FileScan } from '../private/frame-scan.ts';
import { FRAME_BYTES_MAX } from '../private/frame.ts';
import type { Frame } from '../private/frame.ts';
import { readKeyHead } from '../private/key-frames.ts';
import { readMarks } from '../private/marks.ts';
import { readPayloadHead } from '../private/payload.ts';
import type { EvidenceFinding, EvidenceNote } from './verify-dir.ts';

export interface FramesReport {
  readonly frames: number;
  readonly findings: readonly EvidenceFinding[];
  readonly notes: readonly EvidenceNote[];
}

const FILE_BYTES_MAX = 1024 * 1024 * 1024 + FRAME_BYTES_MAX;
const MARKS_BYTES_MAX = 16 * 1024 * 1024;
const ENDS = { payload: /^\d{8}\.pay$/, keys: /^\d{8}\.key$/ } as const;

export async function verifyFrames(
  files: Files,
  dir: string,
  part: 'payload' | 'keys',
): Promise<FramesReport> {
  const first = await look(files, dir, part);
  if (first.findings.length === 0) return first;
  const again = await look(files, dir, part);
  const seen = new Set(first.findings.map(placeOf));
  return { ...again, findings: again.findings.filter((finding) => seen.has(placeOf(finding))) };
}

function placeOf({ file, offset, reason }: EvidenceFinding): string {
  return `${file} ${offset} ${reason}`;
}

async function look(files: Files, dir: string, part: 'payload' | 'keys'): Promise<FramesReport> {
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
    }
  }
  if (part === 'keys') {
    const bytes = await files.readWhole(`${dir}/keys/marks.json`, MARKS_BYTES_MAX);
    if (bytes !== undefined && readMarks(bytes) === undefined) {
      find('keys/marks.json', 0, 'legal holds and erasures under way cannot be read');
    }
  }
  return { frames, findings, notes };
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
