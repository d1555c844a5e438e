// Does a table survive being taken apart and put together, and is nothing taken that is not in
// order? Parts, buckets, rows, look-ups.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { PartShelf, readPart } from '../../../src/gateway/checked.ts';
import { TableCutter } from '../../../src/gateway/cut.ts';
import type { CutTable } from '../../../src/gateway/cut.ts';
import { digestOf, nameHash, partOf } from '../../../src/gateway/parts.ts';
import { matchesPrefix } from '../../../src/gateway/paths.ts';
import { openPrefixTree } from '../../../src/gateway/prefix-tree.ts';
import { TableOfParts, compileTable, tableOfParts } from '../../../src/gateway/routes.ts';
import { readRow } from '../../../src/gateway/row-reading.ts';
import { RowTable } from '../../../src/gateway/row-table.ts';
import { rowText } from '../../../src/gateway/row-text.ts';
import { runWhole } from '../../../src/gateway/slices.ts';
import { dependencyName, serviceName, tenantId } from '../../../src/model/ids.ts';
import type { KeyRule, RoutingTable, TenantRoute } from '../../../src/model/routing.ts';
import { EMPTY, PEPPER, anyTenants, route, service, tenant, tenants } from './tables.ts';

const cutWhole = (cutter: TableCutter, table: RoutingTable): CutTable =>
  runWhole(cutter.cut(table, PEPPER));

const rowsContent = (rows: readonly string[]): string => `[\n${rows.join(',\n')}\n]`;

function reasonOf(change: Partial<RoutingTable>): string {
  const answer = compileTable({ ...EMPTY, ...change }, PEPPER);
  return answer.kind === 'refused' ? answer.reason : 'not refused';
}

const bare = ({ keys: _, hosts: _hosts, certificates: _certificates, ...rest }: TenantRoute) =>
  rest;

