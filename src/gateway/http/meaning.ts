// What do the fields of a head mean for the connection? Host, length, coding, Connection, Expect:
// each is judged when its line is read, what concerns the whole head at its end. Pure.
//
//   ME1. Exactly one Host, a plain host and port; an absolute target names the same.
//   ME2. A body has a length or the coding `chunked`, never both, never twice, never guessed.
//   ME3. Connection never takes away a field that others rely on.
import { COLON, HOST, HTAB, latin1, TOKEN } from './chars.ts';
import { type Head, NAME_END, SLOT, VALUE_AT, VALUE_END } from './head.ts';
import { isPlain, KNOWN, knownField } from './names.ts';
import type { RefusalCode } from './refusal.ts';

const LENGTH_DIGITS_MAX = 15;
const SLASH = 47;
const STAR = 42;

/** The field that was read last. */
export function meetField(
  head: Head,
  buf: Buffer,
  known: number,
  isResponse: boolean,
): RefusalCode | undefined {
  const base = (head.count - 1) * SLOT;
  const from = head.at[base + VALUE_AT] as number;
  const to = head.at[base + VALUE_END] as number;
  switch (known) {
    case KNOWN.host:
      return isResponse ? undefined : meetHost(head, buf, from, to);
    case KNOWN.contentLength:
      return meetLength(head, buf, from, to);
    case KNOWN.transferEncoding:
      return meetCoding(head, buf, from, to);
    case KNOWN.connection:
      return meetConnection(head, buf, from, to);
    case KNOWN.expect:
      return isResponse ? undefined : meetExpect(head, from, to);
    case KNOWN.lookAlike:
      return 'look-alike-field';
    default:
      if (head.upgradeField < 0) head.upgradeField = head.count - 1;
      return undefined;
  }
}

function meetHost(head: Head, buf: Buffer, from: number, to: number): RefusalCode | undefined {
  if (head.hostField >= 0) return 'host-repeated';
  head.hostField = head.count - 1;
  return isHost(buf, from, to) ? undefined : 'bad-host';
}

function isHost(buf: Buffer, from: number, to: number): boolean {
  let i = from;
  while (i < to && HOST[buf[i] as number] === 1) i += 1;
  if (i === from) {
    i = afterIpv6(buf, from, to);
    if (i === from) return false;
  }
  if (i === to) return true;
  return buf[i] === COLON && isPort(buf, i + 1, to);
}

/** After the closing bracket of an IPv6 literal, or `from`. */
function afterIpv6(buf: Buffer, from: number, to: number): number {
  const text = latin1(buf, from, Math.min(to, from + 48));
  const found = /^\[[0-9a-f:.]{2,45}\]/iu.exec(text);
  return from + (found?.[0].length ?? 0);
}

function isPort(buf: Buffer, from: number, to: number): boolean {
  if (to - from < 1 || to - from > 5) return false;
  let port = 0;
  for (let i = from; i < to; i += 1) {
    const digit = (buf[i] as number) - 48;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
  }
  return port <= 65_535;
}

function meetLength(head: Head, buf: Buffer, from: number, to: number): RefusalCode | undefined {
  if (head.contentLength >= 0) return 'content-length-repeated';
  const digits = to - from;
  if (digits < 1 || digits > LENGTH_DIGITS_MAX || hasTab(head, buf)) return 'bad-content-length';
  if (digits > 1 && buf[from] === 48) return 'bad-content-length';
  let length = 0;
  for (let i = from; i < to; i += 1) {
    const digit = (buf[i] as number) - 48;
    if (digit < 0 || digit > 9) return 'bad-content-length';
    length = length * 10 + digit;
  }
  head.contentLength = length;
  return undefined;
}

/** Some servers do not take a tab around a value for white space. */
function hasTab(head: Head, buf: Buffer): boolean {
  const base = (head.count - 1) * SLOT;
  const nameEnd = head.at[base + NAME_END] as number;
  // `pos` is after the CRLF of this line.
  for (let i = nameEnd; i < head.pos - 2; i += 1) if (buf[i] === HTAB) return true;
  return false;
}

