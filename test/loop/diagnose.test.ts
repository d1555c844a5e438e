// Is the right thing blamed? Findings that share a cause become one incident under its name, and
// incidents open, change and close as their table says.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { diagnose, isNew } from '../../src/loop/diagnose/diagnose.ts';
import { matchIncidents } from '../../src/loop/diagnose/incidents.ts';
import type { Finding } from '../../src/model/finding.ts';
import { POSTGRES } from '../sim/setting.ts';
import {
  NOW,
  R1,
  R2,
  RECORDS,
  WALL,
  canvasWith,
  failing,
  found,
  incident,
  okAt,
  onReplica,
  records,
} from './kit.ts';

const down = found('dependency-down', { kind: 'dependency', dependency: POSTGRES });
const unready = found('replica-unready', onReplica('records-1'));
const erroring = found('replica-erroring', onReplica('billing-1'));
const exited = found('replica-exited', onReplica('records-1'));
const hung = found('replica-hung', onReplica('records-1'));
const onRelease = { kind: 'release', release: R1, service: RECORDS } as const;
const young = { previous: R2, releasedAtMs: NOW - 60_000 };

const titles = (findings: readonly Finding[], canvas = canvasWith(records({}, {}, {}))): string[] =>
  diagnose(findings, canvas, NOW).map((g) => g.title);

/** As a dependency looks whose track is this. */
function needing(track: ReturnType<typeof okAt>) {
  const canvas = canvasWith(records({}, {}, {}));
  const view = canvas.dependencies.get(POSTGRES);
  assert.ok(view !== undefined);
  canvas.dependencies.set(POSTGRES, { ...view, track });
  return canvas;
}

describe('diagnose', () => {
  it('DI1: each finding of a fault is in one group, differences of capacity in none', () => {
    const capacity = found('under-capacity', { kind: 'service', service: RECORDS });
    const all = [unready, erroring, exited, capacity];
    const grouped = diagnose(all, canvasWith([]), NOW).flatMap((g) => g.findings);
    assert.deepEqual(new Set(grouped), new Set([unready, erroring, exited]));
    assert.equal(grouped.length, 3);
    assert.deepEqual(diagnose(all, canvasWith([]), NOW), diagnose(all, canvasWith([]), NOW));
  });

  it('DI2: a dependency that is down explains what its users show', () => {
    const groups = diagnose([unready, erroring, down], canvasWith(records({}, {})), NOW);
    assert.equal(groups.length, 1);
    assert.equal(groups[0]?.diagnosis.hypotheses[0].subject.kind, 'dependency');
    assert.equal(groups[0]?.findings[0], down);
  });

  it('DI2: its process that ended names it; deaths of its users stay their own', () => {
    const gone = found('replica-exited', onReplica('database-1'));
    assert.deepEqual(titles([gone, unready, exited]), ['postgres is down', 'records-1 ended']);
  });

  it('DI2: while a dependency is between up and down nobody is blamed for its absence', () => {
    assert.deepEqual(titles([unready], needing(failing('timeout', 1))), []);
    assert.deepEqual(titles([unready], needing({ ...okAt(NOW), recoveredAtMs: NOW - 900 })), []);
    assert.deepEqual(titles([unready], needing(okAt(NOW))), ['records-1 is not ready']);
    const starting = needing(okAt(NOW));
    const process = [...starting.replicas.values()].find((r) => r.id === 'database-1');
    assert.ok(process !== undefined);
    starting.replicas.set(process.id, { ...process, phase: 'starting' });
    assert.deepEqual(titles([unready], starting), []);
  });

  it('DI2: a young release outranks its replicas; an old one is only a suspect', () => {
    const loop = found('crash-loop', onRelease);
    const fresh = canvasWith(records({}), { records: young });
    const [group] = diagnose([exited, loop], fresh, NOW);
    assert.equal(group?.findings.length, 2);
    assert.equal(group?.diagnosis.hypotheses[0].subject.kind, 'release');
    const [other] = diagnose([loop], canvasWith(records({})), NOW);
    assert.equal(other?.diagnosis.hypotheses[0].subject.kind, 'unknown');
    const service = fresh.services.get(RECORDS);
    assert.ok(service !== undefined && isNew(service, NOW));
  });

  it('DI2: when every probe fails and clients are served, the probe is blamed', () => {
    const head = (served: number, failed: number) =>
      found('probes-failing-together', { kind: 'probe', service: RECORDS }, NOW, {
        served,
        failed,
      });
    const best = (f: Finding) =>
      diagnose([f, unready, hung], canvasWith([]), NOW).map(
        (g) => g.diagnosis.hypotheses[0].subject.kind,
      );
    assert.deepEqual(best(head(40, 0)), ['probe']);
    assert.deepEqual(best(head(0, 40)), ['unknown']);
  });

  it('DI3: `unknown` is an answer, and the strongest finding of a replica names it', () => {
    const failingService = found('service-failing', { kind: 'unknown', service: RECORDS });
    assert.deepEqual(titles([failingService]), ['records fails its clients']);
    assert.deepEqual(titles([unready, hung]), ['records-1 hangs']);
  });
});

describe('incidents', () => {
  const times = { nowMs: NOW, wallMs: WALL, mint: () => 'inc_new' };
  const groups = diagnose([exited], canvasWith([]), NOW);
  const [group] = groups;
  assert.ok(group !== undefined);
  const open = incident(group.findings, {
    fingerprint: group.fingerprint,
    title: group.title,
    seenAtMs: NOW - 10_000,
  });

  it('IT1: one open incident a fingerprint; what is the same is no news', () => {
    const [first] = matchIncidents(groups, [], times);
    assert.equal(first?.what, 'opened');
    const [again] = matchIncidents(groups, [open], times);
    assert.equal(again?.what, 'updated');
    assert.equal(again?.incident.findings, open.findings);
    assert.equal(again?.incident.seenAtMs, NOW);
  });

  it('IT2: what is acted on or verified is not closed by silence', () => {
    const states = [
      { kind: 'acting', plan: 'p' },
      { kind: 'verifying', plan: 'p', sinceMs: NOW },
    ] as unknown as (typeof open.state)[];
    for (const state of states) {
      assert.deepEqual(matchIncidents([], [{ ...open, state }], times), []);
    }
  });

  it('IT3: silence must last: a finding that blinks opens no second incident', () => {
    assert.deepEqual(matchIncidents([], [{ ...open, seenAtMs: NOW - 500 }], times), []);
    const [closed] = matchIncidents([], [open], times);
    assert.deepEqual(closed?.incident.state, { kind: 'healed', atMs: NOW, by: 'itself' });
  });
});
