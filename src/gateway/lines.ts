// How do frames travel on the unix socket? One JSON value a line, with a limit on its length; after
// a line that announces it, so many raw bytes. This file is all that both ends of the wire share.
//
//   LI1. A line past its limit, or one that is not JSON, ends the connection; nothing is guessed.
//   LI2. What is read does not depend on how the bytes were cut on their way.
export { TableCutter } from './cut.ts';
export type { CutTable } from './cut.ts';
export { FAMILIES } from './parts.ts';
export type { Family, Part } from './parts.ts';
export { startSliced } from './slices.ts';

/** An offer of a table names up to 8 192 parts. */
export const OFFER_LINE_MAX = 1_024 * 1_024;
export const GATEWAY_LINE_MAX = 4 * 1_024 * 1_024;
export const SDK_LINE_MAX = 64 * 1_024;

const NEWLINE = 0x0a;

export type LineFault = 'too-long' | 'not-json';

export interface LineReader {
  /** Feeds bytes; calls `onValue` for each complete line. Answers a fault, then reads no more. */
  feed(bytes: Uint8Array): LineFault | undefined;
  /** To be called inside `onValue`: what follows its line is a body of so many bytes, ≥ 1. */
  expectBody(bytes: number, onBody: (body: Buffer) => void): void;
  bytesMax: number;
}

export function openLines(bytesMax: number, onValue: (value: unknown) => void): LineReader {
  return new Lines(bytesMax, onValue);
}

class Lines implements LineReader {
  bytesMax: number;
  readonly #onValue: (value: unknown) => void;
  #held: Buffer[] = [];
  #size = 0;
  #fault: LineFault | undefined;
  #body: Buffer | undefined;
  #filled = 0;
  #onBody: (body: Buffer) => void = () => undefined;

  constructor(bytesMax: number, onValue: (value: unknown) => void) {
    this.bytesMax = bytesMax;
    this.#onValue = onValue;
  }

  expectBody(bytes: number, onBody: (body: Buffer) => void): void {
    this.#body = Buffer.allocUnsafeSlow(bytes);
    this.#filled = 0;
    this.#onBody = onBody;
  }

  feed(bytes: Uint8Array): LineFault | undefined {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < chunk.length && this.#fault === undefined;) {
      at = this.#body === undefined ? this.#readLine(chunk, at) : this.#fill(this.#body, chunk, at);
    }
    return this.#fault;
  }

  #fill(body: Buffer, chunk: Buffer, from: number): number {
    const copied = chunk.copy(body, this.#filled, from);
    this.#filled += copied;
    if (this.#filled === body.length) {
      this.#body = undefined;
      this.#onBody(body);
    }
    return from + copied;
  }

  #readLine(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(NEWLINE, from);
    const piece = chunk.subarray(from, end < 0 ? chunk.length : end);
    this.#size += piece.length;
    if (this.#size > this.bytesMax) {
      this.#fault = 'too-long';
      this.#held = [];
      return chunk.length;
    }
    if (end < 0) {
      this.#held.push(piece);
      return chunk.length;
    }
    const line = this.#held.length === 0 ? piece : Buffer.concat([...this.#held, piece]);
    this.#held = [];
    this.#size = 0;
    const value = parse(line.toString());
    if (value === undefined) this.#fault = 'not-json';
    else this.#onValue(value);
    return end + 1;
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
