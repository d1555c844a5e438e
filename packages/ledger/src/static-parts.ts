// What do the files of a static tree say? Each cut into its hashes, as far as it can be cut.

import { sameBytes } from './bytes.ts';
import { HASH_BYTES, emptyRoot, leafHash, nodeHash } from './merkle.ts';

export interface Cut {
  /** Hashes from the start of the file, as far as it can be read. */
  readonly parts: readonly Uint8Array[];
  /** The same when it is exactly a file of the expected width. */
  readonly whole: readonly Uint8Array[] | undefined;
  /** Why it is not. */
  readonly fault: string | undefined;
  readonly isMissing: boolean;
}

const MISSING: Cut = { parts: [], whole: undefined, fault: 'missing', isMissing: true };

export function cutTile(bytes: Uint8Array | undefined, width: number): Cut {
  if (bytes === undefined) return MISSING;
  const parts: Uint8Array[] = [];
  for (let at = 0; at + HASH_BYTES <= bytes.length && parts.length < width; at += HASH_BYTES) {
    parts.push(bytes.subarray(at, at + HASH_BYTES));
  }
  const wanted = width * HASH_BYTES;
  const fault = bytes.length === wanted ? undefined : `${bytes.length} bytes instead of ${wanted}`;
  return { parts, whole: fault === undefined ? parts : undefined, fault, isMissing: false };
}

/** The leaf hashes of its entries. */
export function cutBundle(bytes: Uint8Array | undefined, width: number): Cut {
  if (bytes === undefined) return MISSING;
  const parts: Uint8Array[] = [];
  let at = 0;
  while (parts.length < width && at + 2 <= bytes.length) {
    const end = at + 2 + (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
    if (end > bytes.length) break;
    parts.push(leafHash(bytes.subarray(at + 2, end)));
    at = end;
  }
  const isWhole = parts.length === width && at === bytes.length;
  const fault = isWhole ? undefined : `not a bundle of ${width} entries`;
  return { parts, whole: isWhole ? parts : undefined, fault, isMissing: false };
}

/** Undefined when they are the same. */
export function firstDifference(
  a: readonly Uint8Array[],
  b: readonly Uint8Array[],
): number | undefined {
  const most = Math.max(a.length, b.length);
  for (let at = 0; at < most; at++) {
    const [left, right] = [a[at], b[at]];
    if (left === undefined || right === undefined || !sameBytes(left, right)) return at;
  }
  return undefined;
}

/** The root of a tree from the partial tiles at its right edge, lowest level first. */
export function rootOfEdges(edges: readonly (readonly Uint8Array[])[]): Uint8Array {
  let root: Uint8Array | undefined;
  for (const hashes of edges) root = treeHash(root === undefined ? hashes : [...hashes, root]);
  return root ?? emptyRoot();
}

/** RFC 6962 over subtree hashes of one size, of which the last may be a smaller, ragged one. */
function treeHash(hashes: readonly Uint8Array[]): Uint8Array {
  const [only] = hashes;
  if (only !== undefined && hashes.length === 1) return only;
  const split = 2 ** (Math.ceil(Math.log2(hashes.length)) - 1);
  return nodeHash(treeHash(hashes.slice(0, split)), treeHash(hashes.slice(split)));
}
