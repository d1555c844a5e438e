import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { EdgeBook } from '../../src/api/edge-book.ts';
import { expositionOf } from '../../src/api/exposition.ts';
import type { Metric } from '../../src/api/exposition.ts';
import { metricsText, statusMetrics } from '../../src/api/metrics.ts';
import { NamedTenants } from '../../src/api/named-tenants.ts';
import { asReplicaId } from '../../src/model/ids.ts';
import type { EdgeCell } from '../../src/model/signal.ts';
import { EDGE_BUCKETS } from '../../src/model/signal.ts';
import { keyOf, readExposition } from './exposition-check.ts';
import { status as fakeStatus } from './fake.ts';

type Cell<K extends EdgeCell['kind']> = Extract<EdgeCell, { kind: K }>;

function route(change: Partial<Cell<'route'>> = {}): Cell<'route'> {
  const latency = Array.from({ length: EDGE_BUCKETS }, (_, i) => (i === 3 ? 2 : 0));
  return {
    kind: 'route',
    service: 'records',
    route: '/api',
    replica: 'records-1',
    status: 2,
    requests: 2,
    failed: 0,
    retries: 1,
    bytesIn: 10,
    bytesOut: 20,
    totalMs: 3,
    latency,
    ...change,
  };
}

function tenant(name: string, requests = 1): Cell<'tenant'> {
  return { kind: 'tenant', tenant: name, requests, failed: 0, refused: 0, bytesIn: 1, bytesOut: 2 };
}

interface Bench {
  readonly book: EdgeBook;
  readonly clock: { nowMs: number };
  edge(...cells: EdgeCell[]): void;
  value(name: string, labels?: Readonly<Record<string, string>>): number | undefined;
}

function bench(tenantsMax = 3): Bench {
  const clock = { nowMs: 0 };
  const book = new EdgeBook(() => clock.nowMs, tenantsMax);
  return {
    book,
    clock,
    edge: (...cells) => book.put({ kind: 'edge', worker: 'gateway-1', cells }),
    value(name, labels = {}) {
      const page = readExposition(expositionOf(book.metrics()));
      const family = name.replace(/_(?:bucket|sum|count)$/u, '');
      const found = page.get(name) ?? page.get(family);
      return found?.samples.get(keyOf({ name, labels }))?.value;
    },
  };
}

const PLACE = { service: 'records', route: '/api', replica: 'records-1', status: '2xx' };

test('EB1: deltas of several gateways add up, also when one restarts', () => {
  const { book, edge, value } = bench();
  edge(route(), { kind: 'count', name: 'log-dropped', count: 4 });
  book.put({ kind: 'edge', worker: 'gateway-2', cells: [route({ status: 5, failed: 2 })] });
  book.put({ kind: 'event', event: { kind: 'disconnected', worker: 'gateway-1' } });
  book.put({ kind: 'event', event: { kind: 'connected', worker: 'gateway-1', version: 1 } });
  edge(route(), { kind: 'count', name: 'log-dropped', count: 1 });
  assert.equal(value('kintsugi_gateway_requests_total', PLACE), 4);
  const failures = 'kintsugi_gateway_failures_total';
  assert.equal(value(failures, { ...PLACE, status: '5xx' }), 2);
  assert.equal(value('kintsugi_gateway_retries_total', PLACE), 2);
  assert.equal(value('kintsugi_gateway_access_log_dropped_total'), 5);
  const bucket = 'kintsugi_gateway_request_seconds_bucket';
  assert.equal(value(bucket, { ...PLACE, le: '0.001' }), 0);
  assert.equal(value(bucket, { ...PLACE, le: '0.002' }), 4);
  assert.equal(value('kintsugi_gateway_request_seconds_sum', PLACE), 0.006);
});

test('EB1: no counter ever goes down, whatever gateways tell', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'other', '');
  const cells = fc.oneof(
    fc.tuple(name, fc.nat(50)).map(([t, n]) => tenant(t, n)),
    fc.tuple(name, fc.nat(5)).map(([replica, status]) => route({ replica, status })),
    fc.nat(5).map((count): EdgeCell => ({ kind: 'count', name: 'log-lines', count })),
  );
  const steps = fc.array(fc.tuple(fc.array(cells, { maxLength: 8 }), fc.nat(20_000)), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(steps, (all) => {
      const { book, clock, edge } = bench(2);
      const seen = new Map<string, number>();
      for (const [told, passMs] of all) {
        clock.nowMs += passMs;
        edge(...told);
        for (const family of readExposition(expositionOf(book.metrics())).values()) {
          if (family.type === 'gauge') continue;
          for (const [key, { value }] of family.samples) {
            assert.ok(value >= (seen.get(key) ?? 0), key);
            seen.set(key, value);
          }
        }
      }
    }),
    { numRuns: 100 },
  );
});

