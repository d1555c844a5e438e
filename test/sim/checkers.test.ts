// Does each checker see the violation that it is for? One is planted for every checker: a checker
// that cannot fail checks nothing.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { asReplicaId, fingerprint, planId } from '../../src/model/ids.ts';
import { mintReceipt } from '../../src/model/receipt.ts';
import type { Receipt } from '../../src/model/receipt.ts';
import type { RoutingTable } from '../../src/model/routing.ts';
import type { OpenIntent } from '../../src/world/ledger.ts';
import { breakIt } from './faults.ts';
import { hang, kill } from '../scenarios/language.ts';
import { DATABASE, RLS } from './setting.ts';
import { Simulation } from './simulation.ts';

async function standing(): Promise<Simulation> {
  const sim = new Simulation({ seed: 11, tuning: { probeMs: 500 } });
  sim.boot();
  await sim.run(20_000);
  assert.deepEqual(sim.checkers.violations, []);
  return sim;
}

const saw = (sim: Simulation, checker: string): void => {
  const seen = sim.checkers.violations.map((v) => v.checker);
  assert.ok(seen.includes(checker), `${checker} is not among: ${seen.join(', ')}`);
};

/** Runs until a run is at work on this target; its receipt, as its steps hold it. */
async function atWork(sim: Simulation, word: string): Promise<Receipt> {
  const found = (): OpenIntent | undefined =>
    [...sim.ledger.open.values()].find(({ subject }) => subject.includes(word));
  assert.ok(await sim.until(() => found() !== undefined, 30_000, 10));
  const intent = found();
  const detail = intent?.detail as { readonly digest: string };
  return mintReceipt(planId('p'), detail.digest, intent?.index ?? -1, '');
}

function tableOf(sim: Simulation): RoutingTable {
  const table = sim.plane.table();
  assert.ok(table !== undefined);
  return { ...table, version: table.version + 100 };
}

const stop = (replica: string) =>
  ({ kind: 'stop', replica: asReplicaId(replica), termMs: 0 }) as const;

