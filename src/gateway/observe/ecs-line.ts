// What does one line of the access log say? JSON with the field names of the Elastic Common Schema,
// put together byte by byte.
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
const AFTER_STAMP =
  'Z","ecs.version":"8.17.0","event.kind":"event","event.category":["web"],' +
  '"event.type":["access"],"event.dataset":"kintsugi.access","event.outcome":"';
const OUTCOMES = ['success', 'failure', 'unknown'] as const;
const [SUCCESS, FAILURE, UNKNOWN] = [0, 1, 2];
const K = {
  method: textKey('http.request.method'),
  query: textKey('url.query'),
  bytesIn: key('http.request.body.bytes'),
  noBytesIn: constant(',"http.request.body.bytes":0'),
  bytesOut: key('http.response.body.bytes'),
  requestId: textKey('http.request.id'),
  source: textKey('source.ip'),
  scheme: textKey('url.scheme'),
  tls: textKey('tls.version'),
  user: textKey('user.id'),
  tenant: textKey('organization.id'),
  trace: textKey('trace.id'),
  span: textKey('span.id'),
  service: textKey('service.name'),
  route: textKey('kintsugi.route'),
  replica: textKey('kintsugi.replica'),
  release: textKey('kintsugi.release'),
  reason: textKey('kintsugi.reason'),
  ending: textKey('kintsugi.ending'),
  attempts: key('kintsugi.attempts'),
  upstream: key('kintsugi.upstream.duration'),
  onlyAttempt: constant(',"kintsugi.attempts":1,"kintsugi.upstream.duration":'),
  sample: key('kintsugi.sample'),
} as const;
const QUOTE = 34;
/** From the end of the method to the beginning of the path. */
const VERSIONS = new Map(
  (['1.0', '1.1', '2'] as const).map((version, i) => [
    [10, 11, 20][i],
    constant(`","http.version":"${version}","url.path":"`),
  ]),
);
const VERSION_11 = VERSIONS.get(11) ?? constant('');

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
  /** `observer.*`: who saw it, and the end of the line. */
  readonly end: Uint8Array;
  readonly sampleText: Uint8Array;
}

export function lineRule(rule: AccessLogRule, worker: string): LineRule {
  const query = queryRule(rule.query, rule.mask);
  const masked = new Set(rule.mask.map((name) => name.toLowerCase()));
  const names = [...new Set(rule.headers.map((name) => name.toLowerCase()))];
  const name = worker.slice(0, NAME_CHARS_MAX);
  const observer = { 'observer.type': 'proxy', 'observer.name': name };
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
    end: constant(`,${JSON.stringify(observer).slice(1)}\n`),
    sampleText: constant(String(rule.sample)),
  };
}

const REDACTED = constant('REDACTED');
const MS_AT = '{"@timestamp":"2026-11-20T19:00:00.'.length;
const CACHED_MAX = 2_048;

interface Cached {
  readonly bytes: Uint8Array;
  /** What the bytes say beside the two texts that they are found by. */
  readonly a: string;
  readonly b: string;
}

/** Parts of lines by two texts; bounded: it is emptied when it is full. */
class Parts {
  readonly #found = new Map<string, Map<string, Cached>>();
  #size = 0;

  get(first: string, second: string): Cached | undefined {
    return this.#found.get(first)?.get(second);
  }

  set(first: string, second: string, part: Cached): void {
    if (this.#size >= CACHED_MAX) {
      this.#found.clear();
      this.#size = 0;
    }
    const inner = this.#found.get(first) ?? new Map<string, Cached>();
    this.#found.set(first, inner);
    inner.set(second, part);
    this.#size += 1;
  }
}

/**
 * Writes lines into a buffer. What many lines have in common is put into bytes once: the beginning
 * for each second, who asked, and where it went.
 */
export class EcsLines {
  out = new JsonBytes(Buffer.alloc(0));
  readonly #part = new JsonBytes(Buffer.allocUnsafeSlow(FIXED_BYTES + 6 * 6 * NAME_CHARS_MAX));
  #second = Number.NaN;
  #begins: readonly Uint8Array[] = [];
  readonly #who = new Parts();
  readonly #where = new Parts();

