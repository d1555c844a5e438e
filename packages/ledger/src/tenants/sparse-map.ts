// Which one head does this epoch give to a position? A sparse Merkle map with 256-bit positions,
// format 1. Pure: the verifier in a browser uses the same file as the writer.
//
//   empty subtree                 32 zero bytes (nobody knows a preimage)
//   subtree with one single log   SHA-256(0x02 || position || value), however high it stands
//   any other subtree             SHA-256(0x03 || left || right), split on the next bit
//   value                         SHA-256(0x04 || size as u64 big-endian || tenant root)
//
// The first bit is the highest of the first byte; 0 is left. 0x02 to 0x04 keep these inputs apart
// from each other and from leaves (0x00) and nodes (0x01) of RFC 6962 trees.
// SM1. A position has one value under a root: its path is given by the position alone.
// SM2. A map is a value: an update returns a new one that shares what did not change, so that the
//      maps of earlier epochs stay provable.
// SM3. A proof is valid only when every hash of it is used; an absence proof shows either nothing
//      or exactly one other log at the end of the path.

import { sameBytes } from '../bytes.ts';
import { sha256 } from '../crypto.ts';
import { HASH_BYTES } from '../merkle.ts';

export const POSITION_BITS = 256;
export const EMPTY_MAP = new Uint8Array(HASH_BYTES);
const LEAF = 0x02;
const NODE = 0x03;
const VALUE = 0x04;

export interface MapLeaf {
  readonly kind: 'leaf';
  readonly position: Uint8Array;
  readonly size: number;
  readonly root: Uint8Array;
  readonly hash: Uint8Array;
  /** The hash, one byte a character. */
  readonly text: string;
}

export interface MapBranch {
  readonly kind: 'branch';
  readonly left: MapNode;
  readonly right: MapNode;
  readonly hash: Uint8Array;
  /** The hash, one byte a character. */
  readonly text: string;
}

/** Undefined is the empty subtree. */
export type MapNode = MapLeaf | MapBranch | undefined;

/** What the path of a position ends in; siblings from there up to the root. */
export interface MapProof {
  readonly found:
    | { readonly kind: 'leaf'; readonly position: Uint8Array; readonly value: Uint8Array }
    | { readonly kind: 'empty' };
  readonly siblings: readonly Uint8Array[];
}

export type MapVerdict =
  | { readonly kind: 'present'; readonly value: Uint8Array }
  | { readonly kind: 'absent' }
  | { readonly kind: 'invalid'; readonly reason: MapRefusal };

export type MapRefusal = 'hash-length' | 'path-too-long' | 'leaf-off-path' | 'root-mismatch';

/**
 * Nodes keep hashes as texts of one byte a character: 48 bytes each where an array of bytes costs
 * the engine four times that, and there are two for each log in every map that is kept.
 */
class Leaf implements MapLeaf {
  readonly position: Uint8Array;
  readonly size: number;
  readonly #root: string;
  readonly text: string;

  constructor(position: Uint8Array, size: number, root: Uint8Array) {
    this.position = position;
    this.size = size;
    this.#root = textOf(root);
    this.text = textOf(mapLeafHash(position, mapValue(BigInt(size), root)));
  }

  get kind(): 'leaf' {
    return 'leaf';
  }

  get root(): Uint8Array {
    return bytesOf(this.#root);
  }

  get hash(): Uint8Array {
    return bytesOf(this.text);
  }
}

class Branch implements MapBranch {
  readonly left: MapNode;
  readonly right: MapNode;
  readonly text: string;

  constructor(left: MapNode, right: MapNode) {
    this.left = left;
    this.right = right;
    pair[0] = NODE;
    putText(left?.text ?? EMPTY_TEXT, 1);
    putText(right?.text ?? EMPTY_TEXT, 1 + HASH_BYTES);
    this.text = textOf(sha256(pair));
  }

  get kind(): 'branch' {
    return 'branch';
  }

