// One bucket of rows: checked as a whole, and then read row by row as they are asked for. 100 000
// tenants would be half a million objects for the garbage collector; as bytes they are none.
//
//   RW1. What has been checked can be read: a part with one bad row is refused as a whole.
//   RW2. A row that is asked for again is the same object.
import { PART_ROWS_MAX, nameHash } from './parts.ts';
import type { Part, RowFamily } from './parts.ts';
import { readRow } from './row-reading.ts';
import { COMMON_CHARS_MAX, COMMON_ROWS, rowFault } from './rows.ts';
import type { RowValue } from './rows.ts';

/** JSON of printable ASCII: any text in it may become a header line. Backslashes would escape. */
const ODD = /[^\x20-\x5b\x5d-\x7e]/u;
const COMMA = 0x2c;
const NEWLINE = 0x0a;
const QUOTE = 0x22;
const EMPTY_SLOT = 0;
const TAG_SHIFT = 16;
const TAG = 0xff_ff_00_00;
const ROW_MASK = 0xff_ff;

interface Found<V> {
  readonly name: string;
  readonly value: V;
}

export class RowPart<F extends RowFamily> implements Part {
  readonly kind = 'rows';
  readonly family: F;
  readonly digest: string;
  readonly body: Buffer;
  readonly size: number;
  /**
   * Open addressing, at most half full: the upper half of the hash and row + 1. Then where each
   * row's line starts, and one more for the end. In one piece, as each piece is a cache miss.
   */
  readonly #index: Uint32Array;
  readonly #slots: number;
  /** Bits that the hashes of all rows, and of any row, have. */
  #allBits = -1;
  #anyBits = 0;
  #values: (RowValue[F] | undefined)[] | undefined;

  /** Throws when the part is not in order. The digest is its caller's business. */
  constructor(family: F, { digest, body }: Part) {
    this.family = family;
    this.digest = digest;
    this.body = body;
    const text = body.toString('latin1');
    this.size = countRows(family, text);
    let slots = 2;
    while (slots < this.size * 2) slots *= 2;
    this.#slots = slots;
    this.#index = new Uint32Array(slots + this.size + 1);
    this.#fill(text);
  }

