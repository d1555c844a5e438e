// What is remembered between requests, and when it must not be: credentials, lines, counts, routes.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { accountOf, openAdmission } from '../../src/gateway/admission.ts';
import { openAuthenticator } from '../../src/gateway/auth.ts';
import type { AuthAnswer, Authenticator } from '../../src/gateway/auth.ts';
import type { Backend } from '../../src/gateway/backend.ts';
import { openCounters } from '../../src/gateway/counters.ts';
import { flowOf } from '../../src/gateway/flow.ts';
import { Guests } from '../../src/gateway/guests.ts';
import { Head } from '../../src/gateway/http/head.ts';
import type { ExchangeView, PeerCertificate } from '../../src/gateway/http/hooks.ts';
import { DONE, parseRequest } from '../../src/gateway/http/parse-head.ts';
import { requestText } from '../../src/gateway/http/rewrite.ts';
import { REQUEST_HEAD } from '../../src/gateway/http/server.ts';
import {
  ASSERTION_LIFE_MS,
  connectionLines,
  DROP_FROM_REQUEST,
  requestIdOf,
  traceLineOf,
} from '../../src/gateway/identity.ts';
import { keyMac, mintKey } from '../../src/gateway/keys.ts';
import type { Guest, Lane } from '../../src/gateway/lane.ts';
import { foldRoute, pathOf, plainPath } from '../../src/gateway/paths.ts';
import { openPoison } from '../../src/gateway/poison.ts';
import { Principals, sameBytes, Seat } from '../../src/gateway/principals.ts';
import type { Principal, Refused } from '../../src/gateway/principals.ts';
import { compileTable, findEntry } from '../../src/gateway/routes.ts';
import type { Routes } from '../../src/gateway/routes.ts';
import { Targets } from '../../src/gateway/targets.ts';
import { asReplicaId, releaseId, serviceName, tenantId } from '../../src/model/ids.ts';
import type { RoutingTable, ServiceRoute, TenantRoute } from '../../src/model/routing.ts';
import { verifyAssertion } from '../../packages/sdk/src/index.ts';

const PEPPER = randomBytes(32).toString('base64url');
const KEY = mintKey('test', randomBytes(9), randomBytes(32));
const OTHER = mintKey('test', randomBytes(9), randomBytes(32));
const ASSERTION = randomBytes(32);

function tenant(id: string, key: typeof KEY, expiresAtMs?: number): TenantRoute {
  return {
    id: tenantId(id),
    region: 'eu',
    status: 'active',
    ratePerSecond: 10,
    burst: 10,
    concurrency: 10,
    bodyBytes: 1_000,
    keys: [{ id: key.id, mac: keyMac(PEPPER, key.secret), expiresAtMs }],
  };
}

const SERVICE: ServiceRoute = {
  name: serviceName('records'),
  prefixes: [
    { prefix: '/api', timeoutMs: 4_000, retry: true },
    { prefix: '/api/slow', timeoutMs: 9_000, retry: false },
  ],
  replicas: [],
  healthPath: undefined,
  assertionKey: ASSERTION.toString('base64url'),
  minRouted: 1,
  slowMs: 500,
};

function routesOf(
  tenants: readonly TenantRoute[],
  version = 1,
  services: readonly ServiceRoute[] = [SERVICE],
): Routes {
  const table: RoutingTable = {
    v: 1,
    version,
    services,
    tenants,
    quarantines: [],
    jwt: [],
    retryBudget: 0.2,
  };
  const compiled = compileTable(table, PEPPER);
  assert.ok(compiled.kind === 'routes');
  return compiled.routes;
}

function headOf(fields: readonly string[], line = 'GET /api/x HTTP/1.1'): Head {
  const head = new Head(REQUEST_HEAD);
  const text = Buffer.from(`${[line, 'host: h', ...fields].join('\r\n')}\r\n\r\n`);
  assert.equal(parseRequest(head, text, text.length), DONE);
  return head;
}

const shown = (fields: readonly string[], peer?: PeerCertificate) => ({
  head: headOf(fields),
  peer,
  remoteAddress: '10.0.0.1',
});
const bearer = (key: string) => shown([`authorization: Bearer ${key}`]);

