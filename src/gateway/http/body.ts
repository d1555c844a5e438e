// Where does this body end? Framing of both directions, without copying: data goes on in the pieces
// it came in. Pure: bytes in, pieces out to a sink.
//
//   BF1. A body ends where its length, its last chunk or, for some answers only, the connection
//        ends; the answer to HEAD, 1xx, 204 and 304 have none.
//   BF2. Chunked bytes pass as they came, except that extensions and unwanted trailers are cut out:
//        what goes on is a part of what was checked, and frames the same data.
//   BF3. Sizes have at most 8 digits, extensions and trailers a limit; lines end with CRLF.
//   BF4. Fed in any pieces, the result is the same.
import { CR, EXTENSION, HEX, LF } from './chars.ts';
import type { Head } from './head.ts';
import { inSet, isPlain, knownField, type NameSet, nameSet, NO_NAMES } from './names.ts';
import { checkTrailer } from './parse-head.ts';
import type { RefusalCode } from './refusal.ts';

export const BODY = { none: 0, sized: 1, chunked: 2, untilClose: 3 } as const;

export interface BodySink {
  /** `buf` is valid during the call only, when it comes from an upstream. */
  onSpan(buf: Buffer, from: number, to: number): void;
}

const SIZE_DIGITS_MAX = 8;
const EXTENSION_BYTES_MAX = 4_096;
const TRAILER_BYTES_MAX = 8_192;

const S = {
  size: 0,
  extension: 1,
  sizeLf: 2,
  data: 3,
  dataCr: 4,
  dataLf: 5,
  lastLine: 6,
  lastLf: 7,
  trailer: 8,
  trailerLf: 9,
} as const;

/** Framing, routing, authentication and content fields have no business in a trailer. */
const NOT_IN_TRAILERS = nameSet(
  [
    'authorization',
    'cookie',
    'set-cookie',
    'www-authenticate',
    'cache-control',
    'age',
    'expires',
    'date',
    'location',
    'retry-after',
    'vary',
    'warning',
    'max-forwards',
    'pragma',
    'range',
    'traceparent',
    'tracestate',
    'forwarded',
  ],
  ['content-', 'if-', 'x-forwarded-', 'x-real-', 'x-kintsugi-', 'x-request-', 'sec-', 'proxy-'],
);

export class BodyFrame {
  kind: number = BODY.none;
  done = true;
  fault: RefusalCode | undefined;
  /** Bytes of the body itself, so far. */
  dataBytes = 0;
  #left = 0;
  #state: number = S.size;
  #digits = 0;
  #extensionBytes = 0;
  #strip = false;
  #drop: NameSet = NO_NAMES;
  #line: number[] = [];
  #trailers = '';
  #trailerBytes = 0;

  /** `strip`: only the data goes on, without its chunks. */
  /** Bytes that are still to come, where that is known; else 0. */
  get left(): number {
    return this.kind === BODY.sized ? this.#left : 0;
  }

  start(kind: number, length: number, strip = false, drop = NO_NAMES): void {
    this.kind = kind;
    this.dataBytes = 0;
    this.fault = undefined;
    this.#left = length;
    this.done = kind === BODY.none || (kind === BODY.sized && length === 0);
    if (kind !== BODY.chunked) return;
    this.#state = S.size;
    this.#digits = 0;
    this.#left = 0;
    this.#extensionBytes = 0;
    this.#trailerBytes = 0;
    this.#trailers = '';
    this.#line = [];
    this.#strip = strip;
    this.#drop = drop;
  }