test('EB2: series are bounded; what was idle for an hour is forgotten', () => {
  const { book, clock, edge } = bench();
  for (let i = 0; i < 3_000; i += 1) edge(route({ replica: `r-${i}` }));
  const replicas = (): (string | undefined)[] =>
    book
      .metrics()
      .filter(({ name }) => name === 'kintsugi_gateway_requests_total')
      .flatMap(({ samples }) => samples.map(({ labels }) => labels['replica']));
  assert.equal(replicas().length, 2_000);
  assert.equal(replicas().at(-1), 'r-2999');
  assert.equal(replicas().includes('r-0'), false, 'the oldest made room');
  clock.nowMs += 3_500_000;
  edge(route());
  clock.nowMs += 200_000;
  assert.deepEqual(replicas(), ['records-1']);
});

test('EB3: levels are those of the gateways that are there', () => {
  const { book, edge, value } = bench();
  edge({ kind: 'level', name: 'connections', value: 9 });
  edge({ kind: 'level', name: 'connections', value: 7 });
  const name = 'kintsugi_gateway_connections';
  assert.equal(value(name, { worker: 'gateway-1' }), 7);
  book.put({ kind: 'event', event: { kind: 'disconnected', worker: 'gateway-1' } });
  assert.equal(value(name, { worker: 'gateway-1' }), undefined);
});

test('ejections, returns, held poison and refusals are counted', () => {
  const { book, edge, value } = bench();
  const replica = asReplicaId('records-1');
  for (let i = 0; i < 2; i += 1) {
    book.put({ kind: 'event', event: { kind: 'ejected', replica, reason: 'hung', detail: '' } });
  }
  book.put({ kind: 'event', event: { kind: 'returned', replica } });
  edge({ kind: 'refused', status: 429, reason: 'rate-limited', requests: 3 });
  const ejected = { replica: 'records-1', reason: 'hung' };
  assert.equal(value('kintsugi_gateway_ejections_total', ejected), 2);
  assert.equal(value('kintsugi_gateway_returns_total'), 1);
  const refused = { status: '429', reason: 'rate-limited' };
  assert.equal(value('kintsugi_gateway_refused_total', refused), 3);
});

test('NT1: of many tenants the limit have a name, and all others are one series', () => {
  const { book, edge } = bench(3);
  for (let i = 0; i < 1_000; i += 1) edge(tenant(`t-${i}`));
  edge(tenant('', 5));
  const page = readExposition(expositionOf(book.metrics()));
  const samples = [...(page.get('kintsugi_gateway_tenant_requests_total')?.samples.values() ?? [])];
  assert.equal(samples.length, 4);
  assert.equal(
    samples.reduce((sum, { value }) => sum + value, 0),
    1_005,
  );
});

test('NT1: a smaller limit takes names from those with the least traffic', () => {
  const named = new NamedTenants(3, 0);
  for (const [name, requests] of [
    ['a', 30],
    ['b', 10],
    ['c', 20],
  ] as const) {
    named.note(name, requests, 0);
  }
  named.limit(2);
  named.note('a', 1, 15_000);
  assert.deepEqual([...named.names].toSorted(), ['a', 'c']);
  named.limit(0);
  assert.equal(named.note('a', 1, 30_000), false);
  assert.equal(named.names.size, 0);
});

test('NT2: a tenant with clearly more traffic gets a name; equal ones do not take turns', () => {
  const named = new NamedTenants(2, 0);
  let nowMs = 0;
  const round = (traffic: Readonly<Record<string, number>>): string[] => {
    nowMs += 15_000;
    for (const [name, requests] of Object.entries(traffic)) named.note(name, requests, nowMs);
    return [...named.names].toSorted();
  };
  round({ a: 100, b: 100 });
  for (let i = 0; i < 100; i += 1) {
    const swing = i % 2 === 0 ? 90 : 110;
    assert.deepEqual(round({ a: 100, b: 100, c: swing, d: 210 - swing }), ['a', 'b']);
  }
  let rounds = 0;
  while (!round({ a: 100, b: 10, c: 1_000, d: 0 }).includes('c')) {
    rounds += 1;
    assert.ok(rounds < 100, 'it never gets its name');
  }
  assert.deepEqual([...named.names].toSorted(), ['a', 'c']);
});

