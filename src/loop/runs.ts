// From plan to verdict: how are runs begun, followed to their end, gone on with after a restart,
// and what does their end mean for the incident that they were for?
//
//   LR1. A plan counts as at work from the moment it is decided, before anything is written.
//   LR2. A run that was open when the controller died is finished by the next one, under the same
//        receipt index; its steps look before they act.
//   LR4. A run that has begun holds its target in the store: when it cannot be driven it is tried
//        again until it has ended.
//   LR3. What did not help counts as an attempt, whatever its outcome is called (P4).
import type { ReplicaId, ServiceName } from '../model/ids.ts';
import { mintReceipt } from '../model/receipt.ts';
import type { Receipt } from '../model/receipt.ts';
import type { Incident } from '../model/incident.ts';
import type { Plan, Step } from '../model/plan.ts';
import { OPEN_STATES } from '../model/run.ts';
import type { Outcome, Run } from '../model/run.ts';
import { messageOf } from '../model/errors.ts';
import { measure } from './verify/assess.ts';
import type { Indicators } from './verify/assess.ts';
import { runOf } from './record/record.ts';
import { isFenced } from './act/executor.ts';
import { highestOrdinal } from './decide/steps.ts';
import { endFenced, putIncident, attempted } from './incidents.ts';
import type { LoopState } from './state.ts';
import { beginTrial } from './trials.ts';

/** Starts the run of a plan; answers when it has ended. */
export async function launch(state: LoopState, plan: Plan): Promise<Outcome | undefined> {
  const before = follow(state, plan);
  try {
    const begun = await state.executor.begin(plan);
    if (begun.kind === 'busy') {
      const incident = incidentOf(state, plan);
      if (incident !== undefined) {
        attempted(state, incident, plan, 'inconclusive', { kind: 'open' });
      }
      state.heldUntilMs = state.ports.world.clock.monotonicMs() + AGAIN_MS;
      return undefined;
    }
    told(state, begun.run, `run.begun`, plan.summary);
    return await drive(state, begun.run, begun.receipt, before);
  } catch (error) {
    giveUp(state, plan, error);
    return undefined;
  } finally {
    state.live.delete(plan.id);
    state.inbox.nudge();
  }
}

/** A run that has begun is driven until it has ended, or this controller has. */
async function drive(
  state: LoopState,
  run: Run,
  receipt: Receipt,
  before: Indicators,
): Promise<Outcome | undefined> {
  try {
    const outcome = await state.executor.finish(run, receipt);
    conclude(state, run.plan, outcome, before);
    return outcome;
  } catch (error) {
    if (isOver(state, error)) return undefined;
    complain(state, run.plan, error);
    await driveAgain(state, run);
    return undefined;
  }
}

/** LR2: under its own intent, which is in the ledger since before the crash. */
export async function resume(state: LoopState, run: Run): Promise<void> {
  const before = follow(state, run.plan);
  try {
    const { world } = state.ports;
    let index = run.intentIndex;
    let receipt;
    const open = world.ledger.openIntents().find((i) => runOf(i.detail) === run.id);
    if (open === undefined) {
      const intent = await state.recorder.intend(run);
      index = intent.index;
      receipt = intent.receipt;
    } else {
      index = open.index;
      receipt = mintResumed(run, open.index);
    }
    const resumed: Run = { ...run, intentIndex: index };
    told(state, resumed, 'run.resumed', `goes on after a restart: ${run.plan.summary}`);
    const outcome = await state.executor.finish(resumed, receipt);
    conclude(state, run.plan, outcome, before);
  } catch (error) {
    if (isOver(state, error)) return;
    complain(state, run.plan, error);
    await driveAgain(state, run);
    return;
  }
  state.live.delete(run.plan.id);
  state.inbox.nudge();
}

const AGAIN_MS = 1_000;

