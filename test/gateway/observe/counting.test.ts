import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readFrame } from '../../../src/drivers/gateways/frames.ts';
import { serverTiming, wantsTiming } from '../../../src/gateway/observe/server-timing.ts';
import { Tally, edgeBucket } from '../../../src/gateway/observe/tally.ts';
import { traceFrom, traceLine, traceOf, traceparent } from '../../../src/gateway/observe/trace.ts';
import { KNOWN } from '../../../src/gateway/http/names.ts';
import type { EdgeCell } from '../../../src/model/signal.ts';
import { factsOf, headOf } from './samples.ts';

type Kind<K extends EdgeCell['kind']> = Extract<EdgeCell, { kind: K }>;
function only<K extends EdgeCell['kind']>(cells: readonly EdgeCell[], kind: K): Kind<K>[] {
  return cells.filter((cell): cell is Kind<K> => cell.kind === kind);
}

test('TY1: an exchange is counted once, for its route and for its tenant', () => {
  const tally = new Tally();
  tally.note(factsOf({ tookMs: 0.2, attempts: 3 }));
  tally.note(factsOf({ status: 503, reason: 'no-replica', replica: '', attempts: 0 }));
  tally.note(factsOf({ kind: 'cut' }));
  tally.note(factsOf({ kind: 'client-gone', status: 0, tenant: '' }));
  const cells = tally.take();
  const routes = only(cells, 'route');
  const total = (name: 'requests' | 'failed' | 'retries'): number =>
    routes.reduce((sum, cell) => sum + cell[name], 0);
  assert.deepEqual([total('requests'), total('failed'), total('retries')], [4, 2, 2]);
  assert.deepEqual(
    routes.map(({ replica, status }) => [replica, status]),
    [
      ['records-1', 0],
      ['records-1', 2],
      ['', 5],
    ],
  );
  assert.equal(routes[1]?.latency[0], 1);
  const tenant = { kind: 'tenant', tenant: 'acme', requests: 3, failed: 2, refused: 1 };
  assert.deepEqual(only(cells, 'tenant'), [{ ...tenant, bytesIn: 9, bytesOut: 1_536 }]);
  const refused = { kind: 'refused', status: 503, reason: 'no-replica', requests: 1 };
  assert.deepEqual(only(cells, 'refused'), [refused]);
  assert.deepEqual(tally.take(), [], 'taken is gone');
  tally.note(factsOf());
  const again = tally.take();
  assert.deepEqual(
    [...only(again, 'route'), ...only(again, 'tenant')].map(({ requests }) => requests),
    [1, 1],
    'and what comes after it counts again',
  );
});

test('TY2: the number of cells is bounded and no request is left out', () => {
  const tally = new Tally();
  const many = 30_000;
  for (let i = 0; i < many; i += 1) {
    const replica = `r-${i % 5_000}`;
    tally.note(factsOf({ route: `/r${i}`, replica, tenant: `t${i}`, status: 200 + (i % 300) }));
    tally.refused(400, `reason-${i % 1_000}`);
  }
  const cells = tally.take();
  assert.ok(cells.length < 7_000, `${cells.length} cells`);
  const sum = (kind: 'route' | 'tenant'): number =>
    only(cells, kind).reduce((all, cell) => all + cell.requests, 0);
  assert.deepEqual([sum('route'), sum('tenant')], [many, many]);
  assert.ok(only(cells, 'tenant').some(({ tenant }) => tenant === ''));
  assert.ok(only(cells, 'route').some(({ route }) => route === '*'));
});

