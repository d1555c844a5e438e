// Does a flood of one tenant stay its own problem? The limit, the queue and the gate in simulated
// time, and in front of a real server.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Gate } from '../../../src/gateway/fair/gate.ts';
import type { Entry, Waiter } from '../../../src/gateway/fair/gate.ts';
import { Gates } from '../../../src/gateway/fair/gates.ts';
import { FLOOR, Limit } from '../../../src/gateway/fair/limit.ts';
import { FairQueue, QUEUE_LIMITS, weightOf } from '../../../src/gateway/fair/queue.ts';
import type { QueueLimits } from '../../../src/gateway/fair/queue.ts';
import { serviceName } from '../../../src/model/ids.ts';
import type { ServiceRoute } from '../../../src/model/routing.ts';
import { clockwork, quantile, town } from './sim.ts';

const yes = (): boolean => true;

/** So many answers of one time each, beside `inside` others, over so many ms. */
function feed(
  limit: Limit,
  clock: { nowMs: number },
  what: { tookMs: number; inside: number; forMs: number; ended?: 'ok' | 'refused' | 'broken' },
): void {
  for (const endMs = clock.nowMs + what.forMs; clock.nowMs < endMs; clock.nowMs += 1) {
    limit.note(what.tookMs, what.ended ?? 'ok', what.inside, clock.nowMs);
  }
}

