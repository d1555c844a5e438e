// Can a manifest say whose hosts, certificates and routes they are, and is a slip noticed?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diffManifest, manifestFromJson, manifestToJson } from '../../src/manifest/index.ts';
import { folder } from './fixture.ts';

const web = (keys: string): string =>
  `services: { web: { command: [node, server.js], ${keys} } }\n` +
  'dependencies: { db: { kind: tcp, url: "tcp://127.0.0.1:1" } }\n';
const tenants = (north: string, south = '{}'): string =>
  `tenants: { north: ${north}, south: ${south} }\n`;

const GOOD =
  `name: hello\n${web(
    'concurrency: 9, ' +
      'routes: [{ prefix: /a, tenants: [north], dependencies: [db], timeout: 5s }]',
  )}` + tenants('{ priority: 0, hosts: [n.example.com], certificates: ["uri:spiffe://x/n"] }');

test('hosts, certificates, priorities, routes of tenants: read, kept and compared', async (t) => {
  const { load } = await folder(t, { 'server.js': '' });
  const { manifest } = await load(GOOD);
  const service = [...manifest.services.values()][0];
  assert.equal(service?.concurrencyMax, 9);
  assert.deepEqual(service?.routes[0]?.dependencies, ['db']);
  const [north, south] = manifest.tenants.values();
  assert.equal(north?.priority, 0);
  assert.equal(south?.hosts, undefined);
  assert.deepEqual(manifestFromJson(manifestToJson(manifest)), manifest);
  const other = await load(GOOD.replace('timeout: 5s', 'timeout: 6s').replace('9,', '8,'));
  const changes = diffManifest(manifest, other.manifest);
  assert.deepEqual(
    changes.map(({ field, from, to, effect }) => [field, from, to, effect.kind]),
    [
      ['concurrency', '9', '8', 'live'],
      ['routes[0].timeout', '5s', '6s', 'live'],
    ],
  );
});

const BAD: Readonly<Record<string, readonly [string, string]>> = {
  'a host in capitals': [tenants('{ hosts: [N.example.com] }'), 'RANGE tenants.north.hosts[0]'],
  'a host with a port': [tenants('{ hosts: ["n.org:80"] }'), 'RANGE tenants.north.hosts[0]'],
  'a host twice': [
    tenants('{ hosts: [n.org] }', '{ hosts: [n.org] }'),
    'CONFLICT tenants.south.hosts[0]',
  ],
  'a certificate twice': [
    tenants('{ certificates: ["dns:n.org", "dns:n.org"] }'),
    'CONFLICT tenants.north.certificates[1]',
  ],
  'a certificate of no kind': [
    tenants('{ certificates: [acme] }'),
    'RANGE tenants.north.certificates[0]',
  ],
  'a priority of ten': [tenants('{ priority: 10 }'), 'RANGE tenants.north.priority'],
};
const BAD_ROUTES: Readonly<Record<string, readonly [string, string]>> = {
  'an unknown tenant': ['tenants: [nroth]', 'REFERENCE services.web.routes[0].tenants[0]'],
  'an unknown dependency': [
    'dependencies: [dc]',
    'REFERENCE services.web.routes[0].dependencies[0]',
  ],
};

for (const [what, [keys, problem]] of Object.entries(BAD)) {
  test(`refused: ${what}`, async (t) => {
    const { problems } = await folder(t, { 'server.js': '' });
    const { all } = await problems(`name: hello\n${web('port: 0')}${keys}`);
    assert.deepEqual(
      all.map(({ code, path }) => `${code.slice(13)} ${path}`),
      [problem],
    );
  });
}
for (const [what, [keys, problem]] of Object.entries(BAD_ROUTES)) {
  test(`refused on a route: ${what}`, async (t) => {
    const { problems } = await folder(t, { 'server.js': '' });
    const routes = `routes: [{ prefix: /a, ${keys} }]`;
    const { all } = await problems(`name: hello\n${web(routes)}${tenants('{}')}`);
    assert.deepEqual(
      all.map(({ code, path }) => `${code.slice(13)} ${path}`),
      [problem],
    );
  });
}
