// What is the root of the first n entries, and which hashes prove one of them? An RFC 6962 tree
// kept as tlog-tiles: 256 hashes a tile, on levels of 256 each, so that nothing is hashed twice.
//
//   HT1. What retention has removed is said (KIN_LEDGER_PRUNED), never guessed.
import { emptyRoot, nodeHash } from '@kintsugi/ledger/verify';
import { KinError } from '../../model/errors.ts';

const WIDTH = 256;
const HASH_BYTES = 32;

export class HashTiles {
  /** By level, then by number of the tile. */
  readonly #levels: Map<number, Uint8Array>[] = [];
  readonly #counts: number[] = [];

  get size(): number {
    return this.#counts[0] ?? 0;
  }

  append(leaf: Uint8Array): void {
    this.#push(0, leaf);
  }

  /** A whole or partial tile, as an export has it. */
  put(level: number, number: number, hashes: Uint8Array): void {
    this.#level(level).set(number, hashes);
    const count = number * WIDTH + hashes.length / HASH_BYTES;
    this.#counts[level] = Math.max(this.#counts[level] ?? 0, count);
  }

  rootAt(size: number): Uint8Array {
    return size === 0 ? emptyRoot() : this.#range(0, size);
  }

  /** From the leaf's sibling up. */
  inclusion(index: number, size: number): readonly Uint8Array[] {
    const hashes: Uint8Array[] = [];
    let low = 0;
    let high = size;
    // Each round halves the range at least.
    while (high - low > 1) {
      const middle = low + below(high - low);
      if (index < middle) {
        hashes.unshift(this.#range(middle, high));
        high = middle;
      } else {
        hashes.unshift(this.#range(low, middle));
        low = middle;
      }
    }
    return hashes;
  }

  /** The complete subtrees of the first `size` entries, left to right. */
  peaks(size: number): readonly Uint8Array[] {
    const hashes: Uint8Array[] = [];
    let low = 0;
    for (let width = below(size * 2); width >= 1; width /= 2) {
      if (size - low < width) continue;
      hashes.push(this.#range(low, low + width));
      low += width;
    }
    return hashes;
  }

  #level(level: number): Map<number, Uint8Array> {
    return (this.#levels[level] ??= new Map<number, Uint8Array>());
  }

  #push(level: number, hash: Uint8Array): void {
    const count = this.#counts[level] ?? 0;
    const number = Math.floor(count / WIDTH);
    const tiles = this.#level(level);
    let tile = tiles.get(number);
    if (tile === undefined) {
      tile = new Uint8Array(WIDTH * HASH_BYTES);
      tiles.set(number, tile);
    }
    tile.set(hash, (count % WIDTH) * HASH_BYTES);
    this.#counts[level] = count + 1;
    if ((count + 1) % WIDTH === 0) this.#push(level + 1, this.#fold(tile));
  }

  #fold(tile: Uint8Array): Uint8Array {
    const hash = (low: number, high: number): Uint8Array => {
      if (high - low === 1) return tile.subarray(low * HASH_BYTES, high * HASH_BYTES);
      const middle = (low + high) / 2;
      return nodeHash(hash(low, middle), hash(middle, high));
    };
    return hash(0, WIDTH);
  }

  #range(low: number, high: number): Uint8Array {
    const width = high - low;
    for (let level = 0, step = 1; step <= width; level += 1, step *= WIDTH) {
      if (step === width && low % step === 0) {
        const kept = this.#at(level, low / step);
        if (kept !== undefined) return kept;
      }
    }
    if (width <= 1) {
      throw new KinError(
        'KIN_LEDGER_PRUNED',
        `the hash of entry ${low} is not kept here`,
        'Retention removed it, or the copy is not whole. Ask for a later entry.',
      );
    }
    const middle = low + below(width);
    return nodeHash(this.#range(low, middle), this.#range(middle, high));
  }

  #at(level: number, place: number): Uint8Array | undefined {
    if (place >= (this.#counts[level] ?? 0)) return undefined;
    const from = (place % WIDTH) * HASH_BYTES;
    const tile = this.#levels[level]?.get(Math.floor(place / WIDTH));
    return tile?.subarray(from, from + HASH_BYTES);
  }
}

/** The largest power of two below `n`, for n > 1. */
function below(n: number): number {
  let power = 1;
  while (power * 2 < n) power *= 2;
  return power;
}
