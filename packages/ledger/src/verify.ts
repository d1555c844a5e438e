// Is this evidence true? Everything an auditor needs, offline, with nothing but this file and what
// it imports (no file system, no network). Answers are values; the refusal says why.
// V1. A checkpoint counts only when its origin is the name of the key that signed it.
// V2. A proof counts only for the exact entry bytes and a checkpoint that V1 accepts.
// V3. Under a policy a checkpoint counts only with a signature of a listed log of its origin and
//     with the quorum; one bad signature of a listed key refuses it.

import { fromBase64 } from './bytes.ts';
import { checkConsistency, checkInclusion, leafHash } from './merkle.ts';
import {
  COSIGNATURE_TYPE,
  formatVkey,
  parseCheckpointBody,
  parseTreeHead,
  parseVkey,
  verifyNoteWith,
} from './note.ts';
import type { GoodSignature, NoteVerdict, TreeHead, VerifierKey } from './note.ts';
import { judgeQuorum, parsePolicy } from './policy.ts';
import type { Policy, PolicyReading, QuorumVerdict } from './policy.ts';
import { parseProof } from './proof.ts';
import type { TlogProof } from './proof.ts';

export { fromBase64, toBase64 } from './bytes.ts';
export { checkConsistency, checkInclusion, emptyRoot, leafHash, nodeHash } from './merkle.ts';
export type { ConsistencyClaim, InclusionClaim, ProofRefusal, ProofVerdict } from './merkle.ts';
export { addSignatures, formatTreeHead, parseCheckpointBody, parseNote } from './note.ts';
export { parseTreeHead, parseVkey, verifyNote, verifyNoteWith } from './note.ts';
export type { CheckpointBody, GoodSignature, Note, NoteSignature, NoteVerdict } from './note.ts';
export type { TreeHead, VerifierKey } from './note.ts';
export { subtreeMessage } from './cosignature.ts';
export type { Subtree } from './cosignature.ts';
export { formatPolicy, judgeQuorum, parsePolicy } from './policy.ts';
export type { Policy, PolicyGroup, PolicyLog, PolicyReading } from './policy.ts';
export type { PolicyWitness, QuorumVerdict } from './policy.ts';
export { formatProof, parseProof } from './proof.ts';
export type { TlogProof } from './proof.ts';

export type VerifyCode =
  | 'KIN_LEDGER_NOTE_INVALID'
  | 'KIN_LEDGER_SIGNATURE_INVALID'
  | 'KIN_LEDGER_SIGNATURE_UNCHECKED'
  | 'KIN_LEDGER_KEY_INVALID'
  | 'KIN_LEDGER_POLICY_INVALID'
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

/** `vkey` is a key of the log itself, of type 0x01 or 0x06. */
export function verifyCheckpoint(text: string, vkey: string): CheckpointVerdict {
  const key = parseVkey(vkey);
  if (key === undefined || key.type === COSIGNATURE_TYPE) {
    return refuse('KIN_LEDGER_KEY_INVALID', 'not the verifier key of a log');
  }
  const verdict = verifyNoteWith(text, [key]);
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
  return verdict.kind === 'invalid' ? verdict : placeEntry(proof, verdict.head, entry);
}

function placeEntry(proof: TlogProof, head: TreeHead, entry: Uint8Array): EntryVerdict {
  const root = fromBase64(head.root) ?? new Uint8Array(0);
  const { index, hashes, extra } = proof;
  const leaf = leafHash(entry);
  const inclusion = checkInclusion({ index, size: head.size, leaf, root, proof: hashes });
  if (inclusion.kind === 'invalid') return refuse('KIN_LEDGER_PROOF_INVALID', inclusion.reason);
  const found = { kind: 'valid', index, head } as const;
  return extra === undefined ? found : { ...found, extra };
}

/** A witness with a good cosignature. */
export interface Cosigned {
  /** In the policy. */
  readonly name: string;
  /** When it saw the checkpoint, in seconds since 1970; zero when it does not say. */
  readonly timestampS: bigint;
}

export interface PolicyFindings {
  readonly head: TreeHead;
  /** Verifier keys of the log that signed. */
  readonly logKeys: readonly string[];
  readonly cosigned: readonly Cosigned[];
  /** Witnesses whose cosignature this runtime cannot check; they count as missing. */
  readonly unchecked: readonly string[];
}

/** Signed by its log, and short of the quorum: `reason` says by how much. */
export interface QuorumUnmet extends PolicyFindings {
  readonly kind: 'invalid';
  readonly code: 'KIN_LEDGER_QUORUM_UNMET';
  readonly reason: string;
  readonly missing: readonly string[];
}

export type PolicyVerdict = (PolicyFindings & { readonly kind: 'valid' }) | QuorumUnmet | Refused;

export type PolicyEntryVerdict =
  | (PolicyFindings & {
      readonly kind: 'valid';
      readonly index: bigint;
      readonly extra?: Uint8Array;
    })
  | QuorumUnmet
  | Refused;

