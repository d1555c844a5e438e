// Do the parts of a manifest fit together? Cross-checks over the draft: what no single key can
// know. Each check looks at one rule and notes every place that breaks it.
import { nearest } from './nearest.ts';
import { FRAMEWORKS } from './keys.ts';
import type { Draft } from './keys.ts';
import type { DraftProbe, DraftService } from './keys-service.ts';
import { replicasOf, routesOf, urlOf } from './derive.ts';
import { advise, listed, problem } from './checking.ts';
import type { Checking } from './checking.ts';
import { checkIdentity } from './checks-identity.ts';
import { checkLedger } from './checks-ledger.ts';
import { checkObserve } from './checks-observe.ts';
import { checkReferences } from './checks-references.ts';
import { checkRouting } from './checks-routing.ts';
import { checkTls } from './checks-tls.ts';

/** Notes every problem and warning of the draft as a whole. */
export function crossCheck(c: Checking): void {
  checkPorts(c);
  checkSecrets(c);
  for (const [name, service] of c.draft.services) checkService(c, `services.${name}`, service);
  checkPrefixes(c);
  checkDependencies(c);
  checkCycles(c);
  checkTenants(c);
  checkIdentity(c);
  checkRouting(c);
  checkHealing(c);
  checkCompliance(c);
  checkHosts(c);
  checkTls(c);
  checkLedger(c);
  checkObserve(c);
  checkReferences(c);
}

function checkPorts(c: Checking): void {
  const taken = new Map<number, string>();
  const ports: readonly (readonly [string, number])[] = [
    ['gateway.port', c.draft.gateway.port],
    ['control.port', c.draft.control.port],
    ...[...c.draft.services].map(([name, s]) => [`services.${name}.port`, s.port] as const),
  ];
  for (const [path, port] of ports) {
    if (port === 0) continue;
    const other = taken.get(port);
    if (other === undefined) taken.set(port, path);
    else {
      // The default of the gateway has no line: then the key that does have one is to blame.
      const at = c.places.has(path) || !c.places.has(other) ? path : other;
      const rest = at === path ? other : path;
      const expected = `a port of its own: ${rest} has it already`;
      problem(c, 'KIN_MANIFEST_CONFLICT', at, `port ${port}`, expected, 'port: 0');
    }
  }
}

function checkSecrets(c: Checking): void {
  for (const [name, secret] of c.draft.secrets) {
    const path = `secrets.${name}`;
    const given = (['generate', 'file', 'env'] as const).filter((k) => secret[k] !== undefined);
    const expected = 'exactly one of generate, file and env';
    const quiet = ['generate', 'file', 'env'].some((k) => c.places.has(`${path}.${k}`));
    if (given.length > 1) {
      problem(c, 'KIN_MANIFEST_CONFLICT', path, given.join(' and '), expected);
    }
    if (given.length === 0 && !quiet) {
      problem(c, 'KIN_MANIFEST_MISSING', path, 'no source', expected, '{ generate: 32 }');
    }
  }
}

function checkService(c: Checking, path: string, service: DraftService): void {
  checkReplicas(c, path, service);
  checkProbe(c, `${path}.readiness`, service.readiness);
  checkProbe(c, `${path}.liveness`, service.liveness);
  checkInnerPath(c, `${path}.cwd`, service.cwd);
  const { dependencies, services } = c.draft;
  service.dependsOn.forEach((name, i) => {
    if (dependencies.has(name) || name === '') return;
    const provider = [...dependencies].find(([, d]) => d.service === name)?.[0];
    const expected = services.has(name)
      ? 'the name of a dependency; this is a service'
      : `a name from dependencies${listed(dependencies.keys())}`;
    const meant = provider ?? nearest(name, dependencies.keys());
    const found = JSON.stringify(name);
    problem(c, 'KIN_MANIFEST_REFERENCE', `${path}.dependsOn[${i}]`, found, expected, meant);
  });
}

function checkReplicas(c: Checking, path: string, service: DraftService): void {
  const { min, max, spares } = replicasOf(service);
  const at = `${path}.replicas`;
  if (max < min) {
    problem(c, 'KIN_MANIFEST_CONFLICT', `${at}.max`, `max ${max}`, `at least min, which is ${min}`);
  }
  const why =
    service.kind === 'stateful' ? 'a stateful service' : service.port !== 0 ? 'a fixed port' : '';
  if (why === '') return;
  if (max > 1 || min > 1) {
    const expected = `1, because ${why} cannot be doubled`;
    problem(c, 'KIN_MANIFEST_CONFLICT', at, `${Math.max(min, max)} replicas`, expected, '1');
  }
  if (spares > 0) {
    const expected = `0, because ${why} cannot have a second replica beside it`;
    problem(c, 'KIN_MANIFEST_CONFLICT', `${at}.spares`, `${spares} spares`, expected, '0');
  }
}