test('a latency is counted in the bucket whose bound it does not exceed', () => {
  assert.deepEqual([0, 0.1, 0.25].map(edgeBucket), [0, 0, 0]);
  assert.deepEqual([0.26, 0.5, 0.51, 1, 1.01].map(edgeBucket), [1, 1, 2, 2, 3]);
  assert.deepEqual(
    [8_192, 8_193, 1e12, Number.POSITIVE_INFINITY].map(edgeBucket),
    [15, 16, 16, 16],
  );
  fc.assert(
    fc.property(fc.double({ min: 0.26, max: 8_192, noNaN: true }), (ms) => {
      const bucket = edgeBucket(ms);
      assert.ok(ms <= 2 ** bucket / 4 && ms > 2 ** (bucket - 1) / 4, `${ms}: ${bucket}`);
    }),
  );
});

test('FM1: what a gateway counted passes the wire, and what it would not say is malformed', () => {
  const tally = new Tally();
  tally.note(factsOf({ status: 429, reason: 'rate-limited', attempts: 0 }));
  const edge: EdgeCell[] = [
    ...tally.take(),
    { kind: 'count', name: 'log-dropped', count: 3 },
    { kind: 'level', name: 'connections', value: 7 },
  ];
  const flush = { kind: 'flush', cells: [], inFlight: [] };
  assert.deepEqual(readFrame(JSON.parse(JSON.stringify({ ...flush, edge }))), { ...flush, edge });
  assert.deepEqual(readFrame(flush), { ...flush, edge: [] }, 'a gateway of before');
  const [route, tenant, refused, count, level] = edge;
  const wrong: unknown[] = [
    null,
    'edge',
    {},
    [null],
    [{ kind: 'other' }],
    [{ ...route, requests: -1 }],
    [{ ...route, requests: '1' }],
    [{ ...route, status: 6 }],
    [{ ...route, latency: [1, 2] }],
    [{ ...route, service: 'x'.repeat(300) }],
    [{ ...tenant, tenant: 7 }],
    [{ ...tenant, failed: Number.NaN }],
    [{ ...refused, status: 1_000 }],
    [{ ...count, name: 'lines' }],
    [{ ...level, value: null }],
  ];
  for (const bad of wrong) {
    assert.equal(readFrame({ ...flush, edge: bad }).kind, 'malformed', JSON.stringify(bad));
  }
});

const TRACE = 'a'.repeat(32);
const PARENT = 'b'.repeat(16);