describe('a table of parts', () => {
  test('RO1: every tenant, key and host is found, as in the table, and nobody else', () => {
    fc.assert(
      fc.property(anyTenants, (list) => {
        const table = tableOfParts({ ...EMPTY, tenants: list }, PEPPER);
        const { routes } = table;
        assert.equal(routes.tenants.size, list.length);
        for (const one of list) {
          assert.ok(routes.tenants.has(one.id));
          const found = routes.tenant(one.id);
          assert.ok(found);
          assert.deepEqual(bare(found), bare(one));
          for (const rule of one.keys) {
            assert.deepEqual(routes.key(rule.id)?.rule, rule);
            assert.equal(routes.key(rule.id)?.tenant, found);
          }
          for (const host of one.hosts ?? []) assert.equal(routes.hostTenant(host), found);
        }
        for (const name of ['', 'nobody-here', '__proto__', 'x'.repeat(5_000), 'ü']) {
          assert.equal(routes.tenant(name), undefined);
          assert.equal(routes.tenants.has(name), false);
          assert.equal(routes.key(name), undefined);
          assert.equal(routes.hostTenant(name), undefined);
        }
        const plain = (all: readonly TenantRoute[]): unknown =>
          all
            .map((t) => ({
              ...t,
              keys: t.keys.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
              hosts: (t.hosts ?? []).toSorted(),
            }))
            .toSorted((a, b) => (a.id < b.id ? -1 : 1));
        assert.deepEqual(plain(table.tenants), plain(list));
        assert.deepEqual([...routes.tenants.keys()].toSorted(), list.map((t) => t.id).toSorted());
      }),
      { numRuns: 60 },
    );
  });

  test('PT1: the same table gives the same digests; they do not depend on who cuts', () => {
    const table = { ...EMPTY, tenants: tenants(700), services: [service('web')] };
    const one = cutWhole(new TableCutter(), table);
    const two = cutWhole(new TableCutter(), structuredClone(table));
    assert.deepEqual(one, two);
    assert.ok(one.parts.tenants.length > 1);
    // Part of the format: with another hash every gateway would need every part anew.
    assert.equal(nameHash('acme'), 2_909_206_874);
    assert.equal(
      cutWhole(new TableCutter(), { ...EMPTY, tenants: [tenant('acme')] }).parts.tenants[0]?.digest,
      digestOf(Buffer.from('tenants\n[\n["acme","eu",0,100,200,50,1048576]\n]')),
    );
  });

  test('all that a table says is carried: rules, breakers, roles, and what is yet to come', () => {
    const change = {
      tenantRules: [{ tenant: tenantId('acme'), mode: 'deny' as const, reason: 'flood' }],
      later: { a: 1 },
    };
    const prefix = route('/x', {
      tenants: [tenantId('acme')],
      dependencies: [dependencyName('db')],
      allow: { reader: ['GET'] },
    });
    const table = tableOfParts(
      { ...EMPTY, ...change, services: [service('web', { prefixes: [prefix], shardSize: 2 })] },
      PEPPER,
    );
    assert.deepEqual((table as RoutingTable).tenantRules, change.tenantRules);
    assert.deepEqual((table as { later?: unknown }).later, change.later);
    assert.equal(table.routes.tenantRules.get('acme')?.mode, 'deny');
    assert.deepEqual(table.routes.findEntry('/x/1')?.route, prefix);
    assert.equal(table.services[0]?.shardSize, 2);
  });

  test('hosts are found as clients write them, certificates by each identity', () => {
    const own = tenant('acme', {
      hosts: ['acme.example.com', '[::1]'],
      certificates: ['uri:spiffe://example.com/acme', `sha256:${'ab'.repeat(32)}`],
    });
    const { routes } = tableOfParts({ ...EMPTY, tenants: [own, tenant('globex')] }, PEPPER);
    for (const host of ['acme.example.com', 'ACME.example.com:8443', 'acme.example.com.']) {
      assert.equal(routes.hostTenant(host)?.id, 'acme', host);
    }
    assert.equal(routes.hostTenant('[::1]:80')?.id, 'acme');
    assert.equal(routes.hostTenant('example.com'), undefined);
    assert.equal(routes.certificate('uri:spiffe://example.com/acme')?.id, 'acme');
    assert.equal(routes.certificate(`sha256:${'ab'.repeat(32)}`)?.id, 'acme');
    assert.equal(routes.certificate('uri:spiffe://example.com/other'), undefined);
  });

  test('RW2 RO2: what did not change is the same object in the next table', () => {
    const first = { ...EMPTY, tenants: tenants(20), services: [service('web'), service('api')] };
    const before = tableOfParts(first, PEPPER);
    const found = before.routes.tenant('tenant-7');
    assert.equal(before.routes.tenant('tenant-7'), found);
    const shelf = new PartShelf();
    shelf.adopt(before.parts);
    const cut = cutWhole(new TableCutter(), {
      ...first,
      version: 2,
      services: [service('web'), service('api', { slowMs: 900 })],
    });
    const names = Object.fromEntries(
      Object.entries(cut.parts).map(([family, parts]) => [family, parts.map((p) => p.digest)]),
    );
    const fresh = cut.parts.services[1];
    assert.ok(fresh);
    shelf.add('services', fresh);
    const after = new TableOfParts(2, shelf.take(names as never), before);
    assert.equal(after.routes.tenants, before.routes.tenants);
    assert.equal(after.routes.tenant('tenant-7'), found);
    assert.equal(after.services[0], before.services[0]);
    assert.notEqual(after.services[1], before.services[1]);
    assert.equal(after.services[1]?.slowMs, 900);
  });
});

