// The controller's side of token keys, over real HTTP and files, and the way of a rotation to a
// gateway's authenticator.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openAuthenticator } from '../../../src/gateway/auth.ts';
import { knownJwt, loadJwt } from '../../../src/main/jwt.ts';
import type { JwtIssuer, Manifest } from '../../../src/model/manifest.ts';
import type { JwtRule } from '../../../src/model/routing.ts';
import type { Log } from '../../../src/world/clock.ts';
import { ask, bearer, pairOf, routesOf, token } from './rig.ts';

const ed = pairOf('EdDSA', 'ed-1');
const next = pairOf('EdDSA', 'ed-2');
const rsa = pairOf('RS256', 'rsa-1');
const weak = pairOf('RS256', 'weak', 1_024);

const folder = mkdtempSync(join(tmpdir(), 'kin-issuers-'));
let server: Server;
let url = '';
let answer: (response: ServerResponse, path: string) => void;
let asked = 0;

before(async () => {
  server = createServer((request, response) => {
    asked += 1;
    answer(response, request.url ?? '/');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const at = server.address();
  assert.ok(typeof at === 'object' && at !== null);
  url = `http://127.0.0.1:${at.port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const serves = (...keys: readonly unknown[]): void => {
  answer = (response) => void response.end(JSON.stringify({ keys }));
};

const issuer = (more: Partial<JwtIssuer> = {}): JwtIssuer => ({
  issuer: 'https://id.test',
  audience: 'api',
  tenantClaim: 'org',
  jwks: `${url}/jwks`,
  ...more,
});

function load(
  issuers: readonly JwtIssuer[],
  known: readonly JwtRule[] = [],
  log: Log = openLog().log,
): Promise<readonly JwtRule[]> {
  const gateway = { host: '127.0.0.1', port: 0, workers: 1, retryBudget: 0, jwt: issuers };
  return loadJwt({ baseDir: folder, gateway } as unknown as Manifest, log, known);
}

function openLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const line = (text: string, data?: unknown): void => {
    lines.push(`${text} ${JSON.stringify(data)}`);
  };
  return { log: { debug: line, info: line, warn: line, error: line }, lines };
}

const kidsOf = (rules: readonly JwtRule[]): readonly unknown[] =>
  rules.map(({ jwks }) => jwks.keys.map((key) => key['kid']));

describe('keys of issuers at the controller', () => {
  test('JW1: private, weak and foreign keys stay here, and why is said once', async () => {
    const secret = { ...ed.privateKey.export({ format: 'jwk' }), kid: 'private' };
    serves(ed.jwk, secret, weak.jwk, { kty: 'oct', k: 'c2VjcmV0', kid: 'hmac' }, 7, null, rsa.jwk);
    const { log, lines } = openLog();
    const rules = await load([issuer()], [], log);
    assert.deepEqual(kidsOf(rules), [['ed-1', 'rsa-1']]);
    assert.equal(lines.length, 5);
    assert.ok(!lines.join().includes(String(secret.d)) && !lines.join().includes('c2VjcmV0'));
    await load([issuer()], rules, log);
    assert.equal(lines.length, 5);
  });

  test('JW3: two rules of one issuer each have their keys; one document, one fetch', async () => {
    answer = (response, path) => {
      response.end(JSON.stringify({ keys: [path === '/jwks' ? ed.jwk : next.jwk] }));
    };
    asked = 0;
    const both = [issuer(), issuer({ audience: 'partner', jwks: `${url}/partner` })];
    const rules = await load([...both, issuer({ audience: 'third' })]);
    assert.deepEqual(kidsOf(rules), [['ed-1'], ['ed-2'], ['ed-1']]);
    assert.equal(asked, 2);
    // When nothing can be read, each keeps its own and not the first one's.
    answer = (response) => void response.writeHead(503).end();
    assert.deepEqual(kidsOf(await load(both, rules)), [['ed-1'], ['ed-2']]);
    assert.deepEqual(kidsOf(await load(both, [])), [[], []]);
    assert.deepEqual(kidsOf(await load([issuer({ audience: 'new' })], rules)), [[]]);
  });

  test('JW2: an issuer that withdraws all of its keys has none', async () => {
    serves(ed.jwk);
    const rules = await load([issuer()]);
    serves();
    assert.deepEqual(kidsOf(await load([issuer()], rules)), [[]]);
  });

  test('JW2 JW4: redirects, floods, a cut and what is no JWKS change nothing', async () => {
    serves(ed.jwk);
    const rules = await load([issuer()]);
    const bad: readonly ((response: ServerResponse) => void)[] = [
      (response) => void response.writeHead(302, { location: `${url}/other` }).end(),
      (response) => void response.end('x'.repeat(1_048_577)),
      (response) => void response.end('{"keys":{}}'),
      (response) => void response.end('[]'),
      (response) => void response.end('null'),
      (response) => void response.end('{"keys":['),
      (response) => {
        response.write('{"keys":[');
        response.destroy();
      },
    ];
    for (const [i, misbehave] of bad.entries()) {
      answer = misbehave;
      assert.deepEqual(kidsOf(await load([issuer()], rules)), [['ed-1']], `case ${i}`);
    }
  });

  test('files work like URLs; a folder, a missing and a huge file do not', async () => {
    writeFileSync(join(folder, 'jwks.json'), JSON.stringify({ keys: [ed.jwk] }));
    writeFileSync(join(folder, 'huge.json'), ' '.repeat(1_048_577));
    const from = async (jwks: string): Promise<readonly unknown[]> =>
      kidsOf(await load([issuer({ jwks })]));
    assert.deepEqual(await from('jwks.json'), [['ed-1']]);
    for (const jwks of ['.', 'missing.json', 'huge.json']) assert.deepEqual(await from(jwks), [[]]);
  });

  test('the claim for roles reaches the rule; of the store only rules are taken', async () => {
    serves(ed.jwk);
    const [rule] = await load([issuer({ rolesClaim: 'scope' })]);
    assert.equal(rule?.rolesClaim, 'scope');
    assert.deepEqual(knownJwt([rule, 7, null, {}, { issuer: 'x' }]), [rule]);
    assert.deepEqual(knownJwt('x'), []);
  });
});

test('AU6 JW2: a rotation arrives: unknown key, wish, fetch, new table, overlap, end', async () => {
  serves(ed.jwk);
  let rules = await load([issuer()]);
  const wanted: string[] = [];
  const auth = openAuthenticator({ onKeysWanted: (name) => wanted.push(name) });
  const push = async (): Promise<void> => {
    rules = await load([issuer()], rules);
    auth.use(routesOf({ jwt: rules }));
  };
  await push();
  assert.equal(await ask(auth, bearer(token(ed))), 'acme user:ann');
  serves(ed.jwk, next.jwk);
  assert.equal(await ask(auth, bearer(token(next))), 'invalid');
  assert.deepEqual(wanted, ['https://id.test']);
  await push();
  assert.equal(await ask(auth, bearer(token(next))), 'acme user:ann');
  assert.equal(await ask(auth, bearer(token(ed))), 'acme user:ann', 'both, as long as both stand');
  serves(next.jwk);
  await push();
  assert.equal(await ask(auth, bearer(token(ed))), 'invalid');
  assert.equal(await ask(auth, bearer(token(next))), 'acme user:ann');
});
