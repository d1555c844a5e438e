// Roles of an API key, from the command line through the client and the API to the port.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cliRig } from '../cli/harness.ts';

test('roles of `tenants key create` reach the port as they were written', async (t) => {
  const { cli, rig } = await cliRig(t);
  const seen: (readonly [string, readonly string[] | undefined])[] = [];
  rig.control.createKey = async (tenant, _actor, roles) => {
    seen.push([tenant, roles]);
    return { tenant, id: 'k2', key: 'kin_x' };
  };
  const create = ['tenants', 'key', 'create', 'north-clinic'];
  for (const args of [[], ['--role', 'clerk'], ['--role', 'a:b', 'c/d', '--role', 'x & y=z?']]) {
    const answer = await cli(...create, ...args);
    assert.equal(answer.code, 0, answer.err);
  }
  assert.deepEqual(seen, [
    ['north-clinic', []],
    ['north-clinic', ['clerk']],
    ['north-clinic', ['a:b', 'c/d', 'x & y=z?']],
  ]);
});

test('a key that has roles shows them in the list of tenants', async (t) => {
  const { cli, rig } = await cliRig(t);
  const [tenant] = await rig.control.tenants();
  assert.ok(tenant !== undefined);
  const [key] = tenant.keys;
  assert.ok(key !== undefined);
  rig.control.tenants = async () => [{ ...tenant, keys: [{ ...key, roles: ['clerk', 'nurse'] }] }];
  assert.match((await cli('tenants', 'list')).out, /k1 as clerk\+nurse \(/u);
});
