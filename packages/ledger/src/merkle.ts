// Does this hash belong to that tree, and does the new tree extend the old one? RFC 6962 hashing
// and the RFC 9162 verification algorithms. Pure; sizes are BigInt because a hostile proof may name
// any 64-bit number.
// M1. A proof is valid only when every hash of it is used and nothing is missing.
// M2. Consistency from size 0 is refused: an empty tree proves nothing about a later one.
// M3. Sizes have 64 bits, and every hash that is computed with has 32 bytes. Two equal roots of two
//     equal sizes are consistent whatever they are, as the published vectors want it.

import { concat, sameBytes } from './bytes.ts';
import { sha256 } from './crypto.ts';

export const HASH_BYTES = 32;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);
const SIZE_MAX = 0xffff_ffff_ffff_ffffn;

export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(concat(LEAF, entry));
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concat(NODE, left, right));
}

export function emptyRoot(): Uint8Array {
  return sha256(new Uint8Array(0));
}

export type ProofVerdict =
  | { readonly kind: 'valid' }
  | { readonly kind: 'invalid'; readonly reason: ProofRefusal };

export type ProofRefusal =
  | 'index-out-of-range'
  | 'sizes-out-of-order'
  | 'size-zero'
  | 'hash-length'
  | 'proof-too-short'
  | 'proof-too-long'
  | 'root-mismatch'
  | 'old-root-mismatch';

const valid: ProofVerdict = { kind: 'valid' };

function invalid(reason: ProofRefusal): ProofVerdict {
  return { kind: 'invalid', reason };
}

export interface InclusionClaim {
  readonly index: bigint;
  readonly size: bigint;
  readonly leaf: Uint8Array;
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** RFC 9162 §2.1.3.2. */
export function checkInclusion(claim: InclusionClaim): ProofVerdict {
  const { index, size, leaf, root, proof } = claim;
  if (index < 0n || index >= size || size > SIZE_MAX) return invalid('index-out-of-range');
  if (![leaf, root, ...proof].every((hash) => hash.length === HASH_BYTES)) {
    return invalid('hash-length');
  }
  let node = index;
  let last = size - 1n;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0n) return invalid('proof-too-long');
    if ((node & 1n) === 1n || node === last) {
      hash = nodeHash(sibling, hash);
      while ((node & 1n) === 0n && node !== 0n) {
        node >>= 1n;
        last >>= 1n;
      }
    } else {
      hash = nodeHash(hash, sibling);
    }
    node >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) return invalid('proof-too-short');
  return sameBytes(hash, root) ? valid : invalid('root-mismatch');
}

export interface ConsistencyClaim {
  readonly size1: bigint;
  readonly size2: bigint;
  readonly root1: Uint8Array;
  readonly root2: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** RFC 9162 §2.1.4.2. */
export function checkConsistency(claim: ConsistencyClaim): ProofVerdict {
  const { size1, size2, root1, root2, proof } = claim;
  if (size1 < 0n || size2 < size1 || size2 > SIZE_MAX) return invalid('sizes-out-of-order');
  if (size1 === 0n) return invalid('size-zero');
  if (size1 === size2) {
    if (proof.length > 0) return invalid('proof-too-long');
    return sameBytes(root1, root2) ? valid : invalid('root-mismatch');
  }
  if (![root1, root2, ...proof].every((hash) => hash.length === HASH_BYTES)) {
    return invalid('hash-length');
  }
  if (proof.length === 0) return invalid('proof-too-short');
  // When the old tree is complete, its root is the first hash of the proof and is left out.
  const hashes = (size1 & (size1 - 1n)) === 0n ? [root1, ...proof] : proof;
  return walkConsistency(claim, hashes);
}

function walkConsistency(claim: ConsistencyClaim, hashes: readonly Uint8Array[]): ProofVerdict {
  let node = claim.size1 - 1n;
  let last = claim.size2 - 1n;
  while ((node & 1n) === 1n) {
    node >>= 1n;
    last >>= 1n;
  }
  const [first, ...rest] = hashes;
  if (first === undefined) return invalid('proof-too-short');
  let hash1 = first;
  let hash2 = first;
  for (const sibling of rest) {
    if (last === 0n) return invalid('proof-too-long');
    if ((node & 1n) === 1n || node === last) {
      hash1 = nodeHash(sibling, hash1);
      hash2 = nodeHash(sibling, hash2);
      while ((node & 1n) === 0n && node !== 0n) {
        node >>= 1n;
        last >>= 1n;
      }
    } else {
      hash2 = nodeHash(hash2, sibling);
    }
    node >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) return invalid('proof-too-short');
  if (!sameBytes(hash1, claim.root1)) return invalid('old-root-mismatch');
  return sameBytes(hash2, claim.root2) ? valid : invalid('root-mismatch');
}
