// What does it mean that a witness knows more, or something else, than our log? Perhaps it lies;
// but when it can show a checkpoint with our own signature that does not fit, our log was rolled
// back or forked, and nobody has to trust the witness for that.
// WE1. `proven` is set only by a good signature of our own key over a tree that ours cannot extend.

import { fromBase64 } from '../bytes.ts';
import { checkConsistency } from '../merkle.ts';
import { verifyNote } from '../note.ts';
import type { AskedLog, OwnCheckpoint } from './client.ts';
import { parseForeignHead } from './request.ts';
import { originHash } from './store.ts';

export interface WitnessEvidence {
  readonly kind: 'rolled-back' | 'forked' | 'claims-more';
  readonly witness: string;
  readonly witnessSize: number;
  readonly ourSize: number;
  readonly proven: boolean;
  /** The checkpoint that proves it, with our signature. */
  readonly checkpoint?: string;
}

export interface Examination {
  readonly witness: string;
  /** The size in its 409 answer, which nobody signed. */
  readonly told: number;
  readonly checkpoint: OwnCheckpoint;
  readonly log: AskedLog;
  /** The newest checkpoint that the witness serves to monitors, if it does. */
  fetch(originHash: string): Promise<string | undefined>;
}

export async function examine(parts: Examination): Promise<WitnessEvidence> {
  const { witness, told, checkpoint, log } = parts;
  const ourSize = log.size();
  const claim = {
    kind: 'claims-more',
    witness,
    witnessSize: told,
    ourSize,
    proven: false,
  } as const;
  const shown = await parts.fetch(originHash(checkpoint.origin)).catch(() => undefined);
  if (shown === undefined) return claim;
  const verdict = verifyNote(shown, log.vkeys);
  const head = verdict.kind === 'valid' ? parseForeignHead(verdict.note.text) : undefined;
  if (head === undefined || head.origin !== checkpoint.origin) return claim;
  const proof = { witness, witnessSize: head.size, ourSize, proven: true, checkpoint: shown };
  if (head.size > ourSize) return { kind: 'rolled-back', ...proof };
  if (await extendsHead(parts, head.size, head.root)) return claim;
  return { kind: 'forked', ...proof };
}

/** Is the tree that the witness has a prefix of ours? Without a proof of our own: not decided. */
async function extendsHead(
  { checkpoint, log }: Examination,
  size: number,
  root: Uint8Array,
): Promise<boolean> {
  if (size === 0 || size > checkpoint.size) return true;
  let hashes: readonly string[] = [];
  try {
    if (size < checkpoint.size) hashes = await log.consistency(size, checkpoint.size);
  } catch {
    return true;
  }
  const none = new Uint8Array(0);
  const verdict = checkConsistency({
    size1: BigInt(size),
    size2: BigInt(checkpoint.size),
    root1: root,
    root2: fromBase64(checkpoint.root) ?? none,
    proof: hashes.map((hash) => fromBase64(hash) ?? none),
  });
  return verdict.kind === 'valid';
}
