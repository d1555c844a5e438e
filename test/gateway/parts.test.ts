// The small parts: keys, paths, routes, counters, lines, frames, bodies, the saved table.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readFrame } from '../../src/drivers/gateways/frames.ts';
import { bucketOf, countIn, openCounters } from '../../src/gateway/counters.ts';
import { keyMac, mintKey, parseKey, sameMac } from '../../src/gateway/keys.ts';
import { openLines } from '../../src/gateway/lines.ts';
import { foldRoute, matchesPrefix, pathOf } from '../../src/gateway/paths.ts';
import { compileTable, findEntry } from '../../src/gateway/routes.ts';
import { loadTable, openTableFile, tablePath } from '../../src/gateway/table-file.ts';
import { asReplicaId, releaseId, serviceName, tenantId } from '../../src/model/ids.ts';
import type { RoutingTable } from '../../src/model/routing.ts';

const EMPTY: RoutingTable = {
  v: 1,
  version: 3,
  services: [],
  tenants: [],
  quarantines: [],
  jwt: [],
  retryBudget: 0.2,
};

describe('keys', () => {
  test('K1: a key is made from the given bytes alone and read back', () => {
    const one = mintKey('clinic-1', Buffer.alloc(9, 7), Buffer.alloc(32, 9));
    const two = mintKey('clinic-1', Buffer.alloc(9, 7), Buffer.alloc(32, 9));
    assert.equal(one.key, two.key);
    const { env, id, secret } = one;
    assert.deepEqual(parseKey(one.key), { env, id, secret });
    assert.throws(() => mintKey('clinic', Buffer.alloc(2), Buffer.alloc(8)));
  });

  test('K2: a MAC fits its secret and pepper only', () => {
    const pepper = randomBytes(32).toString('base64url');
    const mac = keyMac(pepper, 'secret');
    assert.equal(sameMac(keyMac(pepper, 'secret'), mac), true);
    assert.equal(sameMac(keyMac(pepper, 'secreT'), mac), false);
    assert.equal(sameMac(keyMac(randomBytes(32).toString('base64url'), 'secret'), mac), false);
    assert.equal(sameMac('', mac), false);
  });

  test('K3: any one changed character makes it no key', () => {
    const { key } = mintKey('test', randomBytes(9), randomBytes(32));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: key.length - 1 }), (at) => {
        const other = key[at] === 'a' ? 'b' : 'a';
        assert.equal(parseKey(key.slice(0, at) + other + key.slice(at + 1)), undefined);
      }),
    );
  });
});

describe('paths', () => {
  test('PA1: targets that two servers could read differently are refused', () => {
    const refused = ['http://x/a', '*', '/a/../b', '/a/%2e%2E/b', '/a/./b', '/..', '/a%2Fb'];
    refused.push('/a\\b', '/a%5cb', '/a\u0000b', '/a b', '/a#b', '/a%00', `/${'a'.repeat(9_000)}`);
    for (const target of refused) assert.equal(pathOf(target), undefined, target);
    assert.equal(pathOf('/a/b.c?x=/../y'), '/a/b.c');
    assert.equal(pathOf('/a/..b'), '/a/..b');
  });

  test('PA2: spellings of one path fold to one route', () => {
    const spellings = [
      '/api/p%6fison/12',
      '/api//poison/9',
      '/api/poison/77/',
      '/api/poison/abc12345',
    ];
    for (const path of spellings) assert.equal(foldRoute(path), '/api/poison/:id', path);
    const id = '/v1/records/6f1c2d3e-aaaa-bbbb-cccc-1234567890ab/notes';
    assert.equal(foldRoute(id), '/v1/records/:id/notes');
    assert.equal(foldRoute('/v1/oauth2/token-exchange'), '/v1/oauth2/token-exchange');
    assert.equal(foldRoute('/'), '/');
    assert.equal(foldRoute('/%zz'), '/%zz');
    assert.ok(foldRoute(`/${'a/'.repeat(50)}`).length < 80);
  });

  test('PA3: a prefix matches whole segments', () => {
    assert.equal(matchesPrefix('/records', '/records'), true);
    assert.equal(matchesPrefix('/records/1', '/records/'), true);
    assert.equal(matchesPrefix('/recordsx', '/records'), false);
    assert.equal(matchesPrefix('/anything', '/'), true);
  });
});

describe('routes', () => {
  const service = (name: string, prefix: string): RoutingTable['services'][number] => ({
    name: serviceName(name),
    prefixes: [{ prefix, timeoutMs: 1_000, retry: true }],
    replicas: [],
    healthPath: undefined,
    assertionKey: randomBytes(32).toString('base64url'),
    minRouted: 1,
    slowMs: 500,
  });

  test('the longest prefix wins, whatever the order in the table', () => {
    const services = [service('web', '/'), service('notes', '/api/notes'), service('api', '/api')];
    const compiled = compileTable({ ...EMPTY, services }, 'p');
    assert.ok(compiled.kind === 'routes');
    assert.equal(findEntry(compiled.routes, '/api/notes/1')?.service.name, 'notes');
    assert.equal(findEntry(compiled.routes, '/api/other')?.service.name, 'api');
    assert.equal(findEntry(compiled.routes, '/x')?.service.name, 'web');
  });

  test('a table of another format, or without sense, is refused and throws nothing', () => {
    const other = { ...EMPTY, v: 2 } as unknown as RoutingTable;
    assert.equal(compileTable(other, 'p').kind, 'refused');
    assert.equal(
      compileTable({ v: 1, version: 1 } as unknown as RoutingTable, 'p').kind,
      'refused',
    );
  });
});

