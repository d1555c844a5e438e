// API keys from the ring that makes them to the authenticator that checks them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openAuthenticator } from '../../../src/gateway/auth.ts';
import { openKeyRing } from '../../../src/main/keys.ts';
import type { KeyPorts, KeyRing } from '../../../src/main/keys.ts';
import { memoryDisk, memoryStore } from '../../../src/store/memory.ts';
import { NOW_MS, PEPPER, bearer, routesOf, tenantOf } from './rig.ts';

function openRing(disk = memoryDisk()): Promise<KeyRing> {
  disk.lease = { owner: 'me', epoch: 1, untilMs: 2 ** 50 };
  const tenants = new Map([
    ['acme', {}],
    ['globex', {}],
  ]);
  return openKeyRing({
    store: memoryStore(disk),
    clock: { nowMs: () => NOW_MS },
    epoch: 1,
    pepper: PEPPER,
    env: 'clinic',
    manifest: () => ({ tenants }) as unknown as ReturnType<KeyPorts['manifest']>,
  });
}

test('KY1 AU1: a key made with roles is known by them, after a restart too', async () => {
  const disk = memoryDisk();
  const made = await (await openRing(disk)).create('acme', ['clerk', 'billing', 'clerk']);
  const ring = await openRing(disk);
  assert.ok(!JSON.stringify(ring.rows()).includes(made.key.split('_')[3] ?? '?'));
  const keys = ring.rules().get('acme') ?? [];
  const auth = openAuthenticator();
  auth.use(routesOf({ tenants: [tenantOf('acme', { keys })] }));
  const answer = auth.authenticate(bearer(made.key), NOW_MS);
  assert.ok(!(answer instanceof Promise) && answer.kind === 'known');
  assert.deepEqual([answer.tenant.id, answer.roles], ['acme', ['clerk', 'billing']]);
});

test('KY1: what is no role makes no key', async () => {
  const ring = await openRing();
  const many = Array.from({ length: 65 }, (_, i) => `r${i}`);
  for (const roles of [['*'], [''], ['@key'], ['a b'], ['a\n'], ['x'.repeat(65)], many]) {
    await assert.rejects(ring.create('acme', roles), { code: 'KIN_KEY_ROLE_INVALID' });
  }
  assert.equal(ring.rows().length, 0);
});

test('KY1: lists of tenants that did not change stay the same ones', async () => {
  const ring = await openRing();
  await ring.create('acme');
  const before = ring.rules();
  assert.equal(ring.rules(), before);
  const { id } = await ring.create('globex', ['clerk']);
  assert.equal(ring.rules().get('acme'), before.get('acme'));
  assert.equal(ring.rules().get('globex')?.length, 1);
  await ring.revoke(id);
  assert.equal(ring.rules().get('globex'), undefined);
  await assert.rejects(ring.revoke(id), { code: 'KIN_KEY_UNKNOWN' });
});