  get hash(): Uint8Array {
    return bytesOf(this.text);
  }
}

const EMPTY_TEXT = '\0'.repeat(HASH_BYTES);
const codes: number[] = Array.from({ length: HASH_BYTES }, () => 0);

function textOf(bytes: Uint8Array): string {
  for (let at = 0; at < HASH_BYTES; at++) codes[at] = bytes[at] ?? 0;
  return String.fromCharCode(...codes);
}

function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(HASH_BYTES);
  for (let at = 0; at < HASH_BYTES; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

const pair = new Uint8Array(1 + 2 * HASH_BYTES);

function putText(text: string, from: number): void {
  for (let at = 0; at < HASH_BYTES; at++) pair[from + at] = text.charCodeAt(at);
}

const headInput = new Uint8Array(1 + 8 + HASH_BYTES);
const headView = new DataView(headInput.buffer);
headInput[0] = VALUE;

function hashPair(prefix: number, left: Uint8Array, right: Uint8Array): Uint8Array {
  pair[0] = prefix;
  pair.set(left, 1);
  pair.set(right, 1 + HASH_BYTES);
  return sha256(pair);
}

export function mapLeafHash(position: Uint8Array, value: Uint8Array): Uint8Array {
  return hashPair(LEAF, position, value);
}

export function mapNodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return hashPair(NODE, left, right);
}

/** `size` may be any 64-bit number of a proof. */
export function mapValue(size: bigint, root: Uint8Array): Uint8Array {
  headView.setBigUint64(1, size);
  headInput.set(root, 9);
  return sha256(headInput);
}

export function mapLeaf(position: Uint8Array, size: number, root: Uint8Array): MapLeaf {
  return new Leaf(position, size, root);
}

export function mapRoot(map: MapNode): Uint8Array {
  return map === undefined ? EMPTY_MAP : map.hash;
}

function isRight(position: Uint8Array, depth: number): boolean {
  return (((position[depth >> 3] ?? 0) >> (7 - (depth & 7))) & 1) === 1;
}

/** SM2: each position at most once in `heads`. k of n changed heads cost about 2k + k·log(n/k). */
export function updateMap(map: MapNode, heads: readonly MapLeaf[]): MapNode {
  return update(map, 0, heads);
}

function update(node: MapNode, depth: number, heads: readonly MapLeaf[]): MapNode {
  const [only] = heads;
  if (only === undefined) return node;
  if (heads.length === 1) {
    if (node === undefined) return only;
    if (node.kind === 'leaf' && sameBytes(node.position, only.position)) return only;
  }
  if (depth >= POSITION_BITS) throw new Error('two heads for one position');
  if (node?.kind === 'leaf') {
    const isReplaced = heads.some((head) => sameBytes(head.position, node.position));
    return split(undefined, depth, isReplaced ? heads : [...heads, node]);
  }
  return split(node, depth, heads);
}

function split(node: MapBranch | undefined, depth: number, heads: readonly MapLeaf[]): MapNode {
  const lefts: MapLeaf[] = [];
  const rights: MapLeaf[] = [];
  for (const head of heads) (isRight(head.position, depth) ? rights : lefts).push(head);
  const left = update(node?.left, depth + 1, lefts);
  const right = update(node?.right, depth + 1, rights);
  return new Branch(left, right);
}

export function findInMap(map: MapNode, position: Uint8Array): MapLeaf | undefined {
  let node = map;
  for (let depth = 0; node?.kind === 'branch'; depth++) {
    node = isRight(position, depth) ? node.right : node.left;
  }
  return node !== undefined && sameBytes(node.position, position) ? node : undefined;
}

export function proveInMap(map: MapNode, position: Uint8Array): MapProof {
  const siblings: Uint8Array[] = [];
  let node = map;
  for (let depth = 0; node?.kind === 'branch'; depth++) {
    const goesRight = isRight(position, depth);
    siblings.push(mapRoot(goesRight ? node.left : node.right));
    node = goesRight ? node.right : node.left;
  }
  siblings.reverse();
  if (node === undefined) return { found: { kind: 'empty' }, siblings };
  const value = mapValue(BigInt(node.size), node.root);
  return { found: { kind: 'leaf', position: node.position, value }, siblings };
}

/** SM3: says which of present and absent the proof shows for `position`. */
export function checkInMap(position: Uint8Array, proof: MapProof, root: Uint8Array): MapVerdict {
  const { found, siblings } = proof;
  const shown = found.kind === 'leaf' ? [found.position, found.value] : [];
  if (![position, root, ...shown, ...siblings].every((hash) => hash.length === HASH_BYTES)) {
    return { kind: 'invalid', reason: 'hash-length' };
  }
  const depth = siblings.length;
  if (depth > POSITION_BITS) return { kind: 'invalid', reason: 'path-too-long' };
  if (found.kind === 'leaf' && !samePrefix(found.position, position, depth)) {
    return { kind: 'invalid', reason: 'leaf-off-path' };
  }
  let hash = found.kind === 'leaf' ? mapLeafHash(found.position, found.value) : EMPTY_MAP;
  for (const [step, sibling] of siblings.entries()) {
    hash = isRight(position, depth - 1 - step)
      ? mapNodeHash(sibling, hash)
      : mapNodeHash(hash, sibling);
  }
  if (!sameBytes(hash, root)) return { kind: 'invalid', reason: 'root-mismatch' };
  if (found.kind === 'leaf' && sameBytes(found.position, position)) {
    return { kind: 'present', value: found.value };
  }
  return { kind: 'absent' };
}

function samePrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let depth = 0; depth < bits; depth++) {
    if (isRight(a, depth) !== isRight(b, depth)) return false;
  }
  return true;
}
