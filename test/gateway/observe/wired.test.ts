// A gateway with real sockets: what does one request leave behind in the log, in the metrics, at
// the collector and with the replica?
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { EdgeBook } from '../../../src/api/edge-book.ts';
import { expositionOf } from '../../../src/api/exposition.ts';
import type { ObserveRule } from '../../../src/model/routing.ts';
import { keyOf, readExposition } from '../../api/exposition-check.ts';
import type { Answer, Rig } from '../rig.ts';
import { openRig, until } from '../rig.ts';
import { logRule, parsed } from './samples.ts';

const TRACE = 'a'.repeat(32);
const PARENT = 'b'.repeat(16);
const GIVEN = `00-${TRACE}-${PARENT}-01`;

interface SpanJson {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
}

interface Payload {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly SpanJson[] }[];
  }[];
}

function seenBy(answer: Answer): Readonly<Record<string, readonly string[]>> {
  return (JSON.parse(answer.body) as { headers: Record<string, string[]> }).headers;
}

describe('what requests leave behind', () => {
  let rig: Rig;
  let book: EdgeBook;
  const spans: SpanJson[] = [];
  const collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Payload;
      spans.push(...(body.resourceSpans[0]?.scopeSpans[0]?.spans ?? []));
      response.end('{}');
    });
  });
  const logPath = (): string => join(rig.folder, 'logs', 'access-gateway-1.ndjson');
  const lines = (): Readonly<Record<string, unknown>>[] =>
    existsSync(logPath()) ? parsed(readFileSync(logPath(), 'utf8')) : [];
  const lineOf = async (id: string): Promise<Readonly<Record<string, unknown>>> => {
    const found = (): Readonly<Record<string, unknown>> | undefined =>
      lines().find((line) => line['http.request.id'] === id);
    await until(`the line of ${id}`, () => found() !== undefined);
    return found() ?? {};
  };
  const rule = (change: Partial<ObserveRule> = {}): ObserveRule => ({
    accessLog: logRule({ query: ['page'] }),
    tracing: { ratio: 0 },
    serverTiming: 'on-demand',
    ...change,
  });

  before(async () => {
    collector.listen(0, '127.0.0.1');
    await once(collector, 'listening');
    rig = await openRig({ replicas: 2 });
    book = new EdgeBook(() => performance.now(), 10);
    rig.hub.onSignal((signal) => book.put(signal));
    await rig.push({ observe: rule() });
  });
  after(async () => {
    await rig.close();
    collector.closeAllConnections();
    collector.close();
  });

  test('an answered request has its line, with its id, tenant, route and replica', async () => {
    const answer = await rig.send({
      path: '/api/patients/4711?page=3&name=jane',
      headers: { 'x-request-id': 'request-0001', traceparent: GIVEN },
    });
    assert.equal(answer.status, 200);
    const line = await lineOf('request-0001');
    assert.equal(line['url.path'], '/api/patients/:id');
    assert.equal(line['url.query'], 'page=3');
    assert.equal(line['organization.id'], 'acme');
    assert.equal(line['service.name'], 'records');
    assert.match(String(line['kintsugi.replica']), /^records-\d$/u);
    assert.equal(line['kintsugi.attempts'], undefined, 'the usual is left out');
    assert.equal(line['trace.id'], TRACE);
    assert.equal(line['event.outcome'], undefined);
    assert.ok(Number(line['kintsugi.upstream.duration']) <= Number(line['event.duration']));
    assert.ok(!readFileSync(logPath(), 'utf8').includes('jane'));
    assert.equal(statSync(logPath()).mode & 0o777, 0o600);
    assert.deepEqual(seenBy(answer)['traceparent'], [GIVEN], 'no span of ours: it passes');
  });

  test('a refusal has its line and reason, and so has a message that is no request', async () => {
    const headers = { 'x-request-id': 'request-0002' };
    assert.equal((await rig.send({ path: '/nowhere', headers })).status, 404);
    const line = await lineOf('request-0002');
    assert.deepEqual(
      [line['kintsugi.reason'], line['event.outcome'], line['organization.id']],
      ['route-unknown', 'failure', 'acme'],
    );
    const socket = connect(rig.port, '127.0.0.1');
    socket.end('GET / HTTP/1.1\nhost: x\n\n');
    socket.resume();
    await once(socket, 'close');
    await until('its line', () => lines().some((l) => l['http.response.status_code'] === 400));
  });

  test('with a collector the replica gets a span of ours as its parent', async () => {
    const address = collector.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const otlpUrl = `http://127.0.0.1:${port}`;
    await rig.push({ observe: rule({ tracing: { ratio: 0, otlpUrl } }) });
    const answer = await rig.send({
      path: '/api/x',
      headers: { traceparent: GIVEN, tracestate: 'v=1,w=2' },
    });
    const [seen = ''] = seenBy(answer)['traceparent'] ?? [];
    const id = seen.slice(36, 52);
    assert.equal(seen, `00-${TRACE}-${id}-01`);
    assert.notEqual(id, PARENT);
    assert.deepEqual(seenBy(answer)['tracestate'], ['v=1,w=2']);
    await until('the span arrives', () => spans.length > 0);
    const [span] = spans;
    assert.deepEqual([span?.traceId, span?.spanId, span?.parentSpanId], [TRACE, id, PARENT]);
    const fresh = await rig.send({ path: '/api/x' });
    assert.match(seenBy(fresh)['traceparent']?.[0] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/u);
  });

  test('who asks and is known gets Server-Timing, others do not', async () => {
    const headers = { 'x-kintsugi-timing': '1' };
    const asked = await rig.send({ path: '/api/x', headers });
    assert.match(
      String(asked.headers['server-timing']),
      /^gw;dur=\d+\.\d\d, up;dur=\d+\.\d\d, tries;desc="1"$/u,
    );
    assert.equal((await rig.send({ path: '/api/x' })).headers['server-timing'], undefined);
    const unknown = await rig.send({ path: '/api/x', headers, bare: true });
    assert.deepEqual([unknown.status, unknown.headers['server-timing']], [401, undefined]);
  });

  test('the metrics of the controller count each request once', async () => {
    const value = (name: string, labels: Readonly<Record<string, string>>): number => {
      const family = readExposition(expositionOf(book.metrics())).get(name);
      return family?.samples.get(keyOf({ name, labels }))?.value ?? 0;
    };
    const total = 'kintsugi_gateway_tenant_requests_total';
    for (let i = 0; i < 20; i += 1) await rig.send({ path: '/api/x', tenant: 'globex' });
    await until('they are counted', () => value(total, { tenant: 'globex' }) === 20);
    const unauthenticated = { status: '401', reason: 'unauthenticated' };
    assert.equal(value('kintsugi_gateway_refused_total', unauthenticated), 1);
    const worker = { worker: 'gateway-1' };
    await until('levels come too', () => value('kintsugi_gateway_table_version', worker) > 1);
    assert.ok(value('kintsugi_gateway_connections', worker) >= 1);
  });
});
