// Host, path, route and rights at a real gateway with a real replica behind it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { PrefixRoute } from '../../../src/model/routing.ts';
import { tenantId } from '../../../src/model/ids.ts';
import { openRig, until } from '../rig.ts';
import type { Answer, Rig, SendOptions } from '../rig.ts';
import { pairOf, ruleOf, token } from './rig.ts';

const pair = pairOf('EdDSA', 'one');
const next = pairOf('EdDSA', 'two');
const route = (prefix: string, more: Partial<PrefixRoute> = {}): PrefixRoute => ({
  prefix,
  timeoutMs: 5_000,
  retry: true,
  ...more,
});
const prefixes = [
  route('/api'),
  route('/t', { tenantSegment: 2 }),
  route('/lab', { tenants: [tenantId('acme')] }),
  route('/ruled', { allow: { clerk: ['*'], '*': ['GET'] }, deny: { '@user': ['DELETE'] } }),
];

let rig: Rig;
before(async () => {
  rig = await openRig({ replicas: 1, jwt: [ruleOf([pair.jwk])] });
  const hosts = { acme: { hosts: ['acme.test'] }, globex: { hosts: ['globex.test'] } };
  await rig.push({ prefixes, tenants: hosts });
});
after(() => rig.close());

async function say(options: SendOptions): Promise<string> {
  const answer: Answer = await rig.send(options);
  if (answer.status === 200) return '200';
  const { reason } = JSON.parse(answer.body) as { reason: string };
  return `${answer.status} ${reason}`;
}

const live = (claims: Record<string, unknown> = {}, signer = pair): SendOptions['headers'] => {
  const exp = Math.floor(Date.now() / 1_000) + 300;
  return { authorization: `Bearer ${token(signer, { exp, ...claims })}` };
};

describe('one tenant, at the gateway', () => {
  test('TN1 TN2: a host of another tenant is refused, the own or a shared one not', async () => {
    const at = (host: string): Promise<string> => say({ path: '/api/x', headers: { host } });
    assert.equal(await at('acme.test'), '200');
    assert.equal(await at('ACME.test:80'), '200');
    assert.equal(await at('shared.test'), '200');
    assert.equal(await at('globex.test'), '403 tenant-mismatch');
    assert.equal(await at('acme.test'), '200');
  });

  test('TN3: the tenant in a path is the credential’s', async () => {
    assert.equal(await say({ path: '/t/acme/x?y=/t/globex' }), '200');
    assert.equal(await say({ path: '/t/acme/x', tenant: 'globex' }), '403 tenant-mismatch');
    for (const path of ['/t', '/t/globex', '/t/%61cme', '/t//acme', '/t/ACME']) {
      assert.equal(await say({ path }), '403 tenant-mismatch', path);
    }
  });

  test('TN4: a route of others cannot be told from one that is not there', async () => {
    assert.equal(await say({ path: '/lab/x' }), '200');
    const foreign = await rig.send({ path: '/lab/x', tenant: 'globex' });
    const missing = await rig.send({ path: '/nothing', tenant: 'globex' });
    const plain = ({ status, body }: Answer): unknown => {
      const facts = JSON.parse(body) as Record<string, unknown>;
      return [status, { ...facts, requestId: undefined }];
    };
    assert.deepEqual(plain(foreign), plain(missing));
  });

  test('TT1: the controller hears of it', async () => {
    await until('an event of each kind', () => {
      const kinds = rig.events.flatMap((e) => (e.kind === 'crossed' ? [e.crossing] : []));
      return new Set(kinds).size === 3;
    });
  });
});

test('MX1 MX2: roles of tokens and keys meet the matrix of the route', async () => {
  const ask = (method: string, headers?: SendOptions['headers']): Promise<string> =>
    say({
      path: '/ruled/x',
      method,
      ...(headers === undefined ? {} : { bare: true, headers }),
    });
  assert.equal(await ask('GET'), '200');
  assert.equal(await ask('POST'), '403 not-allowed');
  assert.equal(await ask('GET', live()), '200');
  assert.equal(await ask('POST', live()), '403 not-allowed');
  assert.equal(await ask('POST', live({ roles: ['clerk'] })), '200');
  assert.equal(await ask('DELETE', live({ roles: ['clerk'] })), '403 not-allowed');
  assert.equal(await ask('DELETE', live({ roles: ['*'] })), '403 not-allowed');
});

test('AU6: an unknown key of an issuer is told, and good with the next table', async () => {
  const headers = live({}, next) ?? {};
  const ask = (): Promise<string> => say({ path: '/api/x', bare: true, headers });
  assert.equal(await ask(), '401 unauthenticated');
  await until('the wish', () => rig.events.some((e) => e.kind === 'keys-wanted'));
  await rig.push({ jwt: [ruleOf([pair.jwk, next.jwk])] });
  assert.equal(await ask(), '200');
});
