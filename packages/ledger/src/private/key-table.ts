// Which data keys exist? One row a key in a few typed arrays (about 110 bytes), found by the tag of
// its subject or by its own id; the wrapped keys themselves stay on disk.

import { Columns, DigestIndex } from './digest-index.ts';
import type { FramePlace } from './frame-writer.ts';
import { KEY_ID_BYTES } from './payload.ts';

const TAG_BYTES = 32;
const ROW_BYTES = KEY_ID_BYTES + TAG_BYTES;

/** `unknown`: payloads name the key, and no key of that id is stored. */
export type KeyState = 'unknown' | 'live' | 'erasing' | 'destroyed';
const STATES: readonly KeyState[] = ['unknown', 'live', 'erasing', 'destroyed'];

export class KeyTable {
  readonly #columns = new Columns(4);
  readonly #byTag = new DigestIndex();
  readonly #byId = new DigestIndex();
  #bytes = Buffer.alloc(ROW_BYTES * 64);

  get rows(): number {
    return this.#columns.rows;
  }

  get bytes(): number {
    const { bytes } = this.#columns;
    return bytes + this.#byTag.bytes + this.#byId.bytes + this.#bytes.length;
  }

  idOf(row: number): Buffer {
    return this.#bytes.subarray(row * ROW_BYTES, row * ROW_BYTES + KEY_ID_BYTES);
  }

  tagOf(row: number): Buffer {
    return this.#bytes.subarray(row * ROW_BYTES + KEY_ID_BYTES, (row + 1) * ROW_BYTES);
  }

  state(row: number): KeyState {
    return STATES[this.#columns.get(row, 3)] ?? 'unknown';
  }

  setState(row: number, state: KeyState): void {
    this.#columns.set(row, 3, STATES.indexOf(state));
    // A destroyed key must not be found by its subject again, nor keep the tag.
    if (state === 'destroyed') this.tagOf(row).fill(0);
  }

  placeOf(row: number): FramePlace {
    const { get } = columnReader(this.#columns, row);
    return { file: get(0), offset: get(1), length: get(2) };
  }

  moveTo(row: number, { file, offset, length }: FramePlace): void {
    this.#columns.set(row, 0, file);
    this.#columns.set(row, 1, offset);
    this.#columns.set(row, 2, length);
  }

  /** Rows of the keys in one file, by offset. */
  rowsIn(file: number): ReadonlyMap<number, number> {
    const rows = new Map<number, number>();
    for (let row = 0; row < this.rows; row++) {
      if (this.#columns.get(row, 0) === file) rows.set(this.#columns.get(row, 1), row);
    }
    return rows;
  }

  /** The row of a key id; a new `unknown` one when there is none. */
  rowOfId(keyId: Buffer): number {
    for (const row of this.#byId.candidates(keyId)) if (this.idOf(row).equals(keyId)) return row;
    const row = this.#columns.push(0, 0, 0, STATES.indexOf('unknown'));
    if ((row + 1) * ROW_BYTES > this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes], this.#bytes.length * 2);
    }
    this.idOf(row).set(keyId);
    this.#byId.add(keyId, row);
    return row;
  }

  /** Undefined: no live or erasing key of that subject. */
  rowOfTag(tag: Buffer): number | undefined {
    return this.#byTag.candidates(tag).findLast((row) => this.tagOf(row).equals(tag));
  }

  learn(keyId: Buffer, tag: Buffer, place: FramePlace): number {
    const row = this.rowOfId(keyId);
    this.tagOf(row).set(tag);
    this.moveTo(row, place);
    this.setState(row, 'live');
    this.#byTag.add(tag, row);
    return row;
  }
}

function columnReader(columns: Columns, row: number): { get: (column: number) => number } {
  return { get: (column) => columns.get(row, column) };
}