  #fill(text: string): void {
    // Past the name of the family and the bracket that opens the list.
    let start = this.family.length + 3;
    for (let row = 0; row < this.size; row += 1) {
      const end = rowEnd(this.family, text, start);
      const isLast = row === this.size - 1;
      if (!isLast && text.charCodeAt(end) !== COMMA) throw oddLines(this.family);
      this.#index[this.#slots + row] = start;
      this.#place(row, text, text.indexOf('"', start + 2));
      start = isLast ? end + 1 : end + 2;
    }
    if (this.size > 0 && text.slice(start - 1) !== '\n]') throw oddLines(this.family);
    this.#index[this.#slots + this.size] = start;
  }

  #place(row: number, text: string, nameEnd: number): void {
    const index = this.#index;
    const nameStart = this.#startOf(row) + 2;
    const hash = nameHash(text, nameStart, nameEnd);
    let slot = this.#slotOf(hash);
    // Half of the slots are empty, so this ends.
    for (let entry = index[slot] ?? 0; entry !== EMPTY_SLOT; entry = index[slot] ?? 0) {
      if (isTagged(entry, hash)) {
        const name = text.slice(nameStart, nameEnd);
        if (this.#isAt(rowOf(entry), name)) {
          throw new Error(`two of the ${this.family} are ${name}`);
        }
      }
      slot = (slot + 1) & (this.#slots - 1);
    }
    index[slot] = (hash & TAG) | (row + 1);
    this.#allBits &= hash;
    this.#anyBits |= hash;
  }

  /** Do all rows belong into this bucket of so many? */
  isBucket(index: number, buckets: number): boolean {
    const mask = buckets - 1;
    if (this.size === 0) return true;
    return (this.#allBits & mask) === index && (this.#anyBits & mask) === index;
  }

  has(name: string, hash: number): boolean {
    return this.#rowOf(name, hash) >= 0;
  }

  find(name: string, hash: number): RowValue[F] | undefined {
    const row = this.#rowOf(name, hash);
    return row < 0 ? undefined : (this.#values?.[row] ?? this.#read(row));
  }

  *rows(): Generator<Found<RowValue[F]>, undefined> {
    for (let row = 0; row < this.size; row += 1) {
      const start = this.#startOf(row) + 2;
      const name = this.body.toString('latin1', start, this.body.indexOf(QUOTE, start));
      yield { name, value: this.#values?.[row] ?? this.#read(row) };
    }
    return undefined;
  }

  #rowOf(name: string, hash: number): number {
    const index = this.#index;
    let slot = this.#slotOf(hash);
    // Half of the slots are empty, so this ends.
    for (let entry = index[slot] ?? 0; entry !== EMPTY_SLOT; entry = index[slot] ?? 0) {
      if (isTagged(entry, hash) && this.#isAt(rowOf(entry), name)) return rowOf(entry);
      slot = (slot + 1) & (this.#slots - 1);
    }
    return -1;
  }

  #slotOf(hash: number): number {
    return (hash >>> TAG_SHIFT) & (this.#slots - 1);
  }

  #startOf(row: number): number {
    return this.#index[this.#slots + row] ?? 0;
  }

  /** Byte by byte: a text to compare with would have to be made first. */
  #isAt(row: number, name: string): boolean {
    const body = this.body;
    const start = this.#startOf(row) + 2;
    if (body[start + name.length] !== QUOTE) return false;
    for (let i = 0; i < name.length; i += 1) {
      if (body[start + i] !== name.charCodeAt(i)) return false;
    }
    return true;
  }

  #read(row: number): RowValue[F] {
    this.#values ??= Array.from<undefined>({ length: this.size });
    const last = row === this.size - 1;
    const end = this.#startOf(row + 1) - (last ? 1 : 2);
    const value = readRow(this.family, this.body.toString('latin1', this.#startOf(row), end));
    this.#values[row] = value;
    return value;
  }
}

function isTagged(entry: number, hash: number): boolean {
  return (entry ^ hash) >>> TAG_SHIFT === 0;
}

function rowOf(entry: number): number {
  return (entry & ROW_MASK) - 1;
}

function oddLines(family: RowFamily): Error {
  return new Error(`the ${family} are not one to a line`);
}

/** One for each line between the one with the opening bracket and the one with the closing one. */
function countRows(family: RowFamily, text: string): number {
  const head = `${family}\n[`;
  if (!text.startsWith(head)) throw new Error(`this is no part of the ${family}`);
  if (text.length === head.length + 1 && text.endsWith(']')) return 0;
  if (text.charCodeAt(head.length) !== NEWLINE) throw oddLines(family);
  let rows = -1;
  for (let at = head.length; at >= 0; at = text.indexOf('\n', at + 1)) rows += 1;
  if (rows < 1) throw oddLines(family);
  if (rows > PART_ROWS_MAX) throw new Error(`too many ${family} in one part`);
  return rows;
}

/** Checks the row that starts here; answers where it ends, before its comma. */
function rowEnd(family: RowFamily, text: string, start: number): number {
  const pattern = COMMON_ROWS[family];
  if (pattern !== undefined) {
    pattern.lastIndex = start;
    if (pattern.test(text) && pattern.lastIndex - start <= COMMON_CHARS_MAX) {
      return pattern.lastIndex;
    }
  }
  const lineEnd = text.indexOf('\n', start);
  if (lineEnd < 0) throw oddLines(family);
  const end = text.charCodeAt(lineEnd - 1) === COMMA ? lineEnd - 1 : lineEnd;
  const line = text.slice(start, end);
  if (ODD.test(line)) throw new Error(`an odd character in the ${family}`);
  const row: unknown = JSON.parse(line);
  const fault = rowFault(family, row);
  if (fault !== undefined) throw new Error(`a row of the ${family}: ${fault}`);
  // The name is found again without parsing: it has to stand where it is looked for.
  if (!line.startsWith(`["${String((row as readonly unknown[])[0])}"`)) throw oddLines(family);
  return end;
}
