// How does a line of JSON come to be without a string for it? Bytes are put one after the other
// into one buffer that is used again and again.
//
//   JB1. Whatever text goes in, JSON.parse gives it back: quotes, control characters, lone
//        surrogates and bytes above 127 included.
//   JB2. A text longer than its limit is cut; the caller leaves room for six bytes a character.

/** 1: stands in JSON text as it is. */
const PLAIN = new Uint8Array(256);
for (let code = 32; code < 128; code += 1) PLAIN[code] = code === 34 || code === 92 ? 0 : 1;

const HEX = Buffer.from('0123456789abcdef', 'latin1');
const BILLION = 1_000_000_000;
const SHORT = 14;

/** The prototype has had these methods as long as `write`, which looks up their names each time. */
interface Writable {
  latin1Write(text: string, at: number, bytesMax: number): number;
  utf8Write(text: string, at: number, bytesMax: number): number;
}

export function constant(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'utf8'));
}

/** Copies what stands as it is; answers where it ended. A loop without calls runs much faster. */
function copyPlain(
  from: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): number {
  const shift = at - start;
  let i = start;
  for (; i < end; i += 1) {
    const code = from[i] as number;
    if (PLAIN[code] !== 1) break;
    to[i + shift] = code;
  }
  return i;
}

export class JsonBytes {
  readonly buf: Buffer;
  pos = 0;

  constructor(buf: Buffer) {
    this.buf = buf;
  }

  /** As it is: keys, braces and what is known to need no escape. */
  raw(bytes: Uint8Array): void {
    this.buf.set(bytes, this.pos);
    this.pos += bytes.length;
  }

  byte(code: number): void {
    this.buf[this.pos++] = code;
  }

  /** Letters and digits of our own, which need no escape. */
  known(text: string): void {
    this.pos += (this.buf as unknown as Writable).latin1Write(text, this.pos, text.length);
  }

  /** The inside of a JSON string. */
  text(text: string, charsMax: number): void {
    if (text.length > SHORT && text.length <= charsMax && this.#plain(text)) return;
    const { buf } = this;
    let { pos } = this;
    const end = text.length < charsMax ? text.length : charsMax;
    for (let i = 0; i < end; i += 1) {
      const code = text.charCodeAt(i);
      if (code < 128 && PLAIN[code] === 1) buf[pos++] = code;
      else {
        this.pos = pos;
        i += this.#special(text, i, code, end);
        ({ pos } = this);
      }
    }
    this.pos = pos;
  }

  /** Writes it at once if all of it stands as it is: one call costs as much as a dozen letters. */
  #plain(text: string): boolean {
    const { buf, pos } = this;
    const end = pos + (buf as unknown as Writable).utf8Write(text, pos, text.length);
    if (end - pos !== text.length) return false;
    // As many bytes as characters: then each is below 128, unless there was no room for more.
    for (let i = pos; i < end; i += 1) if (PLAIN[buf[i] as number] !== 1) return false;
    this.pos = end;
    return true;
  }

  /** The same from bytes, each of which is one character (latin-1). */
  bytes(from: Uint8Array, start: number, stop: number, charsMax: number): void {
    const end = stop - start < charsMax ? stop : start + charsMax;
    let i = copyPlain(from, start, end, this.buf, this.pos);
    this.pos += i - start;
    while (i < end) {
      const code = from[i] as number;
      if (code < 128) this.#escape(code);
      else this.#utf8(code);
      const next = copyPlain(from, i + 1, end, this.buf, this.pos);
      this.pos += next - i - 1;
      i = next;
    }
  }

  /** A whole number ≥ 0; anything else is 0. */
  whole(value: number): void {
    if (!(value >= 1 && value <= Number.MAX_SAFE_INTEGER)) {
      this.buf[this.pos++] = 48;
      return;
    }
    const whole = Math.floor(value);
    if (whole < BILLION) {
      this.#digits(whole, digitsOf(whole));
      return;
    }
    const high = Math.floor(whole / BILLION);
    this.whole(high);
    this.#digits(whole - high * BILLION, 9);
  }

  /** Exactly so many digits, with zeros in front. */
  #digits(value: number, count: number): void {
    const { buf } = this;
    let rest = value | 0;
    this.pos += count;
    for (let at = this.pos - 1; count > 0; count -= 1) {
      const next = (rest / 10) | 0;
      buf[at--] = 48 + rest - next * 10;
      rest = next;
    }
  }

  padded(value: number, count: number): void {
    this.#digits(value, count);
  }

  /** Answers how many further characters were used. */
  #special(text: string, at: number, code: number, end: number): 0 | 1 {
    if (code < 128) {
      this.#escape(code);
      return 0;
    }
    if (code < 0xd800 || code > 0xdfff) {
      this.#utf8(code);
      return 0;
    }
    const low = at + 1 < end ? text.charCodeAt(at + 1) : 0;
    if (code > 0xdbff || low < 0xdc00 || low > 0xdfff) {
      // Half of a pair has no UTF-8: as an escape it is still what it was.
      this.#escape(code);
      return 0;
    }
    this.#utf8(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
    return 1;
  }

  #escape(code: number): void {
    const { buf } = this;
    buf[this.pos++] = 92;
    if (code === 34 || code === 92) {
      buf[this.pos++] = code;
      return;
    }
    buf[this.pos++] = 117;
    for (let shift = 12; shift >= 0; shift -= 4) {
      buf[this.pos++] = HEX[(code >> shift) & 15] as number;
    }
  }

  #utf8(code: number): void {
    const { buf } = this;
    if (code < 0x800) {
      buf[this.pos++] = 0xc0 | (code >> 6);
    } else if (code < 0x10000) {
      buf[this.pos++] = 0xe0 | (code >> 12);
      buf[this.pos++] = 0x80 | ((code >> 6) & 63);
    } else {
      buf[this.pos++] = 0xf0 | (code >> 18);
      buf[this.pos++] = 0x80 | ((code >> 12) & 63);
      buf[this.pos++] = 0x80 | ((code >> 6) & 63);
    }
    buf[this.pos++] = 0x80 | (code & 63);
  }
}

function digitsOf(value: number): number {
  let count = 1;
  for (let bound = 10; value >= bound; bound *= 10) count += 1;
  return count;
}
