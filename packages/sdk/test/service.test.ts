import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Agent, createServer, request as httpRequest, type Server } from 'node:http';
import { afterEach, describe, it } from 'node:test';
import {
  createService,
  currentTenant,
  readEnvironment,
  signAssertion,
  tenantOf,
  type Service,
  type ServiceOptions,
} from '../src/index.ts';
import { get, startFixture, until, type Child } from './support.ts';

const key = randomBytes(32);
const variables = {
  KINTSUGI_SERVICE: 'records',
  KINTSUGI_ASSERTION_KEY: key.toString('base64url'),
};
const silent = { debug() {}, info() {}, warn() {}, error() {}, audit() {} };

interface Running {
  readonly service: Service;
  readonly server: Server;
  readonly port: number;
  readonly calls: string[];
}

async function run(options: ServiceOptions = {}): Promise<Running> {
  const environment = readEnvironment(variables);
  const service = createService({ environment, logger: silent, ...options });
  const calls: string[] = [];
  const server = createServer(
    service.handle((request, response) => {
      calls.push(request.url ?? '');
      response.end(`${currentTenant().tenant} ${tenantOf(request).subject}`);
    }),
  );
  const { port } = await service.listen(server);
  return { service, server, port, calls };
}

const assertionFor = (tenant: string, service = 'records'): Record<string, string> => ({
  'x-kintsugi-assertion': signAssertion(
    { tenant, subject: 'key-1', region: 'eu', service, requestId: 'r', expMs: Date.now() + 30_000 },
    key,
  ),
});

describe('service', () => {
  let running: Running | undefined;
  let child: Child | undefined;
  afterEach(async () => {
    await running?.service.drain();
    child?.process.kill('SIGKILL');
    await child?.exit;
    running = child = undefined;
    process.removeAllListeners('SIGTERM').removeAllListeners('SIGINT');
  });

  it('V1 answers probes itself, without a tenant, with the documented bodies', async () => {
    running = await run({ dependencies: { postgres: { check: async () => undefined } } });
    const { port, calls, service } = running;
    await until('ready', () => service.readiness.status() === 'ready');
    const health = await get(port, '/healthz');
    assert.deepEqual([health.status, JSON.parse(health.body)], [200, { status: 'ok' }]);
    const ready = await get(port, '/readyz?verbose');
    assert.deepEqual(
      [ready.status, JSON.parse(ready.body)],
      [200, { status: 'ready', dependencies: { postgres: 'up' }, inFlight: 0 }],
    );
    assert.deepEqual(calls, []);
  });

  it('a dependency that is down makes it unready, not unhealthy', async () => {
    running = await run({
      dependencies: { postgres: { check: () => Promise.reject(new Error('away')) } },
    });
    const { port, service } = running;
    await until('unready', () => service.readiness.status() === 'unready');
    assert.equal((await get(port, '/healthz')).status, 200);
    const ready = await get(port, '/readyz');
    assert.equal(ready.status, 503);
    assert.match(ready.body, /"unready","dependencies":\{"postgres":"down"\}/);
  });

  it('V2 never calls the application without a verified tenant', async () => {
    running = await run();
    const { port, calls } = running;
    const forged = assertionFor('northside', 'billing');
    for (const headers of [{}, { 'x-kintsugi-tenant': 'northside' }, forged]) {
      const reply = await get(port, '/data', headers);
      assert.equal(reply.status, 401);
      assert.equal(reply.headers['content-type'], 'application/problem+json');
    }
    // A path that only looks like a probe is no way around the check.
    assert.equal((await get(port, '/healthz/../data')).status, 401);
    assert.equal((await get(port, '/readyzz')).status, 401);
    assert.deepEqual(calls, []);
    const reply = await get(port, '/data', assertionFor('northside'));
    assert.deepEqual([reply.status, reply.body], [200, 'northside key-1']);
  });

  it('V2 refuses to start without a key, unless plain headers are chosen explicitly', async () => {
    const environment = readEnvironment({ KINTSUGI_SERVICE: 'records' });
    assert.throws(() => createService({ environment }), { code: 'KIN_SDK_NO_KEY' });
    running = await run({ environment, trust: 'headers' });
    const reply = await get(running.port, '/', { 'x-kintsugi-tenant': 'lakeview' });
    assert.equal(reply.body, 'lakeview anonymous');
  });

  it('V3 V4 drains: says so, finishes what is inside, keeps no connection, exits 0', async () => {
    child = await startFixture();
    const { port, process: running, exit } = child;
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const slow = new Promise<string>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path: '/slow?ms=1000', agent };
      const sent = httpRequest(options, (answer) => {
        let body = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => (body += chunk));
        answer.on('end', () => resolve(`${answer.headers.connection} ${body}`));
      });
      sent.on('error', reject).end();
    });
    await until('it is inside', async () => (await get(port, '/readyz')).body.endsWith('":1}'));
    running.kill('SIGTERM');
    const draining = await until('draining is said', async () => {
      const reply = await get(port, '/readyz');
      return reply.body.includes('draining') && reply;
    });
    assert.equal(draining.status, 503);
    assert.equal((await get(port, '/healthz')).status, 200);
    const late = await get(port, '/');
    assert.deepEqual([late.status, late.headers.connection], [200, 'close']);
    assert.equal(await slow, 'close done');
    assert.equal(await exit, 0);
    agent.destroy();
  });

  it('V3 cuts what is still inside at the deadline, and exits 0 all the same', async () => {
    child = await startFixture({ FIXTURE_DEADLINE_MS: '100' });
    const { port, process: running, exit, output } = child;
    const endless = get(port, '/slow?ms=600000');
    await until('it is inside', async () => (await get(port, '/readyz')).body.endsWith('":1}'));
    running.kill('SIGTERM');
    assert.equal(await exit, 0);
    assert.equal((await endless).status, 0);
    assert.match(output(), /drain deadline reached.*"cut":1|"cut":1.*drain deadline reached/);
  });

  it('says which address it cannot have', async () => {
    running = await run();
    const environment = readEnvironment({ ...variables, PORT: String(running.port) });
    const second = createService({ environment, logger: silent });
    await assert.rejects(second.listen(createServer()), { code: 'KIN_SDK_LISTEN' });
    await second.drain();
  });
});
