import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { currentTenant, signAssertion, verifyAssertion } from '../src/index.ts';
import { tenantFromRequest, withContext, type AssertionClaims } from '../src/tenant.ts';

const key = randomBytes(32);
const nowMs = 1_800_000_000_000;
const claims: AssertionClaims = {
  tenant: 'northside',
  subject: 'key-1',
  region: 'eu',
  service: 'records',
  requestId: 'r-1',
  expMs: nowMs + 30_000,
};
const check = (value: string | undefined, at = nowMs): string => {
  const verdict = verifyAssertion(value, { key, service: 'records', nowMs: at });
  return verdict.kind === 'accepted' ? 'accepted' : verdict.reason;
};
const requestWith = (headers: Record<string, string>): IncomingMessage => {
  const request = new IncomingMessage(new Socket());
  Object.assign(request.headers, headers);
  return request;
};

describe('tenant assertion', () => {
  it('gives back exactly what was signed', () => {
    const verdict = verifyAssertion(signAssertion(claims, key), { key, service: 'records', nowMs });
    const { tenant, subject, region, requestId } = claims;
    assert.deepEqual(verdict, {
      kind: 'accepted',
      tenant: { tenant, subject, region, requestId },
    });
  });

  it('T1 refuses a changed payload, a changed signature, another key and another encoding', () => {
    const good = signAssertion(claims, key);
    const [, body = '', signature = ''] = good.split('.');
    const other = Buffer.from(JSON.stringify({ ...claims, tenant: 'sunrise' }));
    assert.equal(check(`v1.${other.toString('base64url')}.${signature}`), 'forged');
    assert.equal(check(signAssertion(claims, randomBytes(32))), 'forged');
    const last = signature.at(-1) === 'A' ? 'B' : 'A';
    assert.equal(check(`v1.${body}.${signature.slice(0, -1)}${last}`), 'forged');
    assert.equal(check(`v1.${body}.${signature}=`), 'forged');
    assert.equal(check(`v1.${body}.`), 'forged');
    assert.equal(check(`v2.${body}.${signature}`), 'malformed');
    assert.equal(check(`${good}.x`), 'malformed');
    assert.equal(check('x'.repeat(5_000)), 'malformed');
    assert.equal(check(''), 'missing');
    assert.equal(check(undefined), 'missing');
  });

  it('T1 refuses a signed payload that is not a complete set of claims', () => {
    const odd = (value: object): string => signAssertion(value as AssertionClaims, key);
    assert.equal(check(odd({ ...claims, tenant: '' })), 'malformed');
    assert.equal(check(odd({ ...claims, subject: 7 })), 'malformed');
    assert.equal(check(odd({ ...claims, expMs: 'soon' })), 'malformed');
    assert.equal(check(odd([])), 'malformed');
  });

  it('T2 refuses an assertion that is made out to another service', () => {
    assert.equal(check(signAssertion({ ...claims, service: 'billing' }, key)), 'wrong-service');
  });

  it('T3 forgives five seconds of skew, in both directions, and not more', () => {
    const good = signAssertion(claims, key);
    assert.equal(check(good, claims.expMs + 5_000), 'accepted');
    assert.equal(check(good, claims.expMs + 5_001), 'expired');
    assert.equal(check(good, claims.expMs - 35_000), 'accepted');
    assert.equal(check(good, claims.expMs - 35_001), 'too-long-lived');
  });

  it('T4 refuses a plain header that contradicts the assertion', () => {
    const trust = { kind: 'assertion', key, service: 'records' } as const;
    const headers = { 'x-kintsugi-assertion': signAssertion(claims, key) };
    const same = requestWith({ ...headers, 'x-kintsugi-tenant': 'northside' });
    const other = requestWith({ ...headers, 'x-kintsugi-tenant': 'sunrise' });
    assert.equal(tenantFromRequest(same, trust, nowMs).kind, 'accepted');
    assert.deepEqual(tenantFromRequest(other, trust, nowMs), {
      kind: 'refused',
      reason: 'contradicted',
    });
  });

  it('T6 takes the request id from its header where the assertion is for any request', () => {
    const trust = { kind: 'assertion', key, service: 'records' } as const;
    const shared = signAssertion({ ...claims, requestId: '*' }, key);
    const idOf = (headers: Record<string, string>): string | undefined => {
      const verdict = tenantFromRequest(requestWith(headers), trust, nowMs);
      return verdict.kind === 'accepted' ? verdict.tenant.requestId : undefined;
    };
    assert.equal(idOf({ 'x-kintsugi-assertion': shared, 'x-request-id': 'r-2' }), 'r-2');
    assert.equal(idOf({ 'x-kintsugi-assertion': shared }), 'none');
    const own = signAssertion(claims, key);
    assert.equal(idOf({ 'x-kintsugi-assertion': own, 'x-request-id': 'r-2' }), 'r-1');
  });

  it('T5 knows no tenant outside a request, and the right one inside, across awaits', async () => {
    assert.throws(() => currentTenant(), { code: 'KIN_SDK_NO_TENANT' });
    const inside = async (tenant: string): Promise<string> =>
      withContext({ tenant: { ...claims, tenant }, requestId: 'r', traceparent: undefined }, () =>
        new Promise((resolve) => setImmediate(resolve)).then(() => currentTenant().tenant),
      );
    assert.deepEqual(await Promise.all([inside('a'), inside('b')]), ['a', 'b']);
  });
});