test('TR1: what is not exactly a traceparent begins a new trace', () => {
  const wrong = [
    undefined,
    '',
    `00-${TRACE}-${PARENT}`,
    `00-${TRACE}-${PARENT}-0`,
    `00-${TRACE}-${PARENT}-01-more`,
    `00-${TRACE}-${PARENT}-011`,
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${PARENT}-01`,
    `00-${TRACE}-${PARENT}-0g`,
    `00_${TRACE}-${PARENT}-01`,
    `ff-${TRACE}-${PARENT}-01`,
    `01-${TRACE}-${PARENT}-01more`,
    `0x-${TRACE}-${PARENT}-01`,
    `00-${TRACE}-${PARENT}:01`,
  ];
  for (const given of wrong) {
    const span = traceFrom(given, 1, true);
    assert.notEqual(span.trace, TRACE, String(given));
    assert.equal(span.parent, '');
    assert.match(traceparent(span), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/u);
  }
  const twice = headOf('/', `traceparent: 00-${TRACE}-${PARENT}-01\r\n`.repeat(2));
  assert.notEqual(traceOf(twice, 1, true).trace, TRACE);
});

test('TR2: a trace goes on under a span of our own, with the decision of the caller', () => {
  const cases = { '00': [false, '00'], '01': [true, '01'], '03': [true, '03'], fe: [false, '02'] };
  for (const [flags, [sampled, out]] of Object.entries(cases)) {
    const head = headOf('/', `Traceparent: 00-${TRACE}-${PARENT}-${flags}\r\n`);
    for (const ratio of [0, 1]) {
      const span = traceOf(head, ratio, true);
      assert.deepEqual([span.trace, span.parent, span.sampled], [TRACE, PARENT, sampled]);
      assert.notEqual(span.id, PARENT);
      assert.equal(traceparent(span), `00-${TRACE}-${span.id}-${out}`);
    }
  }
});

test('without a span of ours a sound trace passes as it came, others begin anew', () => {
  const given = `00-${TRACE}-${PARENT}-01`;
  const sound = headOf('/', `traceparent: ${given}\r\n`);
  const span = traceOf(sound, 0, false);
  assert.deepEqual([span.passes, span.sampled, traceLine(sound, span)], [true, true, '']);
  assert.equal(sound.keptTrace, sound.noted(KNOWN.traceparent));
  const named = headOf('/', `traceparent: ${given}\r\nconnection: traceparent\r\n`);
  assert.equal(traceLine(named, traceOf(named, 0, false)), `traceparent: ${given}\r\n`);
  assert.equal(named.keptTrace, -1);
  for (const fields of ['', 'traceparent: nonsense\r\n']) {
    const head = headOf('/', fields);
    const fresh = traceOf(head, 1, false);
    assert.equal(fresh.passes, false);
    assert.match(traceLine(head, fresh), /^traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01\r\n$/u);
    assert.equal(head.keptTrace, -1);
  }
  const ours = traceOf(sound, 0, true);
  assert.equal(traceLine(sound, ours), `traceparent: 00-${TRACE}-${ours.id}-01\r\n`);
});

test('TR2: of new traces the ratio is sampled, and no two have one id', () => {
  const spans = Array.from({ length: 20_000 }, () => traceFrom(undefined, 0.25, true));
  const share = spans.filter(({ sampled }) => sampled).length / spans.length;
  assert.ok(Math.abs(share - 0.25) < 0.02, String(share));
  assert.equal(new Set(spans.map(({ trace }) => trace)).size, spans.length);
  assert.equal(new Set(spans.map(({ id }) => id)).size, spans.length);
  assert.ok(spans.every((span) => span.flags === (span.sampled ? '01' : '00')));
  assert.ok(
    Array.from({ length: 500 }, () => traceFrom(undefined, 0, true)).every((s) => !s.sampled),
  );
});

test('TR3: a later version is read as far as ours goes and goes on as ours', () => {
  for (const given of [`cc-${TRACE}-${PARENT}-01`, `01-${TRACE}-${PARENT}-01-what-ever`]) {
    const span = traceFrom(given, 0, true);
    assert.equal(traceparent(span), `00-${TRACE}-${span.id}-01`);
  }
});

test('a traceparent of any text makes a sound one', () => {
  const part = fc.stringMatching(/^[0-9a-fA-F-]{0,60}$/u);
  fc.assert(
    fc.property(fc.oneof(part, fc.string()), (given) => {
      const line = traceparent(traceFrom(given, 0.5, true));
      assert.match(line, /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]$/u);
    }),
  );
});

test('Server-Timing splits the time between gateway and replica', () => {
  assert.equal(
    serverTiming(12.345, 12.2, 2),
    'server-timing: gw;dur=0.15, up;dur=12.20, tries;desc="2"\r\n',
  );
  assert.equal(serverTiming(1, 0, 0), 'server-timing: gw;dur=1.00, tries;desc="0"\r\n');
  assert.equal(
    serverTiming(1, 2, 1),
    'server-timing: gw;dur=0.00, up;dur=2.00, tries;desc="1"\r\n',
  );
});

test('Server-Timing is for those who ask and are known, or for all, or for nobody', () => {
  const asks = headOf('/', 'X-Kintsugi-Timing: 1\r\n');
  const other = headOf('/', 'x-kintsugi-timing: 0\r\n');
  const answers = (mode: 'always' | 'never' | 'on-demand'): boolean[] => [
    wantsTiming(mode, asks, true),
    wantsTiming(mode, asks, false),
    wantsTiming(mode, other, true),
  ];
  assert.deepEqual(answers('on-demand'), [true, false, false]);
  assert.deepEqual(answers('always'), [true, true, true]);
  assert.deepEqual(answers('never'), [false, false, false]);
});
