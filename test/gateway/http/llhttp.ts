// How does llhttp itself (strict) read these bytes, without sockets? Node's own parser object, fed
// in this process, one case at a time: some hundred times faster than a server over loopback, which
// stays as the second oracle (oracle.ts) for a sample. Both judge by the same code.
import { METHODS } from 'node:http';
import { createRequire } from 'node:module';
import { acceptedOf, compareSeenAnswer, judgeRequests, MARKER, readableAnswer } from './oracle.ts';
import { readRequests } from './reading.ts';
import type { Seen, SeenAnswer, Tally, Watch } from './oracle.ts';

type OnHeadersComplete = (
  ...args: [
    major: number,
    minor: number,
    fields: string[] | undefined,
    method: number,
    url: string | undefined,
    status: number,
    reason: string,
    upgrade: boolean,
  ]
) => number;

/** What Node's parser object is, as far as we use it; its callbacks are numbered properties. */
interface RawParser {
  initialize(kind: number, resource: object, headBytesMax: number, lenient: number): void;
  /** Bytes taken, or what was wrong. */
  execute(bytes: Buffer): number | (Error & { readonly code?: string });
  finish(): Error | undefined;
  [callback: number]: unknown;
}

interface RawParserClass {
  new (): RawParser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
  readonly kLenientNone: number;
}

const load = createRequire(import.meta.url);
const { HTTPParser } = load('node:_http_common') as { readonly HTTPParser: RawParserClass };
const HEAD_BYTES_MAX = 65_536;
const GO_ON = 0;
const SKIP_BODY = 1;
const UPGRADE = 2;

export interface RequestParser {
  /** What it makes of the bytes of one connection. */
  read(bytes: Buffer): Watch;
}

/** Its methods are numbers: which is which, it is asked itself. */
function methodNames(): Map<number, string> {
  const names = new Map<number, string>();
  let last = -1;
  const parser = new HTTPParser();
  const onHead: OnHeadersComplete = (_major, _minor, _fields, method) => {
    last = method;
    return GO_ON;
  };
  parser[HTTPParser.kOnHeadersComplete] = onHead;
  for (const name of METHODS) {
    parser.initialize(HTTPParser.REQUEST, {}, HEAD_BYTES_MAX, HTTPParser.kLenientNone);
    last = -1;
    parser.execute(Buffer.from(`${name} ${name === 'CONNECT' ? 'h:1' : '/'} HTTP/1.1\r\n\r\n`));
    if (last >= 0) names.set(last, name);
  }
  return names;
}

export function openRequestParser(): RequestParser {
  const names = methodNames();
  const parser = new HTTPParser();
  const resource = {};
  let seen: Seen[] = [];
  let early: string[] = [];
  let url = '';
  parser[HTTPParser.kOnHeaders] = (fields: string[], part: string): void => {
    early.push(...fields);
    url += part;
  };
  const onHead: OnHeadersComplete = (major, minor, fields, method, last) => {
    const line = `${names.get(method) ?? '?'} ${last ?? url} ${major}${minor}`;
    seen.push({ line, fields: fields ?? early, body: '', done: false });
    early = [];
    url = '';
    return GO_ON;
  };
  parser[HTTPParser.kOnHeadersComplete] = onHead;
  parser[HTTPParser.kOnBody] = (bytes: Buffer): void => {
    const one = seen.at(-1);
    if (one !== undefined) one.body += bytes.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    const one = seen.at(-1);
    if (one !== undefined) one.done = true;
    // Trailers come by kOnHeaders too, with the URL once more.
    early = [];
    url = '';
  };
  return {
    read(bytes) {
      seen = [];
      early = [];
      url = '';
      parser.initialize(HTTPParser.REQUEST, resource, HEAD_BYTES_MAX, HTTPParser.kLenientNone);
      const took = parser.execute(bytes);
      const error = typeof took === 'number' ? '' : (took.code ?? took.message);
      return { seen, error, stalled: typeof took === 'number' && took < bytes.length };
    },
  };
}

export interface AnswerParser {
  /** The final answer on a connection that ends after these bytes. */
  read(bytes: Buffer, toHead: boolean): SeenAnswer;
}

export function openAnswerParser(): AnswerParser {
  const parser = new HTTPParser();
  const resource = {};
  let toHead = false;
  let found = { status: 0, body: '', whole: false };
  let isFinal = false;
  const onHead: OnHeadersComplete = (...[, , , , , status, , upgrade]) => {
    if (found.whole) return GO_ON;
    if (status === 101 || upgrade) return UPGRADE;
    if (status < 200 && status >= 100) return SKIP_BODY;
    isFinal = true;
    found.status = status;
    return toHead ? SKIP_BODY : GO_ON;
  };
  parser[HTTPParser.kOnHeadersComplete] = onHead;
  parser[HTTPParser.kOnHeaders] = (): void => undefined;
  parser[HTTPParser.kOnBody] = (bytes: Buffer): void => {
    if (isFinal && !found.whole) found.body += bytes.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    if (isFinal) found.whole = true;
  };
  return {
    read(bytes, head) {
      toHead = head;
      found = { status: 0, body: '', whole: false };
      isFinal = false;
      parser.initialize(HTTPParser.RESPONSE, resource, HEAD_BYTES_MAX, HTTPParser.kLenientNone);
      const took = parser.execute(bytes);
      if (typeof took === 'number' && took === bytes.length) parser.finish();
      return found;
    },
  };
}

/** As `compareRequests`, each case a connection of its own with a marker request behind it. */
export function compareRequestsInProcess(
  parser: RequestParser,
  cases: readonly string[],
  forwarded: boolean,
  tally: Tally,
): void {
  for (const one of acceptedOf(cases, forwarded, tally)) {
    const text = one.ends ? one.sent : one.sent + MARKER(0);
    const watch = parser.read(Buffer.from(text, 'latin1'));
    judgeRequests(one, { watch, at: 0, n: 0, forwarded }, tally);
  }
}

/** What we accepted before we refused, or before the bytes ran out inside a message. */
export function comparePrefixes(
  parser: RequestParser,
  cases: readonly string[],
  tally: Tally,
): void {
  for (const text of cases) {
    const bytes = Buffer.from(text, 'latin1');
    const { messages, end } = readRequests(bytes);
    tally.cases += 1;
    if (messages.length === 0) tally.refused += 1;
    if (messages.length === 0 || end === 'clean' || end === 'closed') continue;
    const watch = parser.read(bytes);
    const one = { text, sent: text, messages, ends: true };
    judgeRequests(one, { watch, at: 0, n: 0, forwarded: false }, tally);
  }
}

export function compareAnswerInProcess(
  parser: AnswerParser,
  text: string,
  toHead: boolean,
  tally: Tally,
): void {
  const own = readableAnswer(text, toHead, tally);
  if (own === undefined) return;
  compareSeenAnswer(text, own, parser.read(Buffer.from(text, 'latin1'), toHead), tally);
}
