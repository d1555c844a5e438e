// Is this evidence true? Everything an auditor needs, offline, with nothing but this file and what
// it imports (no file system, no network). Answers are values; the refusal says why.
// V1. A checkpoint counts only when its origin is the name of the key that signed it.
// V2. A proof counts only for the exact entry bytes and a checkpoint that V1 accepts.

import { fromBase64 } from './bytes.ts';
import { checkConsistency, checkInclusion, leafHash } from './merkle.ts';
import { parseTreeHead, verifyNote } from './note.ts';
import type { TreeHead } from './note.ts';
import { parseProof } from './proof.ts';

export { fromBase64, toBase64 } from './bytes.ts';
export { checkConsistency, checkInclusion, emptyRoot, leafHash, nodeHash } from './merkle.ts';
export type { ConsistencyClaim, InclusionClaim, ProofRefusal, ProofVerdict } from './merkle.ts';
export { formatTreeHead, parseNote, parseTreeHead, parseVkey, verifyNote } from './note.ts';
export type { Note, NoteSignature, NoteVerdict, TreeHead, VerifierKey } from './note.ts';
export { formatProof, parseProof } from './proof.ts';
export type { TlogProof } from './proof.ts';

export type VerifyCode =
  | 'KIN_LEDGER_NOTE_INVALID'
  | 'KIN_LEDGER_SIGNATURE_INVALID'
  | 'KIN_LEDGER_KEY_INVALID'
  | 'KIN_LEDGER_PROOF_INVALID';

export interface Refused {
  readonly kind: 'invalid';
  readonly code: VerifyCode;
  readonly reason: string;
}

export type CheckpointVerdict = { readonly kind: 'valid'; readonly head: TreeHead } | Refused;

export type EntryVerdict =
  | {
      readonly kind: 'valid';
      readonly index: bigint;
      readonly head: TreeHead;
      readonly extra?: Uint8Array;
    }
  | Refused;

export function verifyCheckpoint(text: string, vkey: string): CheckpointVerdict {
  const verdict = verifyNote(text, [vkey]);
  if (verdict.kind === 'invalid') return verdict;
  const head = parseTreeHead(verdict.note.text);
  if (head === undefined) return refuse('KIN_LEDGER_NOTE_INVALID', 'the note is no checkpoint');
  if (!verdict.signedBy.includes(head.origin)) {
    return refuse('KIN_LEDGER_SIGNATURE_INVALID', `the key does not belong to ${head.origin}`);
  }
  return { kind: 'valid', head };
}

/** Proves that `entry` is in the log of `vkey`: `proofText` is a tlog-proof@v1. */
export function verifyProof(proofText: string, entry: Uint8Array, vkey: string): EntryVerdict {
  const proof = parseProof(proofText);
  if (proof === undefined) return refuse('KIN_LEDGER_PROOF_INVALID', 'not a tlog-proof@v1 text');
  const verdict = verifyCheckpoint(proof.checkpoint, vkey);
  if (verdict.kind === 'invalid') return verdict;
  const root = fromBase64(verdict.head.root) ?? new Uint8Array(0);
  const inclusion = checkInclusion({
    index: proof.index,
    size: verdict.head.size,
    leaf: leafHash(entry),
    root,
    proof: proof.hashes,
  });
  if (inclusion.kind === 'invalid') return refuse('KIN_LEDGER_PROOF_INVALID', inclusion.reason);
  const found = { kind: 'valid', index: proof.index, head: verdict.head } as const;
  return proof.extra === undefined ? found : { ...found, extra: proof.extra };
}

export interface ConsistencyEvidence {
  /** Signed checkpoints, older first. */
  readonly before: string;
  readonly after: string;
  /** Base64 hashes, as `ledger.consistency` returns them. */
  readonly proof: readonly string[];
}

export type ConsistencyVerdict =
  | { readonly kind: 'valid'; readonly before: TreeHead; readonly after: TreeHead }
  | Refused;

/** Proves that the log of `vkey` only grew between two signed checkpoints. */
export function verifyConsistency(evidence: ConsistencyEvidence, vkey: string): ConsistencyVerdict {
  const before = verifyCheckpoint(evidence.before, vkey);
  if (before.kind === 'invalid') return before;
  const after = verifyCheckpoint(evidence.after, vkey);
  if (after.kind === 'invalid') return after;
  const proof: Uint8Array[] = [];
  for (const encoded of evidence.proof) {
    const hash = fromBase64(encoded);
    if (hash === undefined) return refuse('KIN_LEDGER_PROOF_INVALID', 'a hash is not base64');
    proof.push(hash);
  }
  const verdict = checkConsistency({
    size1: before.head.size,
    size2: after.head.size,
    root1: fromBase64(before.head.root) ?? new Uint8Array(0),
    root2: fromBase64(after.head.root) ?? new Uint8Array(0),
    proof,
  });
  if (verdict.kind === 'invalid') return refuse('KIN_LEDGER_PROOF_INVALID', verdict.reason);
  return { kind: 'valid', before: before.head, after: after.head };
}

function refuse(code: VerifyCode, reason: string): Refused {
  return { kind: 'invalid', code, reason };
}
