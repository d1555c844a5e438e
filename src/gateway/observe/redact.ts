// Which part of a request's target may stand in a log? Ids and names of patients stand in paths and
// in queries, so the rule is a list of what may be seen; whatever is not on it is not shown.
//
//   RD1. Of a query only listed parameters are written; what is masked shows that it was there.
//   RD2. Folded, a path keeps plain words alone: `/patients/4711/notes` → `/patients/:id/notes`.
//   RD3. A parameter whose name is spelled with escapes cannot dodge its mask.
import { constant } from './json-bytes.ts';
import type { JsonBytes } from './json-bytes.ts';

const SLASH = 47;
const QUESTION = 63;
const AMPERSAND = 38;
const EQUALS = 61;
const PERCENT = 37;
const PLUS = 43;
const DOT = 46;
const STAR = 42;
const WORD_MAX = 40;
const DIGITS_MAX = 2;
const ID = constant(':id');
const REDACTED = constant('=REDACTED');
export const PATH_CHARS_MAX = 1_024;
export const QUERY_CHARS_MAX = 512;

/** Names that say themselves that their value is nobody's business. */
const SECRET_WORDS = [
  'pass(?:word|wd|phrase)?|pwd|secret|token|jwt|key|apikey|credentials?|code',
  'sig|signature|auth|session(?:_?id)?|sid|otp|pin',
];
const SECRET = new RegExp(`(?:^|[_.-])(?:${SECRET_WORDS.join('|')})s?$`, 'iu');

export interface QueryRule {
  readonly all: boolean;
  readonly shown: readonly Uint8Array[];
  readonly masked: readonly Uint8Array[];
}

export function queryRule(shown: readonly string[], masked: readonly string[]): QueryRule {
  const all = shown.includes('*');
  return {
    all,
    shown: shown.filter((name) => name !== '*').map(constant),
    masked: masked.map(constant),
  };
}

export function showsNothing(rule: QueryRule): boolean {
  return !rule.all && rule.shown.length === 0;
}

/** Where the query begins (after its `?`), or `end`. */
export function queryAt(buf: Uint8Array, from: number, end: number): number {
  for (let i = from; i < end; i += 1) if (buf[i] === QUESTION) return i + 1;
  return end;
}

/** Writes what of the query may be seen. */
export function writeQuery(
  out: JsonBytes,
  rule: QueryRule,
  buf: Uint8Array,
  from: number,
  end: number,
): void {
  const begun = out.pos;
  let roomChars = QUERY_CHARS_MAX;
  for (let at = from; at < end && roomChars > 0;) {
    let stop = at;
    while (stop < end && buf[stop] !== AMPERSAND) stop += 1;
    let equals = at;
    while (equals < stop && buf[equals] !== EQUALS) equals += 1;
    const view = viewOf(rule, buf, at, equals);
    if (view !== 'hidden' && stop > at) {
      if (out.pos > begun) out.byte(AMPERSAND);
      out.bytes(buf, at, view === 'masked' ? equals : stop, roomChars);
      if (view === 'masked') out.raw(REDACTED);
      roomChars -= stop - at + 1;
    }
    at = stop + 1;
  }
}

function viewOf(
  rule: QueryRule,
  buf: Uint8Array,
  from: number,
  to: number,
): 'shown' | 'masked' | 'hidden' {
  const listed = rule.shown.some((name) => isSame(name, buf, from, to));
  if (!listed && !rule.all) return 'hidden';
  if (rule.masked.some((name) => isSame(name, buf, from, to))) return 'masked';
  if (listed) return 'shown';
  for (let i = from; i < to; i += 1) {
    if (buf[i] === PERCENT || buf[i] === PLUS) return 'masked';
  }
  const name = Buffer.from(buf.buffer, buf.byteOffset + from, to - from).toString('latin1');
  const words = name.replaceAll(/([a-z0-9])([A-Z])/gu, '$1_$2');
  return SECRET.test(name) || SECRET.test(words) || /sess_?id$/iu.test(name) ? 'masked' : 'shown';
}

/** Letters in any case. */
function isSame(name: Uint8Array, buf: Uint8Array, from: number, to: number): boolean {
  if (to - from !== name.length) return false;
  for (let i = 0; i < name.length; i += 1) {
    if (lower(buf[from + i] as number) !== lower(name[i] as number)) return false;
  }
  return true;
}

function lower(code: number): number {
  return code >= 65 && code <= 90 ? code | 32 : code;
}

/** Writes the path of [from, end), which holds no query. */
export function writePath(
  out: JsonBytes,
  buf: Uint8Array,
  from: number,
  end: number,
  fold: boolean,
): void {
  if (from >= end || (buf[from] !== SLASH && buf[from] !== STAR)) out.byte(SLASH);
  if (!fold) {
    out.bytes(buf, from, end, PATH_CHARS_MAX);
    return;
  }
  const last = Math.min(end, from + PATH_CHARS_MAX);
  for (let at = from; at < last;) {
    const code = buf[at] as number;
    if (code === SLASH || (code === STAR && end - from === 1)) {
      out.byte(code);
      at += 1;
      continue;
    }
    let stop = at;
    while (stop < end && buf[stop] !== SLASH) stop += 1;
    if (isWord(buf, at, stop)) out.bytes(buf, at, stop, WORD_MAX);
    else out.raw(ID);
    at = stop;
  }
}

/** Words of letters, joined by `-`, `_` or `.`, with at most two digits at their end. */
function isWord(buf: Uint8Array, from: number, to: number): boolean {
  if (to - from > WORD_MAX) return false;
  let digits = 0;
  let letters = 0;
  let joined = false;
  for (let i = buf[from] === DOT ? from + 1 : from; i < to; i += 1) {
    const code = buf[i] as number;
    const small = code | 32;
    if (small >= 97 && small <= 122 && code > 64) {
      if (digits > 0) return false;
      letters += 1;
      joined = false;
    } else if (code >= 48 && code <= 57) {
      digits += 1;
      if (letters === 0 || digits > DIGITS_MAX) return false;
      joined = false;
    } else if (code === 45 || code === 95 || code === DOT) {
      if (letters === 0 || joined || digits > 0) return false;
      joined = true;
    } else return false;
  }
  return letters > 0 && !joined;
}
