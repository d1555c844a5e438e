// One request between replicas, step by step: upstreams that do exactly what they are told.
import assert from 'node:assert/strict';
import { randomBytes, createSecretKey } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { Backend } from '../../src/gateway/backend.ts';
import { openCounters } from '../../src/gateway/counters.ts';
import type { Exchange } from '../../src/gateway/exchange.ts';
import type { Guest } from '../../src/gateway/lane.ts';
import { Passage } from '../../src/gateway/passage.ts';
import { openPoison } from '../../src/gateway/poison.ts';
import { openProxy } from '../../src/gateway/proxy.ts';
import { openBudget } from '../../src/gateway/retry.ts';
import { lookAt, openUpstream } from '../../src/gateway/upstream.ts';
import type { Look, UpstreamFailure, UpstreamListener } from '../../src/gateway/upstream.ts';
import { asReplicaId, releaseId, serviceName, tenantId } from '../../src/model/ids.ts';
import type { ServiceRoute, TenantRoute } from '../../src/model/routing.ts';
import type { GatewayEvent, Suspect } from '../../src/model/signal.ts';
import { until } from './rig.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

const TENANT: TenantRoute = {
  id: tenantId('acme'),
  region: 'eu',
  status: 'active',
  ratePerSecond: 10,
  burst: 10,
  concurrency: 10,
  bodyBytes: 1_000,
  keys: [],
};

function serviceWith(count: number): ServiceRoute {
  return {
    name: serviceName('records'),
    prefixes: [{ prefix: '/', timeoutMs: 4_000, retry: true }],
    replicas: Array.from({ length: count }, (_, i) => ({
      id: asReplicaId(`records-${i + 1}`),
      release: releaseId('r1'),
      host: '127.0.0.1',
      port: i + 1,
      weight: 100,
      region: 'any',
    })),
    healthPath: '/h',
    assertionKey: randomBytes(32).toString('base64url'),
    minRouted: 1,
    slowMs: 500,
  };
}

interface Sent {
  readonly port: number;
  readonly listener: UpstreamListener;
  aborted: boolean;
}

interface Bench {
  readonly backend: Backend;
  readonly sent: Sent[];
  readonly events: GatewayEvent[];
  look: Look;
  start(method?: string): { exchange: FakeExchange; over: () => number };
  readonly counters: ReturnType<typeof openCounters>;
}

function bench(count: number): Bench {
  const sent: Sent[] = [];
  const events: GatewayEvent[] = [];
  const counters = openCounters();
  const nowMs = (): number => performance.now();
  const poison = openPoison(0);
  const budget = openBudget(0.2);
  const service = serviceWith(count);
  const backend = new Backend(service, {
    nowMs,
    random: () => 0.5,
    open: (_host, port) => ({
      send(_request, listener) {
        const one: Sent = { port, listener, aborted: false };
        sent.push(one);
        return {
          abort() {
            if (one.aborted) return;
            one.aborted = true;
            queueMicrotask(() => listener.onFail({ kind: 'aborted' }));
          },
        };
      },
      close: () => undefined,
    }),
    look: () => Promise.resolve(made.look),
    emit: (event) => events.push(event),
    changed: () => undefined,
    poison,
  });
  cleanups.push(() => backend.close());
  const made: Bench = {
    backend,
    sent,
    events,
    counters,
    look: { kind: 'answered', status: 200 },
    start(method = 'GET') {
      const exchange = new FakeExchange(method);
      let over = 0;
      const [route] = service.prefixes;
      assert.ok(route !== undefined);
      new Passage(
        { nowMs, counters, budget: () => budget, poison },
        {
          exchange,
          backend,
          entry: { service, route, assertionKey: createSecretKey(randomBytes(32)) },
          tenant: TENANT,
          requestId: `request-${sent.length}`,
          path: '/api/x',
          headers: [],
          body: { kind: 'kept', bytes: undefined },
          idempotent: method === 'GET',
          onOver: () => (over += 1),
        },
      ).next();
      return { exchange, over: () => over };
    },
  };
  return made;
}

class FakeExchange implements Exchange {
  readonly method: string;
  readonly target = '/api/x';
  readonly rawHeaders: readonly string[] = [];
  readonly remoteAddress = '127.0.0.1';
  readonly body = { kind: 'none' } as const;
  begun = false;
  status = 0;
  text = '';
  ended = false;
  aborted = false;
  gone: () => void = () => undefined;
  constructor(method: string) {
    this.method = method;
  }
  header(): string | undefined {
    return undefined;
  }
  begin(status: number): void {
    assert.equal(this.begun, false);
    this.begun = true;
    this.status = status;
  }
  write(chunk: Uint8Array): boolean {
    this.text += Buffer.from(chunk).toString();
    return true;
  }
  onDrain(): void {}
  end(chunk?: Uint8Array): void {
    if (chunk !== undefined) this.write(chunk);
    this.ended = true;
  }
  abort(): void {
    this.aborted = true;
  }
  onGone(listener: () => void): void {
    this.gone = listener;
  }
}

