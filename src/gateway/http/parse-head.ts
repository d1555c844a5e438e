// Is this the head of an HTTP/1.1 message, and what is in it? Strict after RFC 9110 and 9112: what
// two servers could read differently is refused with a code. Pure: bytes in, offsets out.
//
//   HP1. Nothing is accepted that is framed differently by another strict parser.
//   HP2. It takes up where it stopped: fed in any pieces, the answer is the same.
//   HP3. Heads, fields and targets have limits; a fault is told as soon as its byte is seen.
//   HP4. Lines end with CRLF; bare CR, bare LF, NUL, folds and space before a colon are refused.
import {
  COLON,
  CR,
  faultOfByte,
  HTAB,
  LF,
  METHOD,
  NO_WORDS,
  QUESTION,
  SP,
  TARGET,
  TOKEN,
  VALUE,
  valueEndsAt,
  type Words,
} from './chars.ts';
import { type Head, LINE_AT, NAME_END, SLOT, STAGE, VALUE_AT, VALUE_END } from './head.ts';
import { finishRequest, finishResponse, meetField, meetTarget } from './meaning.ts';
import { KNOWN, knownField, NOTED_FROM } from './names.ts';
import type { RefusalCode } from './refusal.ts';

export const MORE = 0;
export const DONE = 1;
export const REFUSED = 2;
export type Step = typeof MORE | typeof DONE | typeof REFUSED;

const METHOD_BYTES_MAX = 24;
/** `HTTP/1.1` and its CRLF. */
const VERSION_BYTES = 10;

export function refuse(head: Head, code: RefusalCode): typeof REFUSED {
  head.fault = code;
  return REFUSED;
}

/**
 * `buf` begins with the head; bytes from `end` on are not there yet. `words` are the same bytes, if
 * there is such a view of them: long values are checked faster.
 */
export function parseRequest(head: Head, buf: Buffer, end: number, words = NO_WORDS): Step {
  head.buf = buf;
  if (head.stage === STAGE.start) {
    const step = requestLine(head, buf, end);
    if (step !== DONE) return step === MORE ? more(head, end) : step;
    head.stage = STAGE.fields;
  }
  const step = fields(head, buf, end, words, false);
  if (step === MORE) return more(head, end);
  return step === DONE ? finish(head, finishRequest(head)) : step;
}

export function parseResponse(head: Head, buf: Buffer, end: number, words = NO_WORDS): Step {
  head.buf = buf;
  if (head.stage === STAGE.start) {
    const step = statusLine(head, buf, end);
    if (step !== DONE) return step === MORE ? more(head, end) : step;
    head.stage = STAGE.fields;
  }
  const step = fields(head, buf, end, words, true);
  if (step === MORE) return more(head, end);
  return step === DONE ? finish(head, finishResponse(head)) : step;
}

function finish(head: Head, fault: RefusalCode | undefined): Step {
  if (fault !== undefined) return refuse(head, fault);
  return head.end > head.limits.headBytes ? refuse(head, 'head-too-large') : DONE;
}

function more(head: Head, end: number): Step {
  if (end <= head.limits.headBytes) return MORE;
  return refuse(head, 'head-too-large');
}

function requestLine(head: Head, buf: Buffer, end: number): Step {
  let i = 0;
  // One empty line before a request is a habit of old clients, and no other parser trips on it.
  if (end > 0 && buf[0] === CR) {
    if (end < 2) return MORE;
    if (buf[1] !== LF) return refuse(head, 'bare-cr');
    i = 2;
  }
  head.lineAt = i;
  const methodMax = i + METHOD_BYTES_MAX;
  while (i < end && METHOD[buf[i] as number] === 1 && i <= methodMax) i += 1;
  if (i >= end) return MORE;
  if (buf[i] !== SP || i === head.lineAt) return refuse(head, methodFault(buf, i));
  head.methodEnd = i;
  i += 1;
  head.targetAt = i;
  const step = target(head, buf, end);
  if (step !== DONE) return step;
  return requestVersion(head, buf, end);
}

