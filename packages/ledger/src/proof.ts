// What does a stored receipt look like? The text of c2sp.org/tlog-proof@v1: index, inclusion
// hashes, a blank line, then the checkpoint exactly as the log signed it.
// R1. Parsing is strict: a text that is accepted is byte-identical to its own re-formatting.

import { fromBase64, parseDecimal, toBase64 } from './bytes.ts';

const FIRST_LINE = 'c2sp.org/tlog-proof@v1';
const HASHES_MAX = 64;
const PROOF_CHARS_MAX = 1_200_000;
const EXTRA_CHARS_MAX = 131_072;

export interface TlogProof {
  readonly index: bigint;
  readonly hashes: readonly Uint8Array[];
  /** The signed note, verbatim. */
  readonly checkpoint: string;
  /** Not authenticated by anything: never trust it by itself. */
  readonly extra?: Uint8Array;
}

export function formatProof(proof: TlogProof): string {
  const lines = [FIRST_LINE];
  if (proof.extra !== undefined) lines.push(`extra ${toBase64(proof.extra)}`);
  lines.push(`index ${proof.index}`, ...proof.hashes.map(toBase64));
  return `${lines.join('\n')}\n\n${proof.checkpoint}`;
}

export function parseProof(text: string): TlogProof | undefined {
  if (text.length > PROOF_CHARS_MAX || !text.startsWith(`${FIRST_LINE}\n`)) return undefined;
  const blank = text.indexOf('\n\n');
  if (blank < 0) return undefined;
  const lines = text.slice(FIRST_LINE.length + 1, Math.max(blank, FIRST_LINE.length + 1));
  const rest = lines.split('\n');
  let extra: Uint8Array | undefined;
  if (rest[0]?.startsWith('extra ') === true) {
    const encoded = rest.shift()?.slice('extra '.length) ?? '';
    extra = encoded.length <= EXTRA_CHARS_MAX ? fromBase64(encoded) : undefined;
    if (extra === undefined) return undefined;
  }
  const indexLine = rest.shift() ?? '';
  const index = indexLine.startsWith('index ')
    ? parseDecimal(indexLine.slice('index '.length))
    : undefined;
  if (index === undefined || rest.length > HASHES_MAX) return undefined;
  const hashes: Uint8Array[] = [];
  for (const line of rest) {
    const hash = fromBase64(line);
    if (hash?.length !== 32) return undefined;
    hashes.push(hash);
  }
  const checkpoint = text.slice(blank + 2);
  return { index, hashes, checkpoint, ...(extra === undefined ? {} : { extra }) };
}