/** LR4: it holds its target in the store, so somebody must bring it to its end. */
async function driveAgain(state: LoopState, run: Run): Promise<void> {
  const { clock, store } = state.ports.world;
  // Bounded by the life of this controller; the next one resumes it.
  for (let known = false; !known;) {
    try {
      await clock.sleep(AGAIN_MS, state.stop.signal);
      const now = await store.run(run.id);
      known = true;
      if (now !== undefined && OPEN_STATES.includes(now.state)) {
        await resume(state, now);
        return;
      }
    } catch (error) {
      if (isOver(state, error)) return;
    }
  }
  state.live.delete(run.plan.id);
}

const mintResumed = (run: Run, index: number): ReturnType<typeof mintReceipt> =>
  mintReceipt(run.plan.id, run.planDigest, index, '');

function follow(state: LoopState, plan: Plan): Indicators {
  const brings = plan.steps.flatMap(({ step }) => bringsOf(step));
  state.live.set(plan.id, {
    plan,
    current: undefined,
    run: '' as Run['id'],
    target: plan.target,
    service: plan.service,
    disrupts: plan.disrupts,
    playbook: plan.playbook,
    brings,
    incident: plan.origin.kind === 'heal' ? plan.origin.incident : undefined,
  });
  for (const name of state.ports.manifest().services.keys()) {
    const ordinal = highestOrdinal(plan.steps, name);
    if (ordinal > 0) state.book.reserve(name, ordinal);
  }
  const nowMs = state.ports.world.clock.monotonicMs();
  if (plan.disrupts > 0 && plan.service !== undefined) {
    state.disruptions = [
      ...state.disruptions.filter((d) => d.atMs > nowMs - 3_600_000),
      { service: plan.service, atMs: nowMs },
    ];
  }
  return measure(state.canvas, nowMs);
}

function bringsOf(step: Step): readonly ReplicaId[] {
  if (step.kind === 'start') return [step.replica];
  if (step.kind === 'route') {
    return step.weights.filter((w) => w.weight > 0).map((w) => w.replica);
  }
  return [];
}
/** Keeps the live view of a run in step with it. */
export function progress(state: LoopState, run: Run): void {
  const entry = state.live.get(run.plan.id);
  if (entry !== undefined) state.live.set(run.plan.id, { ...entry, run: run.id, current: run });
}

function told(state: LoopState, run: Run, kind: string, text: string): void {
  progress(state, run);
  state.recorder.tell({
    entry: undefined,
    kind,
    text,
    run: run.id,
    ...(run.incident === undefined ? {} : { incident: run.incident }),
    ...(run.plan.service === undefined ? {} : { service: run.plan.service }),
    data: { plan: run.plan.id, playbook: run.plan.playbook, target: run.plan.target },
  });
}

/** Fenced or stopped: nothing more happens here (EX4). */
function isOver(state: LoopState, error: unknown): boolean {
  if (state.stop.signal.aborted) return true;
  if (!isFenced(error)) return false;
  endFenced(state, error);
  return true;
}

function complain(state: LoopState, plan: Plan, error: unknown): void {
  state.ports.world.log.error('a run could not be driven', {
    plan: plan.id,
    error: messageOf(error),
  });
}

/** A run that did not begin, because ledger or store refused it: nothing is begun for a while. */
function giveUp(state: LoopState, plan: Plan, error: unknown): void {
  if (isOver(state, error)) return;
  complain(state, plan, error);
  state.heldUntilMs = state.ports.world.clock.monotonicMs() + AGAIN_MS;
  // Nothing was tried, so it is no attempt.
  const incident = incidentOf(state, plan);
  if (incident !== undefined) putIncident(state, { ...incident, state: { kind: 'open' } });
}

function incidentOf(state: LoopState, plan: Plan): Incident | undefined {
  return plan.origin.kind === 'heal' ? state.incidents.get(plan.origin.incident) : undefined;
}