describe('the adaptive limit', () => {
  test('LT1: it stays between its floor and its ceiling, whatever happens', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 12 }),
        fc.array(
          fc.record({
            tookMs: fc.double({ min: 0, max: 5_000, noNaN: true }),
            inside: fc.integer({ min: 0, max: 400 }),
            ended: fc.constantFrom('ok', 'refused', 'broken'),
            forMs: fc.integer({ min: 1, max: 200 }),
          }),
          { maxLength: 30 },
        ),
        (ceiling, replicas, phases) => {
          const limit = new Limit(ceiling, replicas);
          const clock = { nowMs: 0 };
          for (const phase of phases) {
            feed(limit, clock, phase);
            assert.ok(limit.value <= ceiling);
            assert.ok(limit.value >= Math.min(ceiling, Math.max(FLOOR, replicas)));
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  test('it grows to what is needed within a second, while answers come as fast as ever', () => {
    const limit = new Limit(1_000);
    const clock = { nowMs: 0 };
    for (let i = 0; i < 20; i += 1) {
      feed(limit, clock, { tookMs: 20, inside: limit.value, forMs: 50 });
    }
    assert.equal(limit.value, 1_000);
  });

  test('LT2: late answers do not lower it while it is not in use; it sinks to rest then', () => {
    const limit = new Limit(100);
    const clock = { nowMs: 0 };
    feed(limit, clock, { tookMs: 20, inside: 100, forMs: 1_000 });
    assert.equal(limit.value, 100);
    feed(limit, clock, { tookMs: 900, inside: 30, forMs: 2_000 });
    assert.equal(limit.value, 100);
    feed(limit, clock, { tookMs: 20, inside: 2, forMs: 20_000 });
    assert.equal(limit.value, 16);
  });

  test('LT3: late answers lower it by 30 % at most, and not again before they could be new', () => {
    const limit = new Limit(100);
    const clock = { nowMs: 0 };
    feed(limit, clock, { tookMs: 20, inside: 100, forMs: 1_000 });
    feed(limit, clock, { tookMs: 900, inside: 100, forMs: 900 });
    assert.equal(limit.value, 70);
    feed(limit, clock, { tookMs: 900, inside: 70, forMs: 4_000 });
    assert.ok(limit.value < 30);
  });

  test('LT4: a mix of requests that has become slower is learnt, and the limit grows again', () => {
    const limit = new Limit(200);
    const clock = { nowMs: 0 };
    feed(limit, clock, { tookMs: 10, inside: 1, forMs: 1_000 });
    for (let i = 0; i < 300; i += 1) {
      feed(limit, clock, { tookMs: 40, inside: limit.value, forMs: 100 });
    }
    assert.ok(limit.usualMs > 35, `${limit.usualMs}`);
    assert.ok(limit.value > 100, `${limit.value}`);
  });

  test('LT5: few answers prove nothing, and broken ones measure nothing', () => {
    const limit = new Limit(100);
    for (let i = 0; i < 20; i += 1) limit.note(1_000, 'ok', 32, i * 2);
    assert.equal(limit.value, 32);
    const clock = { nowMs: 10_000 };
    feed(limit, clock, { tookMs: 9_000, inside: 32, forMs: 3_000, ended: 'broken' });
    assert.equal(limit.value, 32);
  });

  test('a service that says it has too much gets less', () => {
    const limit = new Limit(100);
    const clock = { nowMs: 0 };
    feed(limit, clock, { tookMs: 5, inside: 100, forMs: 1_000 });
    feed(limit, clock, { tookMs: 5, inside: 100, forMs: 1_000, ended: 'refused' });
    assert.ok(limit.value < 50);
  });
});

describe('the fair queue', () => {
  test('FQ1: within a tenant the first comes first, also after some have left', () => {
    const queue = new FairQueue<number>();
    const waiting = [0, 1, 2, 3].map((n) => queue.put('a', 6, n, n));
    const second = waiting[1];
    assert.ok(second?.kind === 'queued');
    assert.equal(queue.remove(second.waiting), true);
    assert.equal(queue.remove(second.waiting), false);
    assert.deepEqual([queue.take(yes), queue.take(yes), queue.take(yes)], [0, 2, 3]);
    assert.equal(queue.take(yes), undefined);
    assert.equal(queue.length, 0);
  });

  test('FQ2: of tenants that all wait, each gets the share of its weight', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 2, maxLength: 12 }),
        fc.integer({ min: 3, max: 50 }),
        (priorities, backlog) => {
          const queue = new FairQueue<number>({
            ...QUEUE_LIMITS,
            tenantMax: 1_000,
            waitingMax: 100_000,
          });
          const weights = priorities.map(weightOf);
          const total = weights.reduce((a, b) => a + b, 0);
          const served = weights.map(() => 0);
          const fill = (n: number): void => {
            // The first one floods: its line is many times as long as the others'.
            const want = n === 0 ? 500 : backlog;
            while (queue.lengthOf(`t${n}`) < want) queue.put(`t${n}`, weights[n] ?? 6, n, 0);
          };
          weights.forEach((_, n) => fill(n));
          const takes = total * 20;
          for (let i = 0; i < takes; i += 1) {
            const n = queue.take(yes);
            assert.ok(n !== undefined);
            served[n] = (served[n] ?? 0) + 1;
            fill(n);
          }
          served.forEach((count, n) => {
            const due = ((weights[n] ?? 0) / total) * takes;
            // One comes early at the start, and a round may be unfinished at the end.
            assert.ok(Math.abs(count - due) <= Math.max(5, 0.15 * due), `${count} of ${due}`);
          });
        },
      ),
      { numRuns: 40 },
    );
  });

  test('FQ2: a sparse sender comes before a long line, but many of these do not starve it', () => {
    const queue = new FairQueue<string>();
    for (let i = 0; i < 50; i += 1) queue.put('flood', 6, 'flood', 0);
    queue.take(yes);
    queue.put('sparse', 6, 'sparse', 0);
    assert.equal(queue.take(yes), 'sparse');
    let floods = 0;
    for (let i = 0; i < 100; i += 1) {
      // Many tenants, each of them always fresh.
      while (queue.lines < 10) queue.put(`n${i}-${queue.lines}`, 6, 'new', 0);
      if (queue.take(yes) === 'flood') floods += 1;
    }
    assert.ok(floods >= 7, `${floods}`);
  });

  const small: QueueLimits = { ...QUEUE_LIMITS, waitingMax: 4, tenantMax: 3 };

  test('FQ3: places are bounded; a higher one takes the place of the last of the lowest', () => {
    const queue = new FairQueue<string>(small);
    for (const n of [1, 2, 3]) queue.put('low', 1, `low-${n}`, n);
    assert.deepEqual(queue.put('low', 1, 'low-4', 4), {
      kind: 'full',
      reason: 'tenant-queue-full',
    });
    queue.put('mid', 6, 'mid-1', 5);
    const high = queue.put('high', 10, 'high-1', 6);
    assert.equal(high.kind === 'queued' && high.instead, 'low-3');
    // The same weight: only from a longer line.
    const other = queue.put('other', 1, 'other-1', 7);
    assert.equal(other.kind === 'queued' && other.instead, 'low-2');
    assert.deepEqual(queue.put('last', 1, 'last-1', 8), { kind: 'full', reason: 'queue-full' });
    assert.equal(queue.length, 4);
  });

  test('FQ4: nobody waits longer than its patience, and less in a line that stands', () => {
    const queue = new FairQueue<number>();
    queue.put('a', 6, 1, 0);
    queue.put('a', 6, 2, 300);
    queue.put('b', 6, 3, 450);
    assert.deepEqual(queue.expire(499), []);
    // The line of a has stood for 500 ms: 200 ms is too long in it. That of b has not.
    assert.deepEqual(queue.expire(500), [1, 2]);
    assert.deepEqual(queue.expire(700), []);
    assert.deepEqual(queue.expire(950), [3]);
    assert.equal(queue.length, 0);
  });
});