function checkProbe(c: Checking, path: string, probe: DraftProbe): void {
  if (probe.http !== undefined && probe.tcp === true) {
    problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.tcp`, 'http and tcp', 'one of http and tcp');
  }
  if (probe.http === undefined && probe.tcp === false) {
    const expected = 'true, or a path under http';
    problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.tcp`, 'tcp: false and no http', expected);
  }
  if (probe.timeout > probe.interval) overlapping(c, path, probe);
}

function overlapping(
  c: Checking,
  path: string,
  times: { readonly interval: number; readonly timeout: number },
): void {
  const text =
    `the timeout (${times.timeout}ms) is longer than the interval (${times.interval}ms): ` +
    'a hung target is noticed later than the interval suggests';
  advise(c, 'probe-overlap', `${path}.timeout`, text);
}

function checkInnerPath(c: Checking, path: string, inner: string): void {
  const leaves = inner.startsWith('/') || inner.split('/').includes('..');
  if (!leaves) return;
  const expected = 'a folder inside the release, because only `source` is copied into it';
  problem(c, 'KIN_MANIFEST_RANGE', path, JSON.stringify(inner.slice(0, 100)), expected);
}

function checkPrefixes(c: Checking): void {
  const taken = new Map<string, string>();
  for (const [name, service] of c.draft.services) {
    const routes = routesOf(c.draft, name);
    if (service.kind === 'stateful' && routes.length > 0) {
      const expected = 'no routes: a stateful service speaks its own protocol to other services';
      problem(c, 'KIN_MANIFEST_CONFLICT', `services.${name}.routes`, 'routes', expected, '[]');
    }
    for (const route of routes) {
      if (route.prefix === '') continue;
      checkSegments(c, route.path, route.prefix);
      const other = taken.get(route.prefix);
      if (other === undefined) taken.set(route.prefix, name);
      else {
        const whose = other === name ? 'this service' : `the service ${other}`;
        const found = `the prefix ${route.prefix} a second time`;
        const expected = `a prefix of its own: ${whose} has it already`;
        problem(c, 'KIN_MANIFEST_CONFLICT', route.path, found, expected);
      }
    }
  }
}

function checkSegments(c: Checking, path: string, prefix: string): void {
  const odd = prefix.split('/').some((s) => s === '.' || s === '..') || prefix.includes('%');
  if (!odd) return;
  const expected = 'a prefix without ".", ".." and "%", which clients and gateways fold';
  problem(c, 'KIN_MANIFEST_RANGE', path, prefix, expected);
}

function checkDependencies(c: Checking): void {
  for (const [name, spec] of c.draft.dependencies) {
    const path = `dependencies.${name}`;
    const { services } = c.draft;
    if (spec.service !== undefined && spec.service !== '' && !services.has(spec.service)) {
      const expected = `a name from services${listed(services.keys())}`;
      const meant = nearest(spec.service, services.keys());
      const found = JSON.stringify(spec.service);
      problem(c, 'KIN_MANIFEST_REFERENCE', `${path}.service`, found, expected, meant);
    }
    if (urlOf(spec) === undefined) {
      const example =
        spec.kind === 'tcp' ? 'tcp://127.0.0.1:6379' : 'postgres://app@127.0.0.1/name';
      const expected = `where it is, such as ${example}`;
      problem(c, 'KIN_MANIFEST_MISSING', `${path}.url`, 'nothing', expected);
    }
    if (spec.timeout > spec.interval) overlapping(c, path, spec);
  }
}

/** A service that waits for itself, over any number of dependencies, could never start. */
function checkCycles(c: Checking): void {
  const next = (name: string): readonly string[] =>
    (c.draft.services.get(name)?.dependsOn ?? []).flatMap((dependency) => {
      const provider = c.draft.dependencies.get(dependency)?.service;
      return provider === undefined || !c.draft.services.has(provider) ? [] : [provider];
    });
  const done = new Set<string>();
  const walk = (name: string, trail: readonly string[]): void => {
    const from = trail.indexOf(name);
    if (from !== -1) {
      const ring = [...trail.slice(from), name].join(' → ');
      const expected = 'services that can start one after the other';
      const path = `services.${name}.dependsOn`;
      problem(c, 'KIN_MANIFEST_REFERENCE', path, `the circle ${ring}`, expected);
      return;
    }
    if (done.has(name)) return;
    for (const other of next(name)) walk(other, [...trail, name]);
    done.add(name);
  };
  for (const name of c.draft.services.keys()) walk(name, []);
}

