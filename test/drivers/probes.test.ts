// Probes against real sockets: replicas that answer, refuse, hang, lie or are gone, and a real
// PostgreSQL that stops under the probe. Covers src/drivers/probes/{probes,postgres-probe}.ts.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { after, describe, test } from 'node:test';
import { openProbes } from '../../src/drivers/probes/probes.ts';
import { dependencyName } from '../../src/model/ids.ts';
import type { ProbeSpec } from '../../src/model/manifest.ts';
import { startServer } from '../store/postgres-server.ts';

const HOST = '127.0.0.1';
const HTTP: ProbeSpec = {
  kind: 'http',
  path: '/readyz',
  intervalMs: 1000,
  timeoutMs: 5000,
  failures: 3,
};
const TCP: ProbeSpec = { ...HTTP, kind: 'tcp' };
const closers: (() => void)[] = [];
const probes = openProbes();
const db = dependencyName('db');

after(async () => {
  for (const close of closers) close();
  await probes.close();
});

async function listen(server: Server): Promise<{ host: string; port: number; open: Set<Socket> }> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  closers.push(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { host: HOST, port: (server.address() as AddressInfo).port, open };
}

const http = (answer: RequestListener): ReturnType<typeof listen> => listen(createHttp(answer));

async function untilEmpty(open: ReadonlySet<Socket>): Promise<void> {
  for (let i = 0; open.size > 0; i += 1) {
    assert.ok(i < 1000, 'a socket outlived its probe');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('a probe of a replica', () => {
  test('2xx and 3xx are ok; each look is a connection of its own, closed afterwards', async () => {
    const ports = new Set<number | undefined>();
    let status = 200;
    const replica = await http((request, response) => {
      ports.add(request.socket.remotePort);
      assert.equal(request.url, '/readyz');
      response.writeHead(status).end('x'.repeat(100));
    });
    for (status of [200, 204, 302]) {
      const result = await probes.probe(replica, HTTP);
      assert.equal(result.kind, 'ok', JSON.stringify(result));
    }
    assert.equal(ports.size, 3);
    await untilEmpty(replica.open);
  });

  test('another status is a "no" that names it and the dependencies that are down', async () => {
    const body = JSON.stringify({ status: 'unready', dependencies: { db: 'down', mail: 'up' } });
    const replica = await http((_request, response) => response.writeHead(503).end(body));
    const result = await probes.probe(replica, HTTP);
    assert.ok(result.kind === 'refused');
    assert.equal(result.detail, 'status 503, down: db');
    const plain = await http((_request, response) => response.writeHead(500).end('oops <b>'));
    const other = await probes.probe(plain, HTTP);
    assert.ok(other.kind === 'refused');
    assert.equal(other.detail, 'status 500');
  });

  test('PB2: an answer without end is judged by its beginning', async () => {
    const replica = await http((_request, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (response.write('x'.repeat(1000)));
        response.once('drain', more);
      };
      more();
    });
    assert.equal((await probes.probe(replica, HTTP)).kind, 'ok');
    await untilEmpty(replica.open);
  });

  test('PR1 PB1: never answered, or stuck in the middle: timeout, no socket left', async () => {
    const short = { ...HTTP, timeoutMs: 80 };
    const mute = await listen(createServer((socket) => void socket.resume()));
    const stuck = await http((_request, response) => response.writeHead(200).write('{'));
    for (const replica of [mute, stuck]) {
      assert.deepEqual(await probes.probe(replica, short), { kind: 'timeout', afterMs: 80 });
      await untilEmpty(replica.open);
    }
  });

  test('nobody listens: unreachable, for http and tcp', async () => {
    const endpoint = { host: HOST, port: await closedPort() };
    for (const spec of [HTTP, TCP]) {
      const result = await probes.probe(endpoint, spec);
      assert.deepEqual(result, { kind: 'unreachable', detail: 'nobody listens there' });
    }
  });

  test('PB1: closed without an answer, no HTTP, a bad path: it never throws', async () => {
    const hangup = await listen(createServer((socket) => socket.destroy()));
    assert.equal((await probes.probe(hangup, HTTP)).kind, 'unreachable');
    const other = await listen(createServer((socket) => socket.write('SSH-2.0-x\r\n')));
    assert.equal((await probes.probe(other, HTTP)).kind, 'refused');
    const bad = await probes.probe(other, { ...HTTP, path: '/a b\n' });
    assert.equal(bad.kind, 'unreachable');
    const nobody = { host: 'no-such-host.invalid', port: 1 };
    assert.notEqual((await probes.probe(nobody, { ...HTTP, timeoutMs: 500 })).kind, 'ok');
  });

  test('tcp: connecting is enough', async () => {
    const server = await listen(createServer());
    assert.equal((await probes.probe(server, TCP)).kind, 'ok');
    await untilEmpty(server.open);
  });
});

describe('a probe of a dependency', () => {
  test('tcp by its address; what is not configured is unreachable', async () => {
    const server = await listen(createServer());
    const url = `tcp://${HOST}:${server.port}`;
    probes.configure(new Map([['db', { kind: 'tcp', url }]]));
    assert.equal((await probes.dependency(db, 2000)).kind, 'ok');
    const other = dependencyName('other');
    assert.equal((await probes.dependency(other, 2000)).kind, 'unreachable');
    probes.configure(new Map([['db', { kind: 'tcp', url: 'nonsense' }]]));
    assert.equal((await probes.dependency(db, 2000)).kind, 'unreachable');
  });

  test('PG2: a server that says nothing: timeout, one connection, then none', async () => {
    let connections = 0;
    const mute = await listen(
      createServer((socket) => {
        connections += 1;
        socket.resume();
      }),
    );
    const url = `postgres://app:sesame@${HOST}:${mute.port}/x`;
    probes.configure(new Map([['db', { kind: 'postgres', url }]]));
    const both = await Promise.all([probes.dependency(db, 100), probes.dependency(db, 100)]);
    const late = { kind: 'timeout', afterMs: 100 };
    assert.deepEqual(both, [late, late]);
    assert.equal(connections, 1);
    await untilEmpty(mute.open);
  });
});

const answer = await startServer();
if (answer.kind === 'none') test('a real PostgreSQL', { skip: answer.reason }, () => undefined);
else {
  const { server } = answer;
  describe('a probe of a real PostgreSQL', () => {
    after(async () => {
      await probes.close();
      await server.end();
    });

    test('PG1: ok while it runs, unreachable when it stopped, ok when it is back', async () => {
      probes.configure(new Map([['db', { kind: 'postgres', url: server.appUrl }]]));
      assert.equal((await probes.dependency(db, 5000)).kind, 'ok');
      assert.equal((await probes.dependency(db, 5000)).kind, 'ok');
      await server.interrupt();
      assert.deepEqual(await probes.dependency(db, 5000), {
        kind: 'unreachable',
        detail: 'nobody listens there',
      });
      await server.resume();
      assert.equal((await probes.dependency(db, 5000)).kind, 'ok');
      await server.interrupt();
      await server.resume();
      const after = await probes.dependency(db, 5000);
      assert.equal(after.kind, 'ok', 'the kept connection broke, and that says nothing about now');
    });

    test('a wrong password is a "no", and the password is not told', async () => {
      const url = server.appUrl.replace(/:[0-9a-f]+@/u, ':sesame@');
      probes.configure(new Map([['db', { kind: 'postgres', url }]]));
      const result = await probes.dependency(db, 5000);
      assert.ok(result.kind === 'refused', JSON.stringify(result));
      assert.match(result.detail, /28P01/u);
      assert.doesNotMatch(result.detail, /sesame/u);
    });
  });
}
