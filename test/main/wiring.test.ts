// What `src/main` adds of its own: the book from the manifest, keys, the routing table, orders, and
// who may lead. Real folders, the store in memory.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { loadManifestText } from '../../src/manifest/index.ts';
import { aboveTheKnown, adopt, takeLease } from '../../src/main/boot.ts';
import { settle } from '../../src/main/desired.ts';
import { knownJwt, loadJwt } from '../../src/main/jwt.ts';
import { firstKeys, openKeyRing, ownSecrets } from '../../src/main/keys.ts';
import { openLedgerIn, vkeyIn } from '../../src/main/ledger.ts';
import { buildOrder } from '../../src/main/order.ts';
import { assertionKey, buildTable } from '../../src/main/table.ts';
import { parseKey, keyMac } from '../../src/gateway/keys.ts';
import { EMPTY_FLEET } from '../../src/model/fleet.ts';
import type { Fleet } from '../../src/model/fleet.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { replicaId, serviceName } from '../../src/model/ids.ts';
import type { Replica } from '../../src/model/replica.ts';
import { applyChange } from '../../src/loop/act/book.ts';
import { memoryDisk, memoryStore } from '../../src/store/memory.ts';
import { openClock } from '../../src/world/real/clock.ts';
import { SILENT } from '../../src/world/real/log.ts';
import { ownIdentity } from '../../src/world/real/identity.ts';
import type { AdoptReport, Runtime } from '../../src/world/runtime.ts';

const base = mkdtempSync(join(tmpdir(), 'kin-main-'));
after(() => {
  // Releases are read-only on purpose.
  for (const path of ['a', 'b', 'c', 'd']) makeWritable(join(base, path));
  rmSync(base, { recursive: true, force: true });
});

import { chmodSync, existsSync, readdirSync } from 'node:fs';
function makeWritable(path: string): void {
  if (!existsSync(path)) return;
  chmodSync(path, 0o700);
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) makeWritable(join(path, entry.name));
  }
}

const clock = openClock();

async function manifestIn(folder: string, extra = ''): Promise<Manifest> {
  const dir = join(base, folder, 'app');
  mkdirSync(dir, { recursive: true });
  if (!existsSync(join(dir, 'server.js'))) writeFileSync(join(dir, 'server.js'), '// v1\n');
  const text = `
apiVersion: kintsugi/v1
name: wiring
services:
  api:
    command: [node, server.js]
    replicas: { min: 2, max: 4 }
${extra}tenants:
  north: { plan: standard, region: eu }
  south: { plan: standard, region: us }
`;
  const { manifest } = await loadManifestText(text, join(dir, 'kintsugi.yaml'), { env: {} });
  return manifest;
}

const api = serviceName('api');

function withReplica(fleet: Fleet, change: Partial<Replica> = {}): Fleet {
  const book = fleet.services.get(api);
  assert.ok(book);
  const replica: Replica = {
    id: replicaId(api, 1),
    service: api,
    release: book.release,
    role: 'active',
    phase: 'ready',
    weight: 100,
    region: 'any',
    endpoint: { host: '127.0.0.1', port: 20_001 },
    createdAtMs: 1,
    ...change,
  };
  return applyChange(fleet, { replicas: [replica] });
}

describe('desired.ts: the manifest becomes the book', () => {
  test('DS1 same source, same release; DS2 a running one is rolled; DS3 kept', async () => {
    const manifest = await manifestIn('a');
    const inputs = { root: join(base, 'a', 'releases'), clock };
    const first = await settle(manifest, EMPTY_FLEET, undefined, inputs);
    const again = await settle(manifest, EMPTY_FLEET, undefined, inputs);
    assert.deepEqual(first.sources, again.sources);
    const fleet = withReplica(applyChange(EMPTY_FLEET, first.change));

    // DS3: deployed by hand meanwhile, source unchanged: it stays.
    const book = fleet.services.get(api);
    assert.ok(book);
    const other = { ...[...fleet.releases.values()][0], id: 'r-deployed' } as never;
    const deployed = applyChange(fleet, {
      services: [{ ...book, release: 'r-deployed' as never }],
      releases: [other],
    });
    const kept = await settle(manifest, deployed, first.sources, inputs);
    assert.equal(kept.rollouts.length, 0);
    assert.equal(kept.change.services?.[0]?.release, 'r-deployed');

    // DS2: the source changed while it runs: a rollout, and the book does not move by itself.
    writeFileSync(join(base, 'a', 'app', 'server.js'), '// v2\n');
    const changed = await settle(manifest, fleet, first.sources, inputs);
    assert.equal(changed.rollouts.length, 1);
    assert.equal(changed.change.services?.[0]?.release, book.release);
    assert.notEqual(changed.sources['api'], first.sources['api']);
  });

  test('what was scaled by an operator stands while the range allows it', async () => {
    const manifest = await manifestIn('b');
    const inputs = { root: join(base, 'b', 'releases'), clock };
    const first = await settle(manifest, EMPTY_FLEET, undefined, inputs);
    const fleet = applyChange(EMPTY_FLEET, first.change);
    const book = fleet.services.get(api);
    assert.ok(book);
    for (const [asked, stands] of [
      [3, 3],
      [9, 4],
      [1, 2],
    ] as const) {
      const scaled = applyChange(fleet, { services: [{ ...book, replicas: asked }] });
      const settled = await settle(manifest, scaled, first.sources, inputs);
      assert.equal(settled.change.services?.[0]?.replicas, stands);
    }
  });
});