/** Counts how often the authenticator is asked. */
class Asked implements Authenticator {
  count = 0;
  readonly #real = openAuthenticator();

  use(routes: Routes): void {
    this.#real.use(routes);
  }

  authenticate(
    ...args: Parameters<Authenticator['authenticate']>
  ): ReturnType<Authenticator['authenticate']> {
    this.count += 1;
    return this.#real.authenticate(...args);
  }
}

function open(tenants: readonly TenantRoute[]) {
  const auth = new Asked();
  const principals = new Principals(auth, openAdmission(1));
  principals.use(routesOf(tenants));
  const find = (view: ReturnType<typeof shown>, seat: Seat, nowMs = 0): Principal | Refused => {
    const found = principals.find(view, seat, nowMs);
    assert.ok(!(found instanceof Promise));
    return found;
  };
  return { auth, principals, find };
}

describe('principals', () => {
  test('PR1: the same bytes are checked once, on this connection and on others', () => {
    const { auth, find } = open([tenant('acme', KEY), tenant('globex', OTHER)]);
    const seat = new Seat();
    const first = find(bearer(KEY.key), seat);
    assert.ok(first.kind === 'known');
    assert.equal(first.tenant.id, 'acme');
    assert.equal(find(bearer(KEY.key), seat), first);
    assert.equal(find(bearer(KEY.key), new Seat()), first);
    assert.equal(auth.count, 1);
    // Another credential on the same connection is another principal, and back again.
    const second = find(bearer(OTHER.key), seat);
    assert.ok(second.kind === 'known' && second.tenant.id === 'globex');
    assert.equal(find(bearer(KEY.key), seat), first);
  });

  test('PR1: what was shown in one field is not known in the other', () => {
    const { auth, find } = open([tenant('acme', KEY)]);
    const seat = new Seat();
    find(shown([`x-api-key: ${KEY.key}`]), seat);
    // Equal bytes, another field: `Bearer` is missing here.
    assert.equal(find(shown([`authorization: ${KEY.key}`]), seat).kind, 'refused');
    assert.equal(auth.count, 2);
  });

  test('PR1 AU4: a new table forgets all, also on connections that are open', () => {
    const { auth, principals, find } = open([tenant('acme', KEY)]);
    const seat = new Seat();
    const before = find(bearer(KEY.key), seat);
    assert.equal(find(bearer(KEY.key), seat), before);
    principals.use(routesOf([tenant('acme', OTHER)], 2));
    assert.equal(find(bearer(KEY.key), seat).kind, 'refused');
    assert.equal(find(bearer(KEY.key), new Seat()).kind, 'refused');
    assert.equal(auth.count, 3);
  });

  test('PR1: an expired key is refused, also on the connection that it was used on', () => {
    const { find } = open([tenant('acme', KEY, 1_000)]);
    const seat = new Seat();
    assert.equal(find(bearer(KEY.key), seat, 999).kind, 'known');
    assert.equal(find(bearer(KEY.key), seat, 999).kind, 'known');
    assert.equal(find(bearer(KEY.key), seat, 1_000).kind, 'refused');
    assert.equal(find(bearer(KEY.key), new Seat(), 1_000).kind, 'refused');
  });

  test('PR1: a key beside a certificate is known on its own connection only', () => {
    const { auth, find } = open([tenant('acme', KEY)]);
    const peer = { sha256: 'aa', subject: 's', uris: [], dnsNames: [], notAfterMs: 5_000 };
    const seat = new Seat();
    const first = find(shown([`authorization: Bearer ${KEY.key}`], peer), seat);
    assert.equal(find(shown([`authorization: Bearer ${KEY.key}`], peer), seat), first);
    assert.equal(auth.count, 1);
    find(shown([`authorization: Bearer ${KEY.key}`], peer), new Seat());
    assert.equal(auth.count, 2);
    assert.ok(first.kind === 'known' && first.expiresAtMs === 5_000);
  });

  test('PR2: refusals are asked for again, and two credentials are none', () => {
    const { auth, principals, find } = open([tenant('acme', KEY)]);
    const seat = new Seat();
    const wrong = mintKey('test', randomBytes(9), randomBytes(32));
    assert.equal(find(bearer(wrong.key), seat).kind, 'refused');
    assert.equal(find(bearer(wrong.key), seat).kind, 'refused');
    assert.equal(auth.count, 2);
    assert.equal(principals.size, 0);
    find(bearer(KEY.key), seat);
    const twice = [`authorization: Bearer ${KEY.key}`, `x-api-key: ${KEY.key}`];
    for (const fields of [twice, [twice[0] ?? '', twice[0] ?? '']]) {
      const answer = find(shown(fields), seat);
      assert.ok(answer.kind === 'refused' && answer.reason === 'ambiguous');
    }
  });

  test('PR2: what was verified under a table that is gone is asked again', async () => {
    const routes = routesOf([tenant('acme', KEY)]);
    const [acme] = routes.tenants.values();
    assert.ok(acme !== undefined);
    const expiresAtMs = Number.POSITIVE_INFINITY;
    const known: AuthAnswer = { kind: 'known', tenant: acme, subject: 's', roles: [], expiresAtMs };
    for (const second of [known, { kind: 'refused', reason: 'invalid' } as const]) {
      const waiting = Promise.withResolvers<AuthAnswer>();
      const answers = [waiting.promise, second];
      const auth: Authenticator = {
        use: () => undefined,
        authenticate: () => answers.shift() ?? { kind: 'refused', reason: 'missing' },
      };
      const principals = new Principals(auth, openAdmission(1));
      principals.use(routes);
      const found = principals.find(bearer('t'), new Seat(), 0);
      principals.use(routes);
      waiting.resolve(known);
      assert.equal((await found).kind, second.kind);
      assert.equal(answers.length, 0);
      assert.equal(principals.size, second.kind === 'known' ? 1 : 0);
    }
  });

  test('PR3: bytes are the same in whole or not at all', () => {
    const bytes = Buffer.from('abcdef');
    assert.ok(sameBytes(Buffer.from('cde'), bytes, 2, 5));
    for (const other of ['cdf', 'xde', 'cd', 'cdef', '']) {
      assert.equal(sameBytes(Buffer.from(other), bytes, 2, 5), false);
    }
  });

  test('PR4: principals are bounded in number', () => {
    const answer = (): AuthAnswer => {
      const [acme] = routes.tenants.values();
      assert.ok(acme !== undefined);
      const expiresAtMs = Number.POSITIVE_INFINITY;
      return { kind: 'known', tenant: acme, subject: 's', roles: [], expiresAtMs };
    };
    const routes = routesOf([tenant('acme', KEY)]);
    const auth: Authenticator = { use: () => undefined, authenticate: answer };
    const principals = new Principals(auth, openAdmission(1));
    principals.use(routes);
    for (let i = 0; i < 10_100; i += 1) void principals.find(bearer(`t${i}`), new Seat(), 0);
    assert.equal(principals.size, 10_000);
  });
});