function meetCoding(head: Head, buf: Buffer, from: number, to: number): RefusalCode | undefined {
  if (head.chunked || hasTab(head, buf)) return 'bad-coding';
  const value = latin1(buf, from, to).toLowerCase();
  if (value === 'chunked') {
    head.chunked = true;
    return undefined;
  }
  const codings = value.split(',').map(trimBlank);
  const isToken = codings.every((coding) => /^[!#$%&'*+.^_`|~0-9a-z-]+$/u.test(coding));
  const chunkedAt = codings.indexOf('chunked');
  if (!isToken || (chunkedAt >= 0 && chunkedAt < codings.length - 1)) return 'bad-coding';
  return 'coding-unknown';
}

function meetConnection(
  head: Head,
  buf: Buffer,
  from: number,
  to: number,
): RefusalCode | undefined {
  if (isKeepAlive(buf, from, to)) {
    head.keepAlive = true;
    return undefined;
  }
  const value = latin1(buf, from, to).toLowerCase();
  for (const part of value.split(',')) {
    const option = trimBlank(part);
    if (option === '') continue;
    if (option === 'close') head.close = true;
    else if (option === 'keep-alive') head.keepAlive = true;
    else if (option === 'upgrade') head.asksUpgrade = true;
    else {
      const fault = optionFault(option);
      if (fault !== undefined) return fault;
      head.namesOthers = true;
    }
  }
  return undefined;
}

const KEEP_ALIVE = Buffer.from('keep-alive');

/** By far the most common value. */
function isKeepAlive(buf: Buffer, from: number, to: number): boolean {
  if (to - from !== KEEP_ALIVE.length) return false;
  for (let i = from; i < to; i += 1) {
    if (((buf[i] as number) | 32) !== KEEP_ALIVE[i - from]) return false;
  }
  return true;
}

/** `trim` would take away more than space and tab. */
function trimBlank(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/gu, '');
}

function optionFault(option: string): RefusalCode | undefined {
  const bytes = Buffer.from(option, 'latin1');
  for (const code of bytes) if (TOKEN[code] !== 1) return 'bad-connection';
  const known = knownField(bytes, 0, bytes.length);
  return isPlain(known) || known === KNOWN.hop ? undefined : 'bad-connection';
}

function meetExpect(head: Head, from: number, to: number): RefusalCode | undefined {
  if (head.expectsContinue) return 'expectation-unknown';
  if (head.text(from, to).toLowerCase() !== '100-continue') return 'expectation-unknown';
  head.expectsContinue = true;
  return undefined;
}

/** Called when the target is delimited and its bytes are fit for one. */
export function meetTarget(head: Head, buf: Buffer): RefusalCode | undefined {
  const { targetAt, targetEnd, lineAt, methodEnd } = head;
  head.pathAt = targetAt;
  const length = methodEnd - lineAt;
  const first = buf[lineAt] as number;
  if (length === 4 && first === 72) head.isHead = head.method === 'HEAD';
  else if ((length === 7 && first === 67) || (length === 5 && first === 84)) {
    const { method } = head;
    if (method === 'CONNECT' || method === 'TRACE') return 'method-unsupported';
  }
  if (buf[targetAt] === SLASH) return undefined;
  if (buf[targetAt] === STAR && targetEnd === targetAt + 1) {
    // The preface of HTTP/2 has this shape: its version is what tells.
    return head.method === 'OPTIONS' || head.method === 'PRI' ? undefined : 'bad-target';
  }
  const found = /^https?:\/\/([^/?@]+)(?=[/?]|$)/iu.exec(head.target);
  if (found === null) return 'bad-target';
  head.pathAt = targetAt + found[0].length;
  return undefined;
}

export function finishRequest(head: Head): RefusalCode | undefined {
  if (head.buf[head.targetAt] === STAR && head.method !== 'OPTIONS') return 'bad-target';
  if (head.hostField < 0) return 'host-missing';
  if (head.pathAt !== head.targetAt && !sameHost(head)) return 'host-mismatch';
  return framingFault(head);
}

function framingFault(head: Head): RefusalCode | undefined {
  if (!head.chunked) return undefined;
  if (head.contentLength >= 0) return 'length-and-coding';
  return head.version === 10 ? 'coding-in-http10' : undefined;
}

function sameHost(head: Head): boolean {
  const origin = head.text(head.targetAt, head.pathAt).toLowerCase();
  const port = origin.startsWith('https') ? ':443' : ':80';
  const plain = (host: string): string =>
    host.endsWith(port) ? host.slice(0, -port.length) : host;
  return plain(origin.slice(origin.indexOf('//') + 2)) === plain(head.host.toLowerCase());
}

export function finishResponse(head: Head): RefusalCode | undefined {
  const { status, contentLength, chunked } = head;
  if (status < 200) {
    return chunked || contentLength >= 0 ? 'body-on-empty' : undefined;
  }
  // `Content-Length: 0` with 204 is a common mistake that means nothing else.
  if (status === 204 && (chunked || contentLength > 0)) return 'body-on-empty';
  return framingFault(head);
}
