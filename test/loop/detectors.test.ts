// Does each detector find what it is for, and nothing else? One suite a detector, by invariant.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { detectCapacity } from '../../src/loop/detect/capacity.ts';
import { detectControls } from '../../src/loop/detect/control.ts';
import { detectCrashLoop } from '../../src/loop/detect/crashloop.ts';
import { detectDependencies } from '../../src/loop/detect/dependency.ts';
import { DETECTORS, detect } from '../../src/loop/detect/detect.ts';
import { detectExited } from '../../src/loop/detect/exited.ts';
import { detectFailing } from '../../src/loop/detect/failing.ts';
import { detectHung } from '../../src/loop/detect/hung.ts';
import { detectMemory, theilSen } from '../../src/loop/detect/memory.ts';
import { detectOutliers } from '../../src/loop/detect/outlier.ts';
import { detectPoison } from '../../src/loop/detect/poison.ts';
import { detectTogether } from '../../src/loop/detect/together.ts';
import { detectUnready } from '../../src/loop/detect/unready.ts';
import { asReplicaId, dependencyName } from '../../src/model/ids.ts';
import type { TenantId } from '../../src/model/ids.ts';
import type { DeathRecord, ExitRecord, ReplicaView } from '../../src/model/picture.ts';
import { NO_PROBE } from '../../src/model/picture.ts';
import { quarantineId } from '../../src/model/quarantine.ts';
import type { CheckResult, Suspect } from '../../src/model/signal.ts';
import { MEMORY_BYTES, POSTGRES, RLS, TENANTS } from '../sim/setting.ts';
import {
  MANIFEST,
  NOW,
  R1,
  R2,
  RECORDS,
  canvasWith,
  failing,
  kinds,
  okAt,
  records,
  replica,
  traffic,
} from './kit.ts';

const good = { windows: [traffic(NOW - 300, 20)] };
const bad = { windows: [traffic(NOW - 300, 20, { errors: 12, failed: 4 })] };
const [TENANT = '' as TenantId, OTHER = '' as TenantId] = TENANTS;

describe('detect', () => {
  const sick = canvasWith(
    records(
      { exited: { atMs: NOW, exit: { kind: 'code', code: 1 } } },
      { live: failing('timeout', 2), ejected: { atMs: NOW, reason: 'hung', detail: 'x' } },
      {},
    ),
  );

  it('D1: the same picture and time give the same findings, and change nothing', () => {
    const before = structuredClone(sick);
    const first = detect(sick, NOW);
    assert.deepEqual(detect(sick, NOW), first);
    assert.deepEqual(structuredClone(sick), before);
    assert.ok(first.length >= 2);
  });

  it('D2: no fingerprint appears twice', () => {
    const marks = detect(sick, NOW).map((f) => f.fingerprint);
    assert.equal(new Set(marks).size, marks.length);
    assert.equal(DETECTORS.length, 13);
  });

  it('a healthy system has no finding', () => {
    const spare = replica('records-4', { role: 'spare', weight: 0 });
    const others = ['billing-1', 'billing-2', 'scheduling-1', 'scheduling-2'].map((id) =>
      replica(id, good),
    );
    assert.deepEqual(detect(canvasWith([...records(good, good, good), spare, ...others]), NOW), []);
  });
});

describe('exited', () => {
  const exited = { atMs: NOW - 10, exit: { kind: 'signal', signal: 'SIGKILL' } } as const;
  it('DX1: an end that nobody asked for is found; one that a plan of ours caused is not', () => {
    assert.deepEqual(kinds(detectExited(canvasWith(records({ exited })))), ['replica-exited']);
    assert.deepEqual(detectExited(canvasWith(records({ exited, phase: 'draining' }))), []);
  });
});