function flowWith(nowTenant = tenant('acme', KEY)) {
  const routes = routesOf([nowTenant]);
  const entry = findEntry(routes, '/api/x');
  assert.ok(entry !== undefined);
  const principal: Principal = {
    kind: 'known',
    tenant: nowTenant,
    account: accountOf(openAdmission(1), nowTenant),
    subject: 'key:1',
    roles: [],
    expiresAtMs: Number.POSITIVE_INFINITY,
    flows: new Map(),
  };
  const backend = {} as Backend;
  return { flow: flowOf(principal, entry, backend), principal, entry, backend };
}

const laneOf = (id: string): Lane =>
  ({ id: asReplicaId(id), route: { release: releaseId('r1') } }) as Lane;

describe('flow', () => {
  test('FL1: an assertion is reused for 10 s, and has 20 s to live whenever it is sent', () => {
    const { flow } = flowWith();
    const startMs = 1_800_000_000_000;
    const first = flow.lines(startMs);
    assert.equal(flow.lines(startMs + 9_999), first);
    assert.notEqual(flow.lines(startMs + 10_000), first);
    // A clock that was set back does not keep one alive.
    assert.notEqual(flow.lines(startMs - 60_000), first);
    for (const ageMs of [0, 9_999, 10_000, 25_000]) {
      const nowMs = startMs + ageMs;
      const value = /x-kintsugi-assertion: (\S+)/u.exec(flow.lines(nowMs))?.[1];
      const check = { key: ASSERTION, service: 'records' };
      const verdict = verifyAssertion(value, { ...check, nowMs: nowMs + 20_000 });
      assert.ok(verdict.kind === 'accepted' && verdict.tenant.tenant === 'acme');
      const late = nowMs + ASSERTION_LIFE_MS + 6_000;
      assert.equal(verifyAssertion(value, { ...check, nowMs: late }).kind, 'refused');
    }
  });

  test('FL2 CO2: nothing is counted in a window that was taken', () => {
    const { flow } = flowWith();
    const counters = openCounters();
    const [a, b] = [laneOf('records-1'), laneOf('records-2')];
    flow.cell(counters, a).requests += 1;
    flow.cell(counters, a).requests += 1;
    flow.cell(counters, b).requests += 1;
    assert.deepEqual(
      counters.take().map((c) => [c.replica, c.requests]),
      [
        ['records-1', 2],
        ['records-2', 1],
      ],
    );
    flow.cell(counters, a).requests += 1;
    assert.deepEqual(
      counters.take().map((c) => c.requests),
      [1],
    );
  });

  test('FL2: well-answered requests are counted in the generation of now', () => {
    const { flow } = flowWith();
    const poison = openPoison(0);
    const kind = { method: 'GET', route: '/api/x' };
    const combo = 'acme records GET /api/x';
    flow.noteAnswered(poison, kind, 10);
    flow.noteAnswered(poison, kind, 20);
    assert.equal(poison.now.good.get(combo)?.count, 2);
    flow.noteAnswered(poison, kind, 16_000);
    assert.equal(poison.before.good.get(combo)?.count, 2);
    assert.equal(poison.now.good.get(combo)?.count, 1);
    assert.deepEqual([poison.before.total, poison.now.total], [2, 1]);
  });

  test('FL3: kinds without end keep no more than the bound', () => {
    const { flow, principal, entry, backend } = flowWith();
    const poison = openPoison(0);
    for (let i = 0; i < 6_000; i += 1) {
      flow.noteAnswered(poison, { method: 'GET', route: `/r${i}` }, 10);
    }
    assert.ok(poison.now.good.size <= 4_096);
    assert.equal(poison.now.total, 6_000);
    assert.equal(flowOf(principal, entry, backend), flow);
    assert.notEqual(flowOf(principal, entry, {} as Backend), flow);
  });

  test('GU1: guests stand in the order in which they came', () => {
    const guests = new Guests();
    const [a, b, c] = ['a', 'b', 'c'].map((name) => ({ name }) as unknown as Guest);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    for (const guest of [a, b, c]) guests.add(guest);
    assert.deepEqual([...guests], [a, b, c]);
    assert.ok(guests.delete(b));
    assert.equal(guests.delete(b), false);
    assert.deepEqual([...guests], [a, c]);
    assert.equal(guests.size, 2);
    guests.clear();
    assert.deepEqual([...guests], []);
  });
});

