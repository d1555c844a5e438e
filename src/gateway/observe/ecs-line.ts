// What does one line of the access log say? JSON with the field names of the Elastic Common Schema,
// put together byte by byte. What is the same in all lines, and what is usual (outcome `success`,
// HTTP 1.1, no body, one attempt), is left out: half of the bytes, and half of the time.
//
//   EC1. Each line is one valid JSON object and ends with a line feed, whatever a client sent.
//   EC2. Bodies are never in it; headers only those that are listed; credentials not even then.
//   EC3. A line has at most LINE_BYTES_MAX bytes.
import type { Head } from '../http/head.ts';
import { VALUE_AT, VALUE_END, SLOT } from '../http/head.ts';
import { fieldName } from '../http/names.ts';
import type { FieldName } from '../http/names.ts';
import type { AccessLogRule } from '../../model/routing.ts';
import type { ExchangeFacts } from './facts.ts';
import { isFailure } from './facts.ts';
import { JsonBytes, constant } from './json-bytes.ts';
import {
  PATH_CHARS_MAX,
  QUERY_CHARS_MAX,
  queryAt,
  queryRule,
  showsNothing,
  writePath,
  writeQuery,
} from './redact.ts';
import type { QueryRule } from './redact.ts';

const NAME_CHARS_MAX = 200;
const HEADERS_MAX = 16;
const HEADER_CHARS_MAX = 128;
const FIXED_BYTES = 2_048;
const NAMES = 13;
export const LINE_BYTES_MAX =
  FIXED_BYTES +
  6 * (PATH_CHARS_MAX + QUERY_CHARS_MAX + NAMES * NAME_CHARS_MAX) +
  HEADERS_MAX * (6 * HEADER_CHARS_MAX + NAME_CHARS_MAX);

/** Whoever lists one of these has made a mistake that is not made worse here. */
const NEVER = /^(?:authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-kintsugi-.*)$/u;

const key = (name: string): Uint8Array => constant(`,"${name}":`);
const textKey = (name: string): Uint8Array => constant(`,"${name}":"`);
const K = {
  failure: constant(',"event.outcome":"failure"'),
  unknown: constant(',"event.outcome":"unknown"'),
  method: textKey('http.request.method'),
  query: textKey('url.query'),
  bytesIn: key('http.request.body.bytes'),
  requestId: textKey('http.request.id'),
  source: textKey('source.ip'),
  scheme: textKey('url.scheme'),
  tls: textKey('tls.version'),
  user: textKey('user.id'),
  tenant: textKey('organization.id'),
  trace: textKey('trace.id'),
  /** After the trace. */
  span: constant('","span.id":"'),
  service: textKey('service.name'),
  route: textKey('kintsugi.route'),
  replica: textKey('kintsugi.replica'),
  release: textKey('kintsugi.release'),
  reason: textKey('kintsugi.reason'),
  ending: textKey('kintsugi.ending'),
  attempts: key('kintsugi.attempts'),
  upstream: key('kintsugi.upstream.duration'),
  sample: key('kintsugi.sample'),
  end: constant('}\n'),
} as const;
const QUOTE = 34;
/** From the end of the method to the beginning of the path. */
const AFTER_METHOD = new Map([
  [10, constant('","http.version":"1.0","url.path":"')],
  [11, constant('","url.path":"')],
  [20, constant('","http.version":"2","url.path":"')],
]);
const AFTER_METHOD_11 = AFTER_METHOD.get(11) ?? constant('');

interface ShownHeader {
  readonly name: FieldName;
  readonly key: Uint8Array;
  readonly masked: boolean;
}

export interface LineRule {
  readonly query: QueryRule;
  readonly noQuery: boolean;
  readonly headers: readonly ShownHeader[];
  readonly paths: AccessLogRule['paths'];
  readonly sample: number;
  readonly sampleText: Uint8Array;
}