describe('counters', () => {
  const facts = (tenant: string, prefix = '/api') => ({
    service: serviceName('records'),
    replica: asReplicaId('records-1'),
    release: releaseId('r1'),
    tenant: tenantId(tenant),
    prefix,
  });

  test('CO1: past the limit of cells tenants are summed up', () => {
    const counters = openCounters();
    for (let i = 0; i < 2_500; i += 1) {
      countIn(counters.cellOf(facts(`t${i}`)), 'answered', 3);
    }
    const cells = counters.take();
    assert.ok(cells.length <= 2_001);
    assert.equal(
      cells.reduce((sum, c) => sum + c.requests, 0),
      2_500,
    );
    assert.equal(cells.filter((c) => c.tenant === undefined).length, 1);
  });

  test('CO2: taking empties; each result lands in its counter', () => {
    const counters = openCounters();
    for (const result of ['answered', 'error', 'broken', 'timeout', 'unsent'] as const) {
      countIn(counters.cellOf(facts('acme')), result, 3);
    }
    counters.cellOf(facts('acme')).failed += 1;
    const { window } = counters;
    const [cell] = counters.take();
    assert.notEqual(counters.window, window);
    assert.equal(cell?.requests, 5);
    assert.deepEqual([cell?.errors, cell?.broken, cell?.timeouts, cell?.failed], [1, 2, 1, 1]);
    assert.equal(cell?.latency[2], 2);
    assert.deepEqual(counters.take(), []);
    assert.deepEqual([0.5, 1, 2, 3, 4, 1e9].map(bucketOf), [0, 1, 2, 2, 3, 15]);
  });
});

describe('lines', () => {
  test('LI1: values arrive whole however the bytes are cut; a long or torn line ends it', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.integer({ min: 1, max: 7 }), (values, cut) => {
        const seen: unknown[] = [];
        const lines = openLines(10_000, (value) => seen.push(value));
        const bytes = Buffer.from(values.map((v) => `${JSON.stringify([v])}\n`).join(''));
        for (let i = 0; i < bytes.length; i += cut) {
          assert.equal(lines.feed(bytes.subarray(i, i + cut)), undefined);
        }
        assert.deepEqual(
          seen,
          values.map((v) => [v]),
        );
      }),
    );
    const long = openLines(10, () => undefined);
    assert.equal(long.feed(Buffer.from('"0123456789')), 'too-long');
    const torn = openLines(100, () => undefined);
    assert.equal(torn.feed(Buffer.from('{"a":\n{}\n')), 'not-json');
    assert.equal(torn.feed(Buffer.from('{}\n')), 'not-json');
  });
});

describe('frames', () => {
  test('FM1: every frame with a wrong or missing field is malformed', () => {
    const bad: unknown[] = [1, null, [], {}, { kind: 'hello' }, { kind: 'applied', version: 'x' }];
    bad.push({ kind: 'flush', cells: [{}], inFlight: [] }, { kind: 'event', event: { kind: 'x' } });
    bad.push({ kind: 'event', event: { kind: 'died-serving', replica: 'a-1', suspects: [1] } });
    bad.push({ t: 'hb', replica: 'a-1', lagMs: -1 }, { t: 'ready' }, { t: 'zzz', replica: 'a-1' });
    bad.push({ t: 'ready', replica: 'a 1' }, { t: 'hb', replica: 'a-1', lagMs: Number.NaN });
    for (const value of bad)
      assert.equal(readFrame(value).kind, 'malformed', JSON.stringify(value));
    const beat = {
      t: 'hb',
      replica: 'a-1',
      pid: 1,
      lagMs: 0,
      inFlight: 2,
      oldestMs: 1,
      rssBytes: 9,
    };
    const frame = readFrame(beat);
    assert.ok(frame.kind === 'sdk' && frame.signal.kind === 'heartbeat');
    fc.assert(fc.property(fc.jsonValue(), (value) => void readFrame(value)));
  });
});

describe('saved table', () => {
  test('TF1: it is written whole, for its owner only, the newest last', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kin-tf-'));
    const file = openTableFile(folder, 'gateway/1', (error) => assert.fail(String(error)));
    for (let version = 1; version <= 5; version += 1) {
      file.save({ table: { ...EMPTY, version }, pepper: 'p' });
    }
    await file.settled();
    const path = tablePath(folder, 'gateway/1');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const loaded = loadTable(folder, 'gateway/1');
    assert.ok(loaded.kind === 'loaded' && loaded.saved.table.version === 5);
    rmSync(folder, { recursive: true });
  });

  test('TF2: a torn or foreign file is not used, and is no error', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kin-tf-'));
    assert.equal(loadTable(folder, 'w').kind, 'none');
    const file = openTableFile(folder, 'w', () => undefined);
    file.save({ table: EMPTY, pepper: 'p' });
    await file.settled();
    const text = readFileSync(tablePath(folder, 'w'), 'utf8');
    for (const cut of [0, 10, 64, 65, text.length - 1]) {
      writeFileSync(tablePath(folder, 'w'), text.slice(0, cut));
      assert.equal(loadTable(folder, 'w').kind, 'unusable');
    }
    rmSync(folder, { recursive: true });
  });
});