describe('targets', () => {
  const paths = ['/api/x', '/api/x?q=1', '/api/slow/12345', '/api/slow/12346', '/none', '/api/%61'];

  test('TA1: remembered or not, the answer is that of the path itself', () => {
    const targets = new Targets();
    const routes = routesOf([]);
    targets.use(routes);
    for (const path of [...paths, ...paths]) {
      for (const method of ['GET', 'POST']) {
        const target = targets.find(headOf([], `${method} ${path} HTTP/1.1`));
        const whole = pathOf(path);
        assert.ok(target !== undefined && whole !== undefined);
        const plain = plainPath(whole);
        assert.equal(target.method, method);
        assert.equal(target.path, whole);
        assert.equal(target.plain, plain);
        assert.equal(target.entry, findEntry(routes, plain));
        assert.deepEqual(target.kind, { method, route: foldRoute(plain) });
        assert.equal(target.isIdempotent, method === 'GET');
      }
    }
    for (const bad of ['/a/../b', '/a/%2e%2e/b', '/a%2fb']) {
      for (let i = 0; i < 2; i += 1) {
        assert.equal(targets.find(headOf([], `GET ${bad} HTTP/1.1`)), undefined);
      }
    }
    const whole = targets.find(headOf([], 'GET http://h/api/x?a HTTP/1.1'));
    assert.equal(whole?.path, '/api/x');
    targets.use(routesOf([], 2, []));
    assert.equal(targets.find(headOf([]))?.entry, undefined);
  });

  test('TA2: paths without end keep no more than the bound', () => {
    const targets = new Targets();
    targets.use(routesOf([]));
    for (let i = 0; i < 10_000; i += 1) targets.find(headOf([], `GET /api/${i} HTTP/1.1`));
    assert.ok(targets.size <= 4_096);
  });
});

