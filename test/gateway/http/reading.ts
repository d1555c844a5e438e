// How do we read these bytes? The parser and the frame without sockets, for tests: a list of whole
// messages, and why it ends.
import { NO_WORDS, type Words, wordsOf } from '../../../src/gateway/http/chars.ts';
import { BodyFrame, frameRequest, frameResponse } from '../../../src/gateway/http/body.ts';
import { Head } from '../../../src/gateway/http/head.ts';
import { NO_NAMES } from '../../../src/gateway/http/names.ts';
import {
  MORE,
  parseRequest,
  parseResponse,
  REFUSED,
} from '../../../src/gateway/http/parse-head.ts';
import type { RefusalCode } from '../../../src/gateway/http/refusal.ts';
import { requestText } from '../../../src/gateway/http/rewrite.ts';
import { ANSWER_HEAD, REQUEST_HEAD } from '../../../src/gateway/http/server.ts';

export interface Message {
  readonly line: string;
  /** Names and values in turn. */
  readonly fields: string[];
  readonly body: string;
  /** What would be sent on, as bytes. */
  readonly forwarded: string;
  readonly persistent: boolean;
}

export interface Reading {
  readonly messages: Message[];
  readonly end: 'clean' | 'partial' | 'closed' | RefusalCode;
}

const head = new Head(REQUEST_HEAD);
const answer = new Head(ANSWER_HEAD);

interface Pieces {
  readonly data: string[];
  readonly passed: string[];
}

const textOf = (buf: Buffer, from: number, to: number): string => buf.toString('latin1', from, to);

/** Feeds both a stripping and a passing frame, so that what passes is known as well. */
function readBody(
  start: (frame: BodyFrame, strip: boolean) => void,
  bytes: Buffer,
  at: number,
): { readonly next: number; readonly frame: BodyFrame; readonly pieces: Pieces } {
  const pieces: Pieces = { data: [], passed: [] };
  const strip = new BodyFrame();
  start(strip, true);
  const next = strip.feed(bytes, at, bytes.length, {
    onSpan: (buf, from, to) => pieces.data.push(textOf(buf, from, to)),
  });
  const pass = new BodyFrame();
  start(pass, false);
  pass.feed(bytes, at, bytes.length, {
    onSpan: (buf, from, to) => pieces.passed.push(textOf(buf, from, to)),
  });
  return { next, frame: strip, pieces };
}

function fieldsOf(from: Head): string[] {
  const fields: string[] = [];
  for (let i = 0; i < from.count; i += 1) fields.push(from.nameAt(i), from.valueAt(i));
  return fields;
}

/** As the data plane has them; where a buffer begins amid a word, it is read byte by byte. */
export function wordsFor(buf: Buffer): Words {
  return buf.byteOffset % 4 === 0 ? wordsOf(buf) : NO_WORDS;
}

export function readRequests(bytes: Buffer): Reading {
  const messages: Message[] = [];
  let at = 0;
  while (at < bytes.length) {
    head.reset();
    const rest = bytes.subarray(at);
    const step = parseRequest(head, rest, rest.length, wordsFor(rest));
    if (step === REFUSED) return { messages, end: head.fault };
    if (step === MORE) return { messages, end: 'partial' };
    const chunkedStrip = (frame: BodyFrame, strip: boolean): void => {
      if (head.chunked) frame.start(2, 0, strip);
      else frameRequest(frame, head, NO_NAMES);
    };
    const { next, frame, pieces } = readBody(chunkedStrip, rest, head.end);
    if (frame.fault !== undefined) return { messages, end: frame.fault };
    if (!frame.done) return { messages, end: 'partial' };
    messages.push({
      line: `${head.method} ${head.target} ${head.version}`,
      fields: fieldsOf(head),
      body: pieces.data.join(''),
      forwarded: requestText(head, NO_NAMES, '') + pieces.passed.join(''),
      persistent: head.persistent,
    });
    at += next;
    if (!head.persistent) return { messages, end: 'closed' };
  }
  return { messages, end: 'clean' };
}

export interface AnswerReading {
  readonly kind: 'whole' | 'until-close' | 'partial' | RefusalCode;
  readonly status: number;
  readonly fields: string[];
  readonly body: string;
  readonly extra: number;
}

/** One final answer, and how many bytes are left. */
export function readAnswer(bytes: Buffer, toHead: boolean): AnswerReading {
  const none = { status: 0, fields: [], body: '', extra: 0 };
  let rest = bytes;
  for (let interims = 0; interims < 10; interims += 1) {
    answer.reset();
    const step = parseResponse(answer, rest, rest.length, wordsFor(rest));
    if (step === REFUSED) return { kind: answer.fault, ...none };
    if (step === MORE) return { kind: 'partial', ...none };
    if (answer.status >= 200) break;
    if (answer.status === 101) return { kind: 'unasked-upgrade', ...none };
    rest = rest.subarray(answer.end);
  }
  if (answer.status < 200) return { kind: 'too-many-interim', ...none };
  const start = (frame: BodyFrame, strip: boolean): void =>
    frameResponse(frame, answer, toHead, strip);
  const { next, frame, pieces } = readBody(start, rest, answer.end);
  if (frame.fault !== undefined) return { kind: frame.fault, ...none };
  const kind = frame.kind === 3 ? 'until-close' : frame.done ? 'whole' : 'partial';
  const body = pieces.data.join('');
  const { status } = answer;
  return { kind, status, fields: fieldsOf(answer), body, extra: rest.length - next };
}
