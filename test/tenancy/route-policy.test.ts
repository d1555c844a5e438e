import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import type { EntityJson } from '@cedar-policy/cedar-wasm/nodejs';
import fc from 'fast-check';
import { matrixVerdict } from '../../src/gateway/matrix.ts';
import { METHODS, OTHER } from '../../src/model/rights.ts';
import { matchesPrefix } from '../../src/gateway/paths.ts';
import { compileRoutePolicy } from '../../src/tenancy/route-policy.ts';
import type { RouteRights } from '../../src/tenancy/route-policy.ts';
import { READ, ROUTE_SCHEMA, WRITE } from '../../src/tenancy/route-schema.ts';

const ROUTES = ['/', '/records', '/records/archive', '/billing', '/recordsx'];

function rightsOf(text: string, prefixes = ROUTES): ReadonlyMap<string, RouteRights> {
  const answer = compileRoutePolicy(text, prefixes);
  assert.ok(answer.kind === 'compiled', JSON.stringify(answer));
  return answer.rights;
}

const faultsOf = (text: string): readonly string[] => {
  const answer = compileRoutePolicy(text, ROUTES);
  if (answer.kind === 'compiled') return [];
  return answer.faults.map((f) => `${f.line}:${f.column} ${f.code} ${f.policy}: ${f.found}`);
};

describe('what a policy means for a route', () => {
  test('the example: clerks write, nurses read, nobody deletes, keys get the bills', () => {
    const rights = rightsOf(`
      permit (principal in Role::"clerk", action, resource in Route::"/records");
      permit (principal in Role::"nurse", action in Action::"read", resource in Route::"/records")
        unless { resource == Route::"/records/archive" };
      permit (principal is Key, action, resource in Route::"/billing");
      @id("nobody-deletes")
      forbid (principal, action == Action::"DELETE", resource);
    `);
    assert.deepEqual(rights.get('/records'), {
      allow: { clerk: ['*'], nurse: ['GET', 'HEAD', 'OPTIONS'] },
      deny: { '*': ['DELETE'] },
    });
    assert.deepEqual(rights.get('/records/archive')?.allow, { clerk: ['*'] });
    assert.deepEqual(rights.get('/billing')?.allow, { '@key': ['*'] });
    // Whole segments only, and nothing without a permit: the default is no.
    assert.deepEqual(rights.get('/recordsx')?.allow, {});
    assert.deepEqual(rights.get('/')?.allow, {});
    const may = (prefix: string, roles: readonly string[], subject: string, method: string) =>
      matrixVerdict(rights.get(prefix) ?? { allow: {} }, roles, subject, method);
    assert.equal(may('/records', ['nurse'], 'user:a', 'GET'), 'allowed');
    assert.equal(may('/records', ['nurse'], 'user:a', 'POST'), 'not-allowed');
    assert.equal(may('/records', ['nurse', 'clerk'], 'user:a', 'POST'), 'allowed');
    assert.equal(may('/records', ['clerk'], 'user:a', 'DELETE'), 'not-allowed');
    assert.equal(may('/records', ['clerk'], 'user:a', 'PROPFIND'), 'allowed');
    assert.equal(may('/billing', [], 'key:k1', 'POST'), 'allowed');
    assert.equal(may('/billing', ['clerk'], 'user:k1', 'POST'), 'not-allowed');
    // A role of this name cannot be claimed (RO1), and the row of a kind is no role.
    assert.equal(may('/billing', [], 'cert:x', 'GET'), 'not-allowed');
  });

  test('an empty file permits nothing', () => {
    assert.deepEqual(
      [...rightsOf('// nothing yet\n')],
      ROUTES.map((r) => [r, { allow: {} }]),
    );
  });

  test('RP1 RT1 RS1 RS2: the matrix lets in what Cedar permits, for any roles and policies', () => {
    fc.assert(
      fc.property(fc.array(policy, { minLength: 1, maxLength: 6 }), asked, (policies, question) => {
        const text = policies.join('\n');
        const rights = rightsOf(text).get(question.route);
        assert.ok(rights !== undefined);
        const { roles, kind, method } = question;
        const mine = matrixVerdict(rights, roles, `${kind.row}:x`, method);
        assert.equal(mine, cedarSays(text, question), `${text} ${JSON.stringify(question)}`);
      }),
      { numRuns: 400 },
    );
  });
});

const roleName = fc.constantFrom('a', 'b', 'c');
const KINDS = [
  { row: 'user', type: 'User' },
  { row: 'key', type: 'Key' },
  { row: 'cert', type: 'Certificate' },
] as const;
const asked = fc.record({
  roles: fc.uniqueArray(roleName),
  kind: fc.constantFrom(...KINDS),
  method: fc.constantFrom(...METHODS, OTHER),
  route: fc.constantFrom(...ROUTES),
});
type Asked = typeof asked extends fc.Arbitrary<infer T> ? T : never;

