// What is the root of a small log, and which hashes prove one of its entries, for 10 000 logs at
// once? An RFC 6962 tree that keeps 4 bytes an entry: all complete subtrees of 16 leaves and more,
// and the inside of the newest, ragged group. The inside of an older group is hashed again from its
// 16 leaves, which the caller reads back. (HashTree spends a 16 KB tile per log instead, which is
// right for one log and wrong for many.)
//
// Nodes lie in one array in the order in which they were completed, so that the place of each
// follows from its number: node i of level l ends with leaf m = (i + 1)·2^l − 1 and stands at
// 2m − popcount(m) + l. The complete groups come first, as leaves of such an array; the nodes of
// the ragged group follow, and are overwritten when it is complete.
// CT1. Roots and proofs are those of RFC 6962, whatever was kept.
// CT2. Leaves that were read back count only when they hash to the group that is known.

import { hash as digest } from 'node:crypto';
import { sameBytes } from '../bytes.ts';
import { HASH_BYTES, emptyRoot, nodeHash } from '../merkle.ts';
import { peakRanges, powerBelow } from './ranges.ts';
import type { Range } from './ranges.ts';

export const GROUP_LEVEL = 4;
export const GROUP_LEAVES = 2 ** GROUP_LEVEL;

const pair = Buffer.alloc(1 + 2 * HASH_BYTES, 1);
/** The node that was hashed last. */
const newest = Buffer.alloc(HASH_BYTES);

/**
 * Hashes the node at `place` with the newest one. As text of one byte a character: a digest that
 * comes as a Buffer costs three times the time, and memory outside of the heap.
 */
function joinNewest(nodes: Uint8Array, place: number): void {
  const from = place * HASH_BYTES;
  for (let at = 0; at < HASH_BYTES; at++) pair[1 + at] = nodes[from + at] ?? 0;
  pair.set(newest, 1 + HASH_BYTES);
  const text = digest('sha256', pair, 'latin1');
  for (let at = 0; at < HASH_BYTES; at++) newest[at] = text.charCodeAt(at);
}

/** How many nodes stand before the one that leaf `m` completes at level 0. */
function nodesBefore(m: number): number {
  return 2 * m - popcount(m);
}

function popcount(value: number): number {
  let bits = 0;
  // Beyond 32 bits by halves; each round below them clears the lowest bit that is set.
  let low = (value % 2 ** 32) | 0;
  for (; low !== 0; low &= low - 1) bits += 1;
  return value < 2 ** 32 ? bits : bits + popcount(Math.floor(value / 2 ** 32));
}

/** Nodes that a tree of `size` leaves keeps. */
export function keptNodes(size: number): number {
  return nodesBefore(Math.floor(size / GROUP_LEAVES)) + nodesBefore(size % GROUP_LEAVES);
}

/** Where the roots of the complete subtrees stand, largest first. */
function peakPlaces(base: number, leaves: number): number[] {
  return peakRanges(leaves).map(
    ({ low, high }) => base + nodesBefore(high - 1) + Math.log2(high - low),
  );
}

/** Leaf hashes of complete groups that were read back, by number of the group. */
export type LoadedGroups = ReadonlyMap<number, readonly Uint8Array[]>;

export class CompactTree {
  #size = 0;
  #nodes: Uint8Array = new Uint8Array(0);

  get size(): number {
    return this.#size;
  }