function methodFault(buf: Buffer, at: number): RefusalCode {
  const code = buf[at] as number;
  if (code === LF) return 'bare-lf';
  return TOKEN[code] === 1 ? 'method-unknown' : 'bad-method';
}

function target(head: Head, buf: Buffer, end: number): Step {
  const from = head.targetAt;
  const last = Math.min(end, from + head.limits.targetBytes + 1);
  let i = from;
  while (i < last && TARGET[buf[i] as number] === 1 && buf[i] !== QUESTION) i += 1;
  head.queryAt = i;
  if (i < last && buf[i] === QUESTION) {
    while (i < last && TARGET[buf[i] as number] !== 0) i += 1;
  }
  if (i - from > head.limits.targetBytes) return refuse(head, 'target-too-long');
  if (i >= end) return MORE;
  if (buf[i] !== SP) return refuse(head, targetFault(buf[i] as number));
  head.targetEnd = i;
  const fault = meetTarget(head, buf);
  return fault === undefined ? DONE : refuse(head, fault);
}

/** A line that ends after its target is HTTP/0.9. */
function targetFault(code: number): RefusalCode {
  if (code === CR) return 'bad-version';
  return code === LF ? 'bare-lf' : 'bad-target';
}

function requestVersion(head: Head, buf: Buffer, end: number): Step {
  const from = head.targetEnd + 1;
  const fault = versionFault(buf, from, Math.min(end, from + VERSION_BYTES - 2));
  if (fault) return refuse(head, 'bad-version');
  const lineEnd = from + VERSION_BYTES - 2;
  if (end > lineEnd && buf[lineEnd] !== CR) {
    return refuse(head, buf[lineEnd] === LF ? 'bare-lf' : 'bad-version');
  }
  if (end < lineEnd + 2) return MORE;
  if (buf[lineEnd + 1] !== LF) return refuse(head, 'bare-cr');
  const major = buf[from + 5] as number;
  const minor = buf[from + 7] as number;
  if (major !== 49 || minor > 49) return refuse(head, 'version-unsupported');
  head.version = 10 + minor - 48;
  head.lineEnd = lineEnd;
  head.pos = lineEnd + 2;
  return DONE;
}

/** `HTTP/d.d`, as far as it is there. */
function versionFault(buf: Buffer, from: number, end: number): boolean {
  for (let i = from; i < end; i += 1) {
    const have = buf[i] as number;
    const want = 'HTTP/0.0'.charCodeAt(i - from);
    if (want === 48 ? have < 48 || have > 57 : have !== want) return true;
  }
  return false;
}

function statusLine(head: Head, buf: Buffer, end: number): Step {
  head.lineAt = 0;
  if (versionFault(buf, 0, Math.min(end, 8))) return refuse(head, 'bad-status-line');
  if (end < 13) return statusPrefixFault(buf, end) ? refuse(head, 'bad-status-line') : MORE;
  if (buf[5] !== 49 || (buf[7] as number) > 49) return refuse(head, 'version-unsupported');
  head.version = 10 + (buf[7] as number) - 48;
  let status = 0;
  for (let i = 9; i < 12; i += 1) {
    const digit = (buf[i] as number) - 48;
    if (digit < 0 || digit > 9) return refuse(head, 'bad-status-line');
    status = status * 10 + digit;
  }
  if (buf[8] !== SP || status < 100 || status > 599) return refuse(head, 'bad-status-line');
  head.status = status;
  let i = 12;
  // The space before an empty reason is often left out; nothing hangs on it.
  if (buf[i] === SP) while (i < end && VALUE[buf[i] as number] === 1) i += 1;
  if (i >= end) return MORE;
  if (buf[i] !== CR) return refuse(head, buf[i] === LF ? 'bare-lf' : 'bad-status-line');
  if (i + 1 >= end) return MORE;
  if (buf[i + 1] !== LF) return refuse(head, 'bare-cr');
  head.lineEnd = i;
  head.pos = i + 2;
  return DONE;
}