function conclude(state: LoopState, plan: Plan, outcome: Outcome, before: Indicators): void {
  const text =
    outcome.kind === 'done' ? `done: ${plan.summary}` : `${outcome.kind}: ${outcome.reason}`;
  told(state, outcome.run, `run.${outcome.kind}`, text);
  const incident = incidentOf(state, plan);
  if (incident === undefined) {
    concludeChange(state, plan, outcome);
    return;
  }
  switch (outcome.kind) {
    case 'done':
      beginTrial(state, incident, plan, outcome.run, before);
      return;
    case 'undone':
      attempted(state, incident, plan, 'failed', { kind: 'open' });
      return;
    case 'stuck':
      attempted(state, incident, plan, 'failed', escalated(state, outcome.reason));
      return;
    case 'refused': {
      const reason = outcome.reason === 'denied' ? 'approval-denied' : 'approval-expired';
      attempted(state, incident, plan, 'failed', {
        kind: 'escalated',
        reason,
        detail: `approval ${outcome.reason}`,
        sinceMs: state.ports.world.clock.monotonicMs(),
      });
    }
  }
}

function escalated(state: LoopState, detail: string): Incident['state'] {
  const sinceMs = state.ports.world.clock.monotonicMs();
  return { kind: 'escalated', reason: 'ineffective-too-often', detail, sinceMs };
}

/** Starts that fail count against the service; a rollout that failed condemns its release. */
function concludeChange(state: LoopState, plan: Plan, outcome: Outcome): void {
  const { service } = plan;
  if (service === undefined) return;
  if (plan.playbook === 'converge') {
    const view = state.canvas.services.get(service);
    if (view === undefined) return;
    const atMs = state.ports.world.clock.monotonicMs();
    const troubles =
      outcome.kind === 'done'
        ? { count: 0, atMs, detail: '' }
        : { count: view.troubles.count + 1, atMs, detail: outcome.reason };
    state.canvas.services.set(service, { ...view, troubles });
    return;
  }
  if (plan.playbook === 'rollout' && outcome.kind === 'undone') {
    condemn(state, plan, outcome.run, outcome.reason);
  }
}

/** What a release does by itself; an end by SIGKILL comes from outside. */
const OWN_FAULT = /^(?:watch|await-ready):(?!.*ended by SIGKILL)/u;

function condemn(state: LoopState, plan: Plan, run: Run, reason: string): void {
  const { service } = plan;
  if (service === undefined || !OWN_FAULT.test(reason)) return;
  if (!hadItsNeeds(state, service, run)) return;
  const first = plan.steps.find(({ step }) => step.kind === 'start')?.step;
  const release =
    first?.kind === 'start' ? state.book.fleet().releases.get(first.release) : undefined;
  if (release === undefined) return;
  const atMs = state.ports.world.clock.nowMs();
  const change = { releases: [{ ...release, verdict: { kind: 'bad', atMs, reason } as const }] };
  state.book.change(change).catch((error: unknown) => {
    state.ports.world.log.error('release could not be marked', { error: messageOf(error) });
  });
  state.recorder.tell({
    entry: undefined,
    kind: 'release.bad',
    service,
    text: `${service}: ${release.id} was rolled back by itself: ${reason}`,
    data: { reason },
  });
}

/** Did everything that the service needs answer for the whole run? Else the blame is open. */
function hadItsNeeds(state: LoopState, service: ServiceName, run: Run): boolean {
  const { clock } = state.ports.world;
  const begunAtMs = run.startedAtWallMs - (clock.nowMs() - clock.monotonicMs());
  const needs = state.canvas.services.get(service)?.spec.dependsOn ?? [];
  return needs.every((name) => {
    const track = state.canvas.dependencies.get(name)?.track;
    return (
      track === undefined ||
      (track.failures === 0 &&
        (track.recoveredAtMs === undefined || track.recoveredAtMs < begunAtMs))
    );
  });
}