describe('hung', () => {
  const hung = { live: failing('timeout', 2) };
  it('HU1: a replica that still completes requests is never hung, whatever its probes say', () => {
    assert.deepEqual(kinds(detectHung(canvasWith(records(hung)), NOW)), ['replica-hung']);
    const serving = { live: failing('timeout', 9), ...good };
    assert.deepEqual(detectHung(canvasWith(records(serving)), NOW), []);
    const stuck = { ...hung, windows: [traffic(NOW - 300, 5, { timeouts: 5 })] };
    assert.equal(detectHung(canvasWith(records(stuck)), NOW).length, 1);
  });

  it("HU2: one slow probe is not enough; with the gateway's word, or a blocked loop, it is", () => {
    const once = { live: failing('timeout', 1) };
    assert.deepEqual(detectHung(canvasWith(records(once)), NOW), []);
    const ejected = { atMs: NOW, reason: 'hung', detail: 'no answer' } as const;
    assert.equal(detectHung(canvasWith(records({ ...once, ejected })), NOW).length, 1);
    const beat = { atMs: NOW, beat: { lagMs: 2_000, inFlight: 1, oldestMs: 1, rssBytes: 1 } };
    assert.equal(detectHung(canvasWith(records({ ...once, beat })), NOW).length, 1);
    const refused = { live: failing('refused', 9), ejected };
    assert.deepEqual(detectHung(canvasWith(records(refused)), NOW), []);
  });
});

describe('unready', () => {
  it("UR1: only after the probe's own number of failures in a row", () => {
    const at = (n: number): number =>
      detectUnready(canvasWith(records({ ready: failing('refused', n) })), NOW).length;
    assert.deepEqual([at(1), at(2)], [0, 1]);
  });

  it('UR2: a probe that times out is the business of `hung`', () => {
    assert.deepEqual(detectUnready(canvasWith(records({ ready: failing('timeout', 5) })), NOW), []);
    const gone = { ready: failing('unreachable', 5) };
    assert.equal(detectUnready(canvasWith(records(gone)), NOW).length, 1);
  });
});

describe('together', () => {
  const out = { ready: failing('refused', 2) };
  it('TG1: at least two replicas, all of them, each past its own count', () => {
    const all = detectTogether(canvasWith(records(out, out, out)), NOW);
    assert.deepEqual(kinds(all), ['probes-failing-together']);
    assert.deepEqual(detectTogether(canvasWith(records(out, out, {})), NOW), []);
    assert.deepEqual(detectTogether(canvasWith(records(out)), NOW), []);
    const early = { ready: failing('refused', 1) };
    assert.deepEqual(detectTogether(canvasWith(records(out, early)), NOW), []);
  });

  it('TG2: the finding says whether clients are still served', () => {
    const [one] = detectTogether(canvasWith(records({ ...out, ...good }, out)), NOW);
    assert.deepEqual(one?.measures, { served: 20, failed: 0 });
  });
});

describe('dependency', () => {
  const down = (failures: number, okAtMs: number | undefined, sinceStart = 700_000) => {
    const canvas = canvasWith([]);
    const view = canvas.dependencies.get(POSTGRES);
    assert.ok(view !== undefined);
    const track = { ...failing('unreachable', failures), okAtMs };
    canvas.dependencies.set(POSTGRES, { ...view, track });
    return detectDependencies({ ...canvas, since: NOW - sinceStart }, NOW);
  };

  it('DE1: only after its own number of failures in a row', () => {
    assert.deepEqual(kinds(down(1, 1)), []);
    assert.deepEqual(kinds(down(2, 1)), ['dependency-down']);
  });

  it('DE2: one that never answered is not up yet, until its start-up time has passed', () => {
    assert.deepEqual(down(9, undefined, 20_000), []);
    assert.equal(down(9, undefined, 40_000).length, 1);
  });
});

