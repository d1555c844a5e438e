// Does a request get past a door by how it is spelled, when it comes, or what else happens then?
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { openAdmission } from '../../src/gateway/admission.ts';
import { openAuthenticator } from '../../src/gateway/auth.ts';
import { Gate } from '../../src/gateway/fair/gate.ts';
import { Stay } from '../../src/gateway/fair/stay.ts';
import { HeadShelf } from '../../src/gateway/http/head.ts';
import type { Head } from '../../src/gateway/http/head.ts';
import { DONE, parseRequest } from '../../src/gateway/http/parse-head.ts';
import { JsonBytes } from '../../src/gateway/observe/json-bytes.ts';
import { queryRule, writeQuery } from '../../src/gateway/observe/redact.ts';
import { pathOf } from '../../src/gateway/paths.ts';
import { Principals, Seat } from '../../src/gateway/principals.ts';
import { fingerprint, tenantId } from '../../src/model/ids.ts';
import type { PrefixRoute } from '../../src/model/routing.ts';
import { openRig } from './rig.ts';
import type { Rig } from './rig.ts';
import {
  keyRule,
  minted,
  NOW_MS,
  pairOf,
  routesOf,
  ruleOf,
  tenantOf,
  token,
} from './identity/rig.ts';

const rigs: Rig[] = [];
after(async () => {
  for (const rig of rigs) await rig.close();
});

async function opened(replicas: number): Promise<Rig> {
  const rig = await openRig({ replicas });
  rigs.push(rig);
  return rig;
}

function parse(shelf: HeadShelf, line: string): Head {
  const head = shelf.take();
  const bytes = Buffer.from(`GET /api HTTP/1.1\r\nhost: a.test\r\n${line}\r\n\r\n`, 'latin1');
  assert.equal(parseRequest(head, bytes, bytes.length), DONE);
  return head;
}

describe('review', () => {
  test('PR1: a token whose client left during a push never becomes another tenant', async () => {
    const good = pairOf('EdDSA', 'one');
    const forged = token(pairOf('EdDSA', 'one'));
    const key = minted();
    const tenants = [tenantOf('acme'), tenantOf('globex', { keys: [keyRule(key)] })];
    const table = { jwt: [ruleOf([good.jwk])], tenants };
    const principals = new Principals(openAuthenticator(), openAdmission(1));
    principals.use(routesOf(table));
    const shelf = new HeadShelf({ headBytes: 65_536, fields: 100, targetBytes: 8_192 });
    const ask = (head: Head): ReturnType<Principals['find']> =>
      principals.find({ head, peer: undefined, remoteAddress: '' }, new Seat(), NOW_MS);
    const first = parse(shelf, `authorization: Bearer ${forged}`);
    const pending = ask(first);
    // Its client leaves, and a request of globex gets its head.
    shelf.give(first);
    const other = parse(shelf, `x-api-key: ${key.key}`);
    assert.equal(other, first);
    principals.use(routesOf(table));
    await pending;
    const again = await ask(parse(shelf, `authorization: Bearer ${forged}`));
    assert.equal(again.kind, 'refused');
  });

  test('MX1: a route’s rights hold for every spelling of its path', async () => {
    const rig = await opened(1);
    const route = (prefix: string, more: Partial<PrefixRoute> = {}): PrefixRoute => ({
      prefix,
      timeoutMs: 5_000,
      retry: true,
      ...more,
    });
    const prefixes = [
      route('/api'),
      route('/api/archive', { allow: { boss: ['*'] } }),
      route('/api/lab', { tenants: [tenantId('globex')] }),
    ];
    await rig.push({ prefixes });
    const paths = ['/api/archive/x', '/api/%61rchive/x', '/api//archive/x', '/api/l%61b/x'];
    for (const path of paths) {
      const { status } = await rig.send({ path });
      assert.ok(status >= 400, `${path} answered ${status}`);
    }
  });

  test('PA1: dot segments with a parameter are refused', () => {
    for (const path of ['/t/acme/..;/globex', '/t/acme/%2e%2e;a=b/globex', '/a/..%3b/b']) {
      assert.equal(pathOf(path), undefined, path);
    }
  });

  test('GP3: what waits when its kind or its tenant is held is not sent', async () => {
    const rig = await opened(1);
    await rig.push({ weights: { 'records-1': 0 } });
    const waiting = [
      rig.send({ path: '/api/held', tenant: 'globex' }),
      rig.send({ path: '/api/x', tenant: 'acme' }),
    ];
    await new Promise((resolve) => setTimeout(resolve, 200));
    const held = { tenant: tenantId('globex'), service: 'records', method: 'GET' };
    const rule = {
      ...held,
      id: fingerprint('quarantine', 'review'),
      route: '/api/held',
      reason: 'review',
    };
    const quarantines = [rule as never];
    await rig.push({ weights: { 'records-1': 100 }, tenant: { status: 'suspended' }, quarantines });
    const statuses = (await Promise.all(waiting)).map(({ status }) => status);
    assert.deepEqual(statuses, [503, 403]);
  });

  test('DL1: a client in a hurry does not get a sound replica ejected', async () => {
    const rig = await opened(3);
    await rig.push({ regions: { 'records-1': 'eu', 'records-2': 'us', 'records-3': 'us' } });
    const fine = { path: '/api/x', tenant: 'initech' };
    for (let i = 0; i < 40; i += 1) await rig.send(fine);
    const hasty = { path: '/api/x?wait=800', headers: { 'x-request-timeout-ms': '1' } };
    await Promise.all(Array.from({ length: 6 }, () => rig.send(hasty)));
    for (let i = 0; i < 6; i += 1) await rig.send(fine);
    assert.deepEqual(
      rig.events.filter(({ kind }) => kind === 'ejected'),
      [],
    );
  });

  test('GA1: a waiter that is shed and gone in one turn owes no leave', async () => {
    let nowMs = 0;
    const later = (): (() => void) => () => undefined;
    const gate = new Gate({ ceiling: 1, nowMs: () => nowMs, later });
    const stay = (tenant: string): Stay => new Stay({ tenant, weight: 6, gate, needs: [] });
    const [inside, waits] = [stay('acme'), stay('globex')];
    assert.equal(inside.enter(nowMs), 'in');
    const answer = waits.enter(nowMs);
    nowMs = 600;
    inside.end(nowMs);
    waits.end(nowMs);
    await answer;
    assert.equal(gate.inside, 0);
  });

  test('RD1: names in camel case promise a secret too', () => {
    const out = new JsonBytes(Buffer.alloc(1_024));
    const query = Buffer.from('accessToken=S1&clientSecret=S2&session_id=S3&PHPSESSID=S4');
    writeQuery(out, queryRule(['*'], []), query, 0, query.length);
    assert.doesNotMatch(out.buf.toString('latin1', 0, out.pos), /S\d/u);
  });
});
