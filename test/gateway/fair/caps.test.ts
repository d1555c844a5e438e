// How many may be out at once? Exactly as many as the table allows, for every small service and
// every reason; and how many requests does a replica spoil until it is out?
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Backend } from '../../../src/gateway/backend.ts';
import {
  noteHung,
  noteOutcome,
  noteProbe,
  noteWaiting,
  openHealth,
  setReplicas,
} from '../../../src/gateway/health.ts';
import type { Health, HealthEvent } from '../../../src/gateway/health.ts';
import type { UpstreamPool } from '../../../src/gateway/http/upstream-pool.ts';
import { openPoison } from '../../../src/gateway/poison.ts';
import { asReplicaId, releaseId, serviceName } from '../../../src/model/ids.ts';
import type { ReplicaId } from '../../../src/model/ids.ts';
import type { EjectReason, GatewayEvent } from '../../../src/model/signal.ts';
import { random } from './sim.ts';

const R = (n: number): ReplicaId => asReplicaId(`records-${n}`);

function healthOf(n: number, minRouted: number): Health {
  const health = openHealth(() => 0.5);
  const replicas = Array.from({ length: n }, (_, i) => ({ id: R(i + 1), weight: 100 }));
  setReplicas(health, { replicas, minRouted, slowMs: 500 }, 0);
  return health;
}

const out = (health: Health): number =>
  [...health.tracks.values()].filter((t) => t.standing.kind === 'out').length;

/** Makes this replica look as bad as it can, while those from `from` on look well. */
const SPOIL: Readonly<Record<EjectReason, (h: Health, n: number, nowMs: number) => void>> = {
  unreachable: (h, n, nowMs) => void noteOutcome(h, R(n), 'unreachable', 0, nowMs),
  hung: (h, n, nowMs) => void noteHung(h, R(n), 'stands still', nowMs),
  errors(h, n, nowMs) {
    for (let i = 0; i < 8; i += 1) noteOutcome(h, R(n), 'error', 2, nowMs);
  },
  slow(h, n, nowMs) {
    noteWaiting(h, R(n), [900, 900, 900], nowMs);
    for (let i = 0; i < 12; i += 1) noteOutcome(h, R(n), 'ok', 5_000, nowMs);
  },
};

function healthy(h: Health, ids: readonly number[], nowMs: number): void {
  for (const n of ids) for (let i = 0; i < 8; i += 1) noteOutcome(h, R(n), 'ok', 2, nowMs);
}

