// Do gateway.tls and gateway.proxyProtocol say what they mean, and is what does not fit refused?
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { diffManifest } from '../../src/manifest/diff.ts';
import { loadManifestText, ManifestErrors } from '../../src/manifest/index.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { initChildren } from '../../src/cli/up/init-file.ts';
import { readTls } from '../../src/gateway/tls/settings.ts';

const folder = mkdtempSync(join(tmpdir(), 'kin-manifest-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const SERVICES =
  'services:\n  api:\n    command: ["node", "--version"]\n    routes: [{ prefix: / }]\n';

async function load(gateway: string): Promise<Manifest> {
  const text = `name: clinic\n${gateway}${SERVICES}`;
  return (await loadManifestText(text, join(folder, 'kintsugi.yaml'), { env: {} })).manifest;
}

async function faults(gateway: string): Promise<readonly string[]> {
  try {
    await load(gateway);
    return [];
  } catch (error) {
    if (!(error instanceof ManifestErrors)) throw error;
    return error.problems.map(({ code, path }) => `${code} ${path}`);
  }
}

const FULL = `gateway:
  tls:
    cert: tls/a.crt
    key: tls/a.key
    certificates:
      - { hosts: ["*.b.example"], cert: /b.crt, key: /b.key }
    clientCa: ca.pem
    clientAuth: optional
    minVersion: 1.3
    redirectPort: 80
  proxyProtocol: { from: ["10.0.0.0/8", "fd00::/8"] }
`;

test('paths become absolute, and a plain number is a version', async () => {
  const { gateway } = await load(FULL);
  assert.deepEqual(gateway.tls, {
    certificates: [
      { cert: join(folder, 'tls/a.crt'), key: join(folder, 'tls/a.key'), hosts: [] },
      { cert: '/b.crt', key: '/b.key', hosts: ['*.b.example'] },
    ],
    clientCa: join(folder, 'ca.pem'),
    clientAuth: 'optional',
    minVersion: '1.3',
    redirectPort: 80,
  });
  assert.deepEqual(gateway.proxyProtocol, { from: ['10.0.0.0/8', 'fd00::/8'] });
  const plain = (await load('')).gateway;
  assert.deepEqual([plain.tls, plain.proxyProtocol], [undefined, undefined]);
});

test('workers are given it by their environment, and read it as it was written', async () => {
  const manifest = await load(FULL);
  const worker = initChildren({}, '/state', manifest).find(({ name }) => name === 'gateway-1');
  assert.deepEqual(readTls(worker?.env['KINTSUGI_GATEWAY_TLS'] ?? ''), manifest.gateway.tls);
  assert.equal(worker?.env['KINTSUGI_GATEWAY_PROXY_FROM'], '10.0.0.0/8,fd00::/8');
  const plain = initChildren({}, '/state', await load(''))[1];
  assert.equal(plain?.env['KINTSUGI_GATEWAY_TLS'], undefined);
  assert.equal(plain?.env['KINTSUGI_GATEWAY_PROXY_FROM'], undefined);
});

test('CS1. client certificates need authorities, and authorities a use', async () => {
  const tls = (more: string): string => `gateway:\n  tls: { cert: a, key: b, ${more} }\n`;
  assert.deepEqual(await faults(tls('clientAuth: required')), [
    'KIN_MANIFEST_MISSING gateway.tls.clientAuth',
  ]);
  assert.deepEqual(await faults(tls('clientCa: c')), [
    'KIN_MANIFEST_CONFLICT gateway.tls.clientCa',
  ]);
  assert.deepEqual(await faults(tls('redirectPort: 8080')), [
    'KIN_MANIFEST_CONFLICT gateway.tls.redirectPort',
  ]);
  assert.deepEqual(await faults(tls('clientCa: c, clientAuth: required')), []);
  assert.equal((await faults(tls('minVersion: 1.1'))).length, 1);
  assert.equal((await faults(tls('hosts: ["API.example"]'))).length, 1);
  assert.equal((await faults('gateway:\n  tls: { cert: a }\n')).length, 1);
});

test('CS2. only networks that exist are trusted', async () => {
  const from = (...list: readonly string[]): string =>
    `gateway:\n  proxyProtocol: { from: ${JSON.stringify(list)} }\n`;
  assert.deepEqual(await faults(from('10.0.0.0/8', '::1', '192.0.2.1')), []);
  for (const network of ['10.0.0.0/33', '10.0.0/8', 'fd00::/129', '1.2.3.4/08', 'a.b']) {
    assert.equal((await faults(from(network))).length, 1, network);
  }
  assert.equal((await faults(from())).length, 1);
});

test('a change of either replaces the gateway workers one after the other', async () => {
  const [plain, full] = [await load(''), await load(FULL)];
  const effects = diffManifest(plain, full).map(({ effect }) => effect.kind);
  assert.ok(effects.length > 5);
  assert.deepEqual([...new Set(effects)], ['restarts-gateway']);
});
