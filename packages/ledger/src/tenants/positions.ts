// At which global index does the Nth entry of a tenant stand? Differences of neighbours as varints
// (7 bits a byte, low bits first), with an absolute mark every 64 entries: 1 to 3 bytes an entry.
// PO1. Indexes only grow; what was forgotten keeps its number, so the Nth stays the Nth.

const MARK_EVERY = 64;
const VARINT_BYTES_MAX = 8;

export class PositionList {
  /** Number of the first entry that is still known. */
  #first = 0;
  #count = 0;
  #last = -1;
  #bytes: Uint8Array = new Uint8Array(0);
  #used = 0;
  /** Pairs: index of the entry before the block, offset of the block. */
  #marks: number[] = [];

  /** Entries ever appended, the forgotten ones included. */
  get count(): number {
    return this.#count;
  }

  get first(): number {
    return this.#first;
  }

  /** −1 while there is none. */
  get last(): number {
    return this.#last;
  }

  append(index: number): void {
    if (index <= this.#last) throw new Error(`index ${index} after ${this.#last}`);
    if ((this.#count - this.#first) % MARK_EVERY === 0) this.#marks.push(this.#last, this.#used);
    if (this.#used + VARINT_BYTES_MAX > this.#bytes.length) this.#grow();
    this.#used = writeVarint(this.#bytes, this.#used, index - this.#last);
    this.#last = index;
    this.#count += 1;
  }

  #grow(): void {
    const length = Math.max(24, Math.ceil(this.#bytes.length * 1.5));
    const bytes = new Uint8Array(length);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }

  /** From entry number `from` on, at most `limit`; nothing below `first`. */
  page(from: number, limit: number): readonly number[] {
    const start = Math.max(from, this.#first);
    const end = Math.min(this.#count, from + limit);
    const out: number[] = [];
    if (start >= end) return out;
    const block = Math.floor((start - this.#first) / MARK_EVERY);
    let index = this.#marks[2 * block] ?? -1;
    let at = this.#marks[2 * block + 1] ?? 0;
    for (let number = this.#first + block * MARK_EVERY; number < end; number++) {
      const read = readVarint(this.#bytes, at);
      index += read.value;
      at = read.next;
      if (number >= start) out.push(index);
    }
    return out;
  }

  at(number: number): number | undefined {
    return this.page(number, 1)[0];
  }

  /** How many entries stand below the global index `bound`. */
  countBelow(bound: number): number {
    if (this.#last < bound) return this.#count;
    let low = this.#first;
    let high = this.#count;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.at(middle) ?? bound) < bound) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** PO1: gives up the memory of the entries below number `first`. */
  forget(first: number): void {
    if (first <= this.#first) return;
    const kept = this.page(first, this.#count);
    const { count, last } = { count: this.#count, last: this.#last };
    this.#first = first;
    this.#count = first;
    this.#marks = [];
    this.#bytes = new Uint8Array(0);
    this.#used = 0;
    this.#last = kept.length === 0 ? last : -1;
    for (const index of kept) this.append(index);
    this.#count = count;
    this.#last = last;
  }

  /** A list whose entries below `first` are forgotten and were `forgotten` the last of. */
  static restored(first: number, last: number): PositionList {
    const list = new PositionList();
    list.#first = first;
    list.#count = first;
    list.#last = last;
    return list;
  }
}

export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  while (rest >= 0x80) {
    bytes[at] = (rest % 0x80) | 0x80;
    at += 1;
    rest = Math.floor(rest / 0x80);
  }
  bytes[at] = rest;
  return at + 1;
}

/** `next` is past the end when the bytes are cut off. */
export function readVarint(
  bytes: Uint8Array,
  at: number,
): { readonly value: number; readonly next: number } {
  let value = 0;
  let scale = 1;
  for (let step = 0; step < VARINT_BYTES_MAX; step++) {
    const byte = bytes[at + step];
    if (byte === undefined) return { value: 0, next: Number.MAX_SAFE_INTEGER };
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, next: at + step + 1 };
    scale *= 0x80;
  }
  return { value: 0, next: Number.MAX_SAFE_INTEGER };
}
