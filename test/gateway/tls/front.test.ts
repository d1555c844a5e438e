// Does a worker with TLS start as it is told, find its neighbours, redirect, and tell the
// controller how its certificates stand?
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openHub } from '../../../src/drivers/gateways/hub.ts';
import { readFrame } from '../../../src/drivers/gateways/frames.ts';
import { openFront as openGatewayFront } from '../../../src/gateway/front.ts';
import type { Hooks } from '../../../src/gateway/http/hooks.ts';
import { neighbourAt } from '../../../src/gateway/neighbour.ts';
import { readSettings } from '../../../src/gateway/worker.ts';
import type { TlsSettings } from '../../../src/gateway/tls/settings.ts';
import type { GatewayEvent } from '../../../src/model/signal.ts';
import { freePort, gatewayEnv, LOG, spawnGateway, until } from '../rig.ts';
import { ANSWER, openAuthority, openClient } from './rig.ts';
import type { Authority } from './rig.ts';

let authority: Authority;
before(() => {
  authority = openAuthority();
});
after(() => authority.close());

const HOOKS: Hooks = {
  onRequestHead: () => ANSWER,
  onAttemptEnd: () => undefined,
  onExchangeEnd: () => undefined,
  onBug: (error) => assert.fail(String(error)),
};

function settingsOf(change: Partial<TlsSettings> = {}): TlsSettings {
  return {
    certificates: [authority.issue('one')],
    clientCa: undefined,
    clientAuth: 'none',
    minVersion: '1.2',
    redirectPort: 0,
    ...change,
  };
}