describe('poison', () => {
  const suspect = (tenant: TenantId, route: string, requestId: string): Suspect => ({
    tenant,
    service: RECORDS,
    method: 'POST',
    route,
    requestId,
  });
  const death = (id: string, agoMs: number, ...suspects: Suspect[]): DeathRecord => ({
    atMs: NOW - agoMs,
    replica: asReplicaId(id),
    suspects,
  });
  const guilty = suspect(TENANT, '/import', 'q1');
  const again = suspect(TENANT, '/import', 'q2');

  function run(
    deaths: readonly DeathRecord[],
    held = false,
    exits: readonly ExitRecord[] = [],
    share = 0.01,
  ) {
    const canvas = canvasWith([], {
      records: {
        deaths,
        exits,
        held: held ? [{ atMs: NOW, suspect: guilty, deaths: 2 }] : [],
      },
    });
    for (const tenant of canvas.tenants.values()) {
      const requests = tenant.id === TENANT ? share * 10_000 : (1 - share) * 5_000;
      canvas.tenants.set(tenant.id, { ...tenant, windows: [traffic(NOW - 100, requests)] });
    }
    return detectPoison(canvas, NOW);
  }

  it('PO1: two deaths of different replicas within a minute, none of them a kill', () => {
    assert.equal(run([death('records-1', 100, guilty), death('records-2', 50, again)]).length, 1);
    assert.deepEqual(run([death('records-1', 100, guilty), death('records-1', 50, again)]), []);
    assert.deepEqual(run([death('records-1', 61_000, guilty), death('records-2', 50, again)]), []);
    const kill: ExitRecord = {
      atMs: NOW,
      replica: asReplicaId('records-1'),
      release: R1,
      wasReady: true,
      wanted: false,
      exit: { kind: 'signal', signal: 'SIGKILL' },
    };
    const deaths = [death('records-1', 100, guilty), death('records-2', 50, again)];
    assert.deepEqual(run(deaths, false, [kill]), []);
  });

  it("PO1: a gateway's word needs the same request in two deaths, or a third death", () => {
    const busy = 0.5;
    const two = [death('records-1', 100, guilty), death('records-2', 50, again)];
    assert.deepEqual(run(two, true, [], busy), []);
    const same = [death('records-1', 100, guilty), death('records-2', 50, guilty)];
    assert.equal(run(same, true, [], busy).length, 1);
    const three = [...two, death('records-3', 10, suspect(TENANT, '/import', 'q3'))];
    assert.equal(run(three, true, [], busy).length, 1);
  });

  it('PO2: with two combinations in common nobody is accused', () => {
    const company = suspect(TENANT, '/list', 'q9');
    const deaths = [
      death('records-1', 100, guilty, company),
      death('records-2', 50, again, company),
    ];
    assert.deepEqual(run(deaths), []);
    // Company that is much of the traffic is there by chance, and shields nobody.
    const usual = suspect(OTHER, '/list', 'q9');
    const among = [death('records-1', 100, guilty, usual), death('records-2', 50, again, usual)];
    const [one] = run(among);
    assert.ok(one?.subject.kind === 'tenant-route' && one.subject.route === '/import');
  });

  it('PO3: what is held back already is no finding', () => {
    const deaths = [death('records-1', 100, guilty), death('records-2', 50, again)];
    const canvas = canvasWith([], { records: { deaths } });
    const tenant = canvas.tenants.get(TENANT);
    assert.ok(tenant !== undefined);
    canvas.tenants.set(TENANT, { ...tenant, quarantined: new Set([quarantineId(guilty)]) });
    assert.deepEqual(detectPoison(canvas, NOW), []);
  });

  it('PO4: a tenant that is much of the traffic is inside every death by chance', () => {
    const deaths = [death('records-1', 100, guilty), death('records-2', 50, again)];
    assert.deepEqual(run(deaths, false, [], 0.5), []);
  });
});

describe('crash loop', () => {
  const exit = (i: number, change: Partial<ExitRecord> = {}): ExitRecord => ({
    atMs: NOW - 1_000 * i,
    replica: asReplicaId(`records-${i}`),
    release: R1,
    exit: { kind: 'code', code: 1 },
    wasReady: false,
    wanted: false,
    ...change,
  });
  const run = (exits: readonly ExitRecord[], deaths: readonly DeathRecord[] = []) =>
    detectCrashLoop(canvasWith([], { records: { exits, deaths } }), NOW);

  it('CL1: three exits within a minute are one; those that we caused do not count', () => {
    assert.deepEqual(kinds(run([exit(1), exit(2), exit(3)])), ['crash-loop']);
    assert.deepEqual(run([exit(1), exit(2)]), []);
    assert.deepEqual(run([exit(1), exit(2), exit(3, { wanted: true })]), []);
    assert.deepEqual(run([exit(1), exit(2), exit(70)]), []);
    const kill = { exit: { kind: 'signal', signal: 'SIGKILL' } } as const;
    assert.deepEqual(run([exit(1, kill), exit(2), exit(3)]), []);
  });

  it('CL2: exits of another release do not count', () => {
    assert.deepEqual(run([exit(1), exit(2), exit(3, { release: R2 })]), []);
  });

  it('CL3: exits that a poison request explains do not count', () => {
    const suspects = [
      {
        tenant: TENANT,
        service: RECORDS,
        method: 'GET',
        route: '/x',
        requestId: 'q',
      },
    ];
    const deaths = [{ atMs: NOW, replica: asReplicaId('records-1'), suspects }];
    assert.deepEqual(run([exit(1), exit(2), exit(3)], deaths), []);
  });
});

