import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Observer } from '../../../src/gateway/observe/observer.ts';
import type { ObserveRule } from '../../../src/model/routing.ts';
import type { EdgeCell, EdgeLevel } from '../../../src/model/signal.ts';
import { until } from '../rig.ts';
import { T0, factsOf, headOf, logRule, parsed } from './samples.ts';

interface Bench {
  readonly observer: Observer;
  readonly file: string;
  readonly warnings: string[];
  readonly levels: Record<EdgeLevel, number>;
}

function bench(t: TestContext): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'kin-observe-'));
  const warnings: string[] = [];
  const levels = { connections: 1, 'in-flight': 0, 'table-version': 3 };
  const observer = new Observer({
    worker: 'gateway-1',
    version: '0.1.0',
    folder,
    warn: (text) => warnings.push(text),
    monotonicMs: () => performance.now(),
    random: () => 0.5,
    levels: () => levels,
  });
  t.after(async () => {
    await observer.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { observer, file: join(folder, 'access-gateway-1.ndjson'), warnings, levels };
}

const QUIET: ObserveRule = { tracing: { ratio: 1 }, serverTiming: 'on-demand' };

const requests = (cells: readonly EdgeCell[]): number =>
  cells.reduce((sum, cell) => (cell.kind === 'route' ? sum + cell.requests : sum), 0);

const counts = (cells: readonly EdgeCell[]): Record<string, number> =>
  Object.fromEntries(
    cells.flatMap((cell) => (cell.kind === 'count' ? [[cell.name, cell.count]] : [])),
  );

test('OB1: without log and collector an exchange is counted and nothing else', async (t) => {
  const { observer, file } = bench(t);
  observer.use(QUIET);
  const { facts } = observer;
  Object.assign(facts, factsOf({ trace: observer.begin(headOf('/api')) }));
  for (let i = 0; i < 10; i += 1) observer.ended(facts);
  await observer.close();
  assert.equal(requests(observer.takeEdge()), 10);
  assert.equal(existsSync(file), false);
});

test('OB2: a new rule holds from the next exchange on, and nothing accepted is lost', async (t) => {
  const { observer, file } = bench(t);
  assert.equal(observer.timing, 'never');
  const log = (change = {}): ObserveRule => ({ ...QUIET, accessLog: logRule(change) });
  observer.ended(factsOf({ requestId: 'before' }));
  observer.use(log());
  assert.equal(observer.timing, 'on-demand');
  observer.ended(factsOf({ requestId: 'first' }));
  observer.use(log({ query: ['page'] }));
  observer.ended(factsOf({ requestId: 'second' }));
  observer.use(QUIET);
  observer.ended(factsOf({ requestId: 'unseen' }));
  observer.use(log());
  observer.ended(factsOf({ requestId: 'third' }));
  await observer.close();
  const lines = parsed(readFileSync(file, 'utf8'));
  const byId = new Map(lines.map((line) => [line['http.request.id'], line['url.query']]));
  assert.deepEqual(
    byId,
    new Map([
      ['first', undefined],
      ['second', 'page=2'],
      ['third', undefined],
    ]),
  );
  const cells = observer.takeEdge();
  assert.equal(requests(cells), 5);
  assert.deepEqual(counts(cells), { 'log-lines': 3 }, 'counted over both logs');
  assert.deepEqual(counts(observer.takeEdge()), {});
});

test('sampled exchanges become spans, others do not', async (t) => {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => bodies.push(chunk.toString()));
    request.on('end', () => response.end('{}'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const { observer } = bench(t);
  const otlpUrl = `http://127.0.0.1:${port}`;
  observer.use({ ...QUIET, tracing: { ratio: 0, otlpUrl, otlpHeaders: { 'x-a': 'b' } } });
  const given = (flags: string, n: number): string =>
    `traceparent: 00-${String(n).repeat(32)}-${'b'.repeat(16)}-${flags}\r\n`;
  for (const fields of [given('01', 1), given('00', 2), '', given('03', 4)]) {
    const head = headOf('/api', fields);
    observer.ended(factsOf({ head, trace: observer.begin(head) }));
  }
  await observer.close();
  const traces = [...bodies.join('').matchAll(/"traceId":"(\w)/gu)].map((match) => match[1]);
  assert.deepEqual(traces, ['1', '4']);
  assert.deepEqual(counts(observer.takeEdge()), { 'spans-sent': 2 });
});

test('OB3: an address that may not be used is told, and requests go on', async (t) => {
  const { observer, warnings } = bench(t);
  observer.use({ ...QUIET, tracing: { ratio: 1, otlpUrl: 'http://far.example/' } });
  observer.ended(factsOf({ trace: observer.begin(headOf('/')) }));
  assert.equal(requests(observer.takeEdge()), 1);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /^KIN_GATEWAY_TRACES: /u);
});

test('OB3: a rule that makes no sense is told, and the one before stays', async (t) => {
  const { observer, file, warnings } = bench(t);
  const log = logRule();
  const good = { ...QUIET, accessLog: log };
  observer.use(good);
  const wrong: unknown[] = [
    {},
    { ...QUIET, tracing: { ratio: 2 } },
    { ...QUIET, tracing: { ratio: 1, otlpUrl: 7 } },
    { ...QUIET, tracing: { ratio: 1, otlpHeaders: { a: 1 } } },
    { ...QUIET, serverTiming: 'sometimes' },
    { ...QUIET, accessLog: {} },
    { ...QUIET, accessLog: { ...log, headers: [1] } },
    { ...QUIET, accessLog: { ...log, paths: 'none' } },
    { ...QUIET, accessLog: { ...log, sample: '1' } },
    { ...QUIET, accessLog: { ...log, files: 0 } },
  ];
  for (const rule of wrong) observer.use(rule as ObserveRule);
  assert.equal(warnings.length, wrong.length, warnings.join('\n'));
  observer.ended(factsOf({ trace: observer.begin(headOf('/')) }));
  await observer.close();
  assert.equal(parsed(readFileSync(file, 'utf8')).length, 1);
});

test('a message that was no request has a line and a count of its own', async (t) => {
  const { observer, file } = bench(t);
  observer.use({ ...QUIET, accessLog: logRule({ sample: 0 }) });
  observer.refused(400, 'bare-lf', '192.0.2.9', T0);
  observer.ended(factsOf());
  await observer.close();
  const [line, ...others] = parsed(readFileSync(file, 'utf8'));
  assert.equal(others.length, 0, 'the good one is not sampled');
  assert.equal(line?.['kintsugi.reason'], 'bare-lf');
  assert.equal(line?.['http.response.status_code'], 400);
  assert.equal(line?.['url.path'], undefined);
  const cells = observer.takeEdge();
  assert.equal(requests(cells), 1, 'it is no exchange');
  const refused = cells.filter((cell) => cell.kind === 'refused');
  assert.deepEqual(refused, [{ kind: 'refused', status: 400, reason: 'bare-lf', requests: 1 }]);
});

test('levels are told when they change, and now and then for a controller that is new', (t) => {
  const { observer, levels } = bench(t);
  const told = (): string[] =>
    observer.takeEdge().flatMap((cell) => (cell.kind === 'level' ? [cell.name] : []));
  assert.deepEqual(told(), ['connections', 'in-flight', 'table-version']);
  assert.deepEqual(told(), []);
  levels.connections = 2;
  assert.deepEqual(told(), ['connections']);
  const later = Array.from({ length: 10 }, told).flat();
  assert.deepEqual(later, ['connections', 'in-flight', 'table-version']);
});

test('at the end what is still in memory is on disk', async (t) => {
  const { observer, file } = bench(t);
  observer.use({ ...QUIET, accessLog: logRule() });
  observer.ended(factsOf());
  await observer.close();
  await until('it is there', () => existsSync(file));
  assert.equal(parsed(readFileSync(file, 'utf8')).length, 1);
});