function statusPrefixFault(buf: Buffer, end: number): boolean {
  if (end > 8 && buf[8] !== SP) return true;
  for (let i = 9; i < end; i += 1) {
    const code = buf[i] as number;
    if (code < 48 || code > 57) return true;
  }
  return false;
}

function fields(head: Head, buf: Buffer, end: number, words: Words, isResponse: boolean): Step {
  for (;;) {
    // Bounded by the number of fields.
    const lineAt = head.pos;
    if (lineAt >= end) return MORE;
    const first = buf[lineAt] as number;
    if (first === CR) {
      if (lineAt + 1 >= end) return MORE;
      if (buf[lineAt + 1] !== LF) return refuse(head, 'bare-cr');
      head.end = lineAt + 2;
      return DONE;
    }
    if (head.count >= head.limits.fields) return refuse(head, 'too-many-fields');
    if (lineAt > head.limits.headBytes) return refuse(head, 'head-too-large');
    const step = field(head, buf, end, words, isResponse);
    if (step !== DONE) return step;
  }
}

function field(head: Head, buf: Buffer, end: number, words: Words, isResponse: boolean): Step {
  const from = head.pos;
  let i = from;
  while (i < end && TOKEN[buf[i] as number] === 1) i += 1;
  if (i >= end) return MORE;
  if (buf[i] !== COLON || i === from) return refuse(head, nameFault(buf, from, i));
  const nameEnd = i;
  i += 1;
  while (i < end && (buf[i] === SP || buf[i] === HTAB)) i += 1;
  const valueAt = i;
  i = valueEndsAt(buf, words, i, end);
  if (i >= end) return MORE;
  if (buf[i] !== CR) return refuse(head, faultOfByte(buf[i] as number));
  if (i + 1 >= end) return MORE;
  if (buf[i + 1] !== LF) return refuse(head, 'bare-cr');
  let valueEnd = i;
  while (valueEnd > valueAt && isBlank(buf[valueEnd - 1] as number)) valueEnd -= 1;
  const { at, count } = head;
  const base = count * SLOT;
  at[base + LINE_AT] = from;
  at[base + NAME_END] = nameEnd;
  at[base + VALUE_AT] = valueAt;
  at[base + VALUE_END] = valueEnd;
  const known = knownField(buf, from, nameEnd - from);
  head.known[count] = known;
  head.count = count + 1;
  head.pos = i + 2;
  if (known === KNOWN.none) return DONE;
  if (known >= NOTED_FROM) {
    head.note(known, count);
    return DONE;
  }
  if (known !== KNOWN.host && known !== KNOWN.contentLength) head.hasHop = true;
  if (known === KNOWN.hop) return DONE;
  const fault = meetField(head, buf, known, isResponse);
  return fault === undefined ? DONE : refuse(head, fault);
}

function isBlank(code: number): boolean {
  return code === SP || code === HTAB;
}

function nameFault(buf: Buffer, from: number, at: number): RefusalCode {
  const code = buf[at] as number;
  if (code === SP || code === HTAB) return at === from ? 'obs-fold' : 'space-before-colon';
  if (code === LF) return 'bare-lf';
  if (code === CR) return 'bad-field-name';
  return code === 0 ? 'nul' : 'bad-field-name';
}

export type TrailerLine =
  | { readonly kind: 'field'; readonly nameLength: number }
  | { readonly kind: 'fault'; readonly code: RefusalCode };

/** One line of a trailer section, without its CRLF: the same grammar as a header field. */
export function checkTrailer(line: Buffer): TrailerLine {
  let i = 0;
  while (i < line.length && TOKEN[line[i] as number] === 1) i += 1;
  if (i === 0 || line[i] !== COLON) return { kind: 'fault', code: 'bad-trailer' };
  const nameLength = i;
  for (i += 1; i < line.length; i += 1) {
    if (VALUE[line[i] as number] !== 1) return { kind: 'fault', code: 'bad-trailer' };
  }
  return { kind: 'field', nameLength };
}
