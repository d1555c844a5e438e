import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { judge, judgementProblem, rulingOf } from '../../../src/gateway/tenancy-ruling.ts';
import type { Ruling } from '../../../src/gateway/tenancy-ruling.ts';
import { openCrossings } from '../../../src/gateway/tenancy-tally.ts';
import { HostMemo, hostVerdict, pathVerdict, routeVerdict } from '../../../src/gateway/tenancy.ts';
import { tenancyProblem, tenancyVerdict } from '../../../src/gateway/tenancy.ts';
import { serviceName, tenantId } from '../../../src/model/ids.ts';
import type { PrefixRoute, ServiceRoute } from '../../../src/model/routing.ts';
import type { GatewayEvent } from '../../../src/model/signal.ts';
import { hostHead, routesOf, tenantOf } from './rig.ts';

const route = (more: Partial<PrefixRoute> = {}): PrefixRoute => ({
  prefix: '/t',
  timeoutMs: 1_000,
  retry: true,
  ...more,
});
const routes = routesOf({
  tenants: [
    tenantOf('acme', { hosts: ['acme.test', 'api.acme.test'] }),
    tenantOf('globex', { hosts: ['globex.test'] }),
    tenantOf('initech'),
  ],
});

describe('one tenant for host, path, route and credential', () => {
  test('TN2: by a tenant’s own host only that tenant comes in; by a shared one everybody', () => {
    for (const host of [
      'acme.test',
      'ACME.test',
      'acme.test:8080',
      'acme.test.',
      'api.acme.test',
    ]) {
      assert.equal(hostVerdict('acme', routes, host), 'same', host);
      assert.equal(hostVerdict('globex', routes, host), 'host-of-another', host);
      assert.equal(hostVerdict('initech', routes, host), 'host-of-another', host);
    }
    for (const host of ['shared.test', 'x.acme.test', 'acme.test.evil', '127.0.0.1:80', '[::1]']) {
      assert.equal(hostVerdict('globex', routes, host), 'same', host);
    }
  });

  test('TN2: a connection’s memo says what a look-up says, over hosts and tables', () => {
    const others = routesOf({ tenants: [tenantOf('globex', { hosts: ['acme.test'] })] });
    const memo = new HostMemo();
    const host = fc.constantFrom('acme.test', 'ACME.test:80', 'globex.test', 'x.test', 'acme.tesT');
    fc.assert(
      fc.property(fc.array(fc.tuple(host, fc.boolean()), { maxLength: 20 }), (asked) => {
        for (const [name, isOther] of asked) {
          const table = isOther ? others : routes;
          assert.equal(memo.ownerOf(table, hostHead(name)), table.hostTenant(name)?.id);
        }
      }),
    );
  });

  test('TN3: the segment that names the tenant is compared byte by byte', () => {
    const second = route({ tenantSegment: 2 });
    for (const path of ['/t/acme', '/t/acme/', '/t/acme/x/globex', '/anything/acme/x']) {
      assert.equal(pathVerdict('acme', second, path), 'same', path);
    }
    const others = [
      '/t',
      '/t/',
      '/t//acme',
      '//t/acme',
      '/t/acmee',
      '/t/acm',
      '/t/ACME',
      '/t/%61cme',
      '/t/acme;v=1',
      '/t/acme%20',
      '/t/acme.json',
      '/t/globex/acme',
      '/t/globex',
      '/',
    ];
    for (const path of others) {
      assert.equal(pathVerdict('acme', second, path), 'path-of-another', path);
    }
    assert.equal(pathVerdict('acme', route({ tenantSegment: 1 }), '/acme/x'), 'same');
    assert.equal(pathVerdict('acme', route({ tenantSegment: 1 }), '/t/acme'), 'path-of-another');
    assert.equal(pathVerdict('', second, '/t//x'), 'path-of-another', 'nobody is in every path');
    assert.equal(pathVerdict('acme', route(), '/t/globex'), 'same', 'nothing is asked for');
  });

  test('TN3: any path agrees with splitting it at its slashes', () => {
    const segment = fc.constantFrom('acme', 'globex', '', 'acm', 'acmex', 'x');
    const path = fc.array(segment, { maxLength: 6 }).map((all) => `/${all.join('/')}`);
    fc.assert(
      fc.property(path, fc.integer({ min: 1, max: 6 }), (text, tenantSegment) => {
        const is = text.split('/')[tenantSegment] === 'acme';
        const verdict = pathVerdict('acme', route({ tenantSegment }), text);
        assert.equal(verdict, is ? 'same' : 'path-of-another');
      }),
    );
  });

  test('TN1: all four agree, or nothing passes', () => {
    const bound = route({ tenants: [tenantId('acme')], tenantSegment: 2 });
    const ask = (tenant: string, host: string, path: string): string =>
      tenancyVerdict(tenant, routes, host, path, bound);
    assert.equal(ask('acme', 'acme.test', '/t/acme'), 'same');
    assert.equal(ask('acme', 'shared.test', '/t/acme'), 'same');
    assert.equal(ask('acme', 'globex.test', '/t/acme'), 'host-of-another');
    assert.equal(ask('acme', 'acme.test', '/t/globex'), 'path-of-another');
    assert.equal(ask('globex', 'globex.test', '/t/globex'), 'route-of-others');
    assert.equal(routeVerdict('acme', route()), 'same');
    assert.equal(routeVerdict('acme', route({ tenants: [] })), 'route-of-others');
  });

  test('TN4: a route of others answers like an unknown path, the rest is 403', () => {
    const unknown = { status: 404, reason: 'route-unknown', detail: 'No service has this path.' };
    assert.deepEqual(tenancyProblem('route-of-others'), unknown);
    for (const verdict of ['host-of-another', 'path-of-another'] as const) {
      const { status, reason, detail } = tenancyProblem(verdict);
      assert.deepEqual([status, reason], [403, 'tenant-mismatch']);
      assert.ok(!/acme|globex/u.test(detail));
    }
  });
});

