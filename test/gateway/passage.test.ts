// One request between replicas, step by step: upstreams that do exactly what they are told.
import assert from 'node:assert/strict';
import { randomBytes, createSecretKey } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { accountOf, openAdmission } from '../../src/gateway/admission.ts';
import { Backend } from '../../src/gateway/backend.ts';
import { openCounters } from '../../src/gateway/counters.ts';
import { NO_NEEDS, Stay } from '../../src/gateway/fair/stay.ts';
import { flowOf } from '../../src/gateway/flow.ts';
import { Head } from '../../src/gateway/http/head.ts';
import type {
  AttemptEnd,
  Decision,
  ExchangeView,
  Outcome,
  OwnAnswer,
  Verdict,
} from '../../src/gateway/http/hooks.ts';
import { parseRequest } from '../../src/gateway/http/parse-head.ts';
import { openUpstreams, REQUEST_HEAD } from '../../src/gateway/http/server.ts';
import type { UpstreamPool } from '../../src/gateway/http/upstream-pool.ts';
import type { Guest } from '../../src/gateway/lane.ts';
import { Passage } from '../../src/gateway/passage.ts';
import { noteAnswered, noteDeath, openPoison } from '../../src/gateway/poison.ts';
import type { PoisonState } from '../../src/gateway/poison.ts';
import type { Principal } from '../../src/gateway/principals.ts';
import { openProxy } from '../../src/gateway/proxy.ts';
import { openBudget } from '../../src/gateway/retry.ts';
import { Targets } from '../../src/gateway/targets.ts';
import { lookAt } from '../../src/gateway/look.ts';
import type { Look } from '../../src/gateway/look.ts';
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
  readonly to: UpstreamPool;
  readonly client: FakeClient;
  abandoned: boolean;
}

interface Bench {
  readonly backend: Backend;
  readonly sent: Sent[];
  readonly events: GatewayEvent[];
  look: Look;
  readonly poison: PoisonState;
  start(method?: string, path?: string): { client: FakeClient; over: () => number };
  readonly counters: ReturnType<typeof openCounters>;
}