const flow = { pause: () => undefined, resume: () => undefined };
const BROKEN: UpstreamFailure = { kind: 'broken', detail: 'reset' };
const REFUSED: UpstreamFailure = { kind: 'unsent', refused: true, detail: 'refused' };

function answer(sent: Sent | undefined, status = 200, text = 'ok'): void {
  sent?.listener.onHead(status, [], flow);
  sent?.listener.onData(Buffer.from(text));
  sent?.listener.onEnd();
}

describe('passage', () => {
  test('PS1: a connection that dies after the answer began cuts the client off', () => {
    const b = bench(2);
    const { exchange, over } = b.start();
    b.sent[0]?.listener.onHead(200, [], flow);
    b.sent[0]?.listener.onData(Buffer.from('half'));
    b.sent[0]?.listener.onFail(BROKEN);
    assert.equal(exchange.aborted, true);
    assert.equal(exchange.ended, false);
    assert.equal(b.sent.length, 1);
    assert.equal(over(), 1);
    assert.equal(b.counters.take()[0]?.failed, 1);
  });

  test('PS2: after a break it goes to another replica, never the same', () => {
    const b = bench(3);
    const { exchange } = b.start();
    b.sent[0]?.listener.onFail(BROKEN);
    assert.equal(b.sent.length, 2);
    assert.notEqual(b.sent[0]?.port, b.sent[1]?.port);
    answer(b.sent[1]);
    assert.deepEqual([exchange.status, exchange.text, exchange.ended], [200, 'ok', true]);
  });

  test('PS2: one that was never reached is tried again after a wait, even a POST', async () => {
    const b = bench(1);
    const { exchange } = b.start('POST');
    b.sent[0]?.listener.onFail(REFUSED);
    assert.equal(b.sent.length, 1);
    await until('tried again', () => b.sent.length === 2);
    answer(b.sent[1], 201);
    assert.equal(exchange.status, 201);
  });

  test('PS4: with nobody there it waits two seconds, not longer, and says why', async () => {
    const b = bench(1);
    b.backend.apply({
      ...b.backend.service,
      replicas: b.backend.service.replicas.map((r) => ({ ...r, weight: 0 })),
    });
    const { exchange, over } = b.start();
    assert.equal(exchange.begun, false);
    await until('answered', () => exchange.ended);
    assert.equal(exchange.status, 503);
    assert.match(exchange.text, /no-replica/u);
    assert.equal(over(), 1);
  });

  test('PS4: a client that leaves while it waits frees its place', () => {
    const b = bench(1);
    b.backend.apply({
      ...b.backend.service,
      replicas: b.backend.service.replicas.map((r) => ({ ...r, weight: 0 })),
    });
    for (let i = 0; i < 600; i += 1) b.start().exchange.gone();
    const { exchange } = b.start();
    assert.equal(exchange.begun, false);
    exchange.gone();
  });

  test('RE3: two replicas broken, a third untouched', () => {
    const b = bench(4);
    const { exchange } = b.start();
    b.sent[0]?.listener.onFail(BROKEN);
    b.sent[1]?.listener.onFail(BROKEN);
    assert.equal(b.sent.length, 2);
    assert.equal(exchange.status, 502);
  });

  test('AT1: an attempt leaves its replica once and is counted once', () => {
    const b = bench(2);
    b.start();
    b.sent[0]?.listener.onFail(REFUSED);
    answer(b.sent[1]);
    const cells = b.counters.take();
    assert.equal(
      cells.reduce((n, c) => n + c.requests, 0),
      2,
    );
    assert.deepEqual(
      b.backend.inFlight().map((c) => c.count),
      [0, 0],
    );
  });

  test('AT3 BE3: a hung replica is left; what its connection does later is no news', async () => {
    const b = bench(2);
    b.look = { kind: 'silent' };
    const { exchange } = b.start();
    await until('moved', () => b.sent.length === 2);
    assert.equal(b.sent[0]?.aborted, true);
    answer(b.sent[0], 500, 'late');
    answer(b.sent[1], 200, 'fine');
    assert.deepEqual([exchange.status, exchange.text], [200, 'fine']);
    assert.ok(b.events.some((e) => e.kind === 'ejected' && e.reason === 'hung'));
  });

  test('work that blocks every replica for long is moved once, then left to end', async () => {
    const b = bench(3);
    b.look = { kind: 'silent' };
    const { exchange } = b.start();
    await until('moved', () => b.sent.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 800));
    assert.equal(b.sent.length, 2);
    answer(b.sent[1]);
    assert.equal(exchange.status, 200);
  });

  test('the only replica is never left, however long it is silent', async () => {
    const b = bench(1);
    b.look = { kind: 'silent' };
    const { exchange } = b.start();
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal(b.sent[0]?.aborted, false);
    answer(b.sent[0]);
    assert.equal(exchange.status, 200);
  });

  test('a route that takes too long gets 504, and the replica is told to stop', async () => {
    const b = bench(1);
    const { exchange } = b.start();
    await until('answered', () => exchange.ended);
    assert.equal(exchange.status, 504);
    assert.equal(b.sent[0]?.aborted, true);
    assert.equal(b.counters.take()[0]?.timeouts, 1);
  });
});

