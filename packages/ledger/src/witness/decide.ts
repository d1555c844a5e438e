// May this witness cosign that checkpoint? The rules of c2sp.org/tlog-witness as one pure function:
// request, keys and what was cosigned before in; a verdict with its reason out.
// WD1. Never two roots for one size, never a size below the last cosigned one.
// WD2. The checks run in the order of the specification, so that a stranger without the log's key
//      learns nothing about the state.
// WD3. A timestamp is never lower than the one before it and never zero, whatever the clock does.

import { sameBytes } from '../bytes.ts';
import { checkConsistency, emptyRoot } from '../merkle.ts';
import type { AddCheckpoint, ForeignHead } from './request.ts';

/** What a witness remembers of a log. */
export interface Cosigned {
  readonly size: number;
  readonly root: Uint8Array;
  /** Seconds since 1970 of the newest cosignature. */
  readonly timestampS: number;
}

export type ProofFault =
  | 'empty-tree-root'
  | 'proof-for-old-size-zero'
  | 'root-differs-at-same-size'
  | 'proof-invalid';

export type Decision =
  | { readonly kind: 'cosign'; readonly next: Cosigned }
  | { readonly kind: 'old-above-size' }
  | { readonly kind: 'conflict'; readonly size: number }
  | { readonly kind: 'unproven'; readonly fault: ProofFault; readonly reason: string };

/** For a request whose origin is known and whose signature is good; the caller checks these. */
export function decideCosign(
  request: AddCheckpoint,
  head: ForeignHead,
  before: Cosigned | undefined,
  nowS: number,
): Decision {
  if (request.oldSize > head.size) return { kind: 'old-above-size' };
  const known = before?.size ?? 0;
  if (request.oldSize !== known) return { kind: 'conflict', size: known };
  const fault = faultOf(request, head, before);
  if (fault !== undefined) return fault;
  const timestampS = Math.max(1, Math.floor(nowS), before?.timestampS ?? 0);
  return { kind: 'cosign', next: { size: head.size, root: head.root, timestampS } };
}

function faultOf(
  { oldSize, proof }: AddCheckpoint,
  head: ForeignHead,
  before: Cosigned | undefined,
): Decision | undefined {
  if (head.size === 0 && !sameBytes(head.root, emptyRoot())) {
    return unproven('empty-tree-root', 'a tree of size 0 has another root');
  }
  if (before === undefined || oldSize === 0) {
    if (proof.length === 0) return undefined;
    return unproven('proof-for-old-size-zero', 'nothing can be proved from size 0');
  }
  if (oldSize === head.size && !sameBytes(before.root, head.root)) {
    return unproven('root-differs-at-same-size', `another root was cosigned for size ${oldSize}`);
  }
  const verdict = checkConsistency({
    size1: BigInt(oldSize),
    size2: BigInt(head.size),
    root1: before.root,
    root2: head.root,
    proof,
  });
  if (verdict.kind === 'valid') return undefined;
  return unproven('proof-invalid', `the consistency proof fails: ${verdict.reason}`);
}

function unproven(fault: ProofFault, reason: string): Decision {
  return { kind: 'unproven', fault, reason };
}
