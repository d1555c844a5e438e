import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVIDENCE_ROUTES } from '../../src/api/evidence-routes.ts';
import { openGate } from '../../src/api/gate.ts';
import { callLimits } from '../../src/api/limits.ts';
import { loadAccess } from '../../src/tenancy/access.ts';
import { openNotes } from '../../src/tenancy/notes.ts';
import type { Principal } from '../../src/tenancy/principal.ts';

const acme: Principal = { kind: 'tenant', tenant: 'acme' };
const denied: string[] = [];
const notes = openNotes(
  (kind, tenant, detail) => {
    denied.push(`${kind} ${tenant} ${detail['reason']}`);
  },
  () => 1,
);

function gateOf(policies?: Readonly<Record<string, string>>, tenant = 'acme') {
  return openGate({
    operatorToken: 'x',
    access: loadAccess(policies),
    notes,
    auditors: undefined,
    tenantOfKey: async () => tenant,
    limits: callLimits(() => 1),
  });
}

const head = EVIDENCE_ROUTES.find(({ id }) => id === 'getTenantHead');
assert.ok(head !== undefined);

test('GT3. a second tenant anywhere in a question refuses it, whatever the policies say', () => {
  const gate = gateOf({ all: 'permit (principal, action, resource);' });
  const own = { params: { tenant: 'acme' }, query: {}, body: undefined };
  assert.equal(gate.decide(acme, head, own).length, 1);
  const mixed = [
    { ...own, query: { tenant: 'globex' } },
    { ...own, body: { tenant: 'globex' } },
    { ...own, body: { tenant: ['acme'] } },
    { ...own, params: { tenant: 'globex' }, query: { tenant: 'acme' } },
  ];
  for (const question of mixed) {
    assert.throws(() => gate.decide(acme, head, question), { code: 'KIN_ACCESS_DENIED' });
  }
  assert.deepEqual(denied, ['evidence.denied acme other-tenant']);
});

test('GT1. what the gateway says must be an id of a tenant, or it is nobody', async () => {
  const headers = { authorization: 'Bearer kin_x' };
  assert.deepEqual((await gateOf().enter(headers, head)).principal, acme);
  for (const tenant of ['', 'Acme', '../acme', 'a b']) {
    const gate = gateOf(undefined, tenant);
    await assert.rejects(gate.enter(headers, head), { code: 'KIN_API_UNAUTHORIZED' }, tenant);
  }
});