describe('caps of ejection', () => {
  for (const n of [2, 3, 4, 5]) {
    for (let minRouted = 1; minRouted <= n; minRouted += 1) {
      test(`HE1: of ${n} with ${minRouted} that must stay, ${n - minRouted} go, none more`, () => {
        for (const reason of ['unreachable', 'hung'] as const) {
          const health = healthOf(n, minRouted);
          for (let i = 1; i <= n; i += 1) {
            healthy(health, [1, 2, 3, 4, 5].slice(i, n), i * 1_000);
            SPOIL[reason](health, i, i * 1_000);
            assert.equal(out(health), Math.min(i, n - minRouted), `${reason} ${i}`);
          }
        }
        for (const reason of ['errors', 'slow'] as const) {
          const health = healthOf(n, minRouted);
          // What looks like its siblings is none of them: at most half can be outliers.
          healthy(health, [1, 2, 3, 4, 5].slice(0, n), 500);
          SPOIL[reason](health, 1, 1_000);
          assert.equal(out(health), Math.min(1, n - minRouted), reason);
        }
      });
    }
  }

  test('HE1 HE3: most look bad: the panic rule keeps all that are left serving', () => {
    for (const n of [3, 4, 5]) {
      const health = healthOf(n, 1);
      for (let round = 0; round < 10; round += 1) {
        for (let i = 1; i <= n; i += 1) noteOutcome(health, R(i), 'error', 2, round * 100 + i);
      }
      assert.equal(out(health), 0);
    }
  });

  test('what a replica lays on a dependency is not held against it', () => {
    const health = healthOf(3, 1);
    healthy(health, [2, 3], 10);
    for (let i = 0; i < 50; i += 1) noteOutcome(health, R(1), 'excused', 2, 20);
    assert.equal(out(health), 0);
    assert.equal(health.tracks.get(R(1))?.failures, 0);
  });

  test('HE6: back on trial, its first failure or its first that waits takes it out again', () => {
    for (const how of ['error', 'wait'] as const) {
      const health = healthOf(3, 1);
      noteOutcome(health, R(1), 'unreachable', 0, 0);
      noteProbe(health, R(1), true, 1_000);
      healthy(health, [2, 3], 2_000);
      const events =
        how === 'error'
          ? noteOutcome(health, R(1), 'error', 2, 2_000)
          : noteWaiting(health, R(1), [600], 2_100);
      const [event] = events;
      assert.equal(event?.kind === 'ejected' && event.reason, how === 'error' ? 'errors' : 'slow');
    }
  });

  test('HE4: one that flaps is held down longer each time', () => {
    const health = healthOf(3, 1);
    const holds: number[] = [];
    let nowMs = 0;
    for (let i = 0; i < 6; i += 1) {
      noteOutcome(health, R(1), 'unreachable', 0, nowMs);
      const standing = health.tracks.get(R(1))?.standing;
      assert.ok(standing?.kind === 'out');
      holds.push(Math.round(standing.probeAtMs - nowMs));
      nowMs = standing.probeAtMs;
      const events: readonly HealthEvent[] = noteProbe(health, R(1), true, nowMs);
      assert.equal(events[0]?.kind, 'returned');
      nowMs += 500;
    }
    assert.deepEqual(holds, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
  });
});

/** 500 requests a second, one in five a POST; replica 1 answers 500 from the 500th on. */
function spoiled(seed: number): { failed: number; spoiled: number; ejectedAtMs: number } {
  const rand = random(seed);
  let nowMs = 0;
  const events: GatewayEvent[] = [];
  const service = {
    name: serviceName('records'),
    prefixes: [],
    replicas: [1, 2, 3].map((n) => ({
      id: R(n),
      release: releaseId('r1'),
      host: '127.0.0.1',
      port: n,
      weight: 100,
      region: 'any',
    })),
    healthPath: '/h',
    assertionKey: '',
    minRouted: 2,
    slowMs: 500,
  };
  const backend = new Backend(service, {
    nowMs: () => nowMs,
    random: rand,
    open: () => ({ close: () => undefined }) as unknown as UpstreamPool,
    look: () => Promise.resolve({ kind: 'answered', status: 200 }),
    emit: (event) => events.push(event),
    changed: () => undefined,
    poison: openPoison(0),
  });
  const counts = { failed: 0, spoiled: 0, ejectedAtMs: Number.NaN };
  const startMs = 500 * 2;
  for (let i = 0; i < 2_000; i += 1, nowMs += 2) {
    const isPost = rand() < 0.2;
    const tried = new Set<ReplicaId>();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const wish = { region: 'eu', tried, repeatable: !isPost, suspected: false };
      const lane = backend.choose(wish);
      assert.ok(typeof lane === 'object');
      const isBad = lane.id === R(1) && nowMs >= startMs;
      backend.outcome(lane, isBad ? 'error' : 'ok', 2);
      if (!isBad) break;
      counts.spoiled += 1;
      tried.add(lane.id);
      if (isPost || attempt === 1) {
        counts.failed += 1;
        break;
      }
    }
    if (events.length > 0 && Number.isNaN(counts.ejectedAtMs)) counts.ejectedAtMs = nowMs - startMs;
  }
  backend.close();
  return counts;
}

describe('gray errors', () => {
  test('BA3 CE4: one of three answers 500: out at its third, and one POST fails at most', () => {
    let failed = 0;
    for (let seed = 1; seed <= 40; seed += 1) {
      const counts = spoiled(seed);
      assert.equal(counts.spoiled, 3, `seed ${seed}`);
      assert.ok(counts.failed <= 1, `seed ${seed}: ${counts.failed}`);
      assert.ok(counts.ejectedAtMs < 1_000, `seed ${seed}: ${counts.ejectedAtMs} ms`);
      failed += counts.failed;
    }
    assert.ok(failed < 20);
  });
});
