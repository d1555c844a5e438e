// Can gateways tell whose request it is, and where it goes? What a route names must be there, and
// nothing that names a tenant may name two.
import { nearest } from './nearest.ts';
import { listed, problem } from './checking.ts';
import type { Checking } from './checking.ts';
import type { DraftService } from './keys-service.ts';

/** What stands in for `tenants` when the manifest names none. */
const STANDARD_TENANTS: ReadonlyMap<string, unknown> = new Map([['default', undefined]]);

export function checkRouting(c: Checking): void {
  for (const [name, service] of c.draft.services) {
    (service.routes ?? []).forEach((route, i) => {
      checkRoute(c, `services.${name}.routes[${i}]`, route);
    });
  }
  checkOwned(c, 'hosts', 'the host');
  checkOwned(c, 'certificates', 'the certificate');
}

type DraftRoute = NonNullable<DraftService['routes']>[number];

function checkRoute(c: Checking, path: string, route: DraftRoute): void {
  const tenants = c.draft.tenants ?? STANDARD_TENANTS;
  checkNames(c, path, 'tenants', route.tenants ?? [], tenants);
  checkNames(c, path, 'dependencies', route.dependencies ?? [], c.draft.dependencies);
}

function checkNames(
  c: Checking,
  path: string,
  key: 'tenants' | 'dependencies',
  names: readonly string[],
  known: ReadonlyMap<string, unknown>,
): void {
  names.forEach((name, i) => {
    if (name === '' || known.has(name)) return;
    const expected = `a name from ${key}${listed(known.keys())}`;
    const meant = nearest(name, known.keys());
    const at = `${path}.${key}[${i}]`;
    problem(c, 'KIN_MANIFEST_REFERENCE', at, JSON.stringify(name), expected, meant);
  });
}

function checkOwned(c: Checking, key: 'hosts' | 'certificates', what: string): void {
  const owners = new Map<string, string>();
  for (const [tenant, spec] of c.draft.tenants ?? []) {
    (spec[key] ?? []).forEach((value, i) => {
      const owner = owners.get(value);
      if (owner === undefined || value === '') {
        owners.set(value, tenant);
        return;
      }
      const whose = owner === tenant ? 'this tenant' : `the tenant ${owner}`;
      const path = `tenants.${tenant}.${key}[${i}]`;
      const expected = `one of its own: ${whose} has it already`;
      problem(c, 'KIN_MANIFEST_CONFLICT', path, `${what} ${value}`, expected);
    });
  }
}