  /** Takes what belongs to the body; answers where it stopped. */
  feed(buf: Buffer, at: number, end: number, sink: BodySink): number {
    if (this.done || at >= end) return at;
    if (this.kind === BODY.chunked) return this.#chunks(buf, at, end, sink);
    let to = end;
    if (this.kind === BODY.sized) {
      to = Math.min(end, at + this.#left);
      this.#left -= to - at;
      this.done = this.#left === 0;
    }
    this.dataBytes += to - at;
    sink.onSpan(buf, at, to);
    return to;
  }

  #chunks(buf: Buffer, at: number, end: number, sink: BodySink): number {
    let from = at;
    let i = at;
    while (i < end && !this.done) {
      const state = this.#state;
      if (state === S.data) {
        const take = Math.min(this.#left, end - i);
        if (this.#strip) sink.onSpan(buf, i, i + take);
        i += take;
        this.#left -= take;
        this.dataBytes += take;
        if (this.#left === 0) this.#state = S.dataCr;
        continue;
      }
      const next = this.#step(state, buf[i] as number);
      if (this.fault !== undefined) return i;
      // What was checked so far goes on; an extension is skipped, a trailer is gathered.
      if (next === S.extension && state !== S.extension) this.#pass(buf, from, i, sink);
      if (state === S.extension && next !== S.extension) from = i;
      if (next === S.trailer && state === S.lastLine) this.#pass(buf, from, i, sink);
      i += 1;
      if (state === S.trailer || state === S.trailerLf || next === S.trailer) from = i;
    }
    if (this.#state !== S.extension) this.#pass(buf, from, i, sink);
    if (this.done && this.#trailers !== '' && !this.#strip) {
      const text = Buffer.from(this.#trailers, 'latin1');
      sink.onSpan(text, 0, text.length);
    }
    return i;
  }

  #pass(buf: Buffer, from: number, to: number, sink: BodySink): void {
    if (!this.#strip && from < to) sink.onSpan(buf, from, to);
  }

  /** One byte outside the data. */
  #step(state: number, code: number): number {
    switch (state) {
      case S.size:
        this.#state = this.#size(code);
        break;
      case S.extension:
        this.#state = this.#extension(code);
        break;
      case S.sizeLf:
        if (code !== LF) this.fault = 'bare-cr';
        this.#digits = 0;
        this.#state = this.#left === 0 ? S.lastLine : S.data;
        break;
      case S.dataCr:
        if (code !== CR) this.fault = 'bad-chunk-end';
        this.#state = S.dataLf;
        break;
      case S.dataLf:
        if (code !== LF) this.fault = 'bad-chunk-end';
        this.#state = S.size;
        break;
      case S.lastLine:
        this.#state = code === CR ? S.lastLf : this.#trailerByte(code);
        break;
      case S.lastLf:
        if (code !== LF) this.fault = 'bare-cr';
        else this.done = true;
        break;
      case S.trailer:
        this.#state = code === CR ? S.trailerLf : this.#trailerByte(code);
        break;
      default:
        this.#state = this.#trailerLine(code);
    }
    return this.#state;
  }

  #size(code: number): number {
    const digit = HEX[code] as number;
    if (digit !== 255) {
      this.#digits += 1;
      if (this.#digits > SIZE_DIGITS_MAX) this.fault = 'bad-chunk-size';
      this.#left = this.#left * 16 + digit;
      return S.size;
    }
    if (this.#digits === 0) this.fault = 'bad-chunk-size';
    else if (code === CR) return S.sizeLf;
    else if (code === 59) return S.extension;
    else this.fault = code === LF ? 'bare-lf' : 'bad-chunk-size';
    return S.size;
  }

  #extension(code: number): number {
    if (code === CR) return S.sizeLf;
    this.#extensionBytes += 1;
    if (code === LF) this.fault = 'bare-lf';
    else if (EXTENSION[code] !== 1) this.fault = 'bad-chunk-extension';
    else if (this.#extensionBytes > EXTENSION_BYTES_MAX) this.fault = 'chunk-extension-too-large';
    return S.extension;
  }

  #trailerByte(code: number): number {
    this.#trailerBytes += 1;
    if (this.#trailerBytes > TRAILER_BYTES_MAX) this.fault = 'trailers-too-large';
    else if (code === LF) this.fault = 'bare-lf';
    this.#line.push(code);
    return S.trailer;
  }

  #trailerLine(code: number): number {
    if (code !== LF) {
      this.fault = 'bare-cr';
      return S.trailerLf;
    }
    if (this.#line.length === 0) {
      this.#trailers += '\r\n';
      this.done = true;
      return S.trailer;
    }
    const line = Buffer.from(this.#line);
    this.#line = [];
    const checked = checkTrailer(line);
    if (checked.kind === 'fault') this.fault = checked.code;
    else if (trailerPasses(line, checked.nameLength, this.#drop)) {
      this.#trailers += `${line.toString('latin1')}\r\n`;
    }
    return S.trailer;
  }
}

function trailerPasses(line: Buffer, nameLength: number, drop: NameSet): boolean {
  return (
    isPlain(knownField(line, 0, nameLength)) &&
    !inSet(NOT_IN_TRAILERS, line, 0, nameLength) &&
    !inSet(drop, line, 0, nameLength)
  );
}

/** Starts the frame of a request's body. */
export function frameRequest(frame: BodyFrame, head: Head, drop: NameSet): void {
  if (head.chunked) frame.start(BODY.chunked, 0, false, drop);
  else if (head.contentLength > 0) frame.start(BODY.sized, head.contentLength);
  else frame.start(BODY.none, 0);
}

/** Starts the frame of the body of a final answer. `strip`: the client does not know chunks. */
export function frameResponse(frame: BodyFrame, head: Head, toHead: boolean, strip: boolean): void {
  const { status } = head;
  if (toHead || status === 204 || status === 304) frame.start(BODY.none, 0);
  else if (head.chunked) frame.start(BODY.chunked, 0, strip);
  else if (head.contentLength >= 0) frame.start(BODY.sized, head.contentLength);
  else frame.start(BODY.untilClose, 0);
}