function checkTenants(c: Checking): void {
  if (c.draft.tenants?.size === 0) {
    advise(c, 'nobody-may-enter', 'tenants', 'there is no tenant, so no request is let in');
  }
  const regions = new Set([...c.draft.services.values()].flatMap((service) => service.regions));
  for (const [name, tenant] of c.draft.tenants ?? []) {
    const { region } = tenant;
    if (region === 'any' || region === '' || regions.has('any') || regions.has(region)) continue;
    const text = `no service serves the region ${region}, so its requests are refused`;
    advise(c, 'region-unserved', `tenants.${name}.region`, text);
  }
}

function checkHealing(c: Checking): void {
  c.draft.healing.freezeWindows.forEach((window, i) => {
    const path = `healing.freezeWindows[${i}]`;
    const from = Date.parse(window.from);
    const to = Date.parse(window.to);
    for (const [key, at] of [
      ['from', from],
      ['to', to],
    ] as const) {
      if (window[key] === '' || !Number.isNaN(at)) continue;
      problem(
        c,
        'KIN_MANIFEST_RANGE',
        `${path}.${key}`,
        window[key],
        'a day that the calendar has',
      );
    }
    if (to <= from) {
      problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.to`, 'an end before the start', 'a later end');
    }
  });
}

function checkCompliance(c: Checking): void {
  const { compliance, dependencies } = c.draft;
  const seen = new Set<string>();
  compliance.checks.forEach((check, i) => {
    const path = `compliance.checks[${i}]`;
    if (check.id !== '' && seen.has(check.id)) {
      const found = `the check ${check.id} a second time`;
      problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.id`, found, 'each id once');
    }
    seen.add(check.id);
    const dependency = dependencies.get(check.dependency);
    if (dependency === undefined) {
      if (check.dependency === '') return;
      const expected = `a name from dependencies${listed(dependencies.keys())}`;
      const meant = nearest(check.dependency, dependencies.keys());
      const found = JSON.stringify(check.dependency);
      problem(c, 'KIN_MANIFEST_REFERENCE', `${path}.dependency`, found, expected, meant);
    } else checkHealable(c, path, check, dependency);
  });
  checkFrameworks(c);
}

function checkHealable(
  c: Checking,
  path: string,
  check: Draft['compliance']['checks'][number],
  dependency: Draft['dependencies'] extends ReadonlyMap<string, infer D> ? D : never,
): void {
  if (dependency.kind !== 'postgres') {
    const expected = 'a dependency of kind postgres';
    const found = `a dependency of kind ${dependency.kind}`;
    problem(c, 'KIN_MANIFEST_CONFLICT', `${path}.dependency`, found, expected);
  }
  if (check.heal === 'off' || dependency.adminUrl !== undefined) return;
  const where = `dependencies.${check.dependency}.adminUrl`;
  if (check.heal === 'automatic') {
    const expected = `the URL of the owner, because ${check.id} is to be healed; or heal: off`;
    problem(c, 'KIN_MANIFEST_MISSING', where, 'nothing', expected);
  } else {
    const text = `drift of ${check.id} can be found and not healed without ${where}`;
    advise(c, 'control-not-healable', path, text);
  }
}

function checkFrameworks(c: Checking): void {
  const { compliance, tenants } = c.draft;
  const named = compliance.frameworks;
  const paths: [string, string][] = (named ?? []).map((f, i) => [f, `compliance.frameworks[${i}]`]);
  compliance.checks.forEach((check, n) =>
    paths.push(
      ...check.frameworks.map((f, i): [string, string] => [
        f,
        `compliance.checks[${n}].frameworks[${i}]`,
      ]),
    ),
  );
  for (const [name, tenant] of tenants ?? []) {
    tenant.frameworks.forEach((f, i) => {
      const path = `tenants.${name}.frameworks[${i}]`;
      paths.push([f, path]);
      if (f === '' || named === undefined || named.includes(f)) return;
      const text = `${f} is not in compliance.frameworks, so nothing is reported for it`;
      advise(c, 'framework-unchecked', path, text);
    });
  }
  for (const [framework, path] of paths) {
    if (framework === '' || FRAMEWORKS.some((known) => known === framework)) continue;
    const meant = nearest(framework, FRAMEWORKS);
    const hint =
      meant === undefined ? `known are ${FRAMEWORKS.join(', ')}` : `did you mean ${meant}?`;
    advise(c, 'framework-unknown', path, `the framework ${framework} is not known: ${hint}`);
  }
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[?::1\]?)$/u;

function checkHosts(c: Checking): void {
  for (const part of ['gateway', 'control'] as const) {
    const { host } = c.draft[part];
    if (LOOPBACK.test(host) || host === '') continue;
    if (part === 'gateway' && c.draft.gateway.tls !== undefined) continue;
    const text =
      part === 'control'
        ? `the control API listens on ${host}: others can reach it; put TLS in front of it`
        : `the gateway listens on ${host}: others can reach it without TLS`;
    advise(c, 'host-open', `${part}.host`, text);
  }
}
