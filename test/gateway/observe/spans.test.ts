import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { ExchangeFacts } from '../../../src/gateway/observe/facts.ts';
import { otlpBody, spanOf } from '../../../src/gateway/observe/otlp.ts';
import { SpanExport, collectorUrl } from '../../../src/gateway/observe/span-export.ts';
import { traceFrom } from '../../../src/gateway/observe/trace.ts';
import { until } from '../rig.ts';
import { T0, factsOf } from './samples.ts';

interface Post {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

interface Collector {
  readonly url: URL;
  readonly posts: Post[];
  /** Status of the next answers; 200 when it is empty. */
  readonly says: (readonly [status: number, headers?: Record<string, string>, body?: string])[];
}

async function collector(t: TestContext): Promise<Collector> {
  const posts: Post[] = [];
  const says: Collector['says'] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
      posts.push({ path: request.url ?? '', headers: request.headers, body });
      const [status, headers = {}, text = '{}'] = says.shift() ?? [200];
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const found = collectorUrl(`http://127.0.0.1:${port}`);
  assert.equal(found.kind, 'url');
  return { url: found.kind === 'url' ? found.url : new URL('http://none'), posts, says };
}

interface Exporting {
  readonly spans: SpanExport;
  readonly warnings: string[];
}

function exporting(t: TestContext, url: URL, pauseMinMs = 5): Exporting {
  const warnings: string[] = [];
  const spans = new SpanExport({
    url,
    headers: { authorization: 'Bearer very-secret' },
    worker: 'gateway-1',
    version: '0.1.0',
    warn: (text) => warnings.push(text),
    random: () => 1,
    pauseMinMs,
  });
  t.after(() => spans.close());
  return { spans, warnings };
}

function spanWith(change: Partial<ExchangeFacts> = {}): NonNullable<ReturnType<typeof spanOf>> {
  const trace = traceFrom(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, 0, true);
  const span = spanOf(factsOf({ trace, ...change }), 'folded');
  assert.ok(span);
  return span;
}

interface Payload {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly SpanJson[] }[];
  }[];
}
interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: string };
}
interface SpanJson {
  readonly traceId: string;
  readonly attributes: readonly Attribute[];
  readonly [key: string]: unknown;
}

const spansIn = (body: unknown): readonly SpanJson[] =>
  (body as Payload).resourceSpans[0]?.scopeSpans[0]?.spans ?? [];
const texts = (attributes: readonly Attribute[]): Record<string, string | undefined> =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]),
  );

test('OT1: a span has the shape of OTLP and hides what the access log hides', () => {
  const body: unknown = JSON.parse(
    otlpBody([spanWith(), spanWith({ status: 502, reason: 'replica-broke', replica: '' })], {
      worker: 'gateway-1',
      version: '0.1.0',
    }),
  );
  const { resource } = (body as Payload).resourceSpans[0] ?? { resource: { attributes: [] } };
  assert.deepEqual(texts(resource.attributes), {
    'service.name': 'kintsugi-gateway',
    'service.instance.id': 'gateway-1',
    'service.version': '0.1.0',
  });
  const [good, bad] = spansIn(body);
  assert.ok(good && bad);
  const { attributes, spanId, ...rest } = good;
  assert.match(String(spanId), /^[0-9a-f]{16}$/u);
  assert.deepEqual(rest, {
    traceId: 'a'.repeat(32),
    parentSpanId: 'b'.repeat(16),
    name: 'GET /api',
    kind: 2,
    startTimeUnixNano: `${T0}000000`,
    endTimeUnixNano: `${T0 + 12}500000`,
    status: {},
  });
  assert.deepEqual(texts(attributes), {
    'http.request.method': 'GET',
    'url.path': '/api/patients/:id/notes',
    'url.scheme': 'http',
    'http.route': '/api',
    'http.response.status_code': '200',
    'http.request.body.size': '3',
    'http.response.body.size': '512',
    'client.address': '192.0.2.7',
    'kintsugi.tenant': 'acme',
    'kintsugi.service': 'records',
    'kintsugi.replica': 'records-1',
    'kintsugi.release': 'r1',
    'kintsugi.attempts': '1',
    'kintsugi.request_id': 'req-12345678',
  });
  assert.deepEqual(bad['status'], { code: 2 });
  assert.equal(texts(bad.attributes)['error.type'], 'replica-broke');
  assert.ok(!JSON.stringify(body).includes('s3cret'));
  const root = spanOf(factsOf({ trace: traceFrom(undefined, 1, true) }), 'route');
  assert.ok(root);
  const [shown] = spansIn(JSON.parse(otlpBody([root], { worker: 'w', version: '1' })));
  assert.equal(shown?.['parentSpanId'], undefined);
  assert.equal(texts(shown?.attributes ?? [])['url.path'], '/api');
});