describe('what is not in order is refused, with the reason', () => {
  test('RW1: a row with one odd field refuses the table', () => {
    const refused = (change: Partial<TenantRoute>): string =>
      reasonOf({ tenants: [tenant('globex'), tenant('acme', change)] });
    assert.match(refused({ hosts: ['Acme.example.com'] }), /odd host Acme/u);
    assert.match(refused({ hosts: ['a b'] }), /odd host/u);
    assert.match(refused({ hosts: ['*.example.com'] }), /odd host/u);
    assert.match(refused({ hosts: ['x.org', 'x.org'] }), /two of the hosts are x\.org/u);
    assert.match(refused({ certificates: ['acme'] }), /odd certificate/u);
    assert.match(refused({ region: 'e\r\nx: y' }), /odd character/u);
    assert.match(refused({ region: 'é' }), /odd character/u);
    assert.match(refused({ region: 'a"b' }), /odd character/u);
    assert.match(refused({ region: '' }), /odd region/u);
    assert.match(refused({ ratePerSecond: Number.NaN }), /odd limit/u);
    assert.match(refused({ burst: -1 }), /odd limit/u);
    assert.match(refused({ concurrency: '5' as never }), /odd limit/u);
    assert.match(refused({ priority: 10 }), /odd priority/u);
    assert.match(refused({ id: 'globex' as never, keys: [] }), /two of the tenants are globex/u);
    const key = { id: 'key0globex', mac: 'm', expiresAtMs: undefined };
    assert.match(refused({ keys: [key] }), /two of the keys are key0globex/u);
    assert.match(refused({ keys: [{ ...key, id: 'k2', mac: '' }] }), /nobody's/u);
    assert.match(refused({ keys: [{ ...key, id: 'k2', roles: [7 as never] }] }), /odd roles/u);
    assert.equal(refused({ priority: 0, ratePerSecond: 0.001, bodyBytes: 0 }), 'not refused');
  });

  test('services, rules and the whole: what a request would stumble over', () => {
    const one = (change: object): string => reasonOf({ services: [service('web', change)] });
    const replica = service('web').replicas[0];
    assert.ok(replica);
    assert.match(one({ replicas: [{ ...replica, port: 0 }] }), /without a port/u);
    assert.match(one({ replicas: [{ ...replica, weight: 101 }] }), /odd weight/u);
    assert.match(one({ prefixes: undefined }), /no list/u);
    assert.match(one({ prefixes: [route('api')] }), /odd prefix/u);
    assert.match(one({ prefixes: [route('/x', { allow: { a: 'GET' as never } })] }), /matrix/u);
    assert.match(one({ name: 'a\nb' as never }), /odd name/u);
    for (const shardSize of [0, 1.5, -1, '2', null]) {
      assert.match(one({ shardSize }), /odd shardSize/u, String(shardSize));
    }
    for (const concurrencyMax of [0, 0.5, '9']) {
      assert.match(one({ concurrencyMax }), /odd concurrencyMax/u, String(concurrencyMax));
    }
    assert.equal(one({ shardSize: 1, concurrencyMax: 1 }), 'not refused');
    assert.match(reasonOf({ services: [service('web'), service('web')] }), /two services/u);
    assert.match(reasonOf({ retryBudget: 7 }), /retry budget/u);
    assert.match(reasonOf({ tenantRules: [{ tenant: 'x', mode: 'pin' } as never] }), /rule for/u);
    assert.match(reasonOf({ version: 1.5 }), /version/u);
    assert.match(reasonOf({ tenants: undefined as never }), /is none/u);
  });

  test('RW1: a part whose rows are not one to a line, or that ends oddly, is refused', () => {
    const rows = ['["a","eu",0,1,1,1,1]', '["b","eu",0,1,1,1,1]'];
    const read = (content: string): string => {
      try {
        return `${readPart('tenants', partOf('tenants', content)).size} rows`;
      } catch (error) {
        return String(error);
      }
    };
    assert.equal(read(rowsContent(rows)), '2 rows');
    assert.equal(read('[]'), '0 rows');
    const bad = ['', '[', '[\n]', '[\n\n]', `[\n${rows.join(',')}\n]`, `[\n${rows.join('\n')}\n]`];
    bad.push(`[\n${rows.join(',\n')}`, `[\n${rows.join(',\n')}\n]x`, `[\n${rows.join(',\n')},\n]`);
    bad.push(`[\n"a"\n]`, '[\n["a"]\n]', '[\n["\\u0061","eu",0,1,1,1,1]\n]', `${rows.join(',\n')}`);
    bad.push('[\n["a","eu",0,1,1,1,01]\n]', '[\n["a",\n"eu"]\n]');
    bad.push('[\n[ "a","eu",0,1,1,1,1]\n]', '[\n["","eu",0,1,1,1,1]\n]');
    for (const content of bad) assert.match(read(content), /Error/u, content);
    assert.throws(() => readPart('keys', partOf('tenants', rowsContent(rows))), /no part of/u);
  });

  test('RW1: one changed byte is refused, or gives a part that reads without a fault', () => {
    const cut = cutWhole(new TableCutter(), { ...EMPTY, tenants: tenants(3) });
    for (const family of ['tenants', 'keys'] as const) {
      const [part] = cut.parts[family];
      assert.ok(part);
      fc.assert(
        fc.property(fc.nat(part.body.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
          const body = Buffer.from(part.body);
          body[at] = byte;
          let read;
          try {
            read = readPart(family, { digest: '', body });
          } catch {
            return;
          }
          for (const { name } of read.rows()) assert.ok(read.has(name, nameHash(name)));
        }),
        { numRuns: 300 },
      );
    }
  });

  test('CH1: a part is what its digest says', () => {
    const cut = cutWhole(new TableCutter(), { ...EMPTY, tenants: tenants(3) });
    const [part] = cut.parts.tenants;
    assert.ok(part);
    const shelf = new PartShelf();
    const body = Buffer.from(part.body.toString().replace('100', '999'));
    assert.throws(() => shelf.add('tenants', { digest: part.digest, body }), /damaged/u);
    assert.equal(shelf.has('tenants', part.digest), false);
    shelf.add('tenants', part);
    assert.equal(shelf.has('tenants', part.digest), true);
    assert.equal(shelf.has('keys', part.digest), false);
  });

  test('RT1: rows in the wrong bucket, or another number of buckets, refuse the table', () => {
    const { parts } = tableOfParts({ ...EMPTY, tenants: tenants(600) }, PEPPER);
    const [first, second, third, fourth] = parts.tenants;
    assert.ok(first && second && third && fourth);
    const all = parts.tenants.length;
    assert.equal(new RowTable('tenants', parts.tenants).size, 600);
    assert.equal(all, 4);
    for (const list of [
      [second, first, third, fourth],
      [first, second, third],
      [second, first],
    ]) {
      assert.throws(() => new RowTable('tenants', list), /not in their buckets/u);
    }
  });
});

describe('rows', () => {
  const anyText = fc.oneof(fc.string(), fc.stringMatching(/^[ -~]{0,20}$/u));
  const anyNumber = fc.oneof(fc.nat(), fc.double(), fc.constantFrom(-0, 1e15, 1e21, 2 ** 53));
  const anyTenant = fc.record({
    id: anyText,
    region: anyText,
    status: fc.constantFrom('active', 'suspended'),
    ratePerSecond: anyNumber,
    burst: anyNumber,
    concurrency: anyNumber,
    bodyBytes: anyNumber,
    keys: fc.constant([]),
    priority: fc.option(fc.nat(9), { nil: undefined }),
  });
  const anyKey = fc.record({
    id: anyText,
    mac: anyText,
    expiresAtMs: fc.option(anyNumber, { nil: undefined }),
    roles: fc.option(fc.array(anyText), { nil: undefined }),
  });

  test('WR1: a row put together from its columns is what JSON writes', () => {
    fc.assert(
      fc.property(anyTenant, anyKey, (owner, rule) => {
        const one = owner as unknown as TenantRoute;
        const { id, region, ratePerSecond, burst, concurrency, bodyBytes, priority } = owner;
        const suspended = owner.status === 'suspended' ? 1 : 0;
        const row = [id, region, suspended, ratePerSecond, burst, concurrency, bodyBytes];
        const more = priority === undefined ? [] : [{ priority }];
        assert.equal(rowText('tenants', one, id), JSON.stringify([...row, ...more]));
        const { roles } = rule;
        const key = [rule.id, id, rule.mac, rule.expiresAtMs ?? 0];
        const others = roles === undefined ? [] : [{ roles }];
        const known = rule as KeyRule;
        assert.equal(rowText('keys', one, known), JSON.stringify([...key, ...others]));
        assert.equal(rowText('hosts', one, 'x.org'), JSON.stringify(['x.org', id]));
      }),
      { numRuns: 500 },
    );
  });

  test('RR1: a row read by hand says what JSON says, whatever its columns are', () => {
    const count = fc.oneof(fc.nat(), fc.double({ min: 0, max: 1e14, noNaN: true }));
    const name = fc.stringMatching(/^[ !#-[\]-~]{1,30}$/u);
    fc.assert(
      fc.property(name, name, name, count, fc.nat(1), (one, two, three, limit, flag) => {
        const text = JSON.stringify([one, two, flag, limit, 1, 2, limit]);
        const { id, region, status, ratePerSecond, burst, concurrency, bodyBytes } = readRow(
          'tenants',
          text,
        );
        const state = status === 'suspended' ? 1 : 0;
        assert.equal(
          JSON.stringify([id, region, state, ratePerSecond, burst, concurrency, bodyBytes]),
          text,
        );
        const { rule, tenant: owner } = readRow('keys', JSON.stringify([one, two, three, limit]));
        const expiresAtMs = limit === 0 ? undefined : limit;
        assert.deepEqual([rule, owner], [{ id: one, mac: three, expiresAtMs }, two]);
      }),
      { numRuns: 500 },
    );
    const ranked = readRow('tenants', '["acme","eu",1,0.5,200,50,1048576,{"priority":3}]');
    assert.deepEqual(ranked, {
      ...tenant('acme', { status: 'suspended', ratePerSecond: 0.5, priority: 3 }),
      keys: [],
    });
    // Written otherwise, and still JSON.
    assert.equal(readRow('tenants', '["acme", "eu",0,1e2,200,50,1048576 ]').ratePerSecond, 100);
  });
});

describe('cutting', () => {
  test('CU1: a changed replica makes one part, and no tenant is looked at', () => {
    const cutter = new TableCutter();
    const list = tenants(1_000);
    const services = Array.from({ length: 20 }, (_, i) => service(`s${i}`));
    const table = { ...EMPTY, tenants: list, services };
    const before = cutWhole(cutter, table);
    const changed = services.with(3, service('s3', { slowMs: 1 }));
    const after = cutWhole(cutter, { ...table, version: 2, services: changed });
    assert.equal(after.parts.tenants, before.parts.tenants);
    assert.equal(after.parts.keys, before.parts.keys);
    const differ = after.parts.services.filter((part, i) => part !== before.parts.services[i]);
    assert.equal(differ.length, 1);
    assert.equal(after.parts.rest[0], before.parts.rest[0]);
  });

  test('CU1: a changed tenant makes one part of tenants, a new key one of keys', () => {
    const cutter = new TableCutter();
    const list = tenants(1_000);
    const before = cutWhole(cutter, { ...EMPTY, tenants: list });
    const slower = list.with(5, tenant('tenant-5', { ratePerSecond: 1 }));
    const after = cutWhole(cutter, { ...EMPTY, tenants: slower });
    const differ = (family: 'tenants' | 'keys'): number =>
      after.parts[family].filter((p, i) => p.digest !== before.parts[family][i]?.digest).length;
    assert.deepEqual([differ('tenants'), differ('keys')], [1, 0]);
    const keyed = list.with(5, {
      ...tenant('tenant-5'),
      keys: [...tenant('tenant-5').keys, { id: 'another-key', mac: 'm', expiresAtMs: 5 }],
    });
    const last = cutWhole(cutter, { ...EMPTY, tenants: keyed });
    assert.deepEqual(
      last.parts.tenants.map((p) => p.digest),
      before.parts.tenants.map((p) => p.digest),
    );
    assert.equal(
      last.parts.keys.filter((p, i) => p.digest !== before.parts.keys[i]?.digest).length,
      1,
    );
  });

  test('PT2 CU2: past a limit there is no table, and the next one is cut as ever', () => {
    const cutter = new TableCutter();
    const table = { ...EMPTY, tenants: tenants(10), services: [service('web')] };
    const before = cutWhole(cutter, table);
    const many = Array.from({ length: 1_001 }, (_, i) => service(`s${i}`));
    const wide = service('web', {
      prefixes: Array.from({ length: 20_000 }, (_, i) => route(`/${i}/${'x'.repeat(50)}`)),
    });
    const full = Array.from({ length: 500_001 }, () => EMPTY.tenants[0] ?? tenant('same'));
    for (const [change, why] of [
      [{ services: many }, /1001 of at most 1000 services/u],
      [{ services: [wide] }, /a part of the services/u],
      [{ tenants: full }, /500001 of at most 500000/u],
    ] as const) {
      assert.throws(
        () => cutWhole(cutter, { ...table, ...change }),
        (error: Error & { code?: string }) =>
          error.code === 'KIN_GATEWAY_TABLE_LIMIT' && why.test(error.message),
      );
    }
    assert.equal(cutWhole(cutter, table).parts.tenants[0], before.parts.tenants[0]);
  });
});

describe('paths', () => {
  test('PX1: the tree answers what trying all prefixes, longest first, would answer', () => {
    const piece = fc.constantFrom('', 'a', 'b', 'api', 'a.b');
    const path = fc.array(piece, { maxLength: 5 }).map((pieces) => `/${pieces.join('/')}`);
    const prefix = fc.oneof(path, fc.constantFrom('', '/', '//', '/a//', '///'));
    fc.assert(
      fc.property(fc.array(prefix, { maxLength: 12 }), fc.array(path), (prefixes, paths) => {
        const entries = prefixes
          .map((one, i) => ({ prefix: one, i }))
          .toSorted((a, b) => b.prefix.length - a.prefix.length);
        const tree = openPrefixTree(entries, (entry) => entry.prefix);
        for (const one of [...paths, ...prefixes, '/', '/a', '//', '']) {
          const slow = entries.find((entry) => matchesPrefix(one, entry.prefix));
          assert.equal(tree.find(one), slow, JSON.stringify([one, slow]));
        }
      }),
      { numRuns: 500 },
    );
  });

  test('200 services with four prefixes each are told apart', () => {
    const names = Array.from({ length: 200 }, (_, i) => `s${i}`);
    const services = names.map((name) =>
      service(name, {
        prefixes: ['', '/v1', '/v1/deep', '/v2'].map((rest) => route(`/api/${name}${rest}`)),
      }),
    );
    const { routes } = tableOfParts({ ...EMPTY, services }, PEPPER);
    assert.equal(routes.entries.length, 800);
    for (const name of names) {
      assert.equal(routes.findEntry(`/api/${name}/v1/x`)?.service.name, serviceName(name));
      assert.equal(routes.findEntry(`/api/${name}/v1/deep`)?.route.prefix, `/api/${name}/v1/deep`);
    }
    assert.equal(routes.findEntry('/api/s200'), undefined);
    assert.equal(routes.findEntry('/'), undefined);
  });
});
