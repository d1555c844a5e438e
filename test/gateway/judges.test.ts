// Do the pure judges keep their promises? Health, balance, retry, poison, admission, fed with time.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  accountOf,
  admit,
  keepTenants,
  openAdmission,
  release,
} from '../../src/gateway/admission.ts';
import { pick } from '../../src/gateway/balance.ts';
import {
  dueProbes,
  forgive,
  nextProbeAtMs,
  noteHung,
  noteOutcome,
  noteProbe,
  noteWaiting,
  onTrial,
  openHealth,
  portion,
  setReplicas,
} from '../../src/gateway/health.ts';
import type { Health, HealthEvent, Outcome } from '../../src/gateway/health.ts';
import {
  DEATH_WINDOW_MS,
  HOLD_MS,
  combination,
  heldForMs,
  noteAnswered,
  noteDeath,
  openPoison,
} from '../../src/gateway/poison.ts';
import {
  isIdempotent,
  judgeRetry,
  noteRequest,
  openBudget,
  takeRepeat,
} from '../../src/gateway/retry.ts';
import type { RepeatAccount } from '../../src/gateway/retry.ts';
import type { RetryFacts } from '../../src/gateway/retry.ts';
import { asReplicaId, serviceName, tenantId } from '../../src/model/ids.ts';
import type { ReplicaId } from '../../src/model/ids.ts';
import type { TenantRoute } from '../../src/model/routing.ts';
import type { Suspect } from '../../src/model/signal.ts';

const ids = (n: number): ReplicaId[] =>
  Array.from({ length: n }, (_, i) => asReplicaId(`records-${i + 1}`));

function healthOf(n: number, minRouted = 1, slowMs = 500): Health {
  const health = openHealth(() => 0.5);
  const replicas = ids(n).map((id) => ({ id, weight: 100 }));
  setReplicas(health, { replicas, minRouted, slowMs }, 0);
  return health;
}

const routedIds = (health: Health): ReplicaId[] =>
  [...health.tracks.values()].filter((t) => t.standing.kind !== 'out').map((t) => t.id);
const R = (n: number): ReplicaId => asReplicaId(`records-${n}`);

function repeat(times: number, act: (i: number) => readonly HealthEvent[]): HealthEvent[] {
  return Array.from({ length: times }, (_, i) => act(i)).flat();
}

