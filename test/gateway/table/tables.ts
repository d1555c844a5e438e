// Tables for the tests of how tables travel.
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { asReplicaId, releaseId, serviceName, tenantId } from '../../../src/model/ids.ts';
import type {
  PrefixRoute,
  RoutingTable,
  ServiceRoute,
  TenantRoute,
} from '../../../src/model/routing.ts';

export const PEPPER = 'cGVwcGVy';

export const EMPTY: RoutingTable = {
  v: 1,
  version: 1,
  services: [],
  tenants: [],
  quarantines: [],
  jwt: [],
  retryBudget: 0.2,
};

export function route(prefix: string, change: Partial<PrefixRoute> = {}): PrefixRoute {
  return { prefix, timeoutMs: 1_000, retry: true, ...change };
}

export function service(name: string, change: Partial<ServiceRoute> = {}): ServiceRoute {
  return {
    name: serviceName(name),
    prefixes: [route(`/${name}`)],
    replicas: [1, 2].map((n) => ({
      id: asReplicaId(`${name}-${n}`),
      release: releaseId('r-1'),
      host: '127.0.0.1',
      port: 20_000 + n,
      weight: 100,
      region: 'any',
    })),
    healthPath: undefined,
    assertionKey: 'a'.repeat(43),
    minRouted: 1,
    slowMs: 500,
    ...change,
  };
}

export function tenant(name: string, change: Partial<TenantRoute> = {}): TenantRoute {
  const mac = createHash('sha256').update(name).digest('base64url');
  return {
    id: tenantId(name),
    region: 'eu',
    status: 'active',
    ratePerSecond: 100,
    burst: 200,
    concurrency: 50,
    bodyBytes: 1_048_576,
    keys: [{ id: `key0${name}`, mac, expiresAtMs: undefined }],
    ...change,
  };
}

export function tenants(count: number): TenantRoute[] {
  return Array.from({ length: count }, (_, i) => tenant(`tenant-${i}`));
}

const text = fc.stringMatching(/^[a-z][a-z0-9]{0,11}$/u);
const keyRule = fc.record({
  id: fc.stringMatching(/^[A-Za-z0-9]{8,12}$/u),
  mac: fc.stringMatching(/^[A-Za-z0-9_-]{43}$/u),
  expiresAtMs: fc.option(fc.integer({ min: 1, max: 4e12 }), { nil: undefined }),
});
const ranked = fc.oneof(
  fc.constant({}),
  fc.record({ priority: fc.integer({ min: 0, max: 9 }), hosts: fc.array(text, { maxLength: 2 }) }),
);

/** Tenants without anything that two of them share. */
export const anyTenants = fc
  .array(
    fc
      .tuple(
        fc.record({
          id: text.map(tenantId),
          region: fc.constantFrom('eu', 'us', 'any'),
          status: fc.constantFrom('active' as const, 'suspended' as const),
          ratePerSecond: fc.double({ min: 0.001, max: 1e6, noNaN: true }),
          burst: fc.integer({ min: 1, max: 1e6 }),
          concurrency: fc.integer({ min: 1, max: 1e5 }),
          bodyBytes: fc.integer({ min: 0, max: 2 ** 32 }),
        }),
        fc.array(
          fc.oneof(
            keyRule.map((k) => ({ ...k })),
            fc.tuple(keyRule, fc.array(text)).map(([k, roles]) => ({ ...k, roles })),
          ),
          { maxLength: 3 },
        ),
        ranked,
      )
      .map(([limits, keys, more]): TenantRoute => ({ ...limits, keys, ...more })),
    { maxLength: 40 },
  )
  .map((list) => {
    const seen = new Set<string>();
    const isNew = (name: string): boolean => !seen.has(name) && seen.add(name) !== undefined;
    return list
      .filter(({ id }) => isNew(`t:${id}`))
      .map((one) => ({
        ...one,
        keys: one.keys.filter(({ id }) => isNew(`k:${id}`)),
        ...(one.hosts === undefined ? {} : { hosts: one.hosts.filter((h) => isNew(`h:${h}`)) }),
      }));
  });
