// Is the seam between controller and gateway tight? Tables, acknowledgements, drains, loss of the
// controller, of the gateway and of the socket; the SDK's frames.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createNetServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { openHub } from '../../src/drivers/gateways/hub.ts';
import { openLink } from '../../src/gateway/link.ts';
import type { LinkDeps } from '../../src/gateway/link.ts';
import { asReplicaId, serviceName, tenantId } from '../../src/model/ids.ts';
import type { RoutingTable } from '../../src/model/routing.ts';
import type { GatewayEvent } from '../../src/model/signal.ts';
import type { Gateways, GatewaySignal } from '../../src/world/gateways.ts';
import { LOG, freePort, gatewayEnv, openRig, spawnGateway, underLoad, until } from './rig.ts';
import type { Rig } from './rig.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

async function open(options: Parameters<typeof openRig>[0]): Promise<Rig> {
  const rig = await openRig(options);
  cleanups.push(() => rig.close());
  return rig;
}

function folderOf(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kin-seam-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function hubAt(socketPath: string, pepper = 'cGVwcGVy'): Promise<Gateways> {
  const hub = await openHub({ socketPath, pepper, log: LOG, monotonicMs: () => performance.now() });
  cleanups.push(() => hub.close());
  return hub;
}

const TABLE: RoutingTable = {
  v: 1,
  version: 1,
  services: [],
  tenants: [],
  quarantines: [],
  jwt: [],
  retryBudget: 0.2,
};
const R1 = asReplicaId('records-1');

function linkTo(socketPath: string, change: Partial<LinkDeps> = {}): ReturnType<typeof openLink> {
  const link = openLink({
    socketPath,
    worker: 'g1',
    random: () => 0.5,
    version: () => 0,
    onTable: (table) => table.version,
    onForgive: () => undefined,
    onDeath: () => undefined,
    takeCells: () => [],
    inFlight: () => [],
    ejections: () => [],
    warn: () => undefined,
    ...change,
  });
  cleanups.push(() => link.close());
  return link;
}

describe('tables', () => {
  test('G1 GP1: swaps under load are atomic, and an older table is never taken', async () => {
    const rig = await open({ replicas: 2 });
    const result = await underLoad(
      rig,
      100,
      () => ({ path: '/api/x' }),
      async () => {
        for (let i = 0; i < 20; i += 1) {
          await rig.push({ only: [i % 2 === 0 ? 'records-1' : 'records-2'] });
        }
        await rig.push({ only: ['records-1', 'records-2'] });
      },
    );
    assert.deepEqual(result.failed, []);
    const old = { ...rig.table(), version: 1, services: [] };
    assert.equal(rig.worker?.proxy.apply(old, 'p').kind, 'kept');
    assert.equal((await rig.send({ path: '/api/x' })).status, 200);
  });

  test('GP1: a table without sense changes nothing', async () => {
    const rig = await open({ replicas: 1 });
    const broken = { ...TABLE, version: 99, tenants: undefined } as unknown as RoutingTable;
    assert.equal(rig.worker?.proxy.apply(broken, 'p').kind, 'refused');
    assert.equal((await rig.send({ path: '/api/x' })).status, 200);
  });

  test('BE1 BE2 LK3: a drain is exact: nothing new, and zero with the last', async () => {
    const rig = await open({ replicas: 2 });
    const long = Array.from({ length: 6 }, () => rig.send({ path: '/api/x?wait=600' }));
    await until('they are inside', () => {
      const counts = rig.worker?.proxy.inFlight() ?? [];
      return counts.reduce((n, c) => n + c.count, 0) === 6;
    });
    const inside = rig.worker?.proxy.inFlight().find((c) => c.replica === R1)?.count ?? 0;
    assert.ok(inside > 0);
    await rig.push({ weights: { 'records-1': 0 } });
    assert.equal(rig.hub.inFlight(R1).count, inside);
    const before = await rig.replicas[0]?.served();
    for (let i = 0; i < 20; i += 1) {
      assert.match((await rig.send({ path: '/api/x' })).body, /records-2/u);
    }
    await until('it is empty', () => rig.hub.inFlight(R1).count === 0);
    assert.equal(await rig.replicas[0]?.served(), before);
    for (const answer of await Promise.all(long)) assert.equal(answer.status, 200);
  });

  test('BE2: what is inside a replica that leaves the table is finished', async () => {
    const rig = await open({ replicas: 2 });
    const long = Array.from({ length: 4 }, () => rig.send({ path: '/api/x?wait=300' }));
    await until('inside', () => (rig.worker?.proxy.inFlight() ?? []).every((c) => c.count === 2));
    await rig.push({ only: ['records-2'] });
    for (const answer of await Promise.all(long)) assert.equal(answer.status, 200);
    await until('forgotten', () => (rig.worker?.proxy.inFlight() ?? []).length === 1);
    await until('told', () => rig.hub.inFlight(R1).count === 0);
  });

  test('counters arrive at the controller, by replica and tenant', async () => {
    const rig = await open({ replicas: 1 });
    for (let i = 0; i < 5; i += 1) await rig.send({ path: '/api/x', tenant: 'globex' });
    const seen = (): number =>
      rig.cells.filter((c) => c.tenant === 'globex').reduce((n, c) => n + c.requests, 0);
    await until('all are counted', () => seen() === 5);
    assert.equal(rig.cells[0]?.route, '/api');
  });
});

describe('loss', () => {
  test('G2 LK1: with the controller gone it serves, and takes up with the next one', async () => {
    const rig = await open({ replicas: 2 });
    await rig.closeHub();
    const result = await underLoad(
      rig,
      100,
      () => ({ path: '/api/x' }),
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 300));
        rig.replicas[0]?.child.kill('SIGKILL');
        await new Promise((resolve) => setTimeout(resolve, 300));
      },
    );
    assert.deepEqual(result.failed, []);
    const events: GatewayEvent[] = [];
    const hub = await openHub({
      socketPath: rig.socketPath,
      pepper: 'cGVwcGVy',
      log: LOG,
      monotonicMs: () => performance.now(),
    });
    cleanups.push(() => hub.close());
    hub.onSignal((s) => s.kind === 'event' && events.push(s.event));
    await until('it is back', () => hub.connected().length === 1);
    // What happened meanwhile is told: the ejection, and LK4: no stale counters.
    await until('told', () => events.some((e) => e.kind === 'ejected' && e.replica === R1));
  });

  test('P7 TF1: a gateway that starts with nobody there serves from its saved table', async () => {
    const rig = await open({ replicas: 1, ownProcess: true });
    assert.equal((await rig.send({ path: '/api/x' })).status, 200);
    const folder = join(rig.folder, 'gateway');
    const saved = join(folder, 'table-gateway-1.json');
    await until('saved', () => (statSync(saved, { throwIfNoEntry: false })?.size ?? 0) > 0);
    await rig.closeHub();
    const port = await freePort();
    const { child } = await spawnGateway(gatewayEnv(port, rig.socketPath, folder));
    cleanups.push(() => child.kill('SIGKILL'));
    const key = rig.key('acme');
    await until('it serves', async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/x`, {
        headers: { 'x-api-key': key },
      }).catch(() => undefined);
      return answer?.status === 200;
    });
  });

  test('SV1: on SIGTERM what is inside is finished, and the exit code is 0', async () => {
    const rig = await open({ replicas: 1 });
    const folder = folderOf();
    const port = await freePort();
    const { child } = await spawnGateway({
      ...gatewayEnv(port, rig.socketPath, folder),
      KINTSUGI_GATEWAY_WORKER: 'gateway-2',
    });
    cleanups.push(() => child.kill('SIGKILL'));
    const health = async (): Promise<boolean> =>
      (await fetch(`http://127.0.0.1:${port}/__kintsugi/health`).catch(() => undefined))?.ok ===
      true;
    await until('it has a table', health);
    const headers = { 'x-api-key': rig.key('acme') };
    const long = fetch(`http://127.0.0.1:${port}/api/x?wait=500`, { headers });
    await until('inside', async () => ((await rig.replicas[0]?.served()) ?? 0) > 0);
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    assert.equal((await long).status, 200);
    assert.deepEqual(await exit, [0, null]);
  });

  test('a port that is taken is named on stderr with the fix, exit code 69', async () => {
    for (const kind of ['http', 'mute'] as const) {
      const server = kind === 'http' ? createServer((_q, r) => r.end('hi')) : createNetServer();
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      cleanups.push(() => server.close());
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      const folder = folderOf();
      const gateway = await spawnGateway(gatewayEnv(port, join(folder, 's'), folder));
      const [code] = (await once(gateway.child, 'close')) as [number];
      assert.equal(code, 69);
      assert.match(gateway.stderr(), /KIN_PORT_TAKEN.*Stop what listens there/su);
    }
  });

  test('two workers of one instance share the port; another instance is refused', async () => {
    const folder = folderOf();
    const port = await freePort();
    const start = async (worker: string, state: string): ReturnType<typeof spawnGateway> => {
      const env = {
        ...gatewayEnv(port, join(folder, 's'), state),
        KINTSUGI_GATEWAY_WORKER: worker,
      };
      const gateway = await spawnGateway(env);
      cleanups.push(() => gateway.child.kill('SIGKILL'));
      return gateway;
    };
    await start('gateway-1', join(folder, 'a'));
    const listens = async (): Promise<boolean> =>
      (await fetch(`http://127.0.0.1:${port}/__kintsugi/health`).catch(() => undefined)) !==
      undefined;
    await until('it listens', listens);
    await start('gateway-2', join(folder, 'a'));
    await until('both answer', async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/__kintsugi/health`, {
        headers: { connection: 'close' },
      });
      return (await answer.text()).includes('gateway-2');
    });
    const other = await start('gateway-1', join(folder, 'b'));
    const [code] = (await once(other.child, 'close')) as [number];
    assert.equal(code, 69);
  });
});

describe('link', () => {
  test('LK2: events of a lost connection wait in a bounded queue and are told later', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    const link = linkTo(path);
    for (let i = 0; i < 1_500; i += 1) {
      link.event({ kind: 'returned', replica: asReplicaId(`records-${i}`) });
    }
    const hub = await hubAt(path);
    const seen: GatewayEvent[] = [];
    hub.onSignal((s) => s.kind === 'event' && seen.push(s.event));
    await until('told', () => seen.filter((e) => e.kind === 'returned').length === 1_000);
    const first = seen.find((e) => e.kind === 'returned');
    assert.equal(first?.replica, 'records-500');
  });

  test('LK4: counters that gathered with nobody there are dropped', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    let taken = 0;
    const link = linkTo(path, { takeCells: () => ((taken += 1), []) });
    link.active(false);
    const hub = await hubAt(path);
    const kinds: string[] = [];
    hub.onSignal((s) => kinds.push(s.kind));
    await until('back', () => hub.connected().length === 1);
    assert.ok(taken >= 1);
    assert.equal(kinds.includes('traffic'), false);
  });
});

describe('hub', () => {
  test('HU1: the socket is private; a stale one is replaced, a live one is not', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    const first = await hubAt(path);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
    await assert.rejects(hubAt(path), /KIN_SOCKET_TAKEN|another control plane/u);
    await first.close();
    const stale = join(folderOf(), 'run', 'd.sock');
    mkdirSync(dirname(stale));
    const child = await spawnStale(stale);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.ok(statSync(stale).isSocket());
    await hubAt(stale);
    const file = join(folderOf(), 'c.sock');
    writeFileSync(file, 'x');
    await assert.rejects(hubAt(file), /another kind/u);
    await assert.rejects(hubAt(join(folderOf(), 'a'.repeat(110))), /longer than/u);
  });

  test('HU2: a push names who is missing; one that is lost counts for a while', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    const hub = await hubAt(path);
    assert.deepEqual(await hub.push(TABLE, 50), { kind: 'applied', workers: 0 });
    const mute = connect({ path });
    await once(mute, 'connect');
    mute.write(`${JSON.stringify({ kind: 'hello', worker: 'mute', pid: 1, version: 0 })}\n`);
    await until('joined', () => hub.connected().length === 1);
    const answer = await hub.push({ ...TABLE, version: 2 }, 50);
    assert.deepEqual(answer, { kind: 'partial', missing: ['mute'] });
    mute.destroy();
    await until('left', () => hub.connected().length === 0);
    const lost = await hub.push({ ...TABLE, version: 3 }, 50);
    assert.deepEqual(lost, { kind: 'partial', missing: ['mute'] });
    const waiting = hub.push({ ...TABLE, version: 4 }, 5_000);
    linkTo(path, { worker: 'mute' });
    assert.deepEqual(await waiting, { kind: 'applied', workers: 1 });
  });

  test('HU3: who connects late gets the newest table', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    const hub = await hubAt(path, 'cGVwcGVyMg');
    await hub.push({ ...TABLE, version: 7 }, 50);
    const got: unknown[] = [];
    linkTo(path, { onTable: (table, pepper) => (got.push(table.version, pepper), table.version) });
    await until('table', () => got.length === 2);
    assert.deepEqual(got, [7, 'cGVwcGVyMg']);
  });

  test('HU4: malformed and endless lines end their connection, and no other', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    const hub = await hubAt(path);
    linkTo(path);
    await until('joined', () => hub.connected().length === 1);
    for (const text of ['nonsense\n', '{"t":"hb"}\n', '{"kind":"flush"}\n', 'x'.repeat(70_000)]) {
      const bad = connect({ path });
      bad.on('error', () => undefined);
      bad.resume();
      await once(bad, 'connect');
      bad.write(text);
      await once(bad, 'close');
    }
    assert.deepEqual(hub.connected(), ['g1']);
  });

  test('HU5: what was inside when a gateway is lost still counts for a while', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    let nowMs = 0;
    const hub = await openHub({
      socketPath: path,
      pepper: 'p',
      log: LOG,
      monotonicMs: () => nowMs,
    });
    cleanups.push(() => hub.close());
    const link = linkTo(path, { inFlight: () => [{ replica: R1, count: 3, oldestMs: 40 }] });
    await until('counted', () => hub.inFlight(R1).count === 3);
    await link.close();
    await until('left', () => hub.connected().length === 0);
    assert.equal(hub.inFlight(R1).count, 3);
    nowMs = 6_000;
    assert.equal(hub.inFlight(R1).count, 0);
  });

  test('what one worker saw die is told to the others, and not back to it', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    const hub = await hubAt(path);
    const heard: string[] = [];
    const first = linkTo(path, { worker: 'g1', onDeath: () => heard.push('g1') });
    linkTo(path, { worker: 'g2', onDeath: (_, suspects) => heard.push(`g2 ${suspects.length}`) });
    await until('both here', () => hub.connected().length === 2);
    const suspect = {
      tenant: tenantId('north'),
      service: serviceName('records'),
      method: 'GET',
      route: '/records',
      requestId: 'r1',
    };
    first.event({ kind: 'died-serving', replica: R1, suspects: [suspect] });
    await until('told', () => heard.length === 1);
    assert.deepEqual(heard, ['g2 1']);
  });

  test('the SDK is heard on the same socket', async () => {
    const path = join(folderOf(), 'run', 'c.sock');
    const hub = await hubAt(path);
    const seen: GatewaySignal[] = [];
    hub.onSignal((s) => seen.push(s));
    const sdk = connect({ path });
    const beat = { lagMs: 1, inFlight: 2, oldestMs: 12, rssBytes: 1_000 };
    sdk.write(
      `${JSON.stringify({ t: 'hb', replica: 'records-3', pid: 1, heapUsedBytes: 1, ...beat })}\n`,
    );
    sdk.write(`${JSON.stringify({ t: 'ready', replica: 'records-3', pid: 1 })}\n`);
    sdk.write(`${JSON.stringify({ t: 'audit', replica: 'records-3', event: { a: 1 } })}\n`);
    await until('heard', () => seen.length === 3);
    const replica = asReplicaId('records-3');
    assert.deepEqual(seen, [
      { kind: 'heartbeat', replica, beat },
      { kind: 'ready', replica },
      { kind: 'audit', replica, event: { a: 1 } },
    ]);
    sdk.destroy();
  });
});

async function spawnStale(path: string): Promise<ChildProcess> {
  const listen = `listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const code = `require('node:net').createServer().${listen}`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (child.stdout !== null) await once(child.stdout, 'data');
  return child;
}
