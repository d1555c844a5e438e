// Where does a tenant's request go? A backend without sockets: replicas die, err, stand still and
// are kept for others, and the choice is watched.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { Backend } from '../../../src/gateway/backend.ts';
import { NO_RULES, compileRules } from '../../../src/gateway/fair/rules.ts';
import type { UpstreamPool } from '../../../src/gateway/http/upstream-pool.ts';
import type { Guest, Lane, Wish } from '../../../src/gateway/lane.ts';
import type { Look } from '../../../src/gateway/look.ts';
import { combination, openPoison } from '../../../src/gateway/poison.ts';
import { asReplicaId, releaseId, serviceName, tenantId } from '../../../src/model/ids.ts';
import type { ReplicaId, TenantId } from '../../../src/model/ids.ts';
import type { ServiceRoute, TenantRule } from '../../../src/model/routing.ts';
import { shardOf } from '../../../src/model/shards.ts';
import type { GatewayEvent, Suspect } from '../../../src/model/signal.ts';
import { until } from '../rig.ts';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');
const SERVICE = serviceName('records');
const R = (n: number): ReplicaId => asReplicaId(`records-${n}`);

function serviceWith(count: number, change: Partial<ServiceRoute> = {}): ServiceRoute {
  return {
    name: SERVICE,
    prefixes: [{ prefix: '/', timeoutMs: 4_000, retry: true }],
    replicas: Array.from({ length: count }, (_, i) => ({
      id: R(i + 1),
      release: releaseId('r1'),
      host: '127.0.0.1',
      port: i + 1,
      weight: 100,
      region: 'any',
    })),
    healthPath: '/h',
    assertionKey: '',
    minRouted: 1,
    slowMs: 100,
    ...change,
  };
}

interface Stand {
  readonly backend: Backend;
  readonly events: GatewayEvent[];
  readonly poison: ReturnType<typeof openPoison>;
  look: Look;
  lane(n: number): Lane;
  enter(lane: Lane, tenant: TenantId): Guest & { rescued: boolean };
}

const stands: Stand[] = [];
afterEach(() => {
  for (const stand of stands.splice(0)) stand.backend.close();
});

function stand(service: ServiceRoute, rules: readonly TenantRule[] = []): Stand {
  const poison = openPoison(0);
  const events: GatewayEvent[] = [];
  const made: Stand = {
    backend: new Backend(
      service,
      {
        nowMs: () => performance.now(),
        random: () => 0.5,
        open: () => ({ close: () => undefined }) as unknown as UpstreamPool,
        look: () => Promise.resolve(made.look),
        emit: (event) => events.push(event),
        changed: () => undefined,
        poison,
      },
      compileRules(rules, NO_RULES, 1),
    ),
    events,
    poison,
    look: { kind: 'answered', status: 200 },
    lane(n) {
      const found = made.backend.lanes.get(R(n));
      assert.ok(found !== undefined);
      return found;
    },
    enter(lane, tenant) {
      const nowMs = performance.now();
      const suspect: Suspect = {
        tenant,
        service: SERVICE,
        method: 'GET',
        route: '/x',
        requestId: `${tenant}-${nowMs}`,
      };
      const guest = {
        startedMs: nowMs,
        waitingSinceMs: nowMs,
        suspected: false,
        rescued: false,
        suspect: () => suspect,
        rescue() {
          guest.rescued = true;
          made.backend.leave(lane, guest);
        },
      };
      made.backend.enter(lane, guest);
      return guest;
    },
  };
  stands.push(made);
  return made;
}

const wish = (tenant: TenantId, change: Partial<Wish> = {}): Wish => ({
  region: 'eu',
  tenant,
  tried: new Set(),
  repeatable: true,
  suspected: false,
  ...change,
});

/** Where so many requests of this tenant go. */
function places(s: Stand, tenant: TenantId, change: Partial<Wish> = {}): Set<string> {
  const found = new Set<string>();
  for (let i = 0; i < 60; i += 1) {
    const lane = s.backend.choose(wish(tenant, change));
    found.add(typeof lane === 'string' ? lane : lane.id);
  }
  return found;
}

const homeOf = (tenant: TenantId, service: ServiceRoute): ReplicaId[] =>
  shardOf(tenant, service.replicas, service.shardSize ?? 99).map((r) => r.id);
const number = (id: ReplicaId | undefined): number => Number(id?.slice('records-'.length));