function openGate(ceiling: number): { gate: Gate; clock: ReturnType<typeof clockwork> } {
  const clock = clockwork();
  const later = (ms: number, act: () => void): (() => void) => clock.at(clock.nowMs + ms, act);
  return { gate: new Gate({ ceiling, nowMs: () => clock.nowMs, later }), clock };
}

function waiterOf(entry: Entry | Waiter): Waiter {
  assert.ok(typeof entry === 'object' && entry.kind === 'waiter');
  return entry;
}

describe('the gate', () => {
  test('GA1 GA2 GA4: inside is exact, nobody who may go in waits, each is answered', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.array(
          fc.record({
            act: fc.constantFrom('enter', 'enter', 'leave', 'cancel', 'wait', 'bounds'),
            tenant: fc.integer({ min: 0, max: 4 }),
            n: fc.integer({ min: 0, max: 40 }),
          }),
          { maxLength: 120 },
        ),
        async (ceiling, acts) => {
          const { gate, clock } = openGate(ceiling);
          const inside: string[] = [];
          const waiting = new Map<Waiter, string>();
          const answers = new Map<Waiter, number>();
          const follow = (waiter: Waiter, tenant: string): void => {
            waiting.set(waiter, tenant);
            void waiter.answer.then((entry) => {
              answers.set(waiter, (answers.get(waiter) ?? 0) + 1);
              waiting.delete(waiter);
              if (entry === 'in') inside.push(tenant);
            });
          };
          for (const { act, tenant, n } of acts) {
            const name = `t${tenant}`;
            if (act === 'enter') {
              const entry = gate.enter(name, 1 + tenant, clock.nowMs);
              if (entry === 'in') inside.push(name);
              else if (entry.kind === 'waiter') follow(entry, name);
            } else if (act === 'leave') {
              const [left] = inside.splice(n % Math.max(1, inside.length), 1);
              if (left !== undefined) gate.leave(left, n, 'ok', clock.nowMs);
            } else if (act === 'cancel') {
              const [waiter] = [...waiting.keys()].slice(n % Math.max(1, waiting.size));
              if (waiter !== undefined) assert.equal(gate.cancel(waiter), true);
            } else if (act === 'wait') {
              await clock.until(clock.nowMs + n * 10);
            } else {
              gate.setBounds(1 + n, 1);
            }
            await Promise.resolve();
            await Promise.resolve();
            await Promise.resolve();
            assert.equal(gate.inside, inside.length);
            assert.equal(gate.waiting, waiting.size);
            for (const t of new Set(inside)) {
              assert.equal(gate.insideOf(t), inside.filter((x) => x === t).length);
            }
            // GA2: with room, each that waits is one that holds its own share already.
            if (gate.inside < gate.limit.value) {
              for (const t of waiting.values()) assert.ok(gate.insideOf(t) > 0, t);
            }
          }
          await clock.until(clock.nowMs + 2_000);
          assert.equal(gate.waiting, 0);
          for (const count of answers.values()) assert.equal(count, 1);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('GA3: a flood leaves room, and one that comes beside it goes in at once', () => {
    const { gate } = openGate(20);
    for (let i = 0; i < 100; i += 1) gate.enter('flood', 6, 0);
    assert.equal(gate.insideOf('flood'), 18);
    assert.equal(gate.enter('other', 6, 0), 'in');
    assert.equal(gate.enter('third', 6, 0), 'in');
    assert.notEqual(gate.enter('fourth', 6, 0), 'in');
  });

  test('GA4: one that has left is never let in, and one that is in owes its leave', async () => {
    const { gate } = openGate(1);
    assert.equal(gate.enter('a', 6, 0), 'in');
    const gone = waiterOf(gate.enter('b', 6, 0));
    const next = waiterOf(gate.enter('c', 6, 0));
    assert.equal(gate.cancel(gone), true);
    assert.equal(gate.cancel(gone), false);
    const answer = await gone.answer;
    assert.equal(answer !== 'in' && answer.reason, 'cancelled');
    gate.leave('a', 5, 'ok', 1);
    assert.equal(await next.answer, 'in');
    assert.equal(gate.cancel(next), false);
    assert.equal(gate.inside, 1);
    gate.leave('c', 5, 'ok', 2);
    assert.equal(gate.inside, 0);
  });

  test('GS1: each service has its gate, its share of a worker, and keeps it', async () => {
    const gates = new Gates(4, { nowMs: () => 0, later: () => () => undefined });
    const service = (name: string, concurrencyMax?: number): ServiceRoute =>
      ({
        name: serviceName(name),
        replicas: [{ weight: 100 }],
        ...(concurrencyMax === undefined ? {} : { concurrencyMax }),
      }) as unknown as ServiceRoute;
    gates.use([service('records', 40), service('mail')]);
    const records = gates.of(serviceName('records'));
    assert.ok(records !== undefined);
    assert.equal(records.limit.value, 10);
    for (let i = 0; i < 10; i += 1) records.enter(`t${i}`, 6, 0);
    const waiter = waiterOf(records.enter('t11', 6, 0));
    gates.use([service('records', 80)]);
    assert.equal(gates.of(serviceName('mail')), undefined);
    assert.equal(gates.of(serviceName('records')), records);
    gates.use([]);
    const answer = await waiter.answer;
    assert.equal(answer !== 'in' && answer.reason, 'closed');
    gates.close();
  });

  test('GA6: requests that are stuck hold no place, the ceiling counts them all the same', () => {
    const { gate, clock } = openGate(1_000);
    for (let i = 0; i < 32; i += 1) assert.equal(gate.enter(`t${i % 8}`, 6, 0), 'in');
    const waiter = waiterOf(gate.enter('late', 6, 1));
    gate.cancel(waiter);
    assert.equal(gate.enter('next', 6, 600), 'in');
    assert.equal(gate.inside, 33);
    for (let i = 0; i < 32; i += 1) gate.leave(`t${i % 8}`, 700, 'broken', 700, 0);
    assert.equal(gate.inside, 1);
    assert.equal(clock.nowMs, 0);
    const small = openGate(4).gate;
    for (let i = 0; i < 4; i += 1) small.enter(`t${i}`, 6, 0);
    assert.notEqual(small.enter('next', 6, 10_000), 'in');
    small.close();
    gate.close();
  });

  test('GA5: a timer runs only while somebody waits, and late ones are shed by it', async () => {
    const clock = clockwork();
    let running = 0;
    const gate = new Gate({
      ceiling: 1,
      nowMs: () => clock.nowMs,
      later: (ms, act) => {
        running += 1;
        const off = clock.at(clock.nowMs + ms, () => {
          running -= 1;
          act();
        });
        return () => {
          running -= 1;
          off();
        };
      },
    });
    gate.enter('a', 6, 0);
    assert.equal(running, 0);
    const waiter = waiterOf(gate.enter('b', 6, 0));
    assert.equal(running, 1);
    await clock.until(600);
    const answer = await waiter.answer;
    assert.equal(answer !== 'in' && answer.reason, 'waited-too-long');
    assert.equal(running, 0);
    const other = waiterOf(gate.enter('b', 6, 600));
    gate.close();
    assert.equal(running, 0);
    const closed = await other.answer;
    assert.equal(closed !== 'in' && closed.reason, 'closed');
  });

  test('of N tenants that flood, each gets its Nth part, however often one asks', async () => {
    const t = town({ seed: 5, replicas: 3, workMs: 5, gate: { replicas: 3 } });
    t.sends('loud', 3_000, 0, 8_000);
    for (const name of ['a', 'b', 'c']) t.sends(name, 400, 0, 8_000);
    await t.clock.until(8_000);
    const counts = [...t.tallies.values()].map((tally) => tally.answered);
    const all = counts.reduce((a, b) => a + b, 0);
    assert.ok(all > 0.85 * 8 * 600, `${all}`);
    for (const count of counts)
      assert.ok(Math.abs(count / all - 0.25) < 0.05, `${count} of ${all}`);
  });

  for (const { workMs, restMs, replicas, light, flood } of [
    { workMs: 1, restMs: 10, replicas: 3, light: 300, flood: 6_000 },
    { workMs: 2, restMs: 30, replicas: 4, light: 300, flood: 6_000 },
  ]) {
    test(`a flood of ${flood}/s beside ${light}/s moves their p99 by less than 20 %`, async () => {
      const t = town({ seed: 11, replicas, workMs, restMs, gate: { replicas } });
      for (let i = 0; i < 8; i += 1) t.sends(`t${i}`, light / 8, 0, 20_000);
      t.sends('flood', flood, 10_000, 20_000);
      await t.clock.until(10_000);
      const others = [...t.tallies].filter(([name]) => name !== 'flood').map(([, tally]) => tally);
      const before = others.flatMap((tally) => tally.tookMs.splice(0));
      await t.clock.until(20_000);
      const beside = others.flatMap((tally) => tally.tookMs);
      const [was, is] = [quantile(before, 0.99), quantile(beside, 0.99)];
      assert.ok(is < was * 1.2, `p99 ${was} → ${is} ms`);
      for (const { shed } of others) assert.equal(shed, 0);
      // And the flood is served, too, with what is left.
      assert.ok((t.tallies.get('flood')?.answered ?? 0) / 10 > 0.5 * ((replicas * 1_000) / workMs));
    });
  }

  test('a flood in front of a real server: the others are served, and nobody is lost', async () => {
    const server = createServer((_, response) => {
      const endMs = performance.now() + 2;
      while (performance.now() < endMs);
      response.end('ok');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const agent = new Agent({ keepAlive: true });
    const gate = new Gate({ ceiling: 64, nowMs: () => performance.now(), replicas: 1 });
    const ask = (): Promise<void> =>
      new Promise((resolve, reject) => {
        const sent = request({ agent, host: '127.0.0.1', port }, (answer) => {
          answer.resume().on('end', resolve);
        });
        sent.on('error', reject).end();
      });
    const counts = { ok: 0, shed: 0 };
    const one = async (tenant: string): Promise<boolean> => {
      let entry = gate.enter(tenant, 6, performance.now());
      if (entry !== 'in' && entry.kind === 'waiter') entry = await entry.answer;
      if (entry !== 'in') return false;
      const startMs = performance.now();
      await ask();
      gate.leave(tenant, performance.now() - startMs, 'ok', performance.now());
      return true;
    };
    try {
      const flood = Promise.all(
        Array.from({ length: 400 }, () =>
          one('flood').then((served) => (counts[served ? 'ok' : 'shed'] += 1)),
        ),
      );
      for (let i = 0; i < 20; i += 1) assert.equal(await one('other'), true);
      await flood;
      assert.equal(counts.ok + counts.shed, 400);
      assert.ok(counts.shed > 0 && counts.ok > 20);
      assert.deepEqual([gate.inside, gate.waiting], [0, 0]);
    } finally {
      agent.destroy();
      server.close();
    }
  });
});