describe('keys.ts: API keys and own secrets', () => {
  test('KY1 a key is shown once; only its MAC is kept, in private files', async () => {
    const dir = join(base, 'c');
    mkdirSync(dir, { mode: 0o700 });
    const own = ownSecrets(dir);
    assert.deepEqual(ownSecrets(dir), own);
    assert.equal(statSync(join(dir, 'gateway.pepper')).mode & 0o077, 0);
    const manifest = await manifestIn('c');
    const store = memoryStore(memoryDisk());
    const lease = await store.lease('t', 0, 10_000);
    assert.ok(lease.kind === 'held');
    const ring = await openKeyRing({
      store,
      clock,
      epoch: lease.epoch,
      pepper: own.pepper,
      env: 'wiring',
      manifest: () => manifest,
    });
    assert.deepEqual(await firstKeys(ring, manifest, dir), ['north', 'south']);
    assert.deepEqual(await firstKeys(ring, manifest, dir), []);
    const shown = JSON.parse(readFileSync(join(dir, 'first-keys.json'), 'utf8')) as {
      keys: { tenant: string; key: string }[];
    };
    const parsed = parseKey(shown.keys[0]?.key ?? '');
    assert.ok(parsed);
    assert.equal(ring.rules().get('north')?.[0]?.mac, keyMac(own.pepper, parsed.secret));
    assert.ok(!JSON.stringify(await store.keys()).includes(parsed.secret));
    await assert.rejects(ring.create('nobody'), { code: 'KIN_TENANT_UNKNOWN' });
    await assert.rejects(ring.revoke('nothing'), { code: 'KIN_KEY_UNKNOWN' });
    await ring.revoke(parsed.id);
    assert.equal(ring.rules().get('north'), undefined);
  });
});

describe('table.ts and order.ts: what gateways and replicas are told', () => {
  const tableOf = (fleet: Fleet, manifest: Manifest): ReturnType<typeof buildTable> =>
    buildTable(fleet, 7, { manifest, keys: new Map(), jwt: [], assertionRoot: 'cm9vdA' });

  test('TA1 starting is not routed, draining gets nothing; TA2 no route, no row', async () => {
    const manifest = await manifestIn('d', '    routes: [{ prefix: /api }]\n');
    const first = await settle(manifest, EMPTY_FLEET, undefined, {
      root: join(base, 'd', 'releases'),
      clock,
    });
    const fleet = applyChange(EMPTY_FLEET, first.change);
    const rows = (change: Partial<Replica>): unknown =>
      tableOf(withReplica(fleet, change), manifest).services[0]?.replicas.map((r) => r.weight);
    assert.deepEqual(rows({}), [100]);
    assert.deepEqual(rows({ phase: 'draining' }), [0]);
    assert.deepEqual(rows({ phase: 'starting' }), []);
    assert.deepEqual(rows({ endpoint: undefined }), []);
    const spec = manifest.services.get(api);
    assert.ok(spec);
    const unrouted = { ...manifest, services: new Map([[api, { ...spec, routes: [] }]]) };
    assert.equal(tableOf(fleet, unrouted).services.length, 0);
  });

  test('a service cannot sign for another: their keys differ', () => {
    assert.notEqual(assertionKey('cm9vdA', 'records'), assertionKey('cm9vdA', 'billing'));
  });

  test('an order carries the environment of its release and the marks of its replica', async () => {
    const manifest = await manifestIn('d');
    const first = await settle(manifest, EMPTY_FLEET, undefined, {
      root: join(base, 'd', 'releases'),
      clock,
    });
    const fleet = withReplica(applyChange(EMPTY_FLEET, first.change));
    const release = [...fleet.releases.values()][0];
    const replica = [...fleet.replicas.values()][0];
    assert.ok(release && replica);
    const order = buildOrder(
      replica,
      { ...release, env: { GREETING: '${secret:word}' } },
      {
        manifest,
        env: { PATH: '/bin' },
        secrets: new Map([['word', 'hush']]),
        ports: new Map(),
        stateDir: base,
        nodeDir: '/node',
        instance: 'i1',
        socket: '/s',
        assertionRoot: 'cm9vdA',
      },
    );
    assert.equal(order.env['GREETING'], 'hush');
    assert.equal(order.env['KINTSUGI_REPLICA'], 'api-1');
    assert.ok(!order.command.join(' ').includes('hush'));
    assert.ok(order.cwd.startsWith(release.dir));
  });
});