describe('failing service', () => {
  it('FA1: a minimum of errors, on at least half of the replicas that got requests', () => {
    assert.deepEqual(kinds(detectFailing(canvasWith(records(bad, bad, good)), NOW)), [
      'service-failing',
    ]);
    assert.deepEqual(detectFailing(canvasWith(records(bad, good, good)), NOW), []);
    const few = { windows: [traffic(NOW - 100, 4, { errors: 3 })] };
    assert.deepEqual(detectFailing(canvasWith(records(few, few)), NOW), []);
  });

  it('FA2: soon after a change of release the finding names the release', () => {
    const young = { release: R1, previous: R2, releasedAtMs: NOW - 60_000 };
    const [one] = detectFailing(canvasWith(records(bad, bad, bad), { records: young }), NOW);
    assert.equal(one?.subject.kind, 'release');
    assert.equal(one?.sinceMs, NOW - 300, 'it began with the first bad window');
    const old = { ...young, releasedAtMs: NOW - 700_000 };
    const [other] = detectFailing(canvasWith(records(bad, bad, bad), { records: old }), NOW);
    assert.equal(other?.subject.kind, 'unknown');
    const rolling = { ...young, rollingOut: true };
    assert.deepEqual(detectFailing(canvasWith(records(bad, bad), { records: rolling }), NOW), []);
  });
});

describe('outliers', () => {
  const slow = { windows: [traffic(NOW - 300, 20, {}, 11)] };
  const run = (...views: Partial<ReplicaView>[]) =>
    detectOutliers(canvasWith(records(...views)), NOW);

  it('OU1: too few samples on either side are no finding', () => {
    assert.deepEqual(kinds(run(bad, good, good)), ['replica-erroring']);
    const few = { windows: [traffic(NOW - 300, 4, { errors: 4 })] };
    assert.deepEqual(run(few, good, good), []);
    const idle = { windows: [traffic(NOW - 300, 3)] };
    assert.deepEqual(run(bad, idle, idle), []);
    assert.deepEqual(run({ windows: [traffic(NOW - 300, 5, {}, 11)] }, good, good), []);
  });

  it('OU2: what all suffer is no outlier, in errors and in latency', () => {
    assert.deepEqual(run(bad, bad, bad), []);
    assert.deepEqual(run(slow, slow, slow), []);
    assert.deepEqual(kinds(run(slow, good, good)), ['replica-slow']);
  });

  it("OU3: the gateway's ejection stands while it lasts, traffic or not", () => {
    const ejected = { atMs: NOW - 900, reason: 'errors', detail: 'x' } as const;
    const [one] = run({ ejected }, good, good);
    assert.equal(one?.kind, 'replica-erroring');
    assert.equal(one?.sinceMs, NOW - 900);
    const late = { ...ejected, reason: 'slow' } as const;
    assert.deepEqual(kinds(run({ ejected: late }, good, good)), ['replica-slow']);
  });

  it('OU4: a replica that is warming up is not judged on latency', () => {
    assert.deepEqual(run({ ...slow, readyAtMs: NOW - 2_000 }, good, good), []);
  });

  it('OU5: let in again is a suspect until it has answered well, unless a need came back', () => {
    const onTrial = {
      ejectedAtMs: NOW - 4_000,
      returnedAtMs: NOW - 2_000,
      reason: 'errors',
      detail: 'x',
    } as const;
    assert.deepEqual(kinds(run({ onTrial }, good, good)), ['replica-erroring']);
    assert.deepEqual(run({ onTrial, ...good }, good, good), []);
    const canvas = canvasWith(records({ onTrial }, good, good));
    const view = canvas.dependencies.get(dependencyName('postgres'));
    assert.ok(view !== undefined);
    canvas.dependencies.set(POSTGRES, {
      ...view,
      track: { ...okAt(NOW), recoveredAtMs: NOW - 1_000 },
    });
    assert.deepEqual(detectOutliers(canvas, NOW), []);
  });
});

