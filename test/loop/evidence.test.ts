// Is a gap in the evidence an incident like any other, and does an access event keep what is
// somebody's apart? Covers detect/evidence.ts, its way through the loop, and model/audit.ts.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { detectEvidence } from '../../src/loop/detect/evidence.ts';
import { emptyCanvas, fold } from '../../src/loop/observe/fold.ts';
import { auditRecord } from '../../src/model/audit.ts';
import type { EvidenceTrouble } from '../../src/model/signal.ts';
import { Simulation } from '../sim/simulation.ts';

const overdue: EvidenceTrouble = { part: 'intent 12', detail: 'no outcome by noon' };

describe('evidence', () => {
  it('EG1: a trouble is found as long as it lasts, since it began, and no longer', () => {
    const canvas = emptyCanvas(0);
    fold(canvas, { kind: 'evidence', atMs: 100, troubles: [overdue] });
    fold(canvas, { kind: 'evidence', atMs: 300, troubles: [overdue] });
    const [found, ...more] = detectEvidence(canvas);
    assert.equal(more.length, 0);
    assert.equal(found?.kind, 'evidence-gap');
    assert.equal(found?.sinceMs, 100);
    assert.deepEqual(found?.evidence, ['no outcome by noon']);
    fold(canvas, { kind: 'evidence', atMs: 400, troubles: [] });
    assert.deepEqual(detectEvidence(canvas), []);
  });

  it('P1: an overdue intent is an incident; it closes when it is settled', async () => {
    const sim = new Simulation({ seed: 5, tuning: { probeMs: 500 } });
    sim.boot();
    await sim.run(10_000);
    const { loop } = sim;
    assert.ok(loop !== undefined);
    const { ledger } = loop.state.ports.world;
    const before = ledger.troubles;
    ledger.troubles = () => [overdue];
    const asked = (): boolean =>
      [...loop.state.incidents.values()].some(
        (i) => i.title.startsWith('evidence, intent 12:') && i.state.kind === 'escalated',
      );
    assert.ok(await sim.until(asked, 30_000), 'a person is asked');
    ledger.troubles = before;
    const left = (): boolean =>
      [...loop.state.incidents.values()].every((i) => !i.title.startsWith('evidence, intent 12:'));
    assert.ok(await sim.until(left, 60_000), 'it closes by itself');
  });
});

describe('an access event', () => {
  const event = {
    action: 'patient.read',
    outcome: 'allowed',
    resource: { type: 'patient', id: 'p-17' },
    detail: { reason: 'visit' },
    tenant: 'north',
    subject: 'user:ann',
    requestId: 'r-1',
    atMs: 5,
  };

  it('AU1: is its tenant’s, and what names people is theirs, apart from the entry', () => {
    const made = auditRecord('records-1', event, (id) => id === 'north');
    assert.equal(made.tenant, 'north');
    const text = JSON.stringify(made.detail);
    for (const personal of ['p-17', 'ann', 'visit', 'r-1'])
      assert.ok(!text.includes(personal), text);
    assert.deepEqual(made.detail, {
      replica: 'records-1',
      action: 'patient.read',
      outcome: 'allowed',
      resource: 'patient',
      atMs: 5,
    });
    assert.deepEqual(made.private, [
      { subject: 'user:ann', fields: { actor: 'user:ann', requestId: 'r-1' } },
      { subject: 'patient:p-17', fields: { resourceId: 'p-17', detail: { reason: 'visit' } } },
    ]);
  });

  it('AU1: of an unknown tenant, or of no shape at all, keeps nothing that may be personal', () => {
    const foreign = auditRecord('records-1', event, () => false);
    assert.equal(foreign.tenant, undefined);
    assert.deepEqual(foreign.private, []);
    for (const odd of [undefined, 7, 'x', [], { tenant: 7, subject: {} }, { action: '\ud800' }]) {
      assert.deepEqual(
        auditRecord('r', odd, () => true),
        {
          detail: { replica: 'r' },
          tenant: undefined,
          private: [],
        },
      );
    }
  });
});
