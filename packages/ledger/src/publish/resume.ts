// What was published and witnessed before this process started? Read from the files, believed only
// where signatures and the log itself agree.
// PR1. Files that know more than the log refuse the start: the log was rolled back.
// PR2. Files that contradict the log refuse the start: the log was forked.

import { fromBase64, fromUtf8 } from '../bytes.ts';
import type { CheckpointLine } from '../checkpoints-log.ts';
import { LedgerError, isLedgerError } from '../errors.ts';
import { checkConsistency } from '../merkle.ts';
import { parseTreeHead, verifyNote, verifyNoteWith } from '../note.ts';
import { judgeQuorum } from '../policy.ts';
import type { Policy } from '../policy.ts';
import type { OwnCheckpoint } from '../witness/client.ts';
import type { PublishDocuments } from './options.ts';

const CHECKPOINT_BYTES_MAX = 1_000_000;

export interface ResumeParts {
  readonly documents: PublishDocuments;
  readonly vkeys: readonly string[];
  readonly policy: Policy | undefined;
  /** The newest durable checkpoint. */
  readonly head: OwnCheckpoint;
  consistency(before: number, after: number): Promise<readonly string[]>;
}

export interface Resumed {
  readonly published: OwnCheckpoint | undefined;
  /** Cosignatures of the published checkpoint, by the witness' name in the policy. */
  readonly lines: ReadonlyMap<string, string>;
  readonly witnessed: OwnCheckpoint | undefined;
  /** The largest size that each witness cosigned, as far as the newest file tells. */
  readonly witnessSizes: ReadonlyMap<string, number>;
}

export async function resume(
  parts: ResumeParts,
  tail: readonly CheckpointLine[],
): Promise<Resumed> {
  const published = await ownNote(
    parts,
    tail.findLast(({ kind }) => kind === 'published'),
  );
  const witnessed = await readWitnessed(parts);
  const lines = new Map<string, string>();
  const witnessSizes = new Map<string, number>();
  const notes = new Map<number, string>();
  for (const line of tail) {
    if (line.kind === 'published') notes.set(line.size, line.note);
    else if (isGood(parts.policy, line.witness, notes.get(line.size), line.lines)) {
      witnessSizes.set(line.witness, Math.max(line.size, witnessSizes.get(line.witness) ?? 0));
      if (line.size === published?.size) lines.set(line.witness, line.lines);
    }
  }
  return { published, lines, witnessed, witnessSizes };
}

function isGood(
  policy: Policy | undefined,
  name: string,
  note: string | undefined,
  lines: string,
): boolean {
  const witness = policy?.witnesses.find((each) => each.name === name);
  if (witness === undefined || note === undefined) return false;
  return verifyNoteWith(note + lines, [witness.key]).kind === 'valid';
}

async function ownNote(
  parts: ResumeParts,
  line: CheckpointLine | undefined,
): Promise<OwnCheckpoint | undefined> {
  if (line?.kind !== 'published') return undefined;
  return checkOwn(parts, line.note, 'checkpoints.log');
}

async function readWitnessed(parts: ResumeParts): Promise<OwnCheckpoint | undefined> {
  const { documents, policy } = parts;
  const bytes = await documents.readDocument('checkpoint.witnessed', CHECKPOINT_BYTES_MAX);
  if (bytes === undefined) return undefined;
  const own = await checkOwn(parts, fromUtf8(bytes) ?? '', 'checkpoint.witnessed');
  if (own === undefined || policy === undefined) return undefined;
  // The policy may have changed since; what counted then may not count now.
  return judgeQuorum(policy, cosignersOf(policy, own.text)).kind === 'met' ? own : undefined;
}

export function cosignersOf(policy: Policy, note: string): ReadonlySet<string> {
  const good = policy.witnesses.filter(({ key }) => verifyNoteWith(note, [key]).kind === 'valid');
  return new Set(good.map(({ name }) => name));
}

/** Undefined when our keys did not sign it: then it is not ours, and it is simply written anew. */
async function checkOwn(
  parts: ResumeParts,
  note: string,
  file: string,
): Promise<OwnCheckpoint | undefined> {
  const { vkeys, head } = parts;
  const verdict = verifyNote(note, vkeys);
  const body = verdict.kind === 'valid' ? parseTreeHead(verdict.note.text) : undefined;
  if (body === undefined || body.origin !== head.origin) return undefined;
  const size = Number(body.size);
  const own = { origin: body.origin, size, root: body.root, text: note };
  if (size > head.size) {
    const what = `${file} has a checkpoint of size ${size}, the log only ${head.size}`;
    throw new LedgerError('KIN_LEDGER_ROLLED_BACK', what);
  }
  if (!(await isPrefix(parts, own))) {
    const what = `${file} has another root for size ${size} than the log`;
    throw new LedgerError('KIN_LEDGER_FORKED', what);
  }
  return own;
}

async function isPrefix(parts: ResumeParts, old: OwnCheckpoint): Promise<boolean> {
  const { head } = parts;
  if (old.size === 0) return true;
  if (old.size === head.size) return old.root === head.root;
  const none = new Uint8Array(0);
  let hashes: readonly string[];
  try {
    hashes = await parts.consistency(old.size, head.size);
  } catch (cause) {
    // Below what retention kept nothing can be proved any more; the log's own start, which
    // compares its root with the checkpoint that pruning signed, stands for it.
    if (isLedgerError(cause) && cause.code === 'KIN_LEDGER_PRUNED') return true;
    throw cause;
  }
  const verdict = checkConsistency({
    size1: BigInt(old.size),
    size2: BigInt(head.size),
    root1: fromBase64(old.root) ?? none,
    root2: fromBase64(head.root) ?? none,
    proof: hashes.map((hash) => fromBase64(hash) ?? none),
  });
  return verdict.kind === 'valid';
}
