// The policy for routes as part of a manifest: where its file may lie, what becomes of a wrong one,
// and what reaches the routing table.
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { buildTable } from '../../src/main/table.ts';
import { diffManifest } from '../../src/manifest/diff.ts';
import { EMPTY_FLEET } from '../../src/model/fleet.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { folder } from '../manifest/fixture.ts';

const MANIFEST = `name: clinic
gateway: { policy: policy/routes.cedar }
services:
  records:
    command: [node, server.js]
    routes: [{ prefix: /records }, { prefix: /t, tenantSegment: 2, tenants: [north] }]
  web: { command: [node, server.js], routes: [{ prefix: / }] }
tenants: { north: {}, south: {} }
`;
const POLICY = `
permit (principal in Role::"clerk", action, resource in Route::"/records");
permit (principal, action == Action::"GET", resource == Route::"/");
forbid (principal is Key, action == Action::"DELETE", resource);
`;
const files = (policy: string): Record<string, string> => ({
  'server.js': '',
  'policy/routes.cedar': policy,
});

const inputs = (manifest: Manifest) => ({
  manifest,
  keys: new Map<string, never>(),
  jwt: [],
  assertionRoot: Buffer.alloc(32).toString('base64url'),
});

describe('the policy of a manifest', () => {
  test('CP2: what it means stands with each route, up to the table of the gateways', async (t) => {
    const { load } = await folder(t, files(POLICY));
    const { manifest } = await load(MANIFEST);
    const table = buildTable(EMPTY_FLEET, 1, inputs(manifest));
    const routes = table.services.flatMap(({ prefixes }) => prefixes);
    const deny = { '@key': ['DELETE'] };
    const seen = routes.map(({ prefix, allow, deny: no }) => [prefix, allow, no]);
    assert.deepEqual(seen, [
      ['/records', { clerk: ['*'] }, deny],
      ['/t', {}, deny],
      ['/', { '*': ['GET'] }, deny],
    ]);
    assert.equal(routes[1]?.tenantSegment, 2);
    assert.deepEqual(routes[1]?.tenants, ['north']);
  });

  test('without one every route is open, and one that goes away opens them again', async (t) => {
    const { load } = await folder(t, files(POLICY));
    const open = (await load(MANIFEST.replace(/^gateway.*\n/mu, ''))).manifest;
    const closed = (await load(MANIFEST)).manifest;
    for (const { routes } of open.services.values()) {
      assert.ok(routes.every((route) => !('allow' in route) && !('deny' in route)));
    }
    // A change of the file is a change of the manifest, and takes hold at once.
    const changes = diffManifest(open, closed);
    assert.ok(changes.length > 1);
    assert.ok(changes.every(({ effect }) => effect.kind === 'live'));
  });

  test('CP2: faults have the place in the file of policies, all of them at once', async (t) => {
    const bad = `${POLICY}permit (principal, action, resource) when { context.mfa };\n`;
    const { problems } = await folder(
      t,
      files(`${bad}permit (principal, action == "x", resource);`),
    );
    const { text } = await problems(MANIFEST);
    assert.match(text, /policy\/routes\.cedar:6:\d+ KIN_POLICY_SYNTAX/u);
    const second = await folder(t, files(`${bad}${bad}`));
    const { all } = await second.problems(MANIFEST);
    assert.deepEqual(
      all.map(({ code, line }) => [code, line]),
      [
        ['KIN_POLICY_UNDECIDABLE', 5],
        ['KIN_POLICY_UNDECIDABLE', 10],
      ],
    );
  });

  test('CP1: a path that leads out of the folder, by dots or a link, is refused', async (t) => {
    const { dir, problems } = await folder(t, files(POLICY));
    const outside = `${dir}-outside`;
    mkdirSync(outside);
    t.after(async () => (await import('node:fs/promises')).rm(outside, { recursive: true }));
    writeFileSync(join(outside, 'routes.cedar'), POLICY);
    symlinkSync(join(outside, 'routes.cedar'), join(dir, 'link.cedar'));
    const with_ = async (path: string): Promise<string> =>
      (await problems(MANIFEST.replace('policy/routes.cedar', path))).short.join();
    assert.match(await with_('../x-outside/routes.cedar'), /RANGE gateway\.policy/u);
    assert.match(await with_('link.cedar'), /RANGE gateway\.policy/u);
    assert.match(await with_('missing.cedar'), /NOT_FOUND gateway\.policy/u);
    assert.match(await with_('policy'), /NOT_FOUND gateway\.policy/u);
    assert.equal(await with_(join(outside, 'routes.cedar')), '');
  });

  test('CI1: two issuers of one name need audiences of their own', async (t) => {
    const { problems } = await folder(t, { 'server.js': '', 'jwks.json': '{"keys":[]}' });
    const rule = (audience: string): string =>
      `{ issuer: 'https://id.test', audience: ${audience}, jwks: jwks.json }`;
    const of = (...rules: readonly string[]): string =>
      MANIFEST.replace('policy: policy/routes.cedar', `jwt: [${rules.join(', ')}]`);
    assert.deepEqual((await problems(of(rule('api'), rule('partner')))).short, []);
    const { short } = await problems(of(rule('api'), rule('partner'), rule('api')));
    assert.match(short.join(), /CONFLICT gateway\.jwt\[2\]\.audience/u);
  });
});
