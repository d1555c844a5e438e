// Where are the hashes of the tree, and which of them form a proof? Only complete subtrees are
// kept, at fixed positions; a ragged right edge is folded from them, so every past size can be
// proved. Levels 0 to 7 live in tiles of 256 leaves with a bounded cache (an evicted tile is read
// back from the log); levels from 8 up cost a quarter of a byte per entry and stay in memory.
// T1. A position is written once per committed size: going back (a write that failed) only lowers
//     `size`, and the next entries overwrite what was never acknowledged.

import { hash as digest } from 'node:crypto';
import { sha256 } from './crypto.ts';
import { LedgerError } from './errors.ts';
import { HASH_BYTES, emptyRoot } from './merkle.ts';

const TILE_LEAVES = 256;
const TILE_LEVELS = 8;
/** 256 + 128 + … + 2 hashes; the one at level 8 belongs to the upper levels. */
const TILE_BYTES = 510 * HASH_BYTES;
const TILES_MAX = 256;
const LEVEL_OFFSETS = [0, 256, 384, 448, 480, 496, 504, 508];

export type LeafLoader = (from: number, count: number) => Promise<readonly Uint8Array[]>;

/** What a tree needs to go on without the entries below `first`. */
export interface TreePrefix {
  readonly first: number;
  /** Level-8 hashes of the complete tiles in front of `first`. */
  readonly tiles: Uint8Array;
  /** Leaf hashes from the last of those tiles up to `first`. */
  readonly leaves: Uint8Array;
}

export class HashTree {
  #size = 0;
  readonly #tiles = new Map<number, Buffer>();
  readonly #upper: Buffer[] = [];
  readonly #load: LeafLoader;
  readonly #pair = Buffer.alloc(1 + 2 * HASH_BYTES, 1);
  /** Entries below are gone; the leaves of their last, ragged tile are kept apart. */
  #first = 0;
  #firstLeaves: Uint8Array = new Uint8Array(0);

  /** `load` returns the entry bytes of a range that is already in the log. */
  constructor(load: LeafLoader) {
    this.#load = load;
  }

  get size(): number {
    return this.#size;
  }

  /** Only on an empty tree. */
  restore(prefix: TreePrefix): void {
    for (let at = 0; at < prefix.tiles.length; at += HASH_BYTES) {
      this.#climb(at / HASH_BYTES, prefix.tiles.subarray(at, at + HASH_BYTES));
    }
    this.#size = (prefix.tiles.length / HASH_BYTES) * TILE_LEAVES;
    for (let at = 0; at < prefix.leaves.length; at += HASH_BYTES) {
      this.append(prefix.leaves.subarray(at, at + HASH_BYTES));
    }
    this.forget(prefix);
  }

  /** The entries below `first` are no longer there to be loaded. */
  forget({ first, leaves }: TreePrefix): void {
    this.#first = first;
    this.#firstLeaves = Uint8Array.from(leaves);
    for (const number of this.#tiles.keys()) {
      if ((number + 1) * TILE_LEAVES <= first) this.#tiles.delete(number);
    }
  }