describe('backend', () => {
  const guest = (suspected: boolean): Guest => ({
    startedMs: performance.now(),
    answered: false,
    suspected,
    suspect: (): Suspect => ({
      tenant: TENANT.id,
      service: serviceName('records'),
      method: 'GET',
      route: '/',
      requestId: 'x',
    }),
    rescue: () => undefined,
  });
  const wish = { region: 'eu', tried: new Set<never>(), repeatable: true, suspected: false };

  test('BE4: no timer is left when nobody is inside', async () => {
    const b = bench(1);
    const lane = b.backend.choose(wish);
    assert.ok(typeof lane === 'object');
    const one = guest(false);
    b.backend.enter(lane, one);
    assert.ok(lane.hangTimer !== undefined);
    b.backend.leave(lane, one);
    await until('the timer is gone', () => lane.hangTimer === undefined);
  });

  test('BE5: suspects of a death go to a replica one at a time; others are not held up', () => {
    const b = bench(1);
    const lane = b.backend.choose({ ...wish, suspected: true });
    assert.ok(typeof lane === 'object');
    const one = guest(true);
    b.backend.enter(lane, one);
    assert.equal(b.backend.choose({ ...wish, suspected: true }), 'crowded');
    assert.equal(b.backend.choose(wish), lane);
    b.backend.leave(lane, one);
    assert.equal(b.backend.choose({ ...wish, suspected: true }), lane);
  });

  test('a region that no replica serves gets nobody, not a foreign one', () => {
    const b = bench(2);
    const replicas = b.backend.service.replicas.map((r) => ({ ...r, region: 'us' }));
    b.backend.apply({ ...b.backend.service, replicas });
    assert.equal(b.backend.choose(wish), 'none');
  });
});

describe('upstream', () => {
  async function listen(onSocket: (socket: Socket) => void): Promise<number> {
    const server = createServer(onSocket);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }
  function send(port: number, headers: string[] = []): Promise<string[]> {
    const seen: string[] = [];
    const ended = Promise.withResolvers<string[]>();
    const end = (what: string): void => {
      seen.push(what);
      setTimeout(() => ended.resolve(seen), 20);
    };
    const upstream = openUpstream('127.0.0.1', port);
    cleanups.push(() => upstream.close());
    upstream.send(
      { method: 'GET', path: '/', headers, body: undefined },
      {
        onHead: (status) => seen.push(String(status)),
        onData: () => undefined,
        onEnd: () => end('end'),
        onFail: (failure) => end(failure.kind),
      },
    );
    return ended.promise;
  }

  test('UP1: exactly one end, whether it answers, breaks off or talks nonsense', async () => {
    const head = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n';
    const cases: [string, string[]][] = [
      [`${head}hello`, ['200', 'end']],
      [`${head}he`, ['200', 'broken']],
      ['', ['broken']],
      ['NONSENSE\r\n\r\n', ['broken']],
    ];
    for (const [text, wanted] of cases) {
      const port = await listen((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket.end(text));
      });
      assert.deepEqual(await send(port), wanted, text);
    }
  });

  test('UP2: a refused connection is unsent, a bad header is a fault of the client', async () => {
    const port = await listen(() => undefined);
    for (const clean of cleanups.splice(-1)) await clean();
    await until(
      'closed',
      async () => (await lookAt('127.0.0.1', port, '/', 100)).kind === 'refused',
    );
    assert.deepEqual(await send(port), ['unsent']);
    assert.deepEqual(await send(port, ['x-bad', 'a\u0000b']), ['invalid']);
  });

  test('a look says answered, refused or silent, and always in time', async () => {
    const fine = await listen((s) => s.once('data', () => s.end('HTTP/1.1 503 No\r\n\r\n')));
    assert.deepEqual(await lookAt('127.0.0.1', fine, '/', 500), { kind: 'answered', status: 503 });
    const sockets = new Set<Socket>();
    const mute = await listen((s) => sockets.add(s.resume()));
    cleanups.push(() => sockets.forEach((s) => s.destroy()));
    assert.deepEqual(await lookAt('127.0.0.1', mute, '/', 50), { kind: 'silent' });
  });
});

describe('proxy', () => {
  test('GP2: without a table everything but its own health is refused', () => {
    const proxy = openProxy({
      clock: { nowMs: () => 0, monotonicMs: () => 0 },
      random: () => 0,
      workers: 1,
      open: openUpstream,
      look: lookAt,
      emit: () => undefined,
      active: () => undefined,
      about: {},
    });
    const exchange = new FakeExchange('GET');
    proxy.handle(exchange);
    assert.equal(exchange.status, 503);
    assert.match(exchange.text, /no-table/u);
  });
});
