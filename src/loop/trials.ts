// Did what was done help? Each act that has ended is on trial until its verdict: the symptom gone,
// nothing else worse; what did harm is taken back as a plan of its own.
// One trial an incident; its verdict ends it, or the incident's own end does.
import type { Subject } from '../model/finding.ts';
import { planId, target } from '../model/ids.ts';
import type { IncidentId, ServiceName } from '../model/ids.ts';
import type { Incident } from '../model/incident.ts';
import type { Plan, PlannedStep, Step } from '../model/plan.ts';
import type { Run, Verdict } from '../model/run.ts';
import { verdictFact } from './record/record.ts';
import { assess } from './verify/assess.ts';
import type { Assessment, Indicators } from './verify/assess.ts';
import { attempted, putIncident } from './incidents.ts';
import type { LoopState, PendingTrial } from './state.ts';

/** Starts the run of a plan. */
export type Begin = (plan: Plan) => void;

export function beginTrial(
  state: LoopState,
  incident: Incident,
  plan: Plan,
  run: Run,
  before: Indicators,
): void {
  const nowMs = state.ports.world.clock.monotonicMs();
  const { subject } = incident.diagnosis.hypotheses[0];
  const tenant = subject.kind === 'tenant-route' ? subject.tenant : undefined;
  state.trials.set(incident.id, {
    run,
    plan,
    trial: {
      verification: plan.verification,
      actedAtMs: nowMs,
      goneSinceMs: undefined,
      before,
      own: { services: troubled(state, subject, plan), tenant },
    },
  });
  const next: Incident = {
    ...incident,
    state: { kind: 'verifying', plan: plan.id, sinceMs: nowMs },
  };
  putIncident(state, next);
}

/** Those that suffered from the fault itself: of a dependency, all that need it. */
function troubled(state: LoopState, subject: Subject, plan: Plan): ReadonlySet<ServiceName> {
  const own = suffering(state, subject);
  return new Set(plan.service === undefined ? own : [...own, plan.service]);
}

function suffering(state: LoopState, subject: Subject): readonly ServiceName[] {
  if ('service' in subject) return [subject.service];
  if (subject.kind !== 'dependency') return [];
  const specs = [...state.canvas.services.values()].map(({ spec }) => spec);
  return specs
    .filter((spec) => spec.dependsOn.includes(subject.dependency))
    .map((spec) => spec.name);
}

/** Services in trouble under the name of other incidents. */
function explainedBy(state: LoopState, except: IncidentId): ReadonlySet<ServiceName> {
  const services = new Set<ServiceName>();
  for (const { id, diagnosis } of state.incidents.values()) {
    if (id === except) continue;
    for (const name of suffering(state, diagnosis.hypotheses[0].subject)) services.add(name);
  }
  return services;
}

/** Looks at every act that is being verified; called once a look, after detection. */
export function verify(state: LoopState, begin: Begin): void {
  const nowMs = state.ports.world.clock.monotonicMs();
  for (const [id, pending] of state.trials) {
    const incident = state.incidents.get(id);
    if (incident === undefined) {
      state.trials.delete(id);
      continue;
    }
    const explained = explainedBy(state, id);
    const answer = assess(pending.trial, state.findings, state.canvas, nowMs, explained);
    if (answer.kind === 'pending') {
      state.trials.set(id, { ...pending, trial: answer.trial });
      continue;
    }
    state.trials.delete(id);
    judged(state, begin, incident, pending, answer);
  }
}

function judged(
  state: LoopState,
  begin: Begin,
  incident: Incident,
  { plan, run }: PendingTrial,
  answer: Exclude<Assessment, { kind: 'pending' }>,
): void {
  const nowMs = state.ports.world.clock.monotonicMs();
  const verdict: Verdict = {
    run: run.id,
    kind: answer.kind,
    reasons: answer.reasons,
    tookMs: nowMs - incident.openedAtMs,
  };
  state.recorder.tell(verdictFact(incident, verdict));
  if (answer.kind === 'healed') {
    attempted(state, incident, plan, 'healed', { kind: 'healed', atMs: nowMs, by: plan.id });
    return;
  }
  attempted(state, incident, plan, answer.kind, { kind: 'open' });
  if (answer.kind === 'harmful') undoHarm(begin, incident, plan);
}

const FINAL: ReadonlySet<Step['kind']> = new Set([
  'stop',
  'drain',
  'set-release',
  'mark-release',
  'enforce-control',
]);

/** P4: what made things worse is taken back, as a plan of its own with its own record. */
function undoHarm(begin: Begin, incident: Incident, plan: Plan): void {
  // What came before a step that cannot be taken back stays: undoing half of a swap would take
  // away the half that serves.
  const final = plan.steps.findLastIndex(({ step }) => FINAL.has(step.kind));
  const undo = plan.steps
    .slice(final + 1)
    .reverse()
    .flatMap(({ undo: steps }) => steps.map((step): PlannedStep => ({ step, undo: [] })));
  const [first, ...rest] = undo;
  if (first === undefined) return;
  begin({
    ...plan,
    id: planId(`${plan.id}.undo`),
    playbook: `undo-${plan.playbook}`,
    target: target('undo', plan.id),
    summary: `take back: ${plan.summary}`,
    steps: [first, ...rest],
    origin: { kind: 'operator', actor: `kintsugi (harmful verdict of ${incident.id})` },
    approval: { kind: 'none' },
  });
}
