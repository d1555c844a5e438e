// How does OpenTelemetry write a span? The JSON form of OTLP, with the names of its semantic
// conventions.
//
//   OT1. What a span says of a target obeys the same rule as the access log: folded, no query.
import type { AccessLogRule } from '../../model/routing.ts';
import type { ExchangeFacts } from './facts.ts';
import { isFailure } from './facts.ts';
import { JsonBytes } from './json-bytes.ts';
import { PATH_CHARS_MAX, queryAt, writePath } from './redact.ts';

const SERVER = 2;
const ERROR = 2;
const NAME_CHARS_MAX = 200;
const scratch = new JsonBytes(Buffer.allocUnsafeSlow(PATH_CHARS_MAX * 6 + 16));

export interface SpanRecord {
  readonly trace: string;
  readonly id: string;
  readonly parent: string;
  readonly name: string;
  readonly startMs: number;
  readonly tookMs: number;
  readonly failed: boolean;
  readonly attributes: readonly Attribute[];
}

type Attribute = readonly [key: string, value: string | number];

/** A copy: the facts are filled in anew for the next exchange. */
export function spanOf(
  facts: ExchangeFacts,
  paths: AccessLogRule['paths'],
): SpanRecord | undefined {
  const { trace, head } = facts;
  if (trace === undefined) return undefined;
  const method = head === undefined ? '' : head.method.slice(0, NAME_CHARS_MAX);
  const path = pathShown(facts, paths);
  const attributes: Attribute[] = [
    ['http.request.method', method],
    ['url.path', path],
    ['url.scheme', facts.tls === '' ? 'http' : 'https'],
    ['http.route', facts.route],
    ['http.response.status_code', facts.status],
    ['http.request.body.size', facts.bytesIn],
    ['http.response.body.size', facts.bytesOut],
    ['client.address', facts.remoteAddress],
    ['kintsugi.tenant', facts.tenant],
    ['kintsugi.service', facts.service],
    ['kintsugi.replica', facts.replica],
    ['kintsugi.release', facts.release],
    ['kintsugi.attempts', facts.attempts],
    ['kintsugi.request_id', facts.requestId],
    ['error.type', errorType(facts)],
  ];
  return {
    trace: trace.trace,
    id: trace.id,
    parent: trace.parent,
    name: `${method} ${facts.route}`.trim() || 'request',
    startMs: facts.startMs,
    tookMs: facts.tookMs,
    failed: isFailure(facts),
    attributes: attributes.filter(([, value]) => value !== '' && value !== 0),
  };
}

function pathShown(facts: ExchangeFacts, paths: AccessLogRule['paths']): string {
  const { head } = facts;
  if (head === undefined || paths === 'route') return facts.route;
  const query = queryAt(head.buf, head.pathAt, head.targetEnd);
  const isThere = query > head.pathAt && head.buf[query - 1] === 63;
  scratch.pos = 0;
  writePath(scratch, head.buf, head.pathAt, isThere ? query - 1 : query, paths === 'folded');
  // Targets are visible ASCII without quotes; what is not would be an escape that is shown as such.
  return scratch.buf.toString('latin1', 0, scratch.pos);
}

function errorType(facts: ExchangeFacts): string {
  if (facts.reason !== '') return facts.reason;
  if (facts.kind === 'cut') return 'cut';
  return facts.status >= 500 ? String(facts.status) : '';
}

export interface Resource {
  readonly worker: string;
  readonly version: string;
}

/** The body of one request to the collector. */
export function otlpBody(spans: readonly SpanRecord[], resource: Resource): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: {
          attributes: attributesOf([
            ['service.name', 'kintsugi-gateway'],
            ['service.instance.id', resource.worker],
            ['service.version', resource.version],
          ]),
        },
        scopeSpans: [{ scope: { name: 'kintsugi.gateway' }, spans: spans.map(spanJson) }],
      },
    ],
  });
}

function spanJson(span: SpanRecord): object {
  return {
    traceId: span.trace,
    spanId: span.id,
    ...(span.parent === '' ? {} : { parentSpanId: span.parent }),
    name: span.name,
    kind: SERVER,
    startTimeUnixNano: nanosOf(span.startMs),
    endTimeUnixNano: nanosOf(span.startMs + Math.max(0, span.tookMs)),
    attributes: attributesOf(span.attributes),
    status: span.failed ? { code: ERROR } : {},
  };
}

/** Whole numbers travel as text there: 64 bits are more than a JSON number holds. */
function attributesOf(attributes: readonly Attribute[]): object[] {
  return attributes.map(([key, value]) => ({
    key,
    value:
      typeof value === 'string' ? { stringValue: value } : { intValue: String(Math.round(value)) },
  }));
}

function nanosOf(ms: number): string {
  const whole = Math.floor(ms);
  const rest = Math.min(999_999, Math.floor((ms - whole) * 1e6));
  return `${whole}${String(rest).padStart(6, '0')}`;
}
