import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadAccess } from '../../src/tenancy/access.ts';
import { POLICIES } from '../../src/tenancy/policies.ts';
import { ACTIONS } from '../../src/tenancy/principal.ts';
import type { Action, Principal, Resource } from '../../src/tenancy/principal.ts';

const access = loadAccess();
const operator: Principal = { kind: 'operator' };
const auditor: Principal = { kind: 'auditor', name: 'anna' };
const acme: Principal = { kind: 'tenant', tenant: 'acme' };
const system: Resource = { kind: 'system' };
const own: Resource = { kind: 'tenant', tenant: 'acme' };
const other: Resource = { kind: 'tenant', tenant: 'acme2' };

type Row = readonly [Principal, Action, Resource, string];
const DEFAULT = 'deny no-policy deny-by-default';
const HARD = 'deny other-tenant own-log-only';
const NOT_A_LOG = 'deny not-a-tenant-log own-log-only';

/** Every principal × action × resource, and the policy that must be the reason. */
const TABLE: readonly Row[] = [
  [operator, 'ReadLog', system, 'allow operator-reads'],
  [operator, 'ReadLog', own, DEFAULT],
  [operator, 'ReadTenantLog', system, DEFAULT],
  [operator, 'ReadTenantLog', own, 'allow operator-reads'],
  [operator, 'Prove', system, 'allow operator-reads'],
  [operator, 'Prove', own, 'allow operator-reads'],
  [operator, 'RevealPrivate', system, DEFAULT],
  [operator, 'RevealPrivate', own, 'allow operator-reveals'],
  [operator, 'Erase', system, DEFAULT],
  [operator, 'Erase', own, 'allow operator-erases'],
  [operator, 'Hold', system, 'allow operator-holds'],
  [operator, 'Hold', own, 'allow operator-holds'],
  [operator, 'Publish', system, 'allow operator-publishes'],
  [operator, 'Publish', own, DEFAULT],

  [auditor, 'ReadLog', system, 'allow auditor-reads'],
  [auditor, 'ReadLog', own, DEFAULT],
  [auditor, 'ReadTenantLog', system, DEFAULT],
  [auditor, 'ReadTenantLog', own, 'allow auditor-reads'],
  [auditor, 'Prove', system, 'allow auditor-reads'],
  [auditor, 'Prove', own, 'allow auditor-reads'],
  [auditor, 'RevealPrivate', system, DEFAULT],
  [auditor, 'RevealPrivate', own, DEFAULT],
  [auditor, 'Erase', system, DEFAULT],
  [auditor, 'Erase', own, DEFAULT],
  [auditor, 'Hold', system, DEFAULT],
  [auditor, 'Hold', own, DEFAULT],
  [auditor, 'Publish', system, DEFAULT],
  [auditor, 'Publish', own, DEFAULT],

  [acme, 'ReadTenantLog', own, 'allow tenant-reads-own'],
  [acme, 'Prove', own, 'allow tenant-reads-own'],
  [acme, 'RevealPrivate', own, 'allow tenant-reveals-own'],
  [acme, 'ReadLog', own, DEFAULT],
  [acme, 'Erase', own, DEFAULT],
  [acme, 'Hold', own, DEFAULT],
  [acme, 'Publish', own, DEFAULT],
  ...ACTIONS.map((action): Row => [acme, action, system, NOT_A_LOG]),
  ...ACTIONS.map((action): Row => [acme, action, other, HARD]),
];

function told(answer: ReturnType<typeof access.decide>): string {
  return answer.kind === 'allow'
    ? `allow ${answer.policy}`
    : `deny ${answer.reason} ${answer.policy}`;
}

test('AC4. each principal, action and resource is decided by the policy of the table', () => {
  for (const [principal, action, resource, expected] of TABLE) {
    const name = `${principal.kind} ${action} ${JSON.stringify(resource)}`;
    assert.equal(told(access.decide(principal, action, resource)), expected, name);
    // The second answer comes from memory, and is the same.
    assert.equal(told(access.decide(principal, action, resource)), expected, name);
  }
  const combinations = ACTIONS.length * (2 + 2 + 3);
  assert.equal(TABLE.length, combinations, 'the table leaves nothing out');
  const named = new Set(TABLE.map(([, , , text]) => text.split(' ').at(-1)));
  for (const policy of Object.keys(POLICIES)) {
    assert.ok(named.has(policy) || policy === 'tenant-boundary', `${policy} decides nothing`);
  }
});

test('AC1. ids that look alike are other tenants', () => {
  const lookAlikes = [
    'Acme',
    'acme ',
    'acme.',
    'acme\u0000',
    '\u0430cme',
    'acm',
    'acme"',
    'ac\\me',
  ];
  for (const tenant of lookAlikes) {
    const theirs: Resource = { kind: 'tenant', tenant };
    assert.equal(access.decide(acme, 'ReadTenantLog', theirs).kind, 'deny', tenant);
    const stranger: Principal = { kind: 'tenant', tenant };
    assert.equal(access.decide(stranger, 'ReadTenantLog', own).kind, 'deny', tenant);
  }
});

test('AC1. even a policy that permits everything leaves a tenant in its own log', () => {
  const loose = loadAccess({ all: 'permit (principal, action, resource);' });
  for (const action of ACTIONS) {
    assert.equal(loose.decide(acme, action, other).kind, 'deny', action);
    assert.equal(loose.decide(acme, action, system).kind, 'deny', action);
  }
  assert.equal(loose.decide(auditor, 'RevealPrivate', own).kind, 'allow');
});

test('AC2. without a policy nothing is permitted, whichever one is taken away', () => {
  const empty = loadAccess({});
  for (const [principal, action, resource] of TABLE) {
    assert.equal(empty.decide(principal, action, resource).kind, 'deny');
  }
  for (const policy of Object.keys(POLICIES)) {
    const { [policy]: _gone, ...rest } = POLICIES;
    const without = loadAccess(rest);
    const rows = TABLE.filter(([, , , expected]) => expected === `allow ${policy}`);
    for (const [principal, action, resource] of rows) {
      assert.equal(without.decide(principal, action, resource).kind, 'deny', policy);
    }
  }
});

test('AC2. a policy that cannot be evaluated denies', () => {
  const broken = loadAccess({
    ...POLICIES,
    overflow: 'forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };',
  });
  assert.equal(told(broken.decide(operator, 'ReadLog', system)), 'deny policy-error overflow');
});

test('AC3. policies that do not fit the schema are not loaded', () => {
  const wrong = [
    'permit (principal is Operater, action, resource);',
    'permit (principal, action == Action::"Fly", resource);',
    'permit (principal is Tenant, action, resource is TenantLog) when { resource.owner == 1 };',
    'permit (principal',
    '',
  ];
  for (const text of wrong) assert.throws(() => loadAccess({ wrong: text }), text);
});