  append(leaf: Uint8Array): void {
    const groups = Math.floor(this.#size / GROUP_LEAVES);
    const inside = this.#size % GROUP_LEAVES;
    const base = nodesBefore(groups);
    this.#size += 1;
    if (inside < GROUP_LEAVES - 1) {
      this.#complete(base, inside, leaf);
      return;
    }
    newest.set(leaf);
    for (let level = 0; level < GROUP_LEVEL; level++) {
      joinNewest(this.#nodes, base + nodesBefore(inside - 2 ** level) + level);
    }
    this.#complete(0, groups, newest);
  }

  /** Writes leaf `m` of the array at `base`, and every node that it completes. */
  #complete(base: number, m: number, leaf: Uint8Array): void {
    let place = base + nodesBefore(m);
    if (leaf !== newest) newest.set(leaf);
    this.#put(place, newest);
    for (let width = 1; Math.floor(m / width) % 2 === 1; width *= 2) {
      // The left sibling is the root of as many leaves, completed just before this subtree.
      joinNewest(this.#nodes, place - (2 * width - 1));
      place += 1;
      this.#put(place, newest);
    }
  }

  #at(place: number): Uint8Array {
    return this.#nodes.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES);
  }

  #put(place: number, hash: Uint8Array): void {
    const end = (place + 1) * HASH_BYTES;
    if (end > this.#nodes.length) {
      const length = Math.max(4 * HASH_BYTES, Math.ceil((end * 1.25) / 128) * 128);
      const nodes = new Uint8Array(length);
      nodes.set(this.#nodes);
      this.#nodes = nodes;
    }
    this.#nodes.set(hash, end - HASH_BYTES);
  }

  /** Folds the complete subtrees from the right; all of them are at hand. */
  root(): Uint8Array {
    const groups = Math.floor(this.#size / GROUP_LEAVES);
    const places = [
      ...peakPlaces(0, groups),
      ...peakPlaces(nodesBefore(groups), this.#size % GROUP_LEAVES),
    ];
    const last = places.pop();
    if (last === undefined) return emptyRoot();
    newest.set(this.#at(last));
    for (const place of places.reverse()) joinNewest(this.#nodes, place);
    return new Uint8Array(newest);
  }

  rootAt(size: number, loaded: LoadedGroups): Uint8Array {
    if (size === 0) return emptyRoot();
    return this.hash({ low: 0, high: size }, loaded);
  }

  /** Leaves of the ragged group, which nobody has to read back. */
  leaf(index: number): Uint8Array | undefined {
    const group = Math.floor(index / GROUP_LEAVES);
    if (index >= this.#size || group < Math.floor(this.#size / GROUP_LEAVES)) return undefined;
    return new Uint8Array(this.#at(nodesBefore(group) + nodesBefore(index % GROUP_LEAVES)));
  }

  /** The complete groups whose leaves `hash` needs for these ranges. */
  groupsFor(ranges: readonly Range[]): readonly number[] {
    const complete = Math.floor(this.#size / GROUP_LEAVES);
    const groups = new Set<number>();
    for (const { low, high } of ranges) {
      for (const peak of peakRanges(high - low)) {
        const group = Math.floor((low + peak.low) / GROUP_LEAVES);
        if (peak.high - peak.low < GROUP_LEAVES && group < complete) groups.add(group);
      }
    }
    return [...groups];
  }

  /** A range that starts at a multiple of the power of two above its length. */
  hash({ low, high }: Range, loaded: LoadedGroups): Uint8Array {
    const count = high - low;
    const split = count > 1 ? powerBelow(count) : count;
    if (split * 2 === count || count === 1) return this.#subtree(low, count, loaded);
    return nodeHash(
      this.#subtree(low, split, loaded),
      this.hash({ low: low + split, high }, loaded),
    );
  }

  /** `count` is a power of two, and `low` a multiple of it. */
  #subtree(low: number, count: number, loaded: LoadedGroups): Uint8Array {
    if (count >= GROUP_LEAVES) {
      return this.#node(0, low / GROUP_LEAVES, count / GROUP_LEAVES);
    }
    const group = Math.floor(low / GROUP_LEAVES);
    const inside = low % GROUP_LEAVES;
    if (group === Math.floor(this.#size / GROUP_LEAVES)) {
      return this.#node(nodesBefore(group), inside, count);
    }
    const leaves = loaded.get(group);
    if (leaves === undefined) throw new Error(`group ${group} was not read back`);
    return subtreeRoot(leaves.slice(inside, inside + count));
  }

  #node(base: number, low: number, count: number): Uint8Array {
    const place = nodesBefore(low + count - 1) + Math.log2(count);
    return new Uint8Array(this.#at(base + place));
  }

  /** CT2. */
  isGroup(group: number, leaves: readonly Uint8Array[]): boolean {
    if (leaves.length !== GROUP_LEAVES) return false;
    return sameBytes(subtreeRoot(leaves), this.#node(0, group, 1));
  }

  /** All that is kept; `keptNodes(size)` hashes. */
  bytes(): Uint8Array {
    return this.#nodes.subarray(0, keptNodes(this.#size) * HASH_BYTES);
  }

  /** Undefined when these bytes are not what a tree of that size keeps. */
  static from(size: number, bytes: Uint8Array): CompactTree | undefined {
    if (bytes.length !== keptNodes(size) * HASH_BYTES) return undefined;
    const tree = new CompactTree();
    tree.#nodes = new Uint8Array(bytes);
    tree.#size = size;
    const groups = Math.floor(size / GROUP_LEAVES);
    const isSound = tree.#holds(0, groups) && tree.#holds(nodesBefore(groups), size % GROUP_LEAVES);
    return isSound ? tree : undefined;
  }

  /** Is every inner node of the array at `base` the hash of its children? */
  #holds(base: number, leaves: number): boolean {
    for (let m = 0; m < leaves; m++) {
      let place = base + nodesBefore(m);
      for (let width = 1; Math.floor(m / width) % 2 === 1; width *= 2) {
        newest.set(this.#at(place));
        joinNewest(this.#nodes, place - (2 * width - 1));
        place += 1;
        if (!sameBytes(newest, this.#at(place))) return false;
      }
    }
    return true;
  }
}

function subtreeRoot(leaves: readonly Uint8Array[]): Uint8Array {
  let hashes = leaves;
  while (hashes.length > 1) {
    const above: Uint8Array[] = [];
    for (let at = 0; at + 1 < hashes.length; at += 2) {
      above.push(nodeHash(hashes[at] ?? EMPTY, hashes[at + 1] ?? EMPTY));
    }
    hashes = above;
  }
  return hashes[0] ?? EMPTY;
}

const EMPTY = new Uint8Array(0);