  /** The caller has seen to it that LINE_BYTES_MAX bytes are free. */
  add(facts: ExchangeFacts, rule: LineRule): void {
    const { out } = this;
    const good = isGood(facts);
    this.#begin(facts.startMs, facts.kind === 'client-gone' ? UNKNOWN : good ? SUCCESS : FAILURE);
    out.whole(facts.tookMs * 1e6);
    if (facts.head !== undefined) this.#request(facts, facts.head, rule);
    out.raw(statusPart(facts.status));
    if (facts.bytesIn === 0) out.raw(K.noBytesIn);
    else {
      out.raw(K.bytesIn);
      out.whole(facts.bytesIn);
    }
    out.raw(K.bytesOut);
    out.whole(facts.bytesOut);
    writeText(out, K.requestId, facts.requestId);
    writeText(out, K.source, facts.remoteAddress);
    const { trace } = facts;
    if (trace !== undefined) {
      writeText(out, K.trace, trace.trace);
      if (!trace.passes) writeText(out, K.span, trace.id);
    }
    this.#ending(facts);
    if (rule.sample < 1 && good) {
      out.raw(K.sample);
      out.raw(rule.sampleText);
    }
    out.raw(this.#whoOf(facts));
    out.raw(this.#whereOf(facts));
    out.raw(rule.end);
  }

  #begin(atMs: number, outcome: number): void {
    const { out } = this;
    const second = Math.floor(atMs / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      const stamp = new Date(second * 1_000).toISOString().slice(0, 20);
      this.#begins = OUTCOMES.map((name) =>
        constant(`{"@timestamp":"${stamp}000${AFTER_STAMP}${name}","event.duration":`),
      );
    }
    const from = out.pos;
    out.raw(this.#begins[outcome] as Uint8Array);
    const to = out.pos;
    out.pos = from + MS_AT;
    out.padded(Math.floor(atMs - second * 1_000), 3);
    out.pos = to;
  }

  #request(facts: ExchangeFacts, head: Head, rule: LineRule): void {
    const { out } = this;
    const { buf } = head;
    out.raw(K.method);
    out.bytes(buf, head.lineAt, head.methodEnd, NAME_CHARS_MAX);
    out.raw(VERSIONS.get(head.version) ?? VERSION_11);
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
    const base = field * SLOT;
    out.raw(key);
    if (masked) out.raw(REDACTED);
    else {
      const from = head.at[base + VALUE_AT] as number;
      out.bytes(head.buf, from, head.at[base + VALUE_END] as number, HEADER_CHARS_MAX);
    }
    out.byte(QUOTE);
  }

  #ending(facts: ExchangeFacts): void {
    const { out } = this;
    writeText(out, K.reason, facts.reason);
    if (facts.kind !== 'answered') writeText(out, K.ending, facts.kind);
    if (facts.attempts === 0) return;
    if (facts.attempts === 1) out.raw(K.onlyAttempt);
    else {
      out.raw(K.attempts);
      out.whole(facts.attempts);
      out.raw(K.upstream);
    }
    out.whole(facts.upstreamMs * 1e6);
  }

  #whoOf({ subject, tenant, tls }: ExchangeFacts): Uint8Array {
    const known = this.#who.get(tenant, subject);
    if (known !== undefined && known.a === tls) return known.bytes;
    const part = this.#part;
    part.pos = 0;
    if (tls !== '') writeText(part, K.scheme, 'https');
    writeText(part, K.tls, tls.startsWith('TLSv') ? tls.slice(4) : '');
    writeText(part, K.user, subject);
    writeText(part, K.tenant, tenant);
    const bytes = Uint8Array.from(part.buf.subarray(0, part.pos));
    this.#who.set(tenant, subject, { bytes, a: tls, b: '' });
    return bytes;
  }

  #whereOf({ service, route, replica, release }: ExchangeFacts): Uint8Array {
    const known = this.#where.get(route, replica);
    if (known !== undefined && known.a === service && known.b === release) return known.bytes;
    const part = this.#part;
    part.pos = 0;
    writeText(part, K.service, service);
    writeText(part, K.route, route);
    writeText(part, K.replica, replica);
    writeText(part, K.release, release);
    const bytes = Uint8Array.from(part.buf.subarray(0, part.pos));
    this.#where.set(route, replica, { bytes, a: service, b: release });
    return bytes;
  }
}

const STATUS_PARTS: readonly Uint8Array[] = Array.from({ length: 600 }, (_, status) =>
  constant(status === 0 ? '' : `,"http.response.status_code":${status}`),
);

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