/**
 * `policy` is a tlog-policy text or one that was parsed. Where it lists no log, `logVkeys` says
 * which ones are meant; where it lists some, they are allowed too.
 */
export function verifyCheckpointUnderPolicy(
  text: string,
  policy: Policy | string,
  logVkeys: readonly string[] = [],
): PolicyVerdict {
  const reading = readPolicy(policy);
  if (reading.kind === 'invalid') return refuse(reading.code, reading.reason);
  const { witnesses, logs } = reading.policy;
  const logKeys = logs.map(({ key }) => key);
  for (const vkey of logVkeys) {
    const key = parseVkey(vkey);
    if (key === undefined || key.type === COSIGNATURE_TYPE) {
      return refuse('KIN_LEDGER_KEY_INVALID', 'not the verifier key of a log');
    }
    logKeys.push(key);
  }
  if (logKeys.length === 0) return refuse('KIN_LEDGER_POLICY_INVALID', 'the policy lists no log');
  const verdict = verifyNoteWith(text, [...logKeys, ...witnesses.map(({ key }) => key)]);
  if (verdict.kind === 'invalid') return verdict;
  const head = parseCheckpointBody(verdict.note.text);
  if (head === undefined) return refuse('KIN_LEDGER_NOTE_INVALID', 'the note is no checkpoint');
  const ownKeys = logKeys.filter(({ name }) => name === head.origin);
  return judge(reading.policy, ownKeys, head, verdict);
}

function readPolicy(policy: Policy | string): PolicyReading {
  return typeof policy === 'string' ? parsePolicy(policy) : { kind: 'valid', policy };
}

type GoodNote = Extract<NoteVerdict, { readonly kind: 'valid' }>;

function judge(
  policy: Policy,
  ownKeys: readonly VerifierKey[],
  { origin, size, root }: TreeHead,
  verdict: GoodNote,
): PolicyVerdict {
  const signed = ownKeys.filter((key) => verdict.good.some((good) => isKey(good.key, key)));
  if (signed.length === 0) {
    const isUnchecked = ownKeys.some((own) => verdict.unchecked.some((key) => isKey(key, own)));
    return isUnchecked
      ? refuse('KIN_LEDGER_SIGNATURE_UNCHECKED', `not checked here: the signature of ${origin}`)
      : refuse('KIN_LEDGER_SIGNATURE_INVALID', `no signature of a trusted key of ${origin}`);
  }
  const cosigned: Cosigned[] = [];
  const unchecked: string[] = [];
  for (const { name, key } of policy.witnesses) {
    const good = verdict.good.filter((candidate) => isKey(candidate.key, key));
    if (good.length > 0) cosigned.push({ name, timestampS: newest(good) });
    else if (verdict.unchecked.some((other) => isKey(other, key))) unchecked.push(name);
  }
  const vkeys = signed.map(({ name, publicKey, type }) => formatVkey(name, publicKey, type));
  const logKeys = [...new Set(vkeys)];
  const findings = { head: { origin, size, root }, logKeys, cosigned, unchecked };
  const quorum = judgeQuorum(policy, new Set(cosigned.map(({ name }) => name)));
  return quorum.kind === 'met' ? { kind: 'valid', ...findings } : unmet(findings, quorum);
}

function unmet(
  findings: PolicyFindings,
  { reason, missing }: Extract<QuorumVerdict, { readonly kind: 'unmet' }>,
): QuorumUnmet {
  const { unchecked } = findings;
  const more = unchecked.length === 0 ? '' : `; not checked here: ${unchecked.join(', ')}`;
  return {
    kind: 'invalid',
    code: 'KIN_LEDGER_QUORUM_UNMET',
    reason: `${reason}${more}`,
    missing,
    ...findings,
  };
}

function isKey(a: VerifierKey, b: VerifierKey): boolean {
  return a.name === b.name && a.keyId === b.keyId && a.type === b.type;
}

function newest(good: readonly GoodSignature[]): bigint {
  return good.reduce((max, { timestampS = 0n }) => (timestampS > max ? timestampS : max), 0n);
}

/** As `verifyProof`, for a proof whose checkpoint has to hold under the policy. */
export function verifyProofUnderPolicy(
  proofText: string,
  entry: Uint8Array,
  policy: Policy | string,
  logVkeys: readonly string[] = [],
): PolicyEntryVerdict {
  const proof = parseProof(proofText);
  if (proof === undefined) return refuse('KIN_LEDGER_PROOF_INVALID', 'not a tlog-proof@v1 text');
  const verdict = verifyCheckpointUnderPolicy(proof.checkpoint, policy, logVkeys);
  if (verdict.kind === 'invalid') return verdict;
  const placed = placeEntry(proof, verdict.head, entry);
  return placed.kind === 'invalid' ? placed : { ...verdict, ...placed };
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