test('NT3: a tenant that comes back goes on where it stopped', () => {
  const { clock, edge, value } = bench(1);
  const name = 'kintsugi_gateway_tenant_requests_total';
  edge(tenant('a', 10));
  const rank = (...cells: EdgeCell[]): void => {
    clock.nowMs += 15_000;
    edge(...cells);
  };
  rank(tenant('b', 1_000));
  assert.equal(value(name, { tenant: 'a' }), undefined, 'it has lost its name');
  rank(tenant('a', 5), tenant('b', 1_000));
  assert.equal(value(name, { tenant: 'b' }), 2_000);
  assert.equal(value(name, { tenant: 'other' }), 5);
  rank(tenant('a', 100_000));
  assert.equal(value(name, { tenant: 'a' }), 100_010);
  assert.equal(value(name, { tenant: 'b' }), undefined);
  assert.equal(value(name, { tenant: 'other' }), 5);
});

test('EX1: whatever stands in labels and help, the page parses and says it', () => {
  const text = fc.string({ unit: 'binary', maxLength: 20 }).map((t) => t.replaceAll('\r', ''));
  fc.assert(
    fc.property(text, text, fc.double(), (label, help, value) => {
      const samples = [{ labels: { a: label, b: 'x' }, value }];
      const metric: Metric = { kind: 'gauge', name: 'm', help: `h${help}`, samples };
      const [series] = [
        ...(readExposition(expositionOf([metric]))
          .get('m')
          ?.samples.values() ?? []),
      ];
      assert.equal(series?.labels['a'], label);
      assert.ok(Object.is(series?.value, value) || series?.value === value);
    }),
  );
});

test('EX1: the reader of this test refuses what is no exposition', () => {
  const head = '# HELP m h\n# TYPE m counter\n';
  const buckets = '# HELP m h\n# TYPE m histogram\n';
  const wrong = [
    'm_total 1',
    'm_total 1\n',
    '# HELP m h\nm 1\n',
    `${head}m 1\n`,
    '# HELP m_total h\n# TYPE m_total counter\nm_total -1\n',
    '# HELP m h\n# TYPE m gauge\nm 1\nm 2\n',
    '# HELP m h\n# TYPE m gauge\nm{a="1"b="2"} 2\n',
    '# HELP m h\n# TYPE m gauge\nm{a="\\x"} 2\n',
    '# HELP m h\n# TYPE m gauge\nm 0x1\n',
    '# HELP m h\n# TYPE m gauge\nn 1\n',
    `${buckets}m_bucket{le="1"} 2\nm_sum 1\nm_count 2\n`,
    `${buckets}m_bucket{le="1"} 3\nm_bucket{le="+Inf"} 2\nm_sum 1\nm_count 2\n`,
    `${buckets}m_bucket{le="+Inf"} 2\nm_sum 1\nm_count 3\n`,
  ];
  for (const page of wrong) assert.throws(() => readExposition(page), page);
});

/** Every metric with a sample or more, so that its labels can be seen. */
function everything(): readonly Metric[] {
  const { book, edge } = bench();
  edge(route(), tenant('acme'));
  edge({ kind: 'refused', status: 429, reason: 'rate-limited', requests: 1 });
  for (const name of ['connections', 'in-flight', 'table-version'] as const) {
    edge({ kind: 'level', name, value: 1 });
  }
  const replica = asReplicaId('records-1');
  book.put({ kind: 'event', event: { kind: 'ejected', replica, reason: 'hung', detail: '' } });
  return [...statusMetrics(fakeStatus()), ...book.metrics()];
}

test('the whole page is a valid exposition', () => {
  const { book, edge } = bench();
  edge(route({ service: '', route: '', replica: '', status: 0 }), tenant('a "b"\\\n'));
  const page = readExposition(metricsText(fakeStatus(), book.metrics()));
  assert.ok(page.size > 35);
  assert.ok([...page.keys()].every((name) => name.startsWith('kintsugi_')));
});

const PAGE = join(import.meta.dirname, '../../docs/reference/metrics.md');

function metricsTable(): string {
  const rows = everything().map((metric) => {
    const labels = Object.keys(metric.samples[0]?.labels ?? {}).map((name) => `\`${name}\``);
    return `| \`${metric.name}\` | ${metric.kind} | ${labels.join(', ')} | ${metric.help} |`;
  });
  return ['| metric | type | labels | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

test('docs/reference/metrics.md lists exactly the metrics that there are', async () => {
  const text = await readFile(PAGE, 'utf8');
  const table = /^\| metric [^]*?(?=\n\n)/mu;
  if (process.env['KINTSUGI_WRITE_DOCS'] === '1') {
    await writeFile(
      PAGE,
      text.replace(table, () => metricsTable()),
    );
  }
  const hint = 'run this test with KINTSUGI_WRITE_DOCS=1 to write it anew';
  assert.equal(table.exec(await readFile(PAGE, 'utf8'))?.[0], metricsTable(), hint);
});