  async prefix(first: number): Promise<TreePrefix> {
    await this.#ready(edgeOf(first));
    const complete = Math.floor(first / TILE_LEAVES);
    const tiles = Uint8Array.from(
      this.#upper[0]?.subarray(0, complete * HASH_BYTES) ?? new Uint8Array(0),
    );
    const leaves = new Uint8Array((first % TILE_LEAVES) * HASH_BYTES);
    for (let at = 0; at < first % TILE_LEAVES; at++) {
      leaves.set(this.#get(0, complete * TILE_LEAVES + at), at * HASH_BYTES);
    }
    return { first, tiles, leaves };
  }

  append(leaf: Uint8Array): void {
    const index = this.#size;
    const inside = index % TILE_LEAVES;
    const tile = this.#tileOf((index - inside) / TILE_LEAVES);
    tile.set(leaf, inside * HASH_BYTES);
    let at = inside;
    for (let level = 1; at % 2 === 1 && level < TILE_LEVELS; level++) {
      // Both children stand side by side; the digest is text because that is the cheap form.
      const children = ((LEVEL_OFFSETS[level - 1] ?? 0) + at - 1) * HASH_BYTES;
      tile.copy(this.#pair, 1, children, children + 2 * HASH_BYTES);
      at = (at - 1) / 2;
      const parent = ((LEVEL_OFFSETS[level] ?? 0) + at) * HASH_BYTES;
      tile.write(digest('sha256', this.#pair, 'latin1'), parent, HASH_BYTES, 'latin1');
    }
    this.#size = index + 1;
    if (inside !== TILE_LEAVES - 1) return;
    tile.copy(this.#pair, 1, TILE_BYTES - 2 * HASH_BYTES);
    this.#climb((index - inside) / TILE_LEAVES, sha256(this.#pair));
    this.#evict();
  }

  /** Puts the hash of a complete tile at its place, and every parent that it completes. */
  #climb(tile: number, hash: Uint8Array): void {
    this.#putUpper(TILE_LEVELS, tile, hash);
    let level = TILE_LEVELS;
    let at = tile;
    let right = hash;
    while (at % 2 === 1) {
      right = this.#join(this.#get(level, at - 1), right);
      at = (at - 1) / 2;
      level += 1;
      this.#putUpper(level, at, right);
    }
  }

  /** T1: forget entries that did not become durable. They are in the newest tiles. */
  truncate(size: number): void {
    this.#size = size;
  }

  root(): Uint8Array {
    return this.#size === 0 ? emptyRoot() : this.#range(0, this.#size);
  }

  async rootAt(size: number): Promise<Uint8Array> {
    if (size === 0) return emptyRoot();
    await this.#ready(edgeOf(size));
    return this.#range(0, size);
  }

  async leaf(index: number): Promise<Uint8Array> {
    await this.#ready([index]);
    return Uint8Array.from(this.#get(0, index));
  }

  /** Roots of complete subtrees of 256^level leaves: all of them stay in memory. */
  levelHashes(level: number, from: number, count: number): readonly Uint8Array[] {
    return Array.from({ length: count }, (_, at) =>
      Uint8Array.from(this.#get(level * TILE_LEVELS, from + at)),
    );
  }

  /** From the leaf's sibling up, as tlog-proof wants it. */
  async inclusion(index: number, size: number): Promise<readonly Uint8Array[]> {
    await this.#ready([index, ...edgeOf(size)]);
    const path: Uint8Array[] = [];
    let low = 0;
    let high = size;
    while (high - low > 1) {
      const split = low + largestPowerBelow(high - low);
      if (index < split) {
        path.push(this.#range(split, high));
        high = split;
      } else {
        path.push(this.#range(low, split));
        low = split;
      }
    }
    return path.reverse();
  }

  /** RFC 6962 §2.1.2. */
  async consistency(before: number, after: number): Promise<readonly Uint8Array[]> {
    if (before === after) return [];
    await this.#ready([...edgeOf(before), ...edgeOf(after)]);
    const path: Uint8Array[] = [];
    let low = 0;
    let high = after;
    let whole = true;
    while (before !== high) {
      const split = low + largestPowerBelow(high - low);
      if (before <= split) {
        path.push(this.#range(split, high));
        high = split;
      } else {
        path.push(this.#range(low, split));
        low = split;
        whole = false;
      }
    }
    if (!whole) path.push(this.#range(low, high));
    return path.reverse();
  }

  /** Hash of the entries [low, high), where low is a multiple of the power of two above. */
  #range(low: number, high: number): Uint8Array {
    const count = high - low;
    const level = Math.floor(Math.log2(count));
    if (2 ** level === count) return Uint8Array.from(this.#get(level, low / count));
    const split = low + largestPowerBelow(count);
    return this.#join(this.#range(low, split), this.#range(split, high));
  }

  #join(left: Uint8Array, right: Uint8Array): Uint8Array {
    this.#pair.set(left, 1);
    this.#pair.set(right, 1 + HASH_BYTES);
    return sha256(this.#pair);
  }

  #get(level: number, at: number): Uint8Array {
    if (level >= TILE_LEVELS) {
      const hashes = this.#upper[level - TILE_LEVELS];
      if (hashes === undefined) throw new Error(`level ${level} is not in the tree`);
      return hashes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES);
    }
    const { number, offset } = tilePlace(level, at);
    const tile = this.#tiles.get(number);
    if (tile === undefined) throw new Error(`tile ${number} is not loaded`);
    return tile.subarray(offset, offset + HASH_BYTES);
  }

  #putUpper(level: number, at: number, hash: Uint8Array): void {
    let hashes = this.#upper[level - TILE_LEVELS] ?? Buffer.alloc(16 * HASH_BYTES);
    const end = (at + 1) * HASH_BYTES;
    if (hashes.length < end) hashes = Buffer.concat([hashes], hashes.length * 2);
    hashes.set(hash, at * HASH_BYTES);
    this.#upper[level - TILE_LEVELS] = hashes;
  }

  #tileOf(number: number): Buffer {
    let tile = this.#tiles.get(number);
    if (tile === undefined) {
      tile = Buffer.alloc(TILE_BYTES);
      this.#tiles.set(number, tile);
    }
    return tile;
  }

  /** Oldest first; the newest tiles are never evicted, because the right edge is in them. */
  #evict(): void {
    const keepFrom = Math.floor(this.#size / TILE_LEAVES) - TILES_MAX / 4;
    for (const number of this.#tiles.keys()) {
      if (this.#tiles.size <= TILES_MAX) return;
      if (number < keepFrom) this.#tiles.delete(number);
    }
  }

  async #ready(indexes: readonly number[]): Promise<void> {
    const numbers = indexes.map((index) => Math.floor(index / TILE_LEAVES));
    // Another reader may evict between two loads; eight rounds bound that.
    for (let round = 0; round < 8; round++) {
      const missing = numbers.filter((number) => !this.#tiles.has(number));
      if (missing.length === 0) return;
      for (const number of missing) await this.#reload(number);
    }
    throw new LedgerError('KIN_LEDGER_OVERLOADED', 'too many proofs of old entries at once');
  }

  async #reload(number: number): Promise<void> {
    const start = number * TILE_LEAVES;
    const end = Math.min(start + TILE_LEAVES, this.#size);
    if (end <= this.#first && this.#first > 0) throw pruned(this.#first);
    const from = Math.max(start, this.#first);
    const entries = from < end ? await this.#load(from, end - from) : [];
    if (this.#tiles.has(number)) return;
    const tile = Buffer.alloc(TILE_BYTES);
    if (from > start) tile.set(this.#firstLeaves);
    for (const [at, entry] of entries.entries()) {
      tile.set(hashLeaf(entry), (from - start + at) * HASH_BYTES);
    }
    const count = from - start + entries.length;
    for (let level = 1; level < TILE_LEVELS; level++) {
      for (let at = 0; at < Math.floor(count / 2 ** level); at++) {
        const below = tilePlace(level - 1, 2 * at).offset;
        const left = tile.subarray(below, below + HASH_BYTES);
        const right = tile.subarray(below + HASH_BYTES, below + 2 * HASH_BYTES);
        tile.set(this.#join(left, right), tilePlace(level, at).offset);
      }
    }
    this.#tiles.set(number, tile);
    this.#evict();
  }
}

function pruned(first: number): LedgerError {
  return new LedgerError('KIN_LEDGER_PRUNED', `entries below ${first} were pruned`);
}

/** The entry whose tile holds the ragged right edge of that size; none where it ends with one. */
function edgeOf(size: number): readonly number[] {
  return size % TILE_LEAVES === 0 ? [] : [size - 1];
}

function tilePlace(level: number, at: number): { number: number; offset: number } {
  const width = TILE_LEAVES / 2 ** level;
  const number = Math.floor(at / width);
  const offset = ((LEVEL_OFFSETS[level] ?? 0) + (at - number * width)) * HASH_BYTES;
  return { number, offset };
}

/** Largest power of two strictly below `count` (count ≥ 2). */
function largestPowerBelow(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

const LEAF_SCRATCH = Buffer.alloc(1 + 65_535);

/** One reused buffer with the 0x00 in front: half the cost of hashing in two updates. */
export function hashLeaf(entry: Uint8Array): Uint8Array {
  LEAF_SCRATCH.set(entry, 1);
  return sha256(LEAF_SCRATCH.subarray(0, entry.length + 1));
}