const actionName = fc
  .constantFrom(...METHODS, OTHER, 'read', 'write')
  .map((name) => `Action::"${name}"`);
const routeName = fc.constantFrom(...ROUTES).map((name) => `Route::"${name}"`);
const principal = fc.oneof(
  fc.constant('principal'),
  roleName.map((role) => `principal in Role::"${role}"`),
  fc.constantFrom(...KINDS).map(({ type }) => `principal is ${type}`),
);
const action = fc.oneof(
  fc.constant('action'),
  actionName.map((name) => `action == ${name}`).filter((text) => !/read|write/u.test(text)),
  actionName.map((name) => `action in ${name}`),
  fc.array(actionName, { minLength: 1, maxLength: 3 }).map((all) => `action in [${all.join()}]`),
);
const resource = fc.oneof(
  fc.constantFrom('resource', 'resource is Route'),
  routeName.map((name) => `resource == ${name}`),
  routeName.map((name) => `resource in ${name}`),
  routeName.map((name) => `resource is Route in ${name}`),
);
const atom = fc.oneof(
  action.filter((text) => text !== 'action'),
  resource.filter((text) => text !== 'resource'),
  fc.constantFrom('true', 'false'),
  fc.tuple(routeName, routeName).map(([a, b]) => `${a} in ${b}`),
  routeName.map((name) => `resource != ${name}`),
  fc.tuple(routeName, routeName).map(([a, b]) => `resource in [${a}, ${b}]`),
);
const { term } = fc.letrec<{ term: string }>((tie) => ({
  term: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    atom,
    tie('term').map((a) => `!(${a})`),
    fc.tuple(tie('term'), tie('term')).map(([a, b]) => `((${a}) && (${b}))`),
    fc.tuple(tie('term'), tie('term')).map(([a, b]) => `((${a}) || (${b}))`),
    fc
      .tuple(tie('term'), tie('term'), tie('term'))
      .map(([a, b, c]) => `(if (${a}) then (${b}) else (${c}))`),
  ),
}));
const condition = fc.oneof(
  fc.constant(''),
  term.map((text) => ` when { ${text} }`),
  term.map((text) => ` unless { ${text} }`),
);
const policy = fc
  .tuple(fc.constantFrom('permit', 'permit', 'forbid'), principal, action, resource, condition)
  .map(([effect, p, a, r, c]) => `${effect} (${p}, ${a}, ${r})${c};`);

/** Asks Cedar itself, with the hierarchy as entities. */
function cedarSays(text: string, { roles, kind, method, route }: Asked): string {
  const uid = (type: string, id: string) => ({ type, id });
  const routes = ROUTES.map((id): EntityJson => ({
    uid: uid('Route', id),
    attrs: {},
    parents: ROUTES.filter((other) => other !== id && matchesPrefix(id, other)).map((other) =>
      uid('Route', other),
    ),
  }));
  const actions = (names: readonly string[], group: string): EntityJson[] =>
    names.map((id) => ({ uid: uid('Action', id), attrs: {}, parents: [uid('Action', group)] }));
  const who = uid(kind.type, 'x');
  const answer = isAuthorized({
    principal: who,
    action: uid('Action', method),
    resource: uid('Route', route),
    context: {},
    schema: ROUTE_SCHEMA,
    validateRequest: true,
    policies: { staticPolicies: text },
    entities: [
      ...routes,
      ...actions(READ, 'read'),
      ...actions(WRITE, 'write'),
      { uid: who, attrs: {}, parents: roles.map((role) => uid('Role', role)) },
    ],
  });
  assert.ok(answer.type === 'success', JSON.stringify(answer));
  assert.deepEqual(answer.response.diagnostics.errors, []);
  return answer.response.decision === 'allow' ? 'allowed' : 'not-allowed';
}