/** The replica dies with this tenant inside, as the backend finds it out. */
async function die(s: Stand, id: ReplicaId | undefined, tenant: TenantId): Promise<void> {
  const lane = s.lane(number(id));
  const guest = s.enter(lane, tenant);
  s.look = { kind: 'refused' };
  s.backend.broke(lane, guest);
  s.backend.leave(lane, guest);
  await until('it is found dead', () => lane.dying === undefined && lane.dead);
}

describe('the choice of a replica', () => {
  test('CE1: a tenant is served by its shard, and by the others when none of it is routed', () => {
    const service = serviceWith(6, { shardSize: 2 });
    const s = stand(service);
    const home = homeOf(ACME, service);
    assert.deepEqual(places(s, ACME), new Set(home));
    const [first, second] = home.map((id) => s.lane(number(id)));
    assert.ok(first !== undefined && second !== undefined);
    s.backend.outcome(first, 'unreachable', 0);
    assert.deepEqual(places(s, ACME), new Set([second.id]));
    s.backend.outcome(second, 'unreachable', 0);
    const others = service.replicas.map((r) => r.id).filter((id) => !home.includes(id));
    assert.deepEqual(places(s, ACME), new Set(others));
    // Nobody else has moved.
    const theirs = homeOf(GLOBEX, service).filter((id) => !home.includes(id));
    assert.deepEqual(places(s, GLOBEX), new Set(theirs.length > 0 ? theirs : others));
  });

  test('CE1: a tenant that was tried on all of its shard may be repeated on another', () => {
    const service = serviceWith(4, { shardSize: 1 });
    const s = stand(service);
    const tried = new Set(homeOf(ACME, service));
    assert.equal(s.backend.hasOther('eu', tried, performance.now(), ACME), true);
    assert.equal(places(s, ACME, { tried }).size, 3);
    // One that was inside a death is not let loose on the rest.
    assert.deepEqual(places(s, ACME, { tried, suspected: true }), new Set(['none']));
  });

  test('CE2: a tenant under a rule or a hold stays in its shard, dead or not', () => {
    const service = serviceWith(4, { shardSize: 1 });
    const throttled: TenantRule = { tenant: ACME, mode: 'throttle', ratePerSecond: 5, reason: '' };
    for (const how of ['rule', 'hold'] as const) {
      const s = stand(service, how === 'rule' ? [throttled] : []);
      const suspect = { tenant: ACME, service: SERVICE, method: 'GET', route: '/x' };
      const untilMs = performance.now() + 60_000;
      if (how === 'hold') s.poison.held.set(combination(suspect), untilMs);
      const [home] = homeOf(ACME, service);
      s.backend.outcome(s.lane(number(home)), 'unreachable', 0);
      assert.deepEqual(places(s, ACME), new Set(['none']), how);
      assert.equal(s.backend.hasOther('eu', new Set(), performance.now(), ACME), false);
      // Acme's hold is not one of a tenant whose name begins alike.
      assert.notDeepEqual(places(s, tenantId('acm')), new Set(['none']));
    }
  });

  test('CE2: what was inside a whole shard when it died is kept from the rest', async () => {
    const service = serviceWith(6, { shardSize: 2 });
    const s = stand(service);
    for (const id of homeOf(ACME, service)) await die(s, id, ACME);
    assert.deepEqual(places(s, ACME), new Set(['none']));
    // One that lives on the same two and was inside neither is served by the others.
    const home = new Set(homeOf(ACME, service));
    const twin = Array.from({ length: 999 }, (_, i) => tenantId(`t${i}`)).find((t) =>
      homeOf(t, service).every((id) => home.has(id)),
    );
    assert.ok(twin !== undefined);
    assert.equal(places(s, twin).has('none'), false);
  });

  test('CE3: a pinned tenant is served by its replica only, and it serves nobody else', () => {
    const pin: TenantRule = { tenant: ACME, mode: 'pin', replicas: [R(3)], reason: '' };
    for (const shardSize of [undefined, 2]) {
      const service = serviceWith(4, shardSize === undefined ? {} : { shardSize });
      const s = stand(service, [pin]);
      assert.deepEqual(places(s, ACME), new Set([R(3)]));
      assert.equal(places(s, GLOBEX).has(R(3)), false);
      // Its failures are no reason to take it out, and no reason to go elsewhere.
      for (let i = 0; i < 20; i += 1) s.backend.outcome(s.lane(3), 'error', 1);
      assert.deepEqual(places(s, ACME, { repeatable: false }), new Set([R(3)]));
      assert.deepEqual(places(s, ACME, { tried: new Set([R(3)]) }), new Set(['none']));
      for (const n of [1, 2, 4]) s.backend.outcome(s.lane(n), 'unreachable', 0);
      const tried = new Set([R(1), R(2), R(4)]);
      assert.equal(s.backend.hasOther('eu', tried, performance.now(), GLOBEX), false);
      s.backend.apply(service, NO_RULES);
      assert.equal(s.backend.hasOther('eu', tried, performance.now(), GLOBEX), true);
    }
  });

  test('CE3: a pin binds in the service of its replicas only, also when these are gone', () => {
    const service = serviceWith(3);
    const other = [{ tenant: ACME, mode: 'pin', replicas: [asReplicaId('mail-1')], reason: '' }];
    assert.equal(places(stand(service, other as TenantRule[]), ACME).size, 3);
    const gone = [{ tenant: ACME, mode: 'pin', replicas: [R(9)], reason: '' }];
    assert.deepEqual(places(stand(service, gone as TenantRule[]), ACME), new Set(['none']));
  });

  test('a replica that is kept for one tenant does not count among those that must stay', () => {
    const pin: TenantRule = { tenant: ACME, mode: 'pin', replicas: [R(3)], reason: '' };
    const s = stand(serviceWith(3, { minRouted: 2 }), [pin]);
    s.backend.outcome(s.lane(1), 'unreachable', 0);
    s.backend.outcome(s.lane(2), 'unreachable', 0);
    assert.deepEqual(
      s.events.map((e) => e.kind === 'ejected' && e.replica),
      [R(1)],
    );
  });

  test('CE4: after one failure a POST goes elsewhere, while a GET still tries it', () => {
    const s = stand(serviceWith(3));
    s.backend.outcome(s.lane(1), 'error', 1);
    assert.equal(places(s, ACME, { repeatable: false }).has(R(1)), false);
    assert.equal(places(s, ACME).size, 3);
    s.backend.outcome(s.lane(1), 'ok', 1);
    assert.equal(places(s, ACME, { repeatable: false }).size, 3);
    // When all have just failed, it goes anyway.
    for (const n of [1, 2, 3]) s.backend.outcome(s.lane(n), 'error', 1);
    assert.equal(places(s, ACME, { repeatable: false }).size, 3);
  });

  test('CE4: a POST does not go where requests stand still; an open stream is none', async () => {
    const s = stand(serviceWith(2));
    const stuck = s.enter(s.lane(1), ACME);
    const stream = { ...s.enter(s.lane(2), ACME), waitingSinceMs: Number.POSITIVE_INFINITY };
    s.lane(2).inside.clear();
    s.lane(2).inside.add(stream);
    await until('it stands still', () => performance.now() - stuck.startedMs > 60);
    assert.deepEqual(places(s, ACME, { repeatable: false }), new Set([R(2)]));
    assert.equal(places(s, ACME).size, 2);
    s.backend.leave(s.lane(1), stuck);
    assert.equal(places(s, ACME, { repeatable: false }).size, 2);
    s.lane(2).inside.clear();
  });

  test('BE7: no connection, and none for a look: ejected though others are served', async () => {
    const s = stand(serviceWith(3));
    for (const [look, isOut] of [
      [{ kind: 'answered', status: 200 }, false],
      [{ kind: 'silent' }, true],
    ] as const) {
      s.look = look;
      s.backend.outcome(s.lane(1), 'ok', 2);
      s.backend.outcome(s.lane(1), 'unconnected', 250);
      await until('it was looked at', () => !s.lane(1).looking);
      assert.equal(
        s.events.some((e) => e.kind === 'ejected' && e.reason === 'hung'),
        isOut,
      );
    }
  });

  test('BE6 HE5: three wait while siblings answer: it is ejected, they are repeated', async () => {
    const s = stand(serviceWith(3));
    const stuck = [1, 2, 3].map(() => s.enter(s.lane(1), ACME));
    const ticking = setInterval(() => {
      for (const n of [2, 3]) s.backend.outcome(s.lane(n), 'ok', 2);
    }, 10);
    try {
      await until('it is ejected', () => s.events.some((e) => e.kind === 'ejected'));
    } finally {
      clearInterval(ticking);
    }
    const [event] = s.events;
    assert.ok(event?.kind === 'ejected');
    assert.deepEqual([event.reason, event.replica], ['slow', R(1)]);
    assert.match(event.detail, /^3 wait for \d+ ms or more, siblings answered \d+ in 2 ms$/u);
    assert.deepEqual(
      stuck.map((g) => g.rescued),
      [true, true, true],
    );
    // One that comes a moment later is moved as well, once it has waited.
    const late = s.enter(s.lane(1), ACME);
    await until('it is moved', () => late.rescued);
  });
});
