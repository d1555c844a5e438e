import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Isolation } from '../../../src/gateway/fair/isolation.ts';
import { Backends } from '../../../src/gateway/backends.ts';
import { NO_RULES } from '../../../src/gateway/fair/rules.ts';
import type { BackendDeps } from '../../../src/gateway/lane.ts';
import { openPoison } from '../../../src/gateway/poison.ts';
import { openUpstreams } from '../../../src/gateway/http/server.ts';
import { asReplicaId, releaseId, serviceName, tenantId } from '../../../src/model/ids.ts';
import type { DependencyName } from '../../../src/model/ids.ts';
import type { RoutingTable, ServiceRoute, TenantRule } from '../../../src/model/routing.ts';

const ACME = tenantId('acme');
const DB = 'db' as DependencyName;

function service(name: string): ServiceRoute {
  return {
    name: serviceName(name),
    prefixes: [{ prefix: `/${name}`, timeoutMs: 1_000, retry: true, dependencies: [DB] }],
    replicas: [
      {
        id: asReplicaId(`${name}-1`),
        release: releaseId('r1'),
        host: '127.0.0.1',
        port: 1,
        weight: 100,
        region: 'any',
      },
    ],
    healthPath: undefined,
    assertionKey: '',
    minRouted: 1,
    slowMs: 1_000,
  };
}

function table(names: readonly string[], tenantRules: readonly TenantRule[]): RoutingTable {
  const services = names.map(service);
  return {
    v: 1,
    version: 1,
    services,
    tenants: [],
    quarantines: [],
    jwt: [],
    retryBudget: 0.2,
    tenantRules,
  };
}

describe('isolation under tables', () => {
  test('IS1. gates and breakers outlive tables, rules are those of the newest', () => {
    const isolation = new Isolation({ workers: 1, nowMs: () => 0, random: () => 0 });
    const deny: TenantRule = { tenant: ACME, mode: 'deny', reason: 'test' };
    isolation.use(table(['a'], [deny]));
    assert.equal(isolation.ruled(ACME, 'GET', 0)?.reason, 'tenant-quarantined');
    const tenant = {
      id: ACME,
      region: 'any',
      status: 'active',
      ratePerSecond: 1,
      burst: 1,
      concurrency: 1,
      bodyBytes: 1,
      keys: [],
    } as const;
    const [route] = service('a').prefixes;
    assert.ok(route !== undefined);
    const entry = { service: service('a'), route } as Parameters<Isolation['termsOf']>[1];
    const before = isolation.termsOf(tenant, entry);
    isolation.use(table(['a'], []));
    assert.equal(isolation.ruled(ACME, 'GET', 0), undefined);
    const after = isolation.termsOf(tenant, entry);
    assert.ok(before.gate !== undefined);
    assert.equal(before.gate, after.gate);
    assert.equal(before.needs[0]?.breaker, after.needs[0]?.breaker);
    isolation.close();
  });

  test('BK1. a service that left the table takes nothing new, one that stays is the same', () => {
    const upstreams = openUpstreams();
    const deps: BackendDeps = {
      nowMs: () => 0,
      random: () => 0,
      open: (host, port) => upstreams.pool(host, port),
      look: async () => ({ kind: 'answered', status: 200 }),
      emit: () => undefined,
      changed: () => undefined,
      poison: openPoison(0),
    };
    const backends = new Backends(deps);
    backends.use([service('a'), service('b')], NO_RULES);
    const kept = backends.of(serviceName('a'));
    const gone = backends.of(serviceName('b'));
    backends.use([service('a')], NO_RULES);
    assert.equal(backends.of(serviceName('a')), kept);
    assert.equal(backends.of(serviceName('b')), undefined);
    assert.equal(gone?.lanes.size, 0);
    assert.equal(kept?.lanes.size, 1);
    backends.close();
  });
});
