// Which bytes may stand where? Tables of RFC 9110 and 9112, one load a byte.

export const CR = 13;
export const LF = 10;
export const SP = 32;
export const HTAB = 9;
export const COLON = 58;
export const QUESTION = 63;

function table(allowed: (code: number) => number): Uint8Array {
  const bytes = new Uint8Array(256);
  for (let code = 0; code < 256; code += 1) bytes[code] = allowed(code);
  return bytes;
}

const isDigit = (c: number): boolean => c >= 48 && c <= 57;
const isUpper = (c: number): boolean => c >= 65 && c <= 90;
const isLower = (c: number): boolean => c >= 97 && c <= 122;
const isAlnum = (c: number): boolean => isDigit(c) || isUpper(c) || isLower(c);
const among = (text: string) => (c: number) => text.includes(String.fromCharCode(c));

const isMark = among("!#$%&'*+-.^_`|~");
/** RFC 9110 token: names of fields, methods, options. */
export const TOKEN = table((c) => (isAlnum(c) || isMark(c) ? 1 : 0));

/** Methods are case-sensitive and all registered ones are written so. */
export const METHOD = table((c) => (isUpper(c) || c === 45 ? 1 : 0));

/** Field values: visible, space, tab, obs-text. */
export const VALUE = table((c) => ((c >= 32 && c !== 127) || c === HTAB ? 1 : 0));

const NEVER_IN_TARGET = among('"<>#');
const QUERY_ONLY = among('\\^`{}');
/** 0 never, 1 anywhere, 2 only after the question mark (browsers send these raw there). */
export const TARGET = table((c) => {
  if (c <= 32 || c >= 127 || NEVER_IN_TARGET(c)) return 0;
  return QUERY_ONLY(c) ? 2 : 1;
});

const isHostMark = among('-._~');
/** Names and IPv4 addresses in Host; neither percent nor sub-delims: no real host has them. */
export const HOST = table((c) => (isAlnum(c) || isHostMark(c) ? 1 : 0));

/** Value of a hex digit, or 255. */
export const HEX = table((c) => {
  if (isDigit(c)) return c - 48;
  const lower = c | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : 255;
});

/** Chunk extensions: visible ASCII only, no white space. */
export const EXTENSION = table((c) => (c > 32 && c < 127 ? 1 : 0));

/** The bytes of a buffer, four at a time; empty: one by one. */
export type Words = Int32Array<ArrayBufferLike>;
export const NO_WORDS: Words = new Int32Array(0);

const EACH_1 = 0x01_01_01_01;
const EACH_SPACE = 0x20_20_20_20;
const EACH_DEL = 0x7f_7f_7f_7f;
const EACH_TOP = 0x80_80_80_80 | 0;

/** Only for a buffer that begins where its memory does, and is a whole number of words. */
export function wordsOf(buf: Buffer): Words {
  return new Int32Array(buf.buffer, buf.byteOffset, buf.length >> 2);
}

/**
 * From `at` on, where is the first byte that may not stand in a value? Long values make most of a
 * head. The sums say of four bytes at once whether any of them is below space, or is DEL; a tab,
 * which may stand there, is met again one by one.
 */
export function valueEndsAt(buf: Uint8Array, words: Words, at: number, end: number): number {
  let i = at;
  const wordsEnd = Math.min(words.length, end >> 2);
  while (i < end && (i & 3) !== 0) {
    if (VALUE[buf[i] as number] !== 1) return i;
    i += 1;
  }
  let word = i >> 2;
  for (; word < wordsEnd; word += 1) {
    const four = words[word] as number;
    const notDel = four ^ EACH_DEL;
    const bad = ((four - EACH_SPACE) & ~four) | ((notDel - EACH_1) & ~notDel);
    if ((bad & EACH_TOP) !== 0) break;
  }
  i = Math.max(i, word << 2);
  while (i < end && VALUE[buf[i] as number] === 1) i += 1;
  return i;
}

/** The prototype has had this method since it has `toString`, which looks up its name each time. */
interface Sliceable {
  latin1Slice(from: number, to: number): string;
}

interface Writable {
  latin1Write(text: string, at: number, length: number): number;
}

/** As `buf.write(text, at, 'latin1')`, without looking up the name of the encoding. */
export function putLatin1(buf: Buffer, text: string, at: number): void {
  (buf as unknown as Writable).latin1Write(text, at, text.length);
}

export function latin1(buf: Buffer, from: number, to: number): string {
  return (buf as unknown as Sliceable).latin1Slice(from, to);
}

/** What a byte that is not allowed in a field says about the message. */
export function faultOfByte(code: number): 'bare-lf' | 'bare-cr' | 'nul' | 'control-char' {
  if (code === LF) return 'bare-lf';
  if (code === CR) return 'bare-cr';
  return code === 0 ? 'nul' : 'control-char';
}
