// Where is a message put together before it is written? In one buffer for all of them: the socket
// usually takes it whole at once, and it is free again. It costs less than joining strings.
//
//   SC1. What a socket did not take at once is left to it: the next message gets a new buffer.
//   SC2. Nobody keeps a message open here across turns of the loop: begin, fill, send.
import { putLatin1 } from './chars.ts';

const SIZE = 32_768;
/** Views of messages up to this length are kept: there are few lengths, and they come again. */
const VIEWS = 4_096;
/** Below this, a loop beats a call into native code. */
const SHORT = 24;

/** An outlet, or a socket. */
export interface Sink {
  write(bytes: Uint8Array): boolean;
  /** Bytes that it still holds, and that must not be written over. */
  readonly writableLength: number;
}

export class Scratch {
  #bytes: Buffer = Buffer.allocUnsafeSlow(SIZE);
  readonly #views = Array.from<undefined, Buffer | undefined>({ length: VIEWS }, () => undefined);
  #at = 0;

  begin(): this {
    this.#at = 0;
    return this;
  }

  get length(): number {
    return this.#at;
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
    const need = this.#at + length;
    if (need <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(need * 2);
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#change(larger);
  }

  /** What `write` says. */
  send(sink: Sink): boolean {
    const goesOn = sink.write(this.#whole());
    // A larger one is not kept either.
    if (sink.writableLength > 0 || this.#bytes.length > SIZE) {
      this.#change(Buffer.allocUnsafeSlow(SIZE));
    }
    return goesOn;
  }

  #whole(): Buffer {
    const at = this.#at;
    if (at >= VIEWS) return this.#bytes.subarray(0, at);
    return (this.#views[at] ??= this.#bytes.subarray(0, at));
  }

  #change(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#views.fill(undefined);
  }

  toString(): string {
    return this.#bytes.toString('latin1', 0, this.#at);
  }
}

/** One thread, one message at a time: see SC2. */
export const scratch = new Scratch();