describe('what passes as it came', () => {
  const trace = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;

  /** As a replica would see it. */
  function sent(fields: readonly string[]): { text: string; id: string } {
    const head = headOf(fields);
    const id = requestIdOf(head);
    const trace = traceLineOf(head);
    const lines = head.keptId >= 0 ? trace : `x-request-id: ${id}\r\n${trace}`;
    return { text: requestText(head, DROP_FROM_REQUEST, lines), id };
  }

  test('ID5: one request id and one traceparent reach the replica, whatever was sent', () => {
    const cases = [
      [],
      ['X-Request-Id: client-id-1', `Traceparent: ${trace}`],
      ['X-Request-Id: client-id-1', 'X_Request_Id: client-id-2'],
      ['X-Request-Id: client-id-1', 'X-Request-Id: client-id-2'],
      ['X-Request-Id: bad id', 'traceparent: 00-00-00-00'],
      [
        'Connection: x-request-id, traceparent',
        'X-Request-Id: client-id-1',
        `traceparent: ${trace}`,
      ],
      ['X_Request_Id: client-id-2', `trace_parent: ${trace}`, `traceparent: ${trace}`],
    ];
    for (const fields of cases) {
      const { text, id } = sent(fields);
      const ids = [...text.matchAll(/^x[-_]request[-_]id: *(.*)\r$/gimu)].map((m) => m[1]);
      assert.deepEqual(ids, [id], fields.join());
      const traces = [...text.matchAll(/^traceparent: *(.*)\r$/gimu)].map((m) => m[1]);
      assert.equal(traces.length, 1, fields.join());
      const isSound = fields.some((f) => f.endsWith(trace) && !f.startsWith('trace_'));
      assert.equal(traces[0] === trace, isSound);
    }
    assert.equal(sent(['X-Request-Id: client-id-1']).id, 'client-id-1');
  });

  test('the lines of a connection follow its Host', () => {
    const seat = new Seat();
    const lines = (host: string): string => {
      const head = new Head(REQUEST_HEAD);
      const text = Buffer.from(`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
      assert.equal(parseRequest(head, text, text.length), DONE);
      const view = { head, remoteAddress: '10.0.0.1', scheme: 'https' } as ExchangeView;
      return connectionLines(seat, view);
    };
    assert.match(lines('a.example'), /host: a\.example\r\n.*for: 10\.0\.0\.1\r\n.*proto: https/su);
    assert.equal(lines('a.example'), lines('a.example'));
    assert.match(lines('b.example:81'), /x-forwarded-host: b\.example:81\r\n/u);
    assert.match(lines('a.example'), /x-forwarded-host: a\.example\r\n/u);
  });

  test('noted fields are found once, several times or not at all', () => {
    const head = headOf(['Authorization: a', 'authorization: b', 'X-Api-Key: c']);
    assert.equal(head.noted(9), -2);
    assert.equal(head.valueAt(head.noted(10)), 'c');
    assert.equal(head.noted(11), -1);
    head.reset();
    assert.deepEqual(
      [9, 10, 11, 12, 13].map((k) => head.noted(k)),
      [-1, -1, -1, -1, -1],
    );
  });
});
