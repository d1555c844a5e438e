// Which row belongs to these 32 bytes? A hash table over typed arrays: 8 bytes a slot, at most two
// thirds full, so about 16 bytes a digest where a Map of strings takes ten times that.
// U1. A candidate is a hint: the caller compares the whole digest before it believes.

const START_SLOTS = 1024;

export class DigestIndex {
  /** Row + 1, or 0. */
  #rows = new Uint32Array(START_SLOTS);
  #tags = new Uint32Array(START_SLOTS);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#rows.byteLength + this.#tags.byteLength;
  }

  /** Digests are uniform already, so their own first bytes are the hash. */
  add(digest: Buffer, row: number): void {
    if ((this.#count + 1) * 3 > this.#rows.length * 2) this.#grow();
    this.#put(digest.readUInt32BE(0), row);
    this.#count += 1;
  }

  /** Newest rows come last. */
  candidates(digest: Buffer): readonly number[] {
    const found: number[] = [];
    const tag = digest.readUInt32BE(0);
    const mask = this.#rows.length - 1;
    // The table always has an empty slot, where this ends.
    for (let slot = tag & mask; this.#rows[slot] !== 0; slot = (slot + 1) & mask) {
      if (this.#tags[slot] === tag) found.push((this.#rows[slot] ?? 0) - 1);
    }
    return found;
  }

  #put(tag: number, row: number): void {
    const mask = this.#rows.length - 1;
    let slot = tag & mask;
    // The table always has an empty slot.
    while (this.#rows[slot] !== 0) slot = (slot + 1) & mask;
    this.#rows[slot] = row + 1;
    this.#tags[slot] = tag;
  }

  #grow(): void {
    const rows = this.#rows;
    const tags = this.#tags;
    this.#rows = new Uint32Array(rows.length * 2);
    this.#tags = new Uint32Array(rows.length * 2);
    for (let slot = 0; slot < rows.length; slot++) {
      const row = rows[slot] ?? 0;
      if (row !== 0) this.#put(tags[slot] ?? 0, row - 1);
    }
  }
}

/** Columns of unsigned 32-bit numbers that grow together. */
export class Columns {
  #data: Uint32Array;
  readonly #width: number;
  #rows = 0;

  constructor(width: number) {
    this.#width = width;
    this.#data = new Uint32Array(width * 256);
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.#data.byteLength;
  }

  push(...values: readonly number[]): number {
    const at = this.#rows * this.#width;
    if (at + this.#width > this.#data.length) {
      const bigger = new Uint32Array(this.#data.length * 2);
      bigger.set(this.#data);
      this.#data = bigger;
    }
    for (let column = 0; column < this.#width; column++) {
      this.#data[at + column] = values[column] ?? 0;
    }
    this.#rows += 1;
    return this.#rows - 1;
  }

  get(row: number, column: number): number {
    return this.#data[row * this.#width + column] ?? 0;
  }

  set(row: number, column: number, value: number): void {
    this.#data[row * this.#width + column] = value;
  }
}