describe('planted violations', () => {
  it('receipt: an act whose intent is in no ledger', async () => {
    const sim = await standing();
    sim.checkers.onAct(stop('records-1'), mintReceipt(planId('p'), 'd', 99_999, ''));
    saw(sim, 'receipt');
  });

  it('receipt: an act that is no step of its plan, and an intent of another plan', async () => {
    const sim = await standing();
    await breakIt(sim, hang('billing-1'));
    const receipt = await atWork(sim, 'billing-1');
    sim.checkers.onAct(stop('records-1'), receipt);
    saw(sim, 'receipt');
    const other = await standing();
    other.checkers.onEnforce(RLS, ['notes'], mintReceipt(planId('p'), 'd', 0, ''));
    saw(other, 'receipt');
  });

  it('runs, one plan a target: an act by a run that has ended and holds nothing', async () => {
    const sim = await standing();
    await breakIt(sim, hang('billing-1'));
    const receipt = await atWork(sim, 'billing-1');
    sim.disk.openRuns.clear();
    sim.disk.targets.clear();
    sim.checkers.onAct(stop('billing-1'), receipt);
    saw(sim, 'runs');
    saw(sim, 'one plan a target');
  });

  it('ids: a replica id that was given before', async () => {
    const sim = await standing();
    await breakIt(sim, kill('records-2'));
    await breakIt(sim, hang('billing-1'));
    const receipt = await atWork(sim, 'billing-1');
    const release = sim.machine.find('records-1')?.release;
    assert.ok(release !== undefined);
    sim.checkers.onAct({ kind: 'start', replica: asReplicaId('records-1'), release }, receipt);
    saw(sim, 'ids');
  });

  it('one writer: a second database on the same data', async () => {
    const sim = await standing();
    await breakIt(sim, hang('billing-1'));
    const receipt = await atWork(sim, 'billing-1');
    const release = sim.machine.alive(DATABASE)[0]?.release;
    assert.ok(release !== undefined);
    sim.checkers.onAct({ kind: 'start', replica: asReplicaId('database-9'), release }, receipt);
    saw(sim, 'one writer');
  });

  it('budget: a stop that leaves fewer than the floor', async () => {
    const sim = await standing();
    await breakIt(sim, hang('billing-1'));
    const receipt = await atWork(sim, 'billing-1');
    const table = sim.plane.table();
    assert.ok(table !== undefined);
    // Billing keeps one of two; the other is stopped while it serves.
    sim.checkers.onAct(stop('billing-2'), receipt);
    saw(sim, 'budget');
    saw(sim, 'harm');
  });

  it('budget: a table that takes too many replicas away', async () => {
    const sim = await standing();
    const table = tableOf(sim);
    const services = table.services.map((s) =>
      s.name === 'records'
        ? { ...s, replicas: s.replicas.map((r, i) => ({ ...r, weight: i < 2 ? 0 : r.weight })) }
        : s,
    );
    sim.checkers.onPush(sim.plane.table(), { ...table, services });
    saw(sim, 'budget');
  });

  it('versions: a table that is not newer', async () => {
    const sim = await standing();
    const table = sim.plane.table();
    assert.ok(table !== undefined);
    sim.checkers.onPush(table, table);
    saw(sim, 'versions');
  });

  it('quarantine: a rule that no table has, and one on the innocent', async () => {
    const sim = await standing();
    const { loop } = sim;
    assert.ok(loop !== undefined);
    const [service] = sim.disk.services.keys();
    const [tenant] = sim.manifest.tenants.keys();
    assert.ok(service !== undefined && tenant !== undefined);
    const rule = {
      id: fingerprint('quarantine', `${tenant}/records/GET//x`),
      tenant,
      service: loop.state.book.fleet().services.keys().next().value ?? ('' as never),
      method: 'GET',
      route: '/x',
      reason: 'planted',
    };
    await loop.state.book.change({ quarantine: [rule] });
    saw(sim, 'quarantine');
    const other = await standing();
    other.disk.quarantines.set(rule.id, rule);
    other.checkers.onPush(other.plane.table(), tableOf(other));
    await other.run(2_000);
    other.checkers.onPush(other.plane.table(), { ...tableOf(other), version: 2 ** 40 });
    saw(other, 'quarantine');
  });

  it('ledger: an index that is not the next', async () => {
    const sim = await standing();
    sim.checkers.onEntry({ index: 0, kind: 'plan.intent', detail: {} });
    saw(sim, 'ledger');
  });

  it('tables of states: a healed incident that opens, a gone replica that returns', async () => {
    const sim = await standing();
    await breakIt(sim, kill('records-2'));
    await sim.run(10_000);
    const incident = [...sim.disk.incidents.values()].find((i) => i.state.kind === 'healed');
    const gone = [...sim.disk.replicas.values()].find((r) => r.phase === 'gone');
    assert.ok(incident !== undefined && gone !== undefined);
    const { store } = sim.loop?.state.ports.world ?? {};
    await store?.putIncident({ ...incident, state: { kind: 'open' } }, 1);
    saw(sim, 'incident table');
    await store?.changeFleet({ replicas: [{ ...gone, phase: 'ready' }] }, 1);
    saw(sim, 'replica table');
  });

  it('reap: a replica of the book that is ended as a stray', async () => {
    const sim = await standing();
    sim.checkers.onAct({ kind: 'reap', replica: asReplicaId('records-1') }, undefined);
    saw(sim, 'reap');
  });

  it('log: an error that no fault explains', async () => {
    const sim = await standing();
    sim.checkers.onLog({ level: 'error', text: 'planted', fields: {} });
    saw(sim, 'log');
  });

  it('hot loop: a control plane that complains for ever without letting time pass', async () => {
    const sim = await standing();
    for (let i = 0; i < 300; i += 1) sim.checkers.onLog({ level: 'warn', text: 'x', fields: {} });
    saw(sim, 'hot loop');
    assert.ok(!sim.isUp());
  });

  it('bound: an incident that nobody answers for', async () => {
    const sim = await standing();
    await breakIt(sim, kill('records-2'));
    await sim.run(10_000);
    const [id, incident] = [...sim.disk.incidents][0] ?? [];
    assert.ok(id !== undefined && incident !== undefined);
    sim.disk.incidents.set(id, { ...incident, state: { kind: 'open' } });
    sim.disk.openIncidents.add(id);
    await sim.run(400_000);
    sim.checkers.sweep();
    saw(sim, 'bound');
  });

  it('final: a stray process, an open intent, an open run, a table left open', async () => {
    const sim = await standing();
    sim.tables.set('notes', false);
    sim.ledger.open.set(9_999, { index: 9_999, subject: 'planted', detail: {} });
    sim.disk.openRuns.add('run_planted');
    const row = sim.disk.replicas.get('billing-1');
    assert.ok(row !== undefined);
    sim.disk.replicas.set('billing-1', { ...row, phase: 'gone' });
    sim.checkers.final();
    const text = sim.checkers.violations.map((v) => v.message).join('\n');
    for (const word of ['row-level', 'no outcome', 'still open', 'in no book', '1 active']) {
      assert.match(text, new RegExp(word, 'u'));
    }
  });
});