function headOf(method: string, path: string): Head {
  const head = new Head(REQUEST_HEAD);
  const text = Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: h\r\n\r\n`);
  parseRequest(head, text, text.length);
  return head;
}

function bench(count: number): Bench {
  const sent: Sent[] = [];
  const events: GatewayEvent[] = [];
  const counters = openCounters();
  const nowMs = (): number => performance.now();
  const poison = openPoison(0);
  const budget = openBudget(0.2);
  const service = serviceWith(count);
  const upstreams = openUpstreams();
  const backend = new Backend(service, {
    nowMs,
    random: () => 0.5,
    open: (host, port) => upstreams.pool(host, port),
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
    poison,
    look: { kind: 'answered', status: 200 },
    start(method = 'GET', path = '/api/x') {
      const [route] = service.prefixes;
      assert.ok(route !== undefined);
      const client = new FakeClient(method, sent, path);
      const account = accountOf(openAdmission(1), TENANT);
      const entry = { service, route, assertionKey: createSecretKey(randomBytes(32)) };
      const principal: Principal = {
        kind: 'known',
        tenant: TENANT,
        account,
        subject: 'key:1',
        roles: [],
        expiresAtMs: Number.POSITIVE_INFINITY,
        flows: new Map(),
      };
      const target = new Targets().find(client.head);
      assert.ok(target !== undefined);
      account.inside = 1;
      const passage = new Passage(
        { nowMs, counters, budget: () => budget, poison },
        {
          view: client,
          flow: flowOf(principal, entry, backend),
          target,
          stay: new Stay({ tenant: TENANT.id, weight: 1, gate: undefined, needs: NO_NEEDS }),
        },
        { requestId: `request-${sent.length}`, add: '', own: '', trace: undefined },
      );
      client.begin(passage);
      return { client, over: () => 1 - account.inside };
    },
  };
  return made;
}

/** The forwarder without its sockets: attempts end as the test says. */
class FakeClient implements ExchangeView {
  readonly head: Head;
  readonly remoteAddress = '127.0.0.1';
  readonly startedMs = performance.now();
  turnMs = this.startedMs;
  replayable = true;
  readonly scheme = 'http';
  readonly peer = undefined;
  tag: unknown;
  memo: unknown;
  answerLines = '';
  status = 0;
  text = '';
  ended = false;
  cut = false;
  partition = '';
  readonly #sent: Sent[];
  #passage: Passage | undefined;
  #running: Sent | undefined;
  #deadline: NodeJS.Timeout | undefined;

  constructor(method: string, sent: Sent[], path = '/api/x') {
    this.head = headOf(method, path);
    this.#sent = sent;
  }

  begin(passage: Passage): void {
    this.#passage = passage;
    const decision = passage.start(performance.now());
    if (decision instanceof Promise) void decision.then((known) => this.#decided(known));
    else this.#decided(decision);
  }

  #decided(decision: Decision): void {
    if (this.ended) return;
    if (decision.kind === 'answer') {
      this.#answer(decision);
      return;
    }
    this.partition = decision.partition;
    this.#deadline = setTimeout(() => this.end('timeout', 'total'), decision.plan.totalTimeoutMs);
    this.#send(decision.to);
  }

  #send(to: UpstreamPool): void {
    this.#running = { port: to.port, to, client: this, abandoned: false };
    this.#sent.push(this.#running);
  }

  #answer(answer: OwnAnswer): void {
    this.status = answer.status;
    this.text = answer.body;
    this.over('answered');
  }

  abandon(): void {
    if (this.#running !== undefined) this.#running.abandoned = true;
    this.end('abandoned', 'hung');
  }

  end(kind: AttemptEnd, reason = ''): void {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    const { replayable, status } = this;
    const counts = { headMs: 0, totalMs: 0, bytesSent: 0, bytesReceived: 0 };
    const outcome: Outcome = {
      ...counts,
      kind,
      reason,
      to: running.to,
      status,
      reused: false,
      replayable,
    };
    const verdict = this.#passage?.attemptEnded(outcome);
    if (kind === 'answered') this.over('answered');
    else if (kind === 'client-gone') this.over('client-gone');
    else if (!replayable) this.over('cut');
    else if (verdict instanceof Promise) void verdict.then((known) => this.#followed(known));
    else this.#followed(verdict);
  }

  #followed(verdict: Verdict | undefined): void {
    if (this.ended) return;
    if (verdict?.kind === 'retry') this.#send(verdict.to);
    else if (verdict?.kind === 'answer') this.#answer(verdict);
  }

  answerHead(status: number): void {
    this.status = status;
    const verdict = this.#passage?.answerHead(status, this.head);
    if (verdict === 'discard') this.end('discarded', String(status));
    else this.replayable = false;
  }

  over(kind: 'answered' | 'cut' | 'client-gone'): void {
    assert.equal(this.ended, false);
    this.ended = true;
    this.cut = kind === 'cut';
    clearTimeout(this.#deadline);
    const { status } = this;
    const counts = { bytesIn: 0, bytesOut: 0, tookMs: 0, attempts: 0 };
    this.#passage?.ended({ ...counts, kind, status });
  }

  leave(): void {
    if (this.#running === undefined) this.over('client-gone');
    else this.end('client-gone', 'client');
  }
}

const broken = (sent: Sent | undefined): void => sent?.client.end('sent-no-response', 'eof');
const refused = (sent: Sent | undefined): void => sent?.client.end('unsent', 'ECONNREFUSED');

function answer(sent: Sent | undefined, status = 200): void {
  sent?.client.answerHead(status);
  sent?.client.end('answered');
}

describe('passage', () => {
  test('PS1: a connection that dies after the answer began cuts the client off', () => {
    const b = bench(2);
    const { client, over } = b.start();
    client.answerHead(200);
    client.end('cut', 'eof');
    assert.equal(client.cut, true);
    assert.equal(b.sent.length, 1);
    assert.equal(over(), 1);
    assert.equal(b.counters.take()[0]?.failed, 1);
  });

  test('PS2: after a break it goes to another replica, never the same', () => {
    const b = bench(3);
    const { client } = b.start();
    broken(b.sent[0]);
    assert.equal(b.sent.length, 2);
    assert.notEqual(b.sent[0]?.port, b.sent[1]?.port);
    answer(b.sent[1]);
    assert.deepEqual([client.status, client.ended], [200, true]);
  });

  test('PS2: one that was never reached is tried again after a wait, even a POST', async () => {
    const b = bench(1);
    const { client } = b.start('POST');
    refused(b.sent[0]);
    assert.equal(b.sent.length, 1);
    await until('tried again', () => b.sent.length === 2);
    answer(b.sent[1], 201);
    assert.equal(client.status, 201);
  });

  test('PS4: with nobody there it waits two seconds, not longer, and says why', async () => {
    const b = bench(1);
    b.backend.apply(withoutWeight(b));
    const { client, over } = b.start();
    assert.equal(client.ended, false);
    await until('answered', () => client.ended);
    assert.equal(client.status, 503);
    assert.match(client.text, /no-replica/u);
    assert.equal(over(), 1);
  });

  test('PS4: a client that leaves while it waits frees its place', () => {
    const b = bench(1);
    b.backend.apply(withoutWeight(b));
    for (let i = 0; i < 600; i += 1) b.start().client.leave();
    const { client } = b.start();
    assert.equal(client.ended, false);
    client.leave();
  });

  test('PS4 AT1: a client that leaves between the choice and the try leaves no guest', async () => {
    const b = bench(1);
    b.backend.apply(withoutWeight(b));
    const { client, over } = b.start();
    // The choice is made at once, its promise is kept a moment later.
    b.backend.apply({ ...b.backend.service, replicas: serviceWith(1).replicas });
    assert.equal(b.backend.inFlight()[0]?.count, 1);
    client.leave();
    await Promise.resolve();
    assert.equal(b.backend.inFlight()[0]?.count, 0);
    assert.deepEqual([b.sent.length, over()], [0, 1]);
  });

  test('PS5: connections are shared within one tenant only', () => {
    const { client } = bench(1).start();
    assert.equal(client.partition, TENANT.id);
    client.leave();
  });

  test('RE3: two replicas broken, a third untouched', () => {
    const b = bench(4);
    const { client } = b.start();
    broken(b.sent[0]);
    broken(b.sent[1]);
    assert.equal(b.sent.length, 2);
    assert.equal(client.status, 502);
  });

  test('PS6: inside two deaths of which another is guilty, it is tried once more', async () => {
    const b = bench(5);
    b.look = { kind: 'refused' };
    // The usual traffic, so that being in both crowds by chance is unlikely.
    for (let i = 0; i < 500; i += 1) noteAnswered(b.poison, 'acme records GET /api/fine', 0);
    for (let i = 0; i < 500; i += 1) noteAnswered(b.poison, 'acme records GET /api/x', 0);
    const { client } = b.start('GET', '/api/x');
    const first = b.sent[0];
    broken(first);
    broken(b.sent[1]);
    assert.equal(client.ended, false);
    assert.equal(b.sent.length, 2);
    // The verdict comes with the word of another worker.
    for (const sent of b.sent.slice(0, 2)) {
      const lane = [...b.backend.lanes.values()].find((l) => l.pool === sent.to);
      assert.ok(lane !== undefined);
      const suspect = { tenant: TENANT.id, service: serviceName('records'), method: 'POST' };
      const suspects = [{ ...suspect, route: '/api/poison', requestId: 'guilty' }];
      noteDeath(b.poison, { atMs: performance.now(), replica: lane.id, suspects });
    }
    assert.equal(b.poison.held.size, 1);
    await until('tried a third time', () => b.sent.length === 3);
    // A third death is the last one, whoever was guilty of the others.
    broken(b.sent[2]);
    assert.equal(client.status, 502);
    assert.equal(b.sent.length, 3);
  });

  test('PS6: inside two deaths of which nobody is guilty, it ends as before, in time', async () => {
    const b = bench(5);
    b.look = { kind: 'refused' };
    for (let i = 0; i < 100; i += 1) noteAnswered(b.poison, 'acme records GET /api/x', 0);
    const { client } = b.start('GET', '/api/x');
    broken(b.sent[0]);
    broken(b.sent[1]);
    await until('answered', () => client.ended);
    assert.equal(client.status, 502);
    assert.match(client.text, /replica-broke/u);
    assert.equal(b.sent.length, 2);
  });

  test('PS6: guilty itself, it is not tried again, nor is what must not be repeated', async () => {
    const b = bench(5);
    b.look = { kind: 'refused' };
    const { client } = b.start('GET', '/api/x');
    broken(b.sent[0]);
    broken(b.sent[1]);
    await until('answered', () => client.ended);
    assert.ok(b.poison.held.has('acme records GET /api/x'));
    assert.equal(b.sent.length, 2);
    const posted = b.start('POST', '/api/y');
    broken(b.sent[2]);
    assert.equal(posted.client.status, 502);
  });

  test('a replica that talks nonsense is no death, and a second one is told as what it is', () => {
    const b = bench(2);
    const { client } = b.start();
    b.sent[0]?.client.end('bad-response', 'bad-status-line');
    b.sent[1]?.client.end('bad-response', 'bad-status-line');
    assert.equal(client.status, 502);
    assert.match(client.text, /bad-answer.*bad-status-line/u);
    assert.deepEqual(b.events, []);
  });

  test('AT1: an attempt leaves its replica once and is counted once', () => {
    const b = bench(2);
    b.start();
    refused(b.sent[0]);
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

  test('AT2: an error answer is dropped if there is an elsewhere, and passes if not', () => {
    const b = bench(2);
    const { client } = b.start();
    client.answerHead(503);
    assert.equal(b.sent.length, 2);
    answer(b.sent[1], 503);
    assert.deepEqual([client.status, b.sent.length], [503, 2]);
  });

  test('AT3 BE3: a hung replica is left for another one', async () => {
    const b = bench(2);
    b.look = { kind: 'silent' };
    const { client } = b.start();
    await until('moved', () => b.sent.length === 2);
    assert.equal(b.sent[0]?.abandoned, true);
    answer(b.sent[1], 200);
    assert.equal(client.status, 200);
    assert.ok(b.events.some((e) => e.kind === 'ejected' && e.reason === 'hung'));
    assert.equal(
      b.counters.take().reduce((n, c) => n + c.timeouts, 0),
      1,
    );
  });

  test('BE3: while its client still sends, a silent replica owes it nothing', async () => {
    const b = bench(2);
    b.look = { kind: 'silent' };
    const { client } = b.start();
    client.turnMs = Number.POSITIVE_INFINITY;
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.deepEqual([b.sent.length, b.events.length], [1, 0]);
    client.turnMs = performance.now();
    await until('moved', () => b.sent.length === 2);
    answer(b.sent[1]);
  });

  test('work that blocks every replica for long is moved once, then left to end', async () => {
    const b = bench(3);
    b.look = { kind: 'silent' };
    const { client } = b.start();
    await until('moved', () => b.sent.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 800));
    assert.equal(b.sent.length, 2);
    answer(b.sent[1]);
    assert.equal(client.status, 200);
  });

  test('the only replica is never left, however long it is silent', async () => {
    const b = bench(1);
    b.look = { kind: 'silent' };
    const { client } = b.start();
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal(b.sent[0]?.abandoned, false);
    answer(b.sent[0]);
    assert.equal(client.status, 200);
  });

  test('a route that takes too long gets 504; a client that does, 408', async () => {
    const b = bench(1);
    const late = b.start().client;
    const slow = b.start('POST').client;
    slow.turnMs = Number.POSITIVE_INFINITY;
    await until('answered', () => late.ended && slow.ended);
    assert.deepEqual([late.status, slow.status], [504, 408]);
    const cells = b.counters.take();
    assert.deepEqual([cells[0]?.timeouts, cells[0]?.failed], [2, 1]);
  });
});

function withoutWeight(b: Bench): ServiceRoute {
  const { service } = b.backend;
  return { ...service, replicas: service.replicas.map((r) => ({ ...r, weight: 0 })) };
}

describe('backend', () => {
  const guest = (suspected: boolean): Guest => ({
    startedMs: performance.now(),
    waitingSinceMs: performance.now(),
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

describe('look', () => {
  async function listen(onSocket: (socket: Socket) => void): Promise<number> {
    const server = createServer(onSocket);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  test('LO1: a look says answered, refused or silent, and always in time', async () => {
    const fine = await listen((s) => s.once('data', () => s.end('HTTP/1.1 503 No\r\n\r\n')));
    assert.deepEqual(await lookAt('127.0.0.1', fine, '/', 500), { kind: 'answered', status: 503 });
    const sockets = new Set<Socket>();
    const mute = await listen((s) => sockets.add(s.resume()));
    cleanups.push(() => sockets.forEach((s) => s.destroy()));
    assert.deepEqual(await lookAt('127.0.0.1', mute, '/', 50), { kind: 'silent' });
    const gone = await listen(() => undefined);
    for (const clean of cleanups.splice(-1)) await clean();
    await until('closed', async () => {
      const look = await lookAt('127.0.0.1', gone, '/', 100);
      return look.kind === 'refused';
    });
  });
});

describe('proxy', () => {
  test('GP2: without a table everything but its own health is refused', () => {
    const upstreams = openUpstreams();
    const proxy = openProxy({
      clock: { nowMs: () => 0, monotonicMs: () => 0 },
      random: () => 0,
      workers: 1,
      open: (host, port) => upstreams.pool(host, port),
      look: lookAt,
      emit: () => undefined,
      active: () => undefined,
      about: {},
      onBug: () => undefined,
    });
    const decision = proxy.onRequestHead(new FakeClient('GET', []));
    assert.ok(!(decision instanceof Promise) && decision.kind === 'answer');
    assert.equal(decision.status, 503);
    assert.match(decision.body, /no-table/u);
  });
});
