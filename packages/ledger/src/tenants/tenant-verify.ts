// Is this tenant's evidence true, and is what it was given all there is? Offline, without seeing
// anybody else's entries; runs in browsers. Answers are values that say why.
// TV1. An entry counts only when every link holds: entry → tenant's tree → map at the position that
//      the first leaf fixes → epoch entry → checkpoint that is trusted.
// TV2. Completeness is shown by the root alone: all entries are hashed, none may be left out,
//      added, changed or moved.
// TV3. Who pins the position of a log once is never shown a second log of the same tenant.

import { fromBase64, sameBytes } from '../bytes.ts';
import { checkInclusion, leafHash } from '../merkle.ts';
import type { TreeHead } from '../note.ts';
import type { Policy } from '../policy.ts';
import { verifyCheckpoint, verifyCheckpointUnderPolicy } from '../verify.ts';
import type { CheckpointVerdict, PolicyVerdict } from '../verify.ts';
import { Peaks } from './peaks.ts';
import { checkInMap, mapValue } from './sparse-map.ts';
import { readEpoch, readLogStart } from './tenant-entries.ts';
import type { EpochDetail, LogStart } from './tenant-entries.ts';
import { tenantOf } from './tenant-of.ts';
import { parseTenantProof } from './tenant-proof.ts';
import type { TenantProof } from './tenant-proof.ts';

export { formatTenantProof, parseTenantProof } from './tenant-proof.ts';
export type { TenantProof, TenantProofPart } from './tenant-proof.ts';
export { tenantOf } from './tenant-of.ts';

/** Whose checkpoint counts: one key of the log, or a tlog-policy with its quorum. */
export type TenantTrust =
  | { readonly vkey: string }
  | { readonly policy: Policy | string; readonly logVkeys?: readonly string[] };

export interface TenantVerifyOptions {
  readonly trust: TenantTrust;
  readonly tenant: string;
  /** TV3: as an earlier verdict gave it. */
  readonly position?: Uint8Array;
}

export type TenantRefusal =
  | 'not-a-proof'
  | 'other-tenant'
  | 'checkpoint-refused'
  | 'epoch-unreadable'
  | 'epoch-not-in-log'
  | 'epoch-too-new'
  | 'begin-unreadable'
  | 'begin-not-first'
  | 'other-position'
  | 'head-not-in-map'
  | 'not-an-entry-proof'
  | 'entry-of-another'
  | 'entry-not-in-log'
  | 'entries-missing'
  | 'entries-too-many'
  | 'entries-differ'
  | 'not-a-whole-log';

export interface TenantRefused {
  readonly kind: 'invalid';
  readonly code: string;
  readonly reason: TenantRefusal;
  readonly detail: string;
}

export interface TenantFacts {
  readonly tenant: string;
  /** To be pinned. */
  readonly position: Uint8Array;
  /** Of the tenant's log in the epoch. */
  readonly size: bigint;
  readonly root: Uint8Array;
  readonly epoch: EpochDetail & { readonly index: bigint };
  readonly head: TreeHead;
}

export type TenantHeadVerdict = (TenantFacts & { readonly kind: 'valid' }) | TenantRefused;

export type TenantEntryVerdict =
  | (TenantFacts & { readonly kind: 'valid'; readonly index: bigint })
  | TenantRefused;

export type TenantCompleteVerdict =
  /** `from` is the number of the first entry that was shown; 0 unless retention removed some. */
  | (TenantFacts & { readonly kind: 'valid'; readonly from: number; readonly count: number })
  | TenantRefused;

/** TV1: `entry` is in the log of the tenant. */
export function verifyTenantProof(
  text: string,
  entry: Uint8Array,
  options: TenantVerifyOptions,
): TenantEntryVerdict {
  const read = readProof(text, options);
  if (read.kind === 'invalid') return read;
  const { proof, facts } = read;
  if (proof.part.kind !== 'entry') return refuse('not-an-entry-proof', 'it names no entry');
  const { index, hashes } = proof.part;
  if (tenantOf(entry) !== facts.tenant) {
    return refuse('entry-of-another', 'the entry does not carry this tenant');
  }
  const problem = notIncluded(proof, index, entry, hashes);
  if (problem !== undefined) return refuse('entry-not-in-log', problem);
  return { kind: 'valid', ...facts, index };
}

/** What the evidence says about the log as a whole, without looking at an entry. */
export function verifyTenantHead(text: string, options: TenantVerifyOptions): TenantHeadVerdict {
  const read = readProof(text, options);
  return read.kind === 'invalid' ? read : { kind: 'valid', ...read.facts };
}

/**
 * TV2: these are all entries of the tenant up to the epoch. They come in order, from the first one
 * on, or from where an `after` proof says.
 */
