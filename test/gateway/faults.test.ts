// Do clients notice when a replica breaks? Real replicas are killed, stopped and spoiled under
// load, behind a real gateway.
import assert from 'node:assert/strict';
import { after, afterEach, describe, test } from 'node:test';
import { openRig, underLoad, until } from './rig.ts';
import type { Rig, RigOptions } from './rig.ts';

let rig: Rig | undefined;

async function open(options: RigOptions): Promise<Rig> {
  rig = await openRig(options);
  return rig;
}

afterEach(async () => {
  await rig?.close();
  rig = undefined;
});
after(() => rig?.close());

const ejected = (r: Rig, reason: string): boolean =>
  r.events.some((e) => e.kind === 'ejected' && e.reason === reason);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const mixed = (n: number): { path: string; method: string; headers: Record<string, string> } => ({
  path: '/api/records',
  method: n % 5 === 0 ? 'POST' : 'GET',
  headers: n % 5 === 0 ? { 'idempotency-key': `k-${n}` } : {},
});

describe('gateway: faults under load', () => {
  test('one of three replicas is killed: no idempotent request fails', async () => {
    const r = await open({ replicas: 3 });
    const result = await underLoad(r, 200, mixed, async () => {
      await pause(500);
      r.replicas[1]?.child.kill('SIGKILL');
      await until('it is ejected', () => ejected(r, 'unreachable'));
      await pause(500);
    });
    assert.deepEqual(result.failed, []);
    assert.ok(result.sent > 100);
  });

  test('BE3: one of three is stopped: it is ejected as hung and nobody notices', async () => {
    const r = await open({ replicas: 3 });
    const result = await underLoad(r, 200, mixed, async () => {
      await pause(500);
      r.replicas[0]?.child.kill('SIGSTOP');
      await until('it is ejected', () => ejected(r, 'hung'));
      await pause(700);
      // Nothing new goes into it: all that was inside is gone to others.
      await until('nothing is inside', () => r.hub.inFlight(id(r, 0)).count === 0);
    });
    r.replicas[0]?.child.kill('SIGCONT');
    assert.deepEqual(result.failed, []);
  });

  test('a long request while the probe answers is no hang', async () => {
    const r = await open({ replicas: 2 });
    const answer = await r.send({ path: '/api/report?wait=1200' });
    assert.equal(answer.status, 200);
    assert.equal(
      r.events.some((e) => e.kind === 'ejected'),
      false,
    );
  });

  test('one of three answers 500: ejected, and nobody sees one', async () => {
    const r = await open({ replicas: 3 });
    const result = await underLoad(r, 200, mixed, async () => {
      await pause(500);
      await r.replicas[2]?.fault('errors');
      await until('it is ejected', () => ejected(r, 'errors'));
      await pause(300);
    });
    assert.deepEqual(result.failed, []);
  });

  test('HE3: all answer 500: nobody is ejected, and the clients see the truth', async () => {
    const r = await open({ replicas: 3 });
    for (const replica of r.replicas) await replica.fault('errors');
    const result = await underLoad(r, 100, mixed, () => pause(1_000));
    assert.equal(result.failed.length, result.sent);
    assert.equal(
      r.events.some((e) => e.kind === 'ejected'),
      false,
    );
  });

  test('one of three is slow: ejected as slow, without a failure', async () => {
    const r = await open({ replicas: 3, slowMs: 300 });
    const result = await underLoad(r, 100, mixed, async () => {
      await pause(500);
      await r.replicas[1]?.fault('slow', 900);
      await until('it is ejected', () => ejected(r, 'slow'));
    });
    assert.deepEqual(result.failed, []);
  });

  test('HE4: a replica that is well again comes back by its own probe', async () => {
    const r = await open({ replicas: 2 });
    await underLoad(r, 100, mixed, async () => {
      await pause(300);
      await r.replicas[0]?.fault('errors');
      await until('it is ejected', () => ejected(r, 'errors'));
      await r.replicas[0]?.fault('ok');
      await until('it returns', () => r.events.some((e) => e.kind === 'returned'));
    });
  });

  test('the last replica dies: requests wait for its successor instead of failing', async () => {
    const r = await open({ replicas: 1 });
    const result = await underLoad(r, 50, mixed, async () => {
      await pause(300);
      r.replicas[0]?.child.kill('SIGKILL');
      await r.addReplica();
      await r.push({ only: ['records-2'] });
      await pause(200);
    });
    assert.deepEqual(result.failed, []);
  });

  test('BE5: poison kills both replicas: others wait for successors, none fails', async () => {
    const r = await open({ replicas: 4 });
    await r.push({ only: ['records-1', 'records-2'] });
    const others = (n: number): { path: string; tenant: string } => ({
      path: '/api/records?wait=20',
      tenant: n % 2 === 0 ? 'globex' : 'initech',
    });
    const result = await underLoad(r, 150, others, async () => {
      await pause(500);
      const poison = r.send({ path: '/api/poison/1', tenant: 'acme' });
      assert.equal((await poison).status, 502);
      const again = await r.send({ path: '/api/poison/2', tenant: 'acme' });
      assert.match(again.body, /held-as-poison/u);
      await r.push({ only: ['records-3', 'records-4'] });
      await pause(300);
    });
    assert.deepEqual(result.failed, []);
    const held = r.events.filter((e) => e.kind === 'poison-held');
    assert.deepEqual(
      held.map((e) => e.suspect.tenant).filter((t) => t !== 'acme'),
      [],
    );
  });

  test('RE3: poison kills two replicas, never a third; others are unharmed', async () => {
    const r = await open({ replicas: 4 });
    const others = (): { path: string; tenant: string } => ({
      path: '/api/records',
      tenant: 'globex',
    });
    const result = await underLoad(r, 100, others, async () => {
      await pause(300);
      const answer = await r.send({ path: '/api/poison/1', tenant: 'acme' });
      assert.equal(answer.status, 502);
      await until('it is held', () => r.events.some((e) => e.kind === 'poison-held'));
      const again = await r.send({ path: '/api/poison/2', tenant: 'acme' });
      assert.equal(again.status, 503);
      assert.match(again.body, /held-as-poison/u);
      await pause(200);
    });
    assert.deepEqual(result.failed, []);
    const dead = r.replicas.filter((x) => x.child.signalCode !== null);
    assert.equal(dead.length, 2);
    const deaths = r.events.filter((e) => e.kind === 'died-serving');
    assert.equal(deaths.length, 2);
    for (const death of deaths) {
      assert.ok(death.suspects.some((s) => s.tenant === 'acme' && s.route === '/api/poison/:id'));
    }
    const held = r.events.find((e) => e.kind === 'poison-held');
    assert.equal(held?.suspect.tenant, 'acme');
    const fine = await r.send({ path: '/api/records', tenant: 'acme' });
    assert.equal(fine.status, 200);
  });
});

function id(r: Rig, index: number): Parameters<Rig['hub']['inFlight']>[0] {
  const found = r.replicas[index]?.id ?? '';
  return found as Parameters<Rig['hub']['inFlight']>[0];
}