describe('the ruling of a flow', () => {
  const ann = { tenant: tenantOf('acme'), roles: ['clerk'], subject: 'user:ann' };
  const service = { name: serviceName('api') } as ServiceRoute;
  const rule = (more: Partial<PrefixRoute>): Ruling =>
    rulingOf(ann, { service, route: route({ allow: { clerk: ['GET'] }, ...more }) });

  test('RU1: tenancy comes before rights, and each says its own', () => {
    const open = rule({});
    assert.equal(judge(open, undefined, '/t', 'GET'), 'same');
    assert.equal(judge(open, 'acme', '/t', 'GET'), 'same');
    assert.equal(judge(open, undefined, '/t', 'POST'), 'not-allowed');
    assert.equal(judge(open, 'globex', '/t', 'POST'), 'host-of-another');
    const bound = rule({ tenantSegment: 2 });
    assert.equal(judge(bound, undefined, '/t/globex', 'POST'), 'path-of-another');
    assert.equal(judge(bound, undefined, '/t/acme', 'POST'), 'not-allowed');
    // Whoever may not know of the route does not hear of hosts, paths and rights either.
    const others = rule({ tenants: [tenantId('globex')], tenantSegment: 2 });
    assert.equal(judge(others, 'globex', '/t/globex', 'POST'), 'route-of-others');
    assert.equal(judgementProblem('not-allowed').reason, 'not-allowed');
    assert.equal(judgementProblem('route-of-others').status, 404);
  });

  test('RU1: a ruling says what the whole question says', () => {
    const owner = fc.constantFrom(undefined, 'acme', 'globex');
    const path = fc.constantFrom('/t/acme', '/t/globex', '/t');
    const who = fc.constantFrom(undefined, [tenantId('acme')], [tenantId('globex')]);
    fc.assert(
      fc.property(owner, path, who, fc.boolean(), (host, text, tenants, hasSegment) => {
        const more = {
          ...(tenants === undefined ? {} : { tenants }),
          ...(hasSegment ? { tenantSegment: 2 } : {}),
        };
        const hosts = {
          hostTenant: () => (host === undefined ? undefined : tenantOf(host)),
        };
        const whole = tenancyVerdict('acme', hosts, 'x', text, route(more));
        assert.equal(judge(rule(more), host, text, 'GET'), whole);
      }),
    );
  });
});

describe('who is told of crossings', () => {
  const acme = tenantId('acme');
  const api = serviceName('api');

  test('TT1: the first at once, a flood as one event each 10 s, the rest with a flush', () => {
    const told: GatewayEvent[] = [];
    const crossings = openCrossings((event) => told.push(event));
    for (let i = 0; i < 1_000; i += 1) crossings.note(acme, api, 'host-of-another', i);
    const event = { kind: 'crossed', tenant: acme, service: api, crossing: 'host-of-another' };
    assert.deepEqual(told, [{ ...event, requests: 1 }]);
    crossings.flush(9_999);
    assert.equal(told.length, 1);
    crossings.flush(10_000);
    assert.deepEqual(told[1], { ...event, requests: 999 });
    crossings.flush(20_000);
    crossings.note(acme, api, 'host-of-another', 20_001);
    assert.deepEqual(told[2], { ...event, requests: 1 });
    crossings.note(acme, api, 'path-of-another', 20_001);
    assert.equal(told.length, 4);
    assert.deepEqual(crossings.counts(), {
      'host-of-another': 1_001,
      'path-of-another': 1,
      'route-of-others': 0,
    });
  });

  test('TT2: many tenants do not make it grow, and no count is lost', () => {
    let requests = 0;
    let events = 0;
    const crossings = openCrossings((event) => {
      if (event.kind === 'crossed') requests += event.requests;
      events += 1;
    });
    for (let i = 0; i < 30_000; i += 1) {
      const tenant = tenantId(`t-${(i * 7) % 12_000}`);
      crossings.note(tenant, api, 'route-of-others', 1);
    }
    crossings.flush(10_001);
    assert.equal(requests, 30_000);
    assert.ok(events <= 40_000);
    assert.equal(crossings.counts()['route-of-others'], 30_000);
  });
});