describe('what is no policy for routes', () => {
  test('RP2 RT2: what looks at more than role, kind, route and method is refused', () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['permit (principal, action, resource) when { context.mfa };', /UNDECIDABLE.*context\.mfa/u],
      ['permit (principal, action, resource) when { context has mfa };', /UNDECIDABLE.*mfa/u],
      ['permit (principal, action, resource) when { principal.age > 3 };', /UNDECIDABLE.*`>`/u],
      [
        'permit (principal, action, resource) when { principal in Role::"a" };',
        /UNDECIDABLE.*principal/u,
      ],
      ['permit (principal == User::"ann", action, resource);', /UNDECIDABLE.*User::"ann"/u],
      ['permit (principal in User::"ann", action, resource);', /UNDECIDABLE/u],
      ['permit (principal is User in Role::"a", action, resource);', /UNDECIDABLE.*at once/u],
      ['permit (principal, action, resource) when { resource.public };', /UNDECIDABLE.*public/u],
      ['permit (principal, action, resource) when { ip("1.1.1.1").isLoopback() };', /UNDECIDABLE/u],
      ['permit (principal, action, resource) when { 1 };', /UNDECIDABLE.*plain value/u],
      ['permit (principal, action, resource == Record::"7");', /UNDECIDABLE.*Record/u],
      ['permit (principal == ?principal, action, resource);', /SYNTAX.*template/u],
      ['permit (principal, action, resource)', /SYNTAX/u],
      ['permit (principal, action, resource); allow (principal, action, resource);', /SYNTAX/u],
    ];
    for (const [text, wanted] of cases) {
      const faults = faultsOf(text);
      assert.ok(faults.length > 0, text);
      assert.match(faults.join('\n'), wanted, text);
    }
  });

  test('RP3: names that are not there, with the one that was meant', () => {
    const at = (text: string): string => faultsOf(text).join('\n');
    assert.match(at('permit (principal, action, resource in Route::"/record");'), /REFERENCE/u);
    assert.match(at('permit (principal, action == Action::"get", resource);'), /REFERENCE/u);
    assert.match(at('permit (principal in Role::"*", action, resource);'), /REFERENCE.*Role/u);
    assert.match(at('permit (principal in Role::"@key", action, resource);'), /REFERENCE/u);
    const answer = compileRoutePolicy(
      'permit (principal, action == Action::"POTS", resource in Route::"/biling");',
      ROUTES,
    );
    assert.ok(answer.kind === 'faults');
    assert.deepEqual(
      answer.faults.map(({ misspelt }) => `${misspelt?.type} ${misspelt?.id}`),
      ['Action POTS', 'Route /biling'],
    );
  });

  test('RP4: what the schema does not have is refused though Cedar would skip it', () => {
    assert.notDeepEqual(faultsOf('permit (principal is Role, action, resource);'), []);
    assert.notDeepEqual(faultsOf('permit (principal, action, resource is Service);'), []);
  });

  test('each fault has its line and column, behind comments and umlauts too', () => {
    const text = [
      '// permit (principal, action, resource) when { context.x };',
      'permit (principal in Role::"ä", action, resource); // "',
      '@id("second")',
      '  permit (principal, action, resource) when { context.x };',
      'permit (principal, action, resource) when { context.x };',
    ].join('\n');
    const faults = faultsOf(text);
    assert.match(faults[0] ?? '', /^2:1 KIN_POLICY_REFERENCE policy 1/u);
    assert.match(faults[1] ?? '', /^3:1 KIN_POLICY_UNDECIDABLE second/u);
    assert.match(faults[2] ?? '', /^5:1 KIN_POLICY_UNDECIDABLE policy 3/u);
    const syntax =
      'permit (principal, action, resource);\n// äöü\npermit (principal, x, resource);';
    assert.match(faultsOf(syntax).join(), /^3:\d+ KIN_POLICY_SYNTAX/u);
  });

  test('twelve policies keep their order and places', () => {
    const lines = Array.from({ length: 12 }, (_, i) =>
      i === 10 ? 'permit (principal, action, resource) when { context.x };' : GOOD,
    );
    assert.match(faultsOf(lines.join('\n')).join(), /^11:1 KIN_POLICY_UNDECIDABLE policy 11/u);
  });

  test('hostile files end in a fault, not in a crash', () => {
    const open = '('.repeat(5_000);
    const deep = `permit (principal, action, resource) when { ${open}true };`;
    const wide = `permit (principal, action, resource) when { ${'true && '.repeat(900)}true };`;
    const long = `permit (principal, action, resource) when { ${'true && '.repeat(20_000)}true };`;
    for (const text of [deep, long, 'x'.repeat(300_000), '"', '\0', GOOD.repeat(501)]) {
      const answer = compileRoutePolicy(text, ROUTES);
      assert.ok(answer.kind === 'faults', text.slice(0, 60));
      assert.ok(JSON.stringify(answer).length < 1_000, 'a fault never repeats the file');
    }
    assert.equal(compileRoutePolicy(wide, ROUTES).kind, 'compiled');
    // The parser still works after what was too much for it.
    assert.equal(compileRoutePolicy(GOOD, ROUTES).kind, 'compiled');
  });
});

const GOOD = 'permit (principal, action, resource);';
