import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { QUEUE_MAX, lagMsOf } from '../src/heartbeat-protocol.ts';
import {
  fakeController,
  get,
  startFixture,
  until,
  type Child,
  type Controller,
} from './support.ts';

describe('heartbeat', () => {
  let controller: Controller;
  let child: Child | undefined;
  const start = async (): Promise<Child> =>
    (child = await startFixture({ KINTSUGI_SOCKET: controller.path }));
  const beats = (): Record<string, unknown>[] => controller.lines.filter(({ t }) => t === 'hb');

  beforeEach(() => {
    controller = fakeController();
  });
  afterEach(async () => {
    child?.process.kill('SIGKILL');
    await child?.exit;
    child = undefined;
    await controller.remove();
  });

  it('I1 says ready at once, then beats with the numbers that it knows', async () => {
    await controller.listen();
    const { pid, port } = await start();
    const ready = await until('ready', () => controller.lines.find(({ t }) => t === 'ready'));
    assert.deepEqual(ready, { t: 'ready', replica: 'fixture-1', pid });
    const slow = get(port, '/slow?ms=1500');
    const busy = await until('one in flight', () => beats().find((b) => b['inFlight'] === 1));
    const keys = 't replica pid lagMs inFlight oldestMs rssBytes heapUsedBytes';
    assert.equal(Object.keys(busy).join(' '), keys);
    assert.ok(Number(busy['rssBytes']) > 1_000_000);
    assert.ok(Number(busy['heapUsedBytes']) > 1_000_000);
    await until('it grows old', () => beats().some((b) => Number(b['oldestMs']) > 400));
    assert.equal((await slow).status, 200);
    await until('it left', () => beats().at(-1)?.['inFlight'] === 0);
  });

  it('H1 a blocked main loop is reported while it is blocked', async () => {
    await controller.listen();
    const { port } = await start();
    await until('a beat', () => beats().length > 0);
    await get(port, '/block?ms=2500');
    await until('the lag is seen', () => beats().some((b) => Number(b['lagMs']) > 1_000));
    // Still blocked: no answer can have come from the main thread in between.
    const health = get(port, '/healthz');
    assert.equal((await health).status, 200);
  });

  it('H2 nobody listening, and a controller that comes, vanishes and comes back', async () => {
    const { port } = await start();
    assert.equal((await get(port, '/')).status, 200);
    await controller.listen();
    await until('connected', () => beats().length > 0);
    await controller.vanish();
    controller.lines.length = 0;
    assert.equal((await get(port, '/readyz')).status, 200);
    await controller.listen();
    await until('ready is said again', () => controller.lines.some(({ t }) => t === 'ready'));
    await until('it beats again', () => beats().length > 0);
  });

  it('H3 W2 audit events wait for the controller; what does not fit is counted', async () => {
    const { port } = await start();
    await get(port, `/audit?ms=${QUEUE_MAX + 50}`);
    await controller.listen();
    const events = (): Record<string, unknown>[] =>
      controller.lines.filter(({ t }) => t === 'audit');
    await until('the queue arrives', () => events().length === QUEUE_MAX);
    await get(port, '/audit?ms=1');
    const last = await until('the next event', () => events()[QUEUE_MAX]);
    assert.equal(last['dropped'], 50);
  });

  it('H2 W1 a controller that does not read blocks nothing; the service still ends', async () => {
    await controller.listen();
    const { port, process: running, exit } = await start();
    await until('connected', () => beats().length > 0);
    controller.stall();
    for (let round = 0; round < 3; round += 1) await get(port, `/audit?ms=${QUEUE_MAX}`);
    assert.equal((await get(port, '/')).status, 200);
    running.kill('SIGTERM');
    assert.equal(await exit, 0);
  });

  it('hands over its queue before it exits', async () => {
    await controller.listen();
    const { port, process: running, exit } = await start();
    await until('connected', () => beats().length > 0);
    await get(port, '/audit?ms=200');
    running.kill('SIGTERM');
    assert.equal(await exit, 0);
    await until(
      'all arrive',
      () => controller.lines.filter(({ t }) => t === 'audit').length === 200,
    );
  });

  it('takes the longer of the reported and the silent lag, never a negative one', () => {
    assert.equal(lagMsOf(1_000, 950, 0), 0);
    assert.equal(lagMsOf(1_000, 950, 40), 40);
    assert.equal(lagMsOf(5_000, 1_000, 40), 3_900);
  });
});
