// What is the root of a log of which only the right edge is kept? The complete subtrees, largest
// first: at most one hash for each bit of the size. Enough to go on and to compare, not to prove.

import { HASH_BYTES, emptyRoot, nodeHash } from '../merkle.ts';

export class Peaks {
  #size: number;
  #hashes: Uint8Array[];

  constructor() {
    this.#size = 0;
    this.#hashes = [];
  }

  /** Undefined when a log of `size` entries has another number of complete subtrees. */
  static from(size: bigint, hashes: readonly Uint8Array[]): Peaks | undefined {
    if (size < 0n || size > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
    let ones = 0;
    for (let rest = size; rest > 0n; rest >>= 1n) ones += Number(rest & 1n);
    if (ones !== hashes.length) return undefined;
    if (!hashes.every((hash) => hash.length === HASH_BYTES)) return undefined;
    const peaks = new Peaks();
    peaks.#size = Number(size);
    peaks.#hashes = [...hashes];
    return peaks;
  }

  get size(): number {
    return this.#size;
  }

  append(leaf: Uint8Array): void {
    let hash = leaf;
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      hash = nodeHash(this.#hashes.pop() ?? hash, hash);
    }
    this.#hashes.push(hash);
    this.#size += 1;
  }

  root(): Uint8Array {
    const [last, ...rest] = this.#hashes.toReversed();
    if (last === undefined) return emptyRoot();
    return rest.reduce((right, left) => nodeHash(left, right), last);
  }
}