export function lineRule(rule: AccessLogRule): LineRule {
  const query = queryRule(rule.query, rule.mask);
  const masked = new Set(rule.mask.map((name) => name.toLowerCase()));
  const names = [...new Set(rule.headers.map((name) => name.toLowerCase()))];
  return {
    query,
    noQuery: showsNothing(query),
    headers: names
      .filter((name) => !NEVER.test(name) && /^[a-z0-9!#$&'*+.^_`|~-]{1,100}$/u.test(name))
      .slice(0, HEADERS_MAX)
      .map((name) => ({
        name: fieldName(name),
        key: textKey(`http.request.headers.${name}`),
        masked: masked.has(name),
      })),
    paths: rule.paths,
    sample: rule.sample,
    sampleText: constant(String(rule.sample)),
  };
}

const REDACTED = constant('REDACTED');
const MS_AT = '{"@timestamp":"2026-11-20T19:00:00.'.length;
const AFTER_STAMP = 'Z","ecs.version":"8.17.0","event.duration":';
const ENDS_MAX = 2_048;
const NOWHERE = {};

/**
 * Writes lines into a buffer. What many lines have in common is put into bytes once: the beginning
 * for each millisecond, and for each flow and replica the end.
 */
export class EcsLines {
  out = new JsonBytes(Buffer.alloc(0));
  readonly #part = new JsonBytes(Buffer.allocUnsafeSlow(FIXED_BYTES + 6 * 6 * NAME_CHARS_MAX));
  #second = Number.NaN;
  #ms = Number.NaN;
  #begin: Uint8Array = Buffer.alloc(0);
  #ends = new WeakMap<object, Map<object, Uint8Array>>();
  #endCount = 0;

  /** The caller has seen to it that LINE_BYTES_MAX bytes are free. */
  add(facts: ExchangeFacts, rule: LineRule): void {
    const { out } = this;
    const good = isGood(facts);
    const atMs = Math.floor(facts.startMs);
    if (atMs !== this.#ms) this.#stamp(atMs);
    out.raw(this.#begin);
    out.whole(facts.tookMs * 1e6);
    out.raw(statusPart(facts.status));
    out.whole(facts.bytesOut);
    if (!good) out.raw(facts.kind === 'client-gone' ? K.unknown : K.failure);
    if (facts.bytesIn > 0) {
      out.raw(K.bytesIn);
      out.whole(facts.bytesIn);
    }
    const { head } = facts;
    if (head !== undefined) this.#request(facts, head, rule);
    this.#requestId(facts);
    writeText(out, K.source, facts.remoteAddress);
    if (facts.tls !== '') this.#tls(facts.tls);
    this.#traceOf(facts);
    this.#ending(facts);
    if (rule.sample < 1 && good) {
      out.raw(K.sample);
      out.raw(rule.sampleText);
    }
    const { flow } = facts;
    if (flow === undefined) writeEnd(out, facts);
    else out.raw(this.#endOf(facts, flow));
  }

  #stamp(atMs: number): void {
    const second = Math.floor(atMs / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      const stamp = new Date(second * 1_000).toISOString().slice(0, 20);
      this.#begin = constant(`{"@timestamp":"${stamp}000${AFTER_STAMP}`);
    }
    this.#ms = atMs;
    const ms = atMs - second * 1_000;
    const tens = Math.floor(ms / 10);
    const hundreds = Math.floor(ms / 100);
    this.#begin[MS_AT] = 48 + hundreds;
    this.#begin[MS_AT + 1] = 48 + tens - hundreds * 10;
    this.#begin[MS_AT + 2] = 48 + ms - tens * 10;
  }

  #request(facts: ExchangeFacts, head: Head, rule: LineRule): void {
    const { out } = this;
    const { buf } = head;
    out.raw(K.method);
    out.bytes(buf, head.lineAt, head.methodEnd, NAME_CHARS_MAX);
    out.raw(
      head.version === 11 ? AFTER_METHOD_11 : (AFTER_METHOD.get(head.version) ?? AFTER_METHOD_11),
    );
    const end = head.targetEnd;
    const query = queryAt(buf, head.pathAt, end);
    if (rule.paths === 'route') out.text(facts.route, PATH_CHARS_MAX);
    else {
      const pathEnd = query > head.pathAt && buf[query - 1] === 63 ? query - 1 : end;
      writePath(out, buf, head.pathAt, pathEnd, rule.paths === 'folded');
    }
    out.byte(QUOTE);
    if (!rule.noQuery && query < end) this.#query(rule, buf, query, end);
    for (const header of rule.headers) this.#header(head, header);
  }

  #query(rule: LineRule, buf: Buffer, from: number, end: number): void {
    const { out } = this;
    const before = out.pos;
    out.raw(K.query);
    const begun = out.pos;
    writeQuery(out, rule.query, buf, from, end);
    if (out.pos === begun) out.pos = before;
    else out.byte(QUOTE);
  }

  #header(head: Head, { name, key, masked }: ShownHeader): void {
    const field = head.find(name);
    if (field < 0) return;
    const { out } = this;
    out.raw(key);
    if (!masked) {
      writeField(out, head, field, HEADER_CHARS_MAX);
      return;
    }
    out.raw(REDACTED);
    out.byte(QUOTE);
  }

  /** The client's own stands in the head. */
  #requestId({ head, requestId }: ExchangeFacts): void {
    if (head === undefined || head.keptId < 0) writeText(this.out, K.requestId, requestId);
    else {
      this.out.raw(K.requestId);
      writeField(this.out, head, head.keptId, NAME_CHARS_MAX);
    }
  }

  #tls(tls: string): void {
    writeText(this.out, K.scheme, 'https');
    writeText(this.out, K.tls, tls.startsWith('TLSv') ? tls.slice(4) : '');
  }

  /** A span that nobody samples is nowhere to be found. */
  #traceOf({ trace }: ExchangeFacts): void {
    if (trace === undefined) return;
    const { out } = this;
    out.raw(K.trace);
    out.known(trace.trace);
    if (trace.sampled && !trace.passes) {
      out.raw(K.span);
      out.known(trace.id);
    }
    out.byte(QUOTE);
  }

  #ending(facts: ExchangeFacts): void {
    const { out } = this;
    writeText(out, K.reason, facts.reason);
    if (facts.kind !== 'answered') writeText(out, K.ending, facts.kind);
    if (facts.attempts === 0) return;
    if (facts.attempts > 1) {
      out.raw(K.attempts);
      out.whole(facts.attempts);
    }
    out.raw(K.upstream);
    out.whole(facts.upstreamMs * 1e6);
  }

  #endOf(facts: ExchangeFacts, flow: object): Uint8Array {
    const place = facts.place ?? NOWHERE;
    const known = this.#ends.get(flow)?.get(place);
    if (known !== undefined) return known;
    const part = this.#part;
    part.pos = 0;
    writeEnd(part, facts);
    const bytes = Uint8Array.from(part.buf.subarray(0, part.pos));
    if (this.#endCount >= ENDS_MAX) {
      this.#ends = new WeakMap();
      this.#endCount = 0;
    }
    const places = this.#ends.get(flow) ?? new Map<object, Uint8Array>();
    this.#ends.set(flow, places);
    places.set(place, bytes);
    this.#endCount += 1;
    return bytes;
  }
}