describe('memory', () => {
  const samples = (n: number, from: number, step: number) =>
    Array.from({ length: n }, (_, i) => ({
      atMs: NOW - (n - i) * 1_000,
      rssBytes: Math.round(from + i * step),
      cpuMs: 0,
    }));
  const run = (memory: ReturnType<typeof samples>) =>
    detectMemory(canvasWith(records({ memory })), NOW);

  it('ME1: fewer than six samples, or no limit, are no finding', () => {
    const leak = samples(10, MEMORY_BYTES * 0.7, MEMORY_BYTES * 0.01);
    assert.deepEqual(kinds(run(leak)), ['memory-exhausting']);
    assert.deepEqual(run(leak.slice(-5)), []);
    const canvas = canvasWith(records({ memory: leak }));
    const service = canvas.services.get(RECORDS);
    assert.ok(service !== undefined);
    const resources = { ...service.spec.resources, memoryBytes: undefined };
    canvas.services.set(RECORDS, { ...service, spec: { ...service.spec, resources } });
    assert.deepEqual(detectMemory(canvas, NOW), []);
  });

  it('ME2: a saw-tooth is no leak', () => {
    const tooth = samples(20, MEMORY_BYTES * 0.8, 0).map((s, i) => ({
      ...s,
      rssBytes: s.rssBytes + (i % 4) * -1_000_000,
    }));
    assert.deepEqual(run(tooth), []);
    assert.equal(theilSen([]), 0);
    assert.equal(
      theilSen([
        { atMs: 0, rssBytes: 0, cpuMs: 0 },
        { atMs: 10, rssBytes: 50, cpuMs: 0 },
      ]),
      5,
    );
  });

  it('ME3: far below the limit nothing is said, however steep it looks', () => {
    assert.deepEqual(run(samples(10, MEMORY_BYTES * 0.1, MEMORY_BYTES * 0.04)), []);
  });
});

describe('controls', () => {
  it('CO1: only `not-satisfied` is a finding; what was not evaluated is not healed', () => {
    const run = (result: CheckResult): string[] => {
      const canvas = canvasWith([]);
      const control = canvas.controls.get(RLS);
      assert.ok(control !== undefined);
      canvas.controls.set(RLS, { ...control, result });
      return kinds(detectControls(canvas));
    };
    const violations = [{ subject: 'notes', detail: 'off' }];
    assert.deepEqual(run({ kind: 'not-satisfied', population: 4, violations }), [
      'control-violated',
    ]);
    assert.deepEqual(run({ kind: 'satisfied', population: 4, detail: '' }), []);
    assert.deepEqual(run({ kind: 'not-evaluated', reason: 'x' }), []);
    assert.deepEqual(run({ kind: 'error', reason: 'x' }), []);
  });
});

describe('capacity', () => {
  const spare = replica('records-9', { role: 'spare', weight: 0 });
  const others = ['billing-1', 'billing-2', 'scheduling-1', 'scheduling-2'].map((id) =>
    replica(id),
  );
  const run = (views: readonly ReplicaView[], service = {}) =>
    kinds(detectCapacity(canvasWith([...views, ...others], { records: service }), NOW));

  it('CA1: a dead replica in the book still counts; too few and too many are found', () => {
    const exited = { atMs: NOW, exit: { kind: 'memory' } } as const;
    assert.deepEqual(run([...records({}, {}, { exited }), spare]), []);
    assert.deepEqual(run([...records({}, {}), spare]), ['under-capacity']);
    assert.deepEqual(run([...records({}, {}, {}, {}), spare]), ['over-capacity']);
    assert.deepEqual(run(records({}, {}, {})), ['spares-missing']);
  });

  it('CA2: during a rollout nothing is counted', () => {
    assert.deepEqual(run(records({}), { rollingOut: true }), []);
  });

  it('CA3: starts that fail again and again are an incident', () => {
    const troubles = { count: 3, atMs: NOW, detail: 'x' };
    assert.deepEqual(run(records({}), { troubles }), ['start-failed']);
  });

  it('CA4: another release does not count as wanted, a small share is not left', () => {
    assert.deepEqual(run([...records({}, {}, { release: R2 }), spare]), ['under-capacity']);
    assert.deepEqual(run([...records({}, {}, {}, { release: R2 }), spare]), ['over-capacity']);
    assert.deepEqual(run([...records({}, {}, { weight: 20 }), spare]), ['under-capacity']);
    const starting = { weight: 0, phase: 'starting', ready: NO_PROBE } as const;
    assert.deepEqual(run([...records({}, {}, starting), spare]), []);
    assert.equal(MANIFEST.services.get(RECORDS)?.replicas.min, 3);
  });
});
