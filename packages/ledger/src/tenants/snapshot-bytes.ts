// How is a snapshot written down? Numbers as varints, byte strings of known length, and the
// SHA-256 of everything at the end.
// SB1. Reading stops with KIN_LEDGER_CORRUPT at the first byte that cannot be: nothing is guessed.

import { fromUtf8, sameBytes, utf8 } from '../bytes.ts';
import { sha256 } from '../crypto.ts';
import { LedgerError } from '../errors.ts';
import { HASH_BYTES } from '../merkle.ts';
import { readVarint, writeVarint } from './positions.ts';

const VARINT_BYTES_MAX = 8;

export class SnapshotWriter {
  #bytes = new Uint8Array(4096);
  #used = 0;

  #room(bytes: number): void {
    if (this.#used + bytes <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#used + bytes));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }

  number(value: number): void {
    this.#room(VARINT_BYTES_MAX);
    this.#used = writeVarint(this.#bytes, this.#used, value);
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  text(text: string): void {
    const bytes = utf8(text);
    this.number(bytes.length);
    this.bytes(bytes);
  }

  finish(): Uint8Array {
    this.bytes(sha256(this.#bytes.subarray(0, this.#used)));
    return this.#bytes.slice(0, this.#used);
  }
}

export class SnapshotReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    const end = Math.max(0, bytes.length - HASH_BYTES);
    this.#bytes = bytes.subarray(0, end);
    if (!sameBytes(sha256(this.#bytes), bytes.subarray(end))) throw corrupt('its digest');
  }

  number(what: string): number {
    const { value, next } = readVarint(this.#bytes, this.#at);
    if (next > this.#bytes.length || !Number.isSafeInteger(value)) throw corrupt(what);
    this.#at = next;
    return value;
  }

  /** A copy. */
  bytes(length: number, what: string): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw corrupt(what);
    const bytes = this.#bytes.slice(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }

  text(lengthMax: number, what: string): string {
    const length = this.number(what);
    const text = length > lengthMax ? undefined : fromUtf8(this.bytes(length, what));
    if (text === undefined) throw corrupt(what);
    return text;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw corrupt('more bytes than it should have');
  }
}

export function corrupt(what: string): LedgerError {
  return new LedgerError('KIN_LEDGER_CORRUPT', `the snapshot of the tenants' logs: ${what}`);
}
