// A bucket that is being filled, row by row, in bytes: text that waited to be put together would be
// long out of the processor's caches by then.
import { PART_BYTES_MAX, digestOf, limit } from './parts.ts';
import type { Part, RowFamily } from './parts.ts';

/** The frame around the rows, and what is left free behind them. */
const EDGE_BYTES = 512;
/** Memory that a finished part may waste, as a share of it; otherwise it is copied. */
const WASTE_MAX = 1 / 8;
const GROWTH = 1.25;
/** Most bytes that one character takes. */
const CHAR_BYTES_MAX = 3;

export class PartDraft {
  readonly #family: RowFamily;
  #bytes: Buffer;
  #at: number;
  #isEmpty = true;

  /** For so many rows of about so many bytes; when they are longer it grows. */
  constructor(family: RowFamily, rows: number, rowBytes: number) {
    this.#family = family;
    this.#bytes = Buffer.allocUnsafeSlow(EDGE_BYTES + rows * rowBytes);
    this.#at = this.#bytes.write(`${family}\n[`);
  }

  add(row: string): void {
    const text = this.#isEmpty ? `\n${row}` : `,\n${row}`;
    this.#isEmpty = false;
    const least = this.#at + CHAR_BYTES_MAX * text.length + EDGE_BYTES;
    if (least > this.#bytes.length) this.#grow(least);
    this.#at += this.#bytes.write(text, this.#at);
  }

  close(): Part {
    const end = this.#at + this.#bytes.write(this.#isEmpty ? ']' : '\n]', this.#at);
    if (end > PART_BYTES_MAX) this.#refuse(end);
    const whole = this.#bytes.subarray(0, end);
    const isTight = this.#bytes.length - end <= end * WASTE_MAX;
    const body = isTight ? whole : Buffer.from(whole);
    return { digest: digestOf(body), body };
  }

  #grow(least: number): void {
    if (this.#at > PART_BYTES_MAX) this.#refuse(this.#at);
    const larger = Buffer.allocUnsafeSlow(Math.ceil(least * GROWTH));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  #refuse(bytes: number): never {
    throw limit(`a part of the ${this.#family} has ${bytes} of at most ${PART_BYTES_MAX} bytes`);
  }
}
