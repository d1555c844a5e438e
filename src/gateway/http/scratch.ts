// Where is a message put together before it is written? In one buffer for all of them, one behind
// the other: at the end of the turn the sockets usually take them whole, and it is free again. It
// costs less than joining strings.
//
//   SC1. What waits for the end of the turn is not written over, and what a socket did not take
//        then is left to it: the next message gets a new buffer.
//   SC2. Nobody keeps a message open here across turns of the loop: begin, fill, send.
import { putLatin1 } from './chars.ts';

const SIZE = 131_072;
/** A longer message is copied: some sinks hold on to it without saying so. */
const SHARED_MAX = 32_768;
/** Below this, a loop beats a call into native code. */
const SHORT = 24;

/** An outlet, or a socket. */
export interface Sink {
  write(bytes: Uint8Array): boolean;
  /** Bytes that it still holds, and that must not be written over. */
  readonly writableLength: number;
  /** True: they leave at the end of the turn, and then `release` follows. False: to be written. */
  queue?(bytes: Uint8Array): boolean;
}

export class Scratch {
  #bytes: Buffer = Buffer.allocUnsafeSlow(SIZE);
  /** Where the message begins: what is before it waits. */
  #from = 0;
  #at = 0;

  begin(): this {
    this.#at = this.#from;
    return this;
  }

  get length(): number {
    return this.#at - this.#from;
  }

  range(buf: Buffer, from: number, to: number): this {
    const length = to - from;
    if (length <= 0) return this;
    this.#room(length);
    const bytes = this.#bytes;
    if (length <= SHORT) {
      for (let i = 0; i < length; i += 1) bytes[this.#at + i] = buf[from + i] as number;
    } else {
      buf.copy(bytes, this.#at, from, to);
    }
    this.#at += length;
    return this;
  }

  /** Each character is one byte. */
  text(text: string): this {
    const { length } = text;
    if (length === 0) return this;
    this.#room(length);
    const bytes = this.#bytes;
    if (length <= SHORT) {
      for (let i = 0; i < length; i += 1) bytes[this.#at + i] = text.charCodeAt(i);
    } else {
      putLatin1(bytes, text, this.#at);
    }
    this.#at += length;
    return this;
  }

  #room(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const begun = this.length;
    const fresh = Buffer.allocUnsafeSlow(Math.max(SIZE, (begun + length) * 2));
    this.#bytes.copy(fresh, 0, this.#from, this.#at);
    this.#change(fresh);
    this.#at = begun;
  }

  /** What `write` says; true for what waits. */
  send(sink: Sink): boolean {
    const view = this.#bytes.subarray(this.#from, this.#at);
    const bytes = view.length > SHARED_MAX ? Buffer.from(view) : view;
    if (sink.queue?.(bytes) === true) {
      this.#from = this.#at;
      return true;
    }
    const goesOn = sink.write(bytes);
    if (sink.writableLength > 0) this.#change(Buffer.allocUnsafeSlow(SIZE));
    return goesOn;
  }

  /** Nothing waits any more. `isHeld`: some socket still has bytes that it did not send. */
  release(isHeld: boolean): void {
    // A larger one is not kept either.
    if (isHeld || this.#bytes.length > SIZE) this.#change(Buffer.allocUnsafeSlow(SIZE));
    this.#from = 0;
  }

  #change(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#from = 0;
  }

  toString(): string {
    return this.#bytes.toString('latin1', this.#from, this.#at);
  }
}

/** One thread, one message at a time: see SC2. */
export const scratch = new Scratch();