describe('health', () => {
  test('HE1: whatever happens, at least minRouted of 1 to 5 replicas stay routed', () => {
    const outcome = fc.constantFrom<Outcome>('ok', 'error', 'broken', 'timeout', 'unreachable');
    const step = fc.record({
      replica: fc.integer({ min: 1, max: 5 }),
      what: fc.constantFrom('outcome', 'hung', 'probe', 'waiting', 'weights'),
      outcome,
      tookMs: fc.constantFrom(1, 5, 3_000),
      afterMs: fc.constantFrom(0, 10, 400, 5_000),
      passed: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        fc.array(step, { maxLength: 200 }),
        (count, floor, steps) => {
          const health = healthOf(count, floor);
          let nowMs = 0;
          for (const s of steps) {
            nowMs += s.afterMs;
            const id = R(s.replica);
            if (s.what === 'outcome') noteOutcome(health, id, s.outcome, s.tookMs, nowMs);
            if (s.what === 'hung') noteHung(health, id, 'x', nowMs);
            if (s.what === 'probe') noteProbe(health, id, s.passed, nowMs);
            if (s.what === 'waiting') noteWaiting(health, id, [s.tookMs, s.tookMs], nowMs);
            if (s.what === 'weights') {
              const replicas = ids(count).map((i) => ({ id: i, weight: 100 }));
              setReplicas(health, { replicas, minRouted: floor, slowMs: 500 }, nowMs);
            }
            assert.ok(routedIds(health).length >= Math.min(count, floor));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('HE1: when a replica loses its weight, the floor is restored from the ejected', () => {
    const health = healthOf(2);
    assert.equal(noteOutcome(health, R(1), 'unreachable', 0, 10).length, 1);
    const replicas = [
      { id: R(1), weight: 100 },
      { id: R(2), weight: 0 },
    ];
    const events = setReplicas(health, { replicas, minRouted: 1, slowMs: 500 }, 20);
    assert.deepEqual(events, [{ kind: 'returned', replica: R(1) }]);
  });

  test('HE2: at the floor a dead replica changes places with a slow one', () => {
    const health = healthOf(2);
    repeat(9, () => noteOutcome(health, R(2), 'ok', 2, 100));
    const slow = repeat(9, () => noteOutcome(health, R(1), 'ok', 3_000, 100));
    assert.equal(slow[0]?.kind === 'ejected' && slow[0].reason, 'slow');
    const dead = noteOutcome(health, R(2), 'unreachable', 0, 200);
    assert.deepEqual(
      dead.map((e) => [e.kind, e.replica]),
      [
        ['returned', R(1)],
        ['ejected', R(2)],
      ],
    );
    assert.deepEqual(noteOutcome(health, R(1), 'unreachable', 0, 300), []);
  });

  test('one refused connection ejects at once', () => {
    const health = healthOf(3);
    const [event] = noteOutcome(health, R(2), 'unreachable', 0, 10);
    assert.equal(event?.kind === 'ejected' && event.reason, 'unreachable');
  });

  test('three failures in a row eject one whose siblings are flawless', () => {
    const health = healthOf(3);
    for (const n of [1, 2, 3]) repeat(5, () => noteOutcome(health, R(n), 'ok', 2, 10));
    assert.deepEqual(
      repeat(2, () => noteOutcome(health, R(1), 'error', 2, 20)),
      [],
    );
    const [event] = noteOutcome(health, R(1), 'error', 2, 20);
    assert.equal(event?.kind === 'ejected' && event.reason, 'errors');
  });

  test('HE3: when all fail alike, nobody is ejected, in whatever order they fail', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 99 }), (n, shift) => {
        const health = healthOf(n);
        for (let i = 0; i < 60; i += 1) {
          const id = R(((i * 7 + shift) % n) + 1);
          const event = noteOutcome(health, id, 'error', 2, 10 + i);
          assert.deepEqual(event, []);
        }
      }),
    );
  });

  test('HE3: most of five fail: nobody is an outlier', () => {
    const health = healthOf(5);
    repeat(8, () => noteOutcome(health, R(5), 'ok', 2, 10));
    const events = repeat(20, (i) => noteOutcome(health, R((i % 4) + 1), 'error', 2, 20));
    assert.deepEqual(events, []);
  });

  test('HE4: the hold-down grows, caps at 30 s, and the way back is a growing share', () => {
    const health = healthOf(2);
    noteOutcome(health, R(1), 'unreachable', 0, 0);
    const holds: number[] = [];
    let nowMs = 0;
    for (let i = 0; i < 8; i += 1) {
      const atMs = nextProbeAtMs(health) ?? 0;
      assert.deepEqual(dueProbes(health, atMs - 1), []);
      assert.deepEqual(dueProbes(health, atMs), [R(1)]);
      holds.push(Math.round(atMs - nowMs));
      nowMs = atMs;
      noteProbe(health, R(1), false, nowMs);
    }
    assert.deepEqual(holds, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    assert.deepEqual(noteProbe(health, R(1), true, nowMs), [{ kind: 'returned', replica: R(1) }]);
    const track = health.tracks.get(R(1));
    assert.ok(track !== undefined && onTrial(track));
    assert.ok(portion(track, nowMs + 100) < 0.1);
    assert.ok(portion(track, nowMs + 5_000) >= 0.5);
    repeat(5, () => noteOutcome(health, R(1), 'ok', 2, nowMs + 6_000));
    assert.equal(onTrial(track), false);
    assert.equal(portion(track, nowMs + 10_000), 1);
    assert.equal(track.standing.kind, 'in');
  });

  test('HE5: four slow answers prove nothing, and a slow fleet is no outlier', () => {
    const health = healthOf(2);
    repeat(9, () => noteOutcome(health, R(2), 'ok', 2, 10));
    assert.deepEqual(
      repeat(4, () => noteOutcome(health, R(1), 'ok', 3_000, 20)),
      [],
    );
    assert.equal(noteOutcome(health, R(1), 'ok', 3_000, 20).length, 1);
    const alike = healthOf(2);
    const events = repeat(40, (i) => noteOutcome(alike, R((i % 2) + 1), 'ok', 3_000, 10));
    assert.deepEqual(events, []);
  });

  test('requests that still wait count as slow before they end', () => {
    const health = healthOf(2);
    repeat(9, () => noteOutcome(health, R(2), 'ok', 2, 10));
    const [event] = noteWaiting(health, R(1), [900, 900, 900, 800, 700], 1_000);
    assert.equal(event?.kind === 'ejected' && event.reason, 'slow');
  });

  test('forgive takes it back at once and forgets', () => {
    const health = healthOf(2);
    noteOutcome(health, R(1), 'unreachable', 0, 0);
    assert.deepEqual(forgive(health, R(1), 10), [{ kind: 'returned', replica: R(1) }]);
    assert.deepEqual(forgive(health, R(1), 20), []);
    assert.equal(health.tracks.get(R(1))?.times, 0);
  });
});

describe('balance', () => {
  const lane = (
    share: number,
  ): { share: number; inFlight: number; failures: number; credit: number } => ({
    share,
    inFlight: 0,
    failures: 0,
    credit: 0,
  });

  test('BA1: share 0 is never picked; the only one is', () => {
    const lanes = [lane(0), lane(5)];
    for (let i = 0; i < 20; i += 1) assert.equal(pick(lanes), lanes[1]);
    assert.equal(pick([lane(0)]), undefined);
  });

  test('BA2: picks are proportional to shares, also of a canary on a quiet service', () => {
    const lanes = [lane(100), lane(100), lane(10)];
    const counts = [0, 0, 0];
    for (let i = 0; i < 2_100; i += 1) {
      const found = pick(lanes);
      const at = lanes.findIndex((l) => l === found);
      counts[at] = (counts[at] ?? 0) + 1;
    }
    assert.deepEqual(counts, [1_000, 1_000, 100]);
  });

  test('BA3: load and failures in a row push traffic away', () => {
    const lanes = [lane(100), lane(100)];
    const bad = lanes[0];
    assert.ok(bad !== undefined);
    bad.failures = 3;
    let picked = 0;
    for (let i = 0; i < 340; i += 1) if (pick(lanes) === bad) picked += 1;
    assert.ok(picked <= 4);
  });
});

const FACTS: RetryFacts = {
  ending: { kind: 'broken' },
  answerBegun: false,
  idempotent: true,
  routeAllows: true,
  bodyKept: true,
  breaks: 1,
  errorAnswers: 0,
};

describe('retry', () => {
  test('RE1: nothing is repeated once an answer has begun', () => {
    const kinds: RetryFacts['ending'][] = [
      { kind: 'broken' },
      { kind: 'unsent' },
      { kind: 'hung' },
    ];
    for (const ending of kinds) {
      const answer = judgeRetry({ ...FACTS, ending, answerBegun: true });
      assert.deepEqual(answer, { kind: 'give-up', reason: 'answer-begun' });
    }
  });

  test('RE2: a POST without a key is repeated only when it was provably never sent', () => {
    const post = { ...FACTS, idempotent: isIdempotent('POST', undefined) };
    assert.deepEqual(judgeRetry(post), { kind: 'give-up', reason: 'not-idempotent' });
    const unsent = judgeRetry({ ...post, ending: { kind: 'unsent' }, routeAllows: false });
    assert.deepEqual(unsent, { kind: 'retry', charged: false });
    assert.equal(judgeRetry({ ...FACTS, idempotent: isIdempotent('POST', 'k') }).kind, 'retry');
    assert.equal(isIdempotent('PATCH', ''), false);
    assert.equal(judgeRetry({ ...FACTS, routeAllows: false }).kind, 'give-up');
    assert.equal(judgeRetry({ ...FACTS, bodyKept: false }).kind, 'give-up');
  });

  test('RE3: what broke two replicas is not tried on a third', () => {
    const answer = judgeRetry({ ...FACTS, breaks: 2 });
    assert.deepEqual(answer, { kind: 'give-up', reason: 'broke-two-replicas' });
  });

  test('RE4: an error answer is repeated once', () => {
    const ending = { kind: 'status', status: 503 } as const;
    assert.equal(judgeRetry({ ...FACTS, breaks: 0, ending, errorAnswers: 1 }).kind, 'retry');
    const again = judgeRetry({ ...FACTS, breaks: 0, ending, errorAnswers: 2 });
    assert.deepEqual(again, { kind: 'give-up', reason: 'tried-enough' });
    const fine = judgeRetry({ ...FACTS, breaks: 0, ending: { kind: 'status', status: 404 } });
    assert.deepEqual(fine, { kind: 'give-up', reason: 'not-an-error' });
  });

  test('RE5: repeats stay within their share, and a quiet service has its floor', () => {
    const budget = openBudget(0.2);
    let granted = 0;
    const tenants = [quiet(), quiet(), quiet(), quiet()];
    const take = (i: number, nowMs: number): boolean =>
      takeRepeat(budget, nowMs, tenants[i % 4] ?? quiet());
    for (let i = 0; i < 200; i += 1) if (take(i, 5_000)) granted += 1;
    assert.equal(granted, 100);
    for (let i = 0; i < 1_000; i += 1) noteRequest(budget, 6_000);
    for (let i = 0; i < 300; i += 1) if (take(i, 6_000)) granted += 1;
    assert.equal(granted, 200);
    assert.equal(take(0, 60_000), true);
  });

  test('RE5: one tenant leaves half of the budget to the others, above the floor', () => {
    const budget = openBudget(0.2);
    for (let i = 0; i < 2_000; i += 1) noteRequest(budget, 6_000);
    const greedy = quiet();
    let granted = 0;
    for (let i = 0; i < 400; i += 1) if (takeRepeat(budget, 6_000, greedy)) granted += 1;
    assert.equal(granted, 200);
    assert.equal(takeRepeat(budget, 6_000, quiet()), true);
    const alone = openBudget(0);
    let few = 0;
    const only = quiet();
    for (let i = 0; i < 300; i += 1) if (takeRepeat(alone, 6_000, only)) few += 1;
    assert.equal(few, 100);
  });
});

const quiet = (): RepeatAccount => ({ window: -1, repeats: 0, before: 0 });

function suspect(tenant: string, route: string, requestId: string): Suspect {
  const service = serviceName('records');
  return { tenant: tenantId(tenant), service, method: 'POST', route, requestId };
}

describe('poison', () => {
  const bad = (n: number): Suspect => suspect('acme', '/poison', `bad-${n}`);
  const combo = combination(bad(1));

  test('PO1: the same request died on two replicas: its combination is held', () => {
    const state = openPoison(0);
    const crowd = [suspect('globex', '/a', 'x'), bad(1)];
    assert.deepEqual(noteDeath(state, { atMs: 10, replica: R(1), suspects: crowd }), []);
    const held = noteDeath(state, { atMs: 20, replica: R(2), suspects: [bad(1), bad(2)] });
    assert.equal(held[0]?.suspect.route, '/poison');
    assert.equal(held[0]?.deaths, 2);
    assert.equal(heldForMs(state, combo, 21), HOLD_MS - 1);
  });

  test('PO1: two deaths share exactly one combination, of different requests', () => {
    const state = openPoison(0);
    noteDeath(state, { atMs: 10, replica: R(1), suspects: [bad(1), suspect('globex', '/a', 'x')] });
    const second = [bad(2), suspect('initech', '/b', 'y')];
    assert.equal(noteDeath(state, { atMs: 900, replica: R(2), suspects: second }).length, 1);
    const late = openPoison(0);
    noteDeath(late, { atMs: 10, replica: R(1), suspects: [bad(1)] });
    const atMs = 11 + DEATH_WINDOW_MS;
    assert.deepEqual(noteDeath(late, { atMs, replica: R(2), suspects: [bad(2)] }), []);
  });

  test('PO2: when two combinations fit, none is held', () => {
    const state = openPoison(0);
    const suspects = [bad(1), suspect('globex', '/a', 'x')];
    noteDeath(state, { atMs: 10, replica: R(1), suspects });
    assert.deepEqual(noteDeath(state, { atMs: 20, replica: R(2), suspects }), []);
  });

  test('PO2: of two that fit, the one whose own request died on both is held', () => {
    const state = openPoison(0);
    const company = (id: string): Suspect => suspect('globex', '/a', id);
    noteDeath(state, { atMs: 10, replica: R(1), suspects: [bad(1), company('x')] });
    const held = noteDeath(state, { atMs: 20, replica: R(2), suspects: [bad(1), company('y')] });
    assert.equal(held[0]?.suspect.tenant, 'acme');
  });

  test('a replica dies once: what breaks later is added to its death', () => {
    const state = openPoison(0);
    noteDeath(state, { atMs: 10, replica: R(1), suspects: [bad(1)] });
    noteDeath(state, { atMs: 15, replica: R(1), suspects: [suspect('globex', '/a', 'x')] });
    assert.equal(state.deaths.length, 1);
    assert.equal(noteDeath(state, { atMs: 20, replica: R(2), suspects: [bad(1)] }).length, 1);
  });

  test('PO3: two kills under uniform traffic blame nobody', () => {
    const state = openPoison(0);
    for (let i = 0; i < 500; i += 1) noteAnswered(state, combo, i);
    noteDeath(state, { atMs: 600, replica: R(1), suspects: [bad(1), bad(2)] });
    const held = noteDeath(state, { atMs: 700, replica: R(2), suspects: [bad(3), bad(4)] });
    assert.deepEqual(held, []);
  });

  test('PO3: a rare combination that is sometimes answered is still blamed', () => {
    const state = openPoison(0);
    for (let i = 0; i < 500; i += 1) noteAnswered(state, i < 5 ? combo : 'other', i);
    noteDeath(state, {
      atMs: 600,
      replica: R(1),
      suspects: [bad(1), suspect('globex', '/a', 'x')],
    });
    const held = noteDeath(state, { atMs: 700, replica: R(2), suspects: [bad(3)] });
    assert.equal(held.length, 1);
  });

  test('PO4: a hold ends by itself', () => {
    const state = openPoison(0);
    noteDeath(state, { atMs: 10, replica: R(1), suspects: [bad(1)] });
    noteDeath(state, { atMs: 20, replica: R(2), suspects: [bad(1)] });
    assert.equal(heldForMs(state, combo, 20 + HOLD_MS), 0);
    assert.equal(state.held.size, 0);
  });

  test('PO5: deaths and shares are bounded', () => {
    const state = openPoison(0);
    for (let i = 0; i < 10_000; i += 1) noteAnswered(state, `c${i}`, i / 1_000);
    for (let i = 0; i < 100; i += 1) {
      noteDeath(state, { atMs: 10, replica: R(i), suspects: [suspect('acme', `/r${i}`, `r${i}`)] });
    }
    assert.ok(state.now.good.size <= 4_096);
    assert.ok(state.deaths.length <= 32);
  });
});

describe('admission', () => {
  const tenant = (change: Partial<TenantRoute>): TenantRoute => ({
    id: tenantId('acme'),
    region: 'eu',
    status: 'active',
    ratePerSecond: 10,
    burst: 2,
    concurrency: 3,
    bodyBytes: 10,
    keys: [],
    ...change,
  });

  test('AD1: concurrency is given back by release, rate by time only', () => {
    const a = openAdmission(1);
    const t = tenant({ burst: 100, concurrency: 1 });
    assert.equal(admit(accountOf(a, t), 0).kind, 'admitted');
    const full = admit(accountOf(a, t), 0);
    assert.equal(full.kind === 'limited' && full.reason, 'concurrency');
    release(accountOf(a, t));
    assert.equal(admit(accountOf(a, t), 0).kind, 'admitted');
    const r = openAdmission(1);
    admit(accountOf(r, tenant({})), 0);
    admit(accountOf(r, tenant({})), 0);
    const dry = admit(accountOf(r, tenant({})), 0);
    assert.deepEqual(dry, { kind: 'limited', reason: 'rate', retryAfterMs: 100 });
    assert.equal(admit(accountOf(r, tenant({})), 100).kind, 'admitted');
  });

  test('AD2: two workers share a limit, each at least 1', () => {
    const a = openAdmission(2);
    const t = tenant({ burst: 4, concurrency: 100 });
    assert.equal(admit(accountOf(a, t), 0).kind, 'admitted');
    assert.equal(admit(accountOf(a, t), 0).kind, 'admitted');
    assert.equal(admit(accountOf(a, t), 0).kind, 'limited');
    assert.equal(admit(accountOf(openAdmission(64), tenant({ burst: 1 })), 0).kind, 'admitted');
  });

  test('AD3: a new limit keeps the count; a tenant that is gone is forgotten when empty', () => {
    const a = openAdmission(1);
    admit(accountOf(a, tenant({ burst: 10 })), 0);
    const full = admit(accountOf(a, tenant({ burst: 10, concurrency: 1 })), 0);
    assert.equal(full.kind, 'limited');
    keepTenants(a, new Map());
    assert.equal(a.accounts.size, 1);
    release(accountOf(a, tenant({})));
    keepTenants(a, new Map());
    assert.equal(a.accounts.size, 0);
  });
});