/** Who asked, and where it went. */
function writeEnd(out: JsonBytes, facts: ExchangeFacts): void {
  writeText(out, K.user, facts.subject);
  writeText(out, K.tenant, facts.tenant);
  writeText(out, K.service, facts.service);
  writeText(out, K.route, facts.route);
  writeText(out, K.replica, facts.replica);
  writeText(out, K.release, facts.release);
  out.raw(K.end);
}

/** The value of a field of the head, and the quote after it. */
function writeField(out: JsonBytes, head: Head, field: number, charsMax: number): void {
  const base = field * SLOT;
  const from = head.at[base + VALUE_AT] as number;
  out.bytes(head.buf, from, head.at[base + VALUE_END] as number, charsMax);
  out.byte(QUOTE);
}

/** The status, and the key of the size that follows it. */
const STATUS_PARTS: readonly Uint8Array[] = Array.from({ length: 600 }, (_, status) => {
  const code = status === 0 ? '' : `,"http.response.status_code":${status}`;
  return constant(`${code},"http.response.body.bytes":`);
});

function statusPart(status: number): Uint8Array {
  return STATUS_PARTS[status] ?? (STATUS_PARTS[0] as Uint8Array);
}

function writeText(out: JsonBytes, key: Uint8Array, text: string): void {
  if (text === '') return;
  out.raw(key);
  out.text(text, NAME_CHARS_MAX);
  out.byte(QUOTE);
}

/** Good enough to be left out when only a share is logged. */
export function isGood(facts: ExchangeFacts): boolean {
  return facts.kind === 'answered' && facts.status > 0 && facts.status < 400 && !isFailure(facts);
}
