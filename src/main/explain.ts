// How is the story of one incident told? From the store: the incident, its runs, its story lines,
// and where each fact stands in the ledger.
import type {
  DecisionView,
  FindingView,
  IncidentStory,
  ProofView,
  RunStory,
  StepView,
} from '../api/contract.ts';
import { subjectText } from '../model/finding.ts';
import type { Incident } from '../model/incident.ts';
import { incidentId } from '../model/ids.ts';
import type { StoryEvent } from '../model/entry.ts';
import type { Refusal } from '../model/plan.ts';
import type { Run, Verdict } from '../model/run.ts';
import { stepText } from '../loop/act/perform.ts';
import type { Controller } from './parts.ts';
import { incidentView, runView, timesOf } from './views.ts';
import type { Times } from './views.ts';

const EVENTS_MAX = 1_000;
const RUNS_MAX = 100;

export async function explain(
  controller: Controller,
  id: string,
): Promise<IncidentStory | undefined> {
  const { store } = controller.world;
  const key = incidentId(id);
  await controller.loop.state.recorder.settled();
  const incident = controller.loop.state.incidents.get(key) ?? (await store.incident(key));
  if (incident === undefined) return undefined;
  const [runs, events] = await Promise.all([
    store.runs({ incident: key, limit: RUNS_MAX }),
    store.story({ incident: key, after: 0, limit: EVENTS_MAX }),
  ]);
  const oldestFirst = [...runs].sort((a, b) => a.startedAtWallMs - b.startedAtWallMs);
  const times = timesOf(controller);
  return {
    incident: incidentView(incident, times),
    findings: findingViews(firstSeen(incident, events), times),
    hypotheses: incident.diagnosis.hypotheses.map((h) => ({
      kind: h.subject.kind,
      subject: subjectText(h.subject),
      confidence: h.confidence,
      why: h.why,
    })),
    decisions: decisions(oldestFirst, events),
    runs: oldestFirst.map((run) => runStory(run, verdictOf(run, events))),
    proofs: proofs(oldestFirst, events),
    events,
  };
}

/** What was seen when it was opened: later findings may be of our own act. */
function firstSeen(
  incident: Pick<Incident, 'findings'>,
  events: readonly StoryEvent[],
): Pick<Incident, 'findings'> {
  const opened = events.find((e) => e.kind === 'incident.opened')?.data;
  const found =
    typeof opened === 'object' && opened !== null && 'findings' in opened ? opened.findings : [];
  return Array.isArray(found) && found.length > 0
    ? { findings: found as Incident['findings'] }
    : incident;
}

function findingViews(incident: Pick<Incident, 'findings'>, times: Times): readonly FindingView[] {
  return incident.findings.map((f) => ({
    kind: f.kind,
    subject: subjectText(f.subject),
    sinceMs: times.wall(f.sinceMs),
    confidence: f.confidence,
    evidence: f.evidence,
  }));
}

function decisions(runs: readonly Run[], events: readonly StoryEvent[]): readonly DecisionView[] {
  const plans = runs.map((run): DecisionView => ({
    kind: 'plan',
    atMs: run.startedAtWallMs,
    run: run.id,
    playbook: run.plan.playbook,
    summary: run.plan.summary,
    disrupts: run.plan.disrupts,
  }));
  const refusals = events
    .filter((e) => e.kind === 'decision.refused')
    .map((e): DecisionView => {
      const { reason, detail, escalate } = e.data as Refusal;
      return { kind: 'refusal', atMs: e.atMs, reason, detail, escalate };
    });
  return [...plans, ...refusals].sort((a, b) => a.atMs - b.atMs);
}

export function verdictOf(
  run: Pick<Run, 'id'>,
  events: readonly StoryEvent[],
): Verdict | undefined {
  const event = events.find((e) => e.kind === 'plan.verdict' && e.run === run.id);
  return event === undefined ? undefined : (event.data as Verdict);
}

export function runStory(run: Run, verdict: Verdict | undefined): RunStory {
  const planned = run.plan.steps.map(({ step }, i): StepView => ({
    key: `do:${i}`,
    text: stepText(step),
    record: run.steps.find((s) => s.key === `do:${i}`),
  }));
  const undone = run.steps
    .filter((s) => s.key.startsWith('undo:'))
    .map((record): StepView => {
      const [index = 0, n = 0] = record.key.slice(5).split('.').map(Number);
      const step = run.plan.steps[index]?.undo[n];
      return { key: record.key, text: step === undefined ? record.key : stepText(step), record };
    });
  return {
    run: runView(run, verdict),
    steps: [...planned, ...undone],
    intentIndex: run.intentIndex,
  };
}

function proofs(runs: readonly Run[], events: readonly StoryEvent[]): readonly ProofView[] {
  const found = [
    ...runs.flatMap((run) =>
      run.intentIndex === undefined
        ? []
        : [{ index: run.intentIndex, kind: 'plan.intent', leafHash: undefined }],
    ),
    ...events.flatMap((e) =>
      e.ledgerIndex === undefined
        ? []
        : [{ index: e.ledgerIndex, kind: e.kind, leafHash: undefined }],
    ),
  ];
  return found.sort((a, b) => a.index - b.index);
}
