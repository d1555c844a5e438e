// What does a log say about itself? The body of a tlog-checkpoint: origin, size, root, and in
// foreign logs perhaps further lines. One spelling only, so that one text means one thing.

import { fromBase64, parseDecimal, sameBytes, toBase64 } from './bytes.ts';
import { sha256 } from './crypto.ts';

const EXTENSIONS_MAX = 64;

/** A tree head as the log publishes it. `root` is base64, as in the text. */
export interface TreeHead {
  readonly origin: string;
  readonly size: bigint;
  readonly root: string;
}

export interface CheckpointBody extends TreeHead {
  /** Lines after the root, opaque. Our logs have none, because nobody can audit them. */
  readonly extensions: readonly string[];
}

export function formatTreeHead(origin: string, size: number | bigint, root: Uint8Array): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/** The body of a checkpoint of ours: with extension lines it is refused. */
export function parseTreeHead(text: string): TreeHead | undefined {
  const body = parseCheckpointBody(text);
  if (body === undefined || body.extensions.length > 0) return undefined;
  return { origin: body.origin, size: body.size, root: body.root };
}

/** Any conforming checkpoint body: for those who cosign other people's logs. */
export function parseCheckpointBody(text: string): CheckpointBody | undefined {
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.length > 3 + EXTENSIONS_MAX) return undefined;
  if (lines.length < 3 || lines.includes('')) return undefined;
  const [origin = '', sizeText = '', root = '', ...extensions] = lines;
  const size = parseDecimal(sizeText);
  const hash = fromBase64(root);
  if (size === undefined || hash?.length !== 32) return undefined;
  if (size === 0n && !sameBytes(hash, sha256(new Uint8Array(0)))) return undefined;
  return { origin, size, root, extensions };
}