export async function verifyTenantComplete(
  entries: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  text: string,
  options: TenantVerifyOptions,
): Promise<TenantCompleteVerdict> {
  const read = readProof(text, options);
  if (read.kind === 'invalid') return read;
  const { proof, facts } = read;
  const { part, size } = proof;
  const start = part.kind === 'after' ? Peaks.from(part.index, part.hashes) : new Peaks();
  if (start === undefined || BigInt(start.size) > size) {
    return refuse('not-a-whole-log', 'the subtrees before the first entry do not fit');
  }
  const from = start.size;
  for await (const entry of entries) {
    if (BigInt(start.size) >= size) {
      return refuse('entries-too-many', `the log of the epoch has ${size} entries`);
    }
    if (tenantOf(entry) !== facts.tenant) {
      return refuse('entry-of-another', `entry ${start.size} does not carry this tenant`);
    }
    start.append(leafHash(entry));
  }
  if (BigInt(start.size) < size) {
    return refuse('entries-missing', `${start.size} entries of ${size}`);
  }
  if (!sameBytes(start.root(), facts.root)) {
    return refuse('entries-differ', 'they are not the entries that the epoch commits to');
  }
  return { kind: 'valid', ...facts, from, count: start.size - from };
}

type Reading =
  | { readonly kind: 'valid'; readonly proof: TenantProof; readonly facts: TenantFacts }
  | TenantRefused;

function readProof(text: string, options: TenantVerifyOptions): Reading {
  const proof = parseTenantProof(text);
  if (proof === undefined) return refuse('not-a-proof', 'not a tenant-proof@v1 text');
  const { tenant, size, root } = proof;
  if (tenant !== options.tenant) return refuse('other-tenant', `it is about ${tenant}`);
  const checkpoint = judgeCheckpoint(proof.checkpoint, options.trust);
  if (checkpoint.kind === 'invalid') {
    return { ...refuse('checkpoint-refused', checkpoint.reason), code: checkpoint.code };
  }
  const { head } = checkpoint;
  const epoch = judgeEpoch(proof, head);
  if (epoch.kind === 'invalid') return epoch;
  const begin = judgeBegin(proof, options.position);
  if (begin.kind === 'invalid') return begin;
  const { position } = begin.start;
  const value = mapValue(size, root);
  const found = { kind: 'leaf', position, value } as const;
  const inMap = checkInMap(position, { found, siblings: proof.map }, epoch.detail.map);
  if (inMap.kind !== 'present') {
    return refuse('head-not-in-map', inMap.kind === 'invalid' ? inMap.reason : inMap.kind);
  }
  const facts = {
    tenant,
    position,
    size,
    root,
    epoch: { ...epoch.detail, index: proof.epoch.index },
    head,
  };
  return { kind: 'valid', proof, facts };
}

function judgeCheckpoint(text: string, trust: TenantTrust): CheckpointVerdict | PolicyVerdict {
  if ('vkey' in trust) return verifyCheckpoint(text, trust.vkey);
  return verifyCheckpointUnderPolicy(text, trust.policy, trust.logVkeys);
}

function judgeEpoch(
  proof: TenantProof,
  head: TreeHead,
): { readonly kind: 'valid'; readonly detail: EpochDetail } | TenantRefused {
  const { index, entry, hashes } = proof.epoch;
  const detail = readEpoch(entry);
  if (detail === undefined) return refuse('epoch-unreadable', 'no ledger.epoch entry');
  const inclusion = checkInclusion({
    index,
    size: head.size,
    leaf: leafHash(entry),
    root: fromBase64(head.root) ?? new Uint8Array(0),
    proof: hashes,
  });
  if (inclusion.kind === 'invalid') return refuse('epoch-not-in-log', inclusion.reason);
  if (BigInt(detail.size) > index || proof.size > BigInt(detail.size)) {
    return refuse('epoch-too-new', 'it speaks of entries that come after it');
  }
  return { kind: 'valid', detail };
}

function judgeBegin(
  proof: TenantProof,
  pinned: Uint8Array | undefined,
): { readonly kind: 'valid'; readonly start: LogStart } | TenantRefused {
  const { entry, hashes } = proof.begin;
  const start = readLogStart(entry);
  if (start?.tenant !== proof.tenant) {
    return refuse('begin-unreadable', 'no ledger.log entry of this tenant');
  }
  const problem = notIncluded(proof, 0n, entry, hashes);
  if (problem !== undefined) return refuse('begin-not-first', problem);
  if (pinned !== undefined && !sameBytes(pinned, start.position)) {
    return refuse('other-position', 'the log stands at another position than before');
  }
  return { kind: 'valid', start };
}

function notIncluded(
  { size, root }: TenantProof,
  index: bigint,
  entry: Uint8Array,
  proof: readonly Uint8Array[],
): string | undefined {
  const verdict = checkInclusion({ index, size, leaf: leafHash(entry), root, proof });
  return verdict.kind === 'invalid' ? verdict.reason : undefined;
}

function refuse(reason: TenantRefusal, detail: string): TenantRefused {
  return { kind: 'invalid', code: 'KIN_LEDGER_PROOF_INVALID', reason, detail };
}