async function plainTalk(port: number, text: string): Promise<string> {
  const socket = connectPlain({ port, host: '127.0.0.1' });
  let said = '';
  socket.on('data', (chunk) => (said += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  socket.write(text);
  // Redirects have no body.
  await until('an answer', () => socket.destroyed || said.endsWith('\r\n\r\n'));
  socket.destroy();
  return said;
}

test('FR1. FR2. TLS on the port, 308 on the plain one, and each certificate told', async () => {
  const events: GatewayEvent[] = [];
  const warned: string[] = [];
  const redirectPort = await freePort();
  const front = await openGatewayFront(
    {
      host: '127.0.0.1',
      port: 0,
      stateFolder: join(authority.folder, 'front'),
      worker: 'gateway-1',
      tls: settingsOf({ redirectPort }),
    },
    HOOKS,
    { emit: (event) => void events.push(event), warn: (text) => void warned.push(text) },
  );
  front.begin();
  assert.equal(front.redirectPort, redirectPort);
  const [event] = events;
  assert.ok(event?.kind === 'certificate');
  assert.deepEqual([event.worker, event.hosts, event.daysLeft], ['gateway-1', ['api.example'], 89]);
  assert.equal(readFrame({ kind: 'event', event }).kind, 'event');
  const wrong = { ...event, daysLeft: 'many' };
  assert.equal(readFrame({ kind: 'event', event: wrong }).kind, 'malformed');
  const client = await openClient(front.port, authority);
  client.socket.write('GET / HTTP/1.1\r\nHost: api.example\r\n\r\n');
  await client.until(/hello/u);
  client.socket.destroy();
  const ask = (line: string, host: string): Promise<string> =>
    plainTalk(redirectPort, `${line} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  const to = `https://api.example:${front.port}`;
  const said = await ask('POST /a/b?c=d', 'api.example:80');
  assert.match(said, /^HTTP\/1\.1 308 Permanent Redirect\r\n/u);
  assert.ok(said.includes(`\r\nlocation: ${to}/a/b?c=d\r\n`), said);
  assert.match(await ask('OPTIONS *', 'api.example'), new RegExp(`location: ${to}/\r\n`, 'u'));
  // A second host, a userinfo, or a line end in the target come to nothing.
  assert.match(await ask('GET http://evil.example/', 'api.example'), /^HTTP\/1\.1 400/u);
  assert.match(await ask('GET //evil.example', 'api.example'), new RegExp(`: ${to}//evil`, 'u'));
  assert.match(await ask('GET /', 'u@evil.example'), /^HTTP\/1\.1 400/u);
  assert.deepEqual(warned, []);
  await front.stop(0);
});

test('a taken redirect port frees the TLS port again and is named', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port: redirectPort } = taken.address() as AddressInfo;
  const port = await freePort();
  const opened = openGatewayFront(
    {
      host: '127.0.0.1',
      port,
      stateFolder: join(authority.folder, 'front'),
      worker: 'gateway-1',
      tls: settingsOf({ redirectPort }),
    },
    HOOKS,
    { emit: () => undefined, warn: () => undefined },
  );
  await assert.rejects(opened, { code: 'KIN_PORT_TAKEN' });
  await assert.rejects(once(connectPlain({ port, host: '127.0.0.1' }), 'connect'));
  taken.close();
});

test('settings come from the environment, and a wrong one ends the start', () => {
  const tls = settingsOf();
  const settings = readSettings({
    KINTSUGI_GATEWAY_TLS: JSON.stringify(tls),
    KINTSUGI_GATEWAY_PROXY_FROM: '10.0.0.0/8,fd00::/8',
  });
  assert.deepEqual(settings.tls, { ...tls, clientCa: undefined });
  assert.deepEqual(settings.proxyFrom, ['10.0.0.0/8', 'fd00::/8']);
  assert.equal(readSettings({}).tls, undefined);
  assert.throws(() => readSettings({ KINTSUGI_GATEWAY_TLS: '{}' }), { code: 'KIN_TLS_SETTING' });
});

test('worker processes: one port, TLS, neighbours known, events at the controller', async () => {
  const socketPath = join(authority.folder, 'run', 'c.sock');
  const hub = await openHub({
    socketPath,
    pepper: 'pepper',
    log: LOG,
    monotonicMs: () => performance.now(),
  });
  const events: GatewayEvent[] = [];
  hub.onSignal((signal) => {
    if (signal.kind === 'event') events.push(signal.event);
  });
  const port = await freePort();
  const state = join(authority.folder, 'workers');
  mkdirSync(state, { mode: 0o700 });
  const tls = settingsOf();
  const env = {
    ...gatewayEnv(port, socketPath, state),
    KINTSUGI_GATEWAY_TLS: JSON.stringify(tls),
    KINTSUGI_GATEWAY_PROXY_FROM: '192.0.2.0/24',
  };
  const first = await spawnGateway(env);
  await until('the first listens', () => hub.connected().includes('gateway-1'));
  const second = await spawnGateway({ ...env, KINTSUGI_GATEWAY_WORKER: 'gateway-2' });
  await until('the second listens', () => hub.connected().includes('gateway-2'));
  const told = (worker: string): GatewayEvent | undefined =>
    events.find((event) => event.kind === 'certificate' && event.worker === worker);
  await until(
    'both tell',
    () => told('gateway-1') !== undefined && told('gateway-2') !== undefined,
  );
  const client = await openClient(port, authority);
  client.socket.write('GET /__kintsugi/health HTTP/1.1\r\nHost: api.example\r\n\r\n');
  await client.until(/"worker":"gateway-[12]"/u);
  client.socket.destroy();
  // Another installation with the same certificate is no neighbour.
  const other = join(authority.folder, 'other');
  mkdirSync(other, { mode: 0o700 });
  const foreign = await spawnGateway({ ...env, KINTSUGI_GATEWAY_STATE: other });
  await once(foreign.child, 'exit');
  assert.equal(foreign.child.exitCode, 69);
  assert.match(foreign.stderr(), /KIN_PORT_TAKEN/u);
  for (const { child } of [first, second]) {
    child.kill('SIGTERM');
    await once(child, 'exit');
    assert.equal(child.exitCode, 0);
  }
  chmodSync(tls.certificates[0].key, 0o644);
  const open = await spawnGateway(env);
  await once(open.child, 'exit');
  assert.equal(open.child.exitCode, 69);
  assert.match(open.stderr(), /KIN_TLS_KEY_OPEN: .* Make it `chmod 600`/u);
  assert.doesNotMatch(open.stderr(), /PRIVATE/u);
  await hub.close();
});

test('NB1. NB2. neighbours: plain, TLS, behind a balancer, mutual TLS', async () => {
  const tls = settingsOf();
  const required = settingsOf({ clientCa: authority.ca, clientAuth: 'required' });
  const about: Hooks = {
    ...HOOKS,
    onRequestHead: () => ({
      kind: 'answer',
      status: 200,
      headers: '',
      body: JSON.stringify({ status: 'ok', instance: 'me' }),
    }),
  };
  for (const way of [
    {},
    { tls },
    { proxyFrom: ['127.0.0.1'] },
    { tls, proxyFrom: ['127.0.0.1'] },
    { tls: required },
  ]) {
    const front = await openGatewayFront(
      {
        host: '127.0.0.1',
        port: 0,
        stateFolder: join(authority.folder, 'front'),
        worker: 'gateway-1',
        ...way,
      },
      about,
      { emit: () => undefined, warn: () => undefined },
    );
    const { port } = front;
    const asks = (instance: string, own: TlsSettings | undefined): Promise<string> =>
      neighbourAt({ host: '127.0.0.1', port, instance, tls: own });
    const isAsked = way.tls?.clientAuth !== 'required';
    assert.equal(await asks('me', way.tls), 'ours', JSON.stringify(Object.keys(way)));
    // Also when this worker is set otherwise than that one still is.
    if (isAsked) assert.equal(await asks('me', undefined), 'ours');
    const stranger = { ...required, certificates: [authority.issue('stranger')] } as const;
    assert.equal(await asks('another', isAsked ? way.tls : stranger), 'foreign');
    await front.stop(0);
    assert.equal(await asks('me', way.tls), 'nobody');
  }
});
