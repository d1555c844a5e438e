// How does an answer, written by an exchange as HTTP/1.1, go out on a stream of HTTP/2? Its head is
// read back, its chunks are taken apart; what it came in is known to be valid, for we wrote it.
//
//   AN1. Heads arrive whole. Fields of the connection end here.
//   AN2. The end of the answer is the end that its framing gives; nothing after it goes out.
import { Head } from '../http/head.ts';
import { isPlain, KNOWN } from '../http/names.ts';
import { DONE, parseResponse } from '../http/parse-head.ts';

/** Heads of replicas, with what the gateway adds. */
const LIMITS = { headBytes: 131_072, fields: 400, targetBytes: 0 };
const head = new Head(LIMITS);

const CR = 13;
const LF = 10;

export type Fields = Readonly<Record<string, string | string[]>>;

export interface AnswerTaker {
  readonly toHead: boolean;
  onInterim(status: number, fields: Fields): void;
  /** `ends`: no body follows. `mayTrail`: trailers may follow. */
  onHead(status: number, fields: Fields, ends: boolean, mayTrail: boolean): void;
  /** Valid during the call only. False: no more for now. */
  onData(bytes: Uint8Array): boolean;
  onTrailers(fields: Fields): void;
}

const S = { head: 0, sized: 1, size: 2, data: 3, dataEnd: 4, trailers: 5, done: 6 } as const;

export class AnswerReader {
  readonly #to: AnswerTaker;
  #state: number = S.head;
  #left = 0;
  /** Of a line of a chunk. */
  #line = '';
  #trailers = '';

  constructor(to: AnswerTaker) {
    this.#to = to;
  }

  get begun(): boolean {
    return this.#state !== S.head;
  }

  get done(): boolean {
    return this.#state === S.done;
  }

  feed(bytes: Uint8Array): boolean {
    const buf = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    let goesOn = true;
    while (at < buf.length && this.#state !== S.done) {
      const state = this.#state;
      if (state === S.head) at = this.#head(buf, at);
      else if (state === S.sized || state === S.data) {
        const to = Math.min(buf.length, at + this.#left);
        if (to > at) goesOn = this.#to.onData(buf.subarray(at, to)) && goesOn;
        this.#left -= to - at;
        at = to;
        if (this.#left === 0) this.#state = state === S.sized ? S.done : S.dataEnd;
      } else at = this.#lines(buf, at);
    }
    return goesOn;
  }

  #head(buf: Buffer, at: number): number {
    head.reset();
    const rest = buf.subarray(at);
    if (parseResponse(head, rest, rest.length) !== DONE) {
      throw new Error(`an answer that was written cannot be read: ${head.fault}`);
    }
    const { status, end } = head;
    if (status < 200) this.#to.onInterim(status, fieldsOf());
    else this.#begin(status);
    return at + end;
  }

  #begin(status: number): void {
    const { contentLength, chunked } = head;
    const isBare = this.#to.toHead || status === 204 || status === 304;
    const mayTrail = chunked && !isBare;
    const ends = isBare || (!chunked && contentLength <= 0);
    this.#left = Math.max(0, contentLength);
    if (ends) this.#state = S.done;
    else this.#state = chunked ? S.size : S.sized;
    this.#to.onHead(status, fieldsOf(), ends, mayTrail);
  }

  /** Up to the end of a line: sizes, the end of a chunk, trailers. */
  #lines(buf: Buffer, at: number): number {
    const end = buf.indexOf(LF, at);
    const to = end < 0 ? buf.length : end + 1;
    this.#line += buf.toString('latin1', at, to);
    if (end < 0) return to;
    const line = this.#line.slice(0, this.#line.charCodeAt(this.#line.length - 2) === CR ? -2 : -1);
    this.#line = '';
    if (this.#state === S.dataEnd) this.#state = S.size;
    else if (this.#state === S.size) {
      this.#left = Number.parseInt(line, 16);
      this.#state = this.#left === 0 ? S.trailers : S.data;
    } else if (line === '') {
      this.#state = S.done;
      if (this.#trailers !== '') this.#to.onTrailers(trailersOf(this.#trailers));
    } else this.#trailers += `${line}\n`;
    return to;
  }
}

/** Of the shared head. */
function fieldsOf(): Fields {
  const fields: Record<string, string | string[]> = {};
  for (let i = 0; i < head.count; i += 1) {
    const known = head.known[i] ?? KNOWN.none;
    if (!isPlain(known) && known !== KNOWN.contentLength && known !== KNOWN.host) continue;
    add(fields, head.nameAt(i).toLowerCase(), head.valueAt(i));
  }
  return fields;
}

function trailersOf(text: string): Fields {
  const fields: Record<string, string | string[]> = {};
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) add(fields, line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return fields;
}

function add(fields: Record<string, string | string[]>, name: string, value: string): void {
  // A name such as `__proto__` is a token as well.
  const known = Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (known === undefined) {
    Object.defineProperty(fields, name, { value, enumerable: true, writable: true });
  } else if (typeof known === 'string') fields[name] = [known, value];
  else known.push(value);
}
