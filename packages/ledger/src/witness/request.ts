// What does an add-checkpoint request say, and what does a 409 answer? The text forms of
// c2sp.org/tlog-witness, read and written by both ends so that they cannot disagree.
// WR1. Parsing is strict: one spelling of every number and hash, at most 63 proof lines, a limit on
//      the whole body; everything else is malformed and never reaches a decision.
// WR2. Extension lines of a foreign checkpoint are accepted, because a witness serves any log, but
//      they are never interpreted.

import { fromBase64, parseDecimal } from '../bytes.ts';

export const PROOF_LINES_MAX = 63;
/** 64 signature lines, each of a post-quantum key, and the proof. */
export const REQUEST_BYTES_MAX = 320 * 1024;
export const SIZE_CONTENT_TYPE = 'text/x.tlog.size';
/** Sizes above this cannot be counted exactly by this implementation; no log gets there. */
const SIZE_MAX = BigInt(Number.MAX_SAFE_INTEGER);

export interface AddCheckpoint {
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  /** The signed note, verbatim. */
  readonly checkpoint: string;
}

export type ParsedRequest =
  | { readonly kind: 'request'; readonly request: AddCheckpoint }
  | { readonly kind: 'malformed'; readonly reason: string };

export function formatAddCheckpoint(
  oldSize: number,
  proof: readonly string[],
  checkpoint: string,
): string {
  return `${[`old ${oldSize}`, ...proof].join('\n')}\n\n${checkpoint}`;
}

/** WR1. */
export function parseAddCheckpoint(body: string): ParsedRequest {
  if (body.length > REQUEST_BYTES_MAX) return malformed('the body is too large');
  const blank = body.indexOf('\n\n');
  if (blank < 0) return malformed('no empty line before the checkpoint');
  const [first = '', ...lines] = body.slice(0, blank).split('\n');
  const oldSize = first.startsWith('old ') ? parseSize(first.slice('old '.length)) : undefined;
  if (oldSize === undefined) return malformed('the first line is not "old <size>"');
  if (lines.length > PROOF_LINES_MAX) return malformed('more than 63 proof lines');
  const proof: Uint8Array[] = [];
  for (const line of lines) {
    const hash = fromBase64(line);
    if (hash?.length !== 32) return malformed('a proof line is not the base64 of a hash');
    proof.push(hash);
  }
  return { kind: 'request', request: { oldSize, proof, checkpoint: body.slice(blank + 2) } };
}

function malformed(reason: string): ParsedRequest {
  return { kind: 'malformed', reason };
}

export function parseSize(text: string): number | undefined {
  const size = parseDecimal(text);
  return size === undefined || size > SIZE_MAX ? undefined : Number(size);
}

/** The body of a 409 answer. */
export function parseConflictSize(body: string): number | undefined {
  return body.endsWith('\n') ? parseSize(body.slice(0, -1)) : undefined;
}

/** A tree head as any log may publish it. */
export interface ForeignHead {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** WR2. Whether an empty tree has the root of one is the witness' decision, not a form error. */
export function parseForeignHead(text: string): ForeignHead | undefined {
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.length < 3 || lines.includes('')) return undefined;
  const [origin = '', sizeText = '', rootText = ''] = lines;
  const size = parseSize(sizeText);
  const root = fromBase64(rootText);
  return size === undefined || root?.length !== 32 ? undefined : { origin, size, root };
}