test('a collector gets spans in batches at the standard path, with its headers', async (t) => {
  const { url, posts } = await collector(t);
  const { spans, warnings } = exporting(t, url);
  for (let i = 0; i < 300; i += 1) spans.add(spanWith({ requestId: `req-${i}` }));
  await spans.close();
  const ids = posts.flatMap(({ body }) =>
    spansIn(body).map(({ attributes }) => texts(attributes)['kintsugi.request_id']),
  );
  assert.deepEqual(
    ids,
    Array.from({ length: 300 }, (_, i) => `req-${i}`),
  );
  assert.ok(posts.length >= 3);
  const [first] = posts;
  assert.equal(first?.path, '/v1/traces');
  assert.equal(first?.headers['content-type'], 'application/json');
  assert.equal(first?.headers.authorization, 'Bearer very-secret');
  assert.deepEqual([spans.sent, spans.dropped, warnings], [300, 0, []]);
});

test('few spans are sent soon, and what was taken in part is counted in part', async (t) => {
  const { url, posts, says } = await collector(t);
  says.push([200, {}, '{"partialSuccess":{"rejectedSpans":"2"}}']);
  const { spans } = exporting(t, url);
  for (let i = 0; i < 3; i += 1) spans.add(spanWith());
  await until('it is sent', () => spans.sent === 1);
  assert.deepEqual([posts.length, spans.dropped], [1, 2]);
});

test('SX2: a collector that fails gets the same spans again, and it is told once', async (t) => {
  const { url, posts, says } = await collector(t);
  says.push([503], [429, { 'retry-after': '0' }], [502], [200], [200]);
  const { spans, warnings } = exporting(t, url);
  for (let i = 0; i < 128; i += 1) spans.add(spanWith({ requestId: `req-${i}` }));
  await until('it is taken', () => spans.sent === 128);
  assert.equal(posts.length, 4);
  assert.deepEqual(posts[3]?.body, posts[0]?.body);
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] ?? '', /^KIN_GATEWAY_TRACES: .*status 503/u);
  assert.match(warnings[1] ?? '', /takes spans again; 0 are lost/u);
});

test('SX2: what a collector refuses for good is dropped, the next is tried later', async (t) => {
  const { url, says } = await collector(t);
  says.push([400]);
  const { spans, warnings } = exporting(t, url);
  for (let i = 0; i < 129; i += 1) spans.add(spanWith());
  await until('the rest is taken', () => spans.sent === 1);
  assert.equal(spans.dropped, 128);
  assert.equal(warnings.length, 2);
});

test('SX1: with nobody listening the queue stays bounded, and all is accounted for', async (t) => {
  const { spans, warnings } = exporting(t, new URL('http://127.0.0.1:1/v1/traces'), 60_000);
  const span = spanWith();
  for (let i = 0; i < 128; i += 1) spans.add(span);
  await until('it has failed', () => warnings.length === 1);
  for (let i = 0; i < 10_000; i += 1) spans.add(span);
  assert.equal(spans.room, false);
  assert.equal(spans.dropped, 10_128 - 4_096);
  await spans.close();
  assert.deepEqual([spans.sent, spans.dropped], [0, 10_128]);
});

test('SX3: the warning of a header that cannot be sent does not hold it', async (t) => {
  const warnings: string[] = [];
  const spans = new SpanExport({
    url: new URL('http://127.0.0.1:1/'),
    headers: { authorization: 'very\nsecret' },
    worker: 'w',
    version: '1',
    warn: (text) => warnings.push(text),
    random: () => 0,
  });
  t.after(() => spans.close());
  for (let i = 0; i < 128; i += 1) spans.add(spanWith());
  await until('it has failed', () => warnings.length === 1);
  assert.match(warnings[0] ?? '', /ERR_INVALID_CHAR/u);
  assert.ok(!/secret/u.test(warnings.join()));
});

test('SX3: only https, or http to this machine, and no password in the address', () => {
  const kinds = (text: string): string => {
    const found = collectorUrl(text);
    return found.kind === 'url' ? found.url.href : found.reason;
  };
  assert.equal(kinds('https://otel.example/v1/traces'), 'https://otel.example/v1/traces');
  assert.equal(kinds('http://127.0.0.1:4318'), 'http://127.0.0.1:4318/v1/traces');
  assert.equal(kinds('http://[::1]:4318/own'), 'http://[::1]:4318/own');
  assert.match(kinds('http://otel.example'), /neither https/u);
  assert.match(kinds('http://127.0.0.1.example'), /neither https/u);
  assert.match(kinds('file:///etc/passwd'), /neither https/u);
  assert.match(kinds('https://a:b@otel.example'), /password/u);
  assert.match(kinds('nowhere'), /no URL/u);
});

test('SX3: a redirect is not followed', async (t) => {
  const other = await collector(t);
  const { url, says, posts } = await collector(t);
  says.push([307, { location: other.url.href }]);
  const { spans } = exporting(t, url);
  for (let i = 0; i < 128; i += 1) spans.add(spanWith());
  await until('it is dropped', () => spans.dropped === 128);
  assert.deepEqual([posts.length, other.posts.length], [1, 0]);
});