describe('boot.ts: who leads, and what is adopted', () => {
  test('BO1 the lease of a controller that died here is taken over at once', async () => {
    const store = memoryStore(memoryDisk());
    const { hostname } = await import('node:os');
    const dead = `${hostname()} ${JSON.stringify({ ...ownIdentity(), pid: 999_999_999 })}`;
    const before = await store.lease(dead, clock.nowMs(), 60_000);
    assert.ok(before.kind === 'held');
    const lease = await takeLease(store, clock, SILENT, new AbortController().signal);
    assert.ok(lease.epoch > before.epoch);
  });

  test('BO1 the lease of one that lives elsewhere is waited for, until stopped', async () => {
    const store = memoryStore(memoryDisk());
    await store.lease('another-host {}', clock.nowMs(), 60_000);
    const stop = new AbortController();
    const waiting = takeLease(store, clock, SILENT, stop.signal);
    setImmediate(() => stop.abort(new Error('stopped')));
    await assert.rejects(waiting);
  });

  test('BO2 a replica that was starting under no open run is not adopted', async () => {
    const asked: string[][] = [];
    const runtime = {
      async adopt(known: ReadonlySet<string>): Promise<AdoptReport> {
        asked.push([...known]);
        return { adopted: [], ended: [], reaped: [] };
      },
    } as Partial<Runtime> as Runtime;
    const manifest = await manifestIn('d');
    const first = await settle(manifest, EMPTY_FLEET, undefined, {
      root: join(base, 'd', 'releases'),
      clock,
    });
    const one = withReplica(applyChange(EMPTY_FLEET, first.change));
    const two = withReplica(one, { id: replicaId(api, 2), phase: 'starting', weight: 0 });
    const adoption = await adopt(two, [], runtime);
    assert.deepEqual(asked, [['api-1']]);
    assert.deepEqual(
      adoption.gone.map((r) => [r.id, r.phase]),
      [['api-2', 'gone']],
    );
    assert.deepEqual([...adoption.fleet.replicas.keys()], ['api-1']);
  });
});

describe('boot.ts: a store that was lost', () => {
  test('BO3 ordinals go on above those that the runtime remembers', async () => {
    const manifest = await manifestIn('d');
    const first = await settle(manifest, EMPTY_FLEET, undefined, {
      root: join(base, 'd', 'releases'),
      clock,
    });
    const known = new Set(['api-2', 'api-7']);
    const runtime = {
      look: (id: string) => (known.has(id) ? ('ended' as const) : ('unknown' as const)),
    };
    const [book] = aboveTheKnown(first.change.services ?? [], runtime);
    assert.equal(book?.nextOrdinal, 8);
  });
});

const TERMS = { deadlineMs: 60_000, level: 'durable', tenant: undefined } as const;

describe('ledger.ts and jwt.ts', () => {
  test('ML1 one private key; L1 intents are durable; L2 a closed ledger rejects', async () => {
    const dir = join(base, 'ledger');
    const first = await openLedgerIn(dir, 'wiring', undefined);
    const written = await first.ledger.intent('replica:api-1', { run: 'r1' }, TERMS);
    await first.ledger.close();
    assert.equal(statSync(join(dir, 'signing.key')).mode & 0o077, 0);
    const second = await openLedgerIn(dir, 'wiring', undefined);
    assert.equal(second.log.vkey, vkeyIn(dir));
    assert.deepEqual(
      second.ledger.openIntents().map((i) => i.index),
      [written.index],
    );
    await second.ledger.outcome(written.index, 'succeeded', {});
    assert.equal(second.ledger.openIntents().length, 0);
    await second.ledger.close();
    await assert.rejects(second.ledger.record('controller.started', {}), { code: /^KIN_LEDGER/u });
  });

  test('JW1 private parts never leave; JW2 keys not to be read stay as they were', async () => {
    const manifest = await manifestIn('d');
    const path = join(manifest.baseDir, 'jwks.json');
    writeFileSync(
      path,
      JSON.stringify({
        keys: [
          generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }),
          generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }),
        ],
      }),
    );
    const issuer = (name: string, jwks: string): Manifest['gateway']['jwt'][0] => ({
      issuer: name,
      audience: 'a',
      jwks,
      tenantClaim: 'tenant',
    });
    const rules = await loadJwt(
      {
        ...manifest,
        gateway: {
          ...manifest.gateway,
          jwt: [issuer('good', 'jwks.json'), issuer('gone', 'missing.json')],
        },
      },
      SILENT,
      knownJwt([{ issuer: 'gone', jwks: { keys: [{ kty: 'OKP' }, { kty: 'OKP' }] } }, 7]),
    );
    assert.deepEqual(
      rules.map((r) => [r.issuer, r.jwks.keys.length]),
      [
        ['good', 1],
        ['gone', 2],
      ],
    );
  });
});
