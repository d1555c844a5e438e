// Why may nothing be done right now? The guards, in the order in which they are asked; the first
// that objects answers with its reason.
//
//   GU1. Facts may be acted on while the rest is still being watched: a dead process is dead.
//   GU2. Backoff doubles from 1 s to 30 s with jitter, and ends early when a dependency of the
//        service has come back since the last attempt (P5).
//   GU3. After `ineffectiveMax` attempts a person is asked; a trial start stays allowed every 60 s,
//        for ever (P5).
import type { Finding } from '../../model/finding.ts';
import type { Attempt, Incident } from '../../model/incident.ts';
import type { PlaybookChoice } from '../../model/manifest.ts';
import type { Plan, Refusal, RefusalReason } from '../../model/plan.ts';
import type { ServiceName } from '../../model/ids.ts';
import { askBudget } from '../../model/budget.ts';
import type { DecideContext } from './context.ts';

const BACKOFF = { baseMs: 1_000, capMs: 30_000, jitter: 0.2 } as const;
const TRIAL_EVERY_MS = 60_000;
const RECHECK_MS = 1_000;

export function refuse(
  incident: Incident,
  reason: RefusalReason,
  detail: string,
  retryAtMs: number,
  escalate = false,
): Refusal {
  return { incident: incident.id, reason, detail, escalate, retryAtMs };
}

/** Asked before a playbook is chosen. */
export function guardIncident(
  incident: Incident,
  service: ServiceName | undefined,
  context: DecideContext,
): Refusal | undefined {
  const { nowMs } = context;
  const soon = nowMs + RECHECK_MS;
  const head = incident.findings[0];
  if (context.halted) return refuse(incident, 'paused', 'everything is paused', soon);
  if (!context.warm && !isFact(head)) {
    return refuse(incident, 'observing-only', 'just started: watching until data is fresh', soon);
  }
  if (context.manifest.healing.mode === 'off') {
    return refuse(incident, 'healing-off', 'healing.mode is off', soon, true);
  }
  const book = service === undefined ? undefined : context.fleet.services.get(service);
  if (book?.paused === true) {
    return refuse(incident, 'paused', `${book.name} is paused by an operator`, soon);
  }
  const freeze = context.manifest.healing.freezeWindows.find(
    (w) => context.wallMs >= w.fromMs && context.wallMs < w.toMs,
  );
  if (freeze !== undefined) {
    const minutes = Math.ceil((freeze.toMs - context.wallMs) / 60_000);
    return refuse(
      incident,
      'frozen',
      `frozen for ${minutes} more minutes: ${freeze.reason}`,
      soon,
      true,
    );
  }
  return guardAttempts(incident, service, context);
}

function isFact(head: Finding | undefined): boolean {
  return head?.kind === 'replica-exited' || head?.kind === 'control-violated';
}

function guardAttempts(
  incident: Incident,
  service: ServiceName | undefined,
  context: DecideContext,
): Refusal | undefined {
  const last = incident.attempts.at(-1);
  if (last === undefined) return undefined;
  // An attempt that died with its controller says nothing about the playbook.
  const bad = incident.attempts.filter(
    (a) => a.verdict !== 'healed' && a.verdict !== 'inconclusive',
  ).length;
  const { ineffectiveMax } = context.manifest.healing;
  if (bad >= ineffectiveMax) {
    const trialAtMs = last.endedAtMs + TRIAL_EVERY_MS;
    if (context.nowMs < trialAtMs) {
      const detail =
        `${bad} attempts did not help; next trial in ` +
        `${Math.ceil((trialAtMs - context.nowMs) / 1000)} s`;
      return refuse(incident, 'ineffective-too-often', detail, trialAtMs, true);
    }
    return undefined;
  }
  const until = last.endedAtMs + backoffMs(incident.attempts, incident.id);
  if (context.nowMs >= until || wokenSince(last, service, context)) return undefined;
  return refuse(
    incident,
    'backing-off',
    `attempt ${incident.attempts.length} was ${last.verdict}; ` +
      `next in ${Math.round(until - context.nowMs)} ms`,
    until,
  );
}

/** Did something that the service depends on come back since this attempt? */
function wokenSince(
  last: Attempt,
  service: ServiceName | undefined,
  context: DecideContext,
): boolean {
  const view = service === undefined ? undefined : context.picture.services.get(service);
  return (view?.spec.dependsOn ?? []).some((name) => {
    const backAtMs = context.picture.dependencies.get(name)?.track.recoveredAtMs;
    return backAtMs !== undefined && backAtMs > last.endedAtMs;
  });
}

/** Doubles with each attempt; the jitter comes from the id, so that deciding stays pure. */
export function backoffMs(attempts: readonly Attempt[], seed: string): number {
  const n = Math.max(0, attempts.length - 1);
  const base = Math.min(BACKOFF.capMs, BACKOFF.baseMs * 2 ** Math.min(n, 10));
  let hash = n + 1;
  for (let i = 0; i < seed.length; i += 1) hash = (hash * 31 + seed.charCodeAt(i)) % 1_000_003;
  return Math.round(base * (1 + BACKOFF.jitter * ((hash % 1000) / 1000)));
}

/** Asked once the plan is there. */
export function guardPlan(
  incident: Incident,
  plan: Plan,
  context: DecideContext,
): Refusal | undefined {
  const soon = context.nowMs + RECHECK_MS;
  const busy = context.liveRuns.find((run) => run.target === plan.target);
  if (busy !== undefined) {
    return refuse(incident, 'target-busy', `${busy.playbook} is at work on ${plan.target}`, soon);
  }
  if (plan.disrupts === 0) return undefined;
  return guardBudget(incident, plan, context);
}

function guardBudget(incident: Incident, plan: Plan, context: DecideContext): Refusal | undefined {
  const { budget } = context.manifest.healing;
  const soon = context.nowMs + RECHECK_MS;
  const atWork = context.liveRuns.filter((run) => run.disrupts > 0);
  if (atWork.length >= budget.maxConcurrent) {
    return refuse(
      incident,
      'budget-spent',
      `${atWork.length} disruptive runs at work, ${budget.maxConcurrent} allowed`,
      soon,
    );
  }
  const { service } = plan;
  if (service === undefined) return undefined;
  const hour = context.disruptions.filter(
    (d) => d.service === service && d.atMs > context.nowMs - 3_600_000,
  ).length;
  if (hour >= budget.maxPerHour) {
    return refuse(
      incident,
      'budget-spent',
      `${hour} disruptive runs on ${service} in an hour, ${budget.maxPerHour} allowed`,
      soon,
      true,
    );
  }
  const removed = plan.steps.flatMap(({ step }) =>
    step.kind === 'stop' || step.kind === 'drain' ? [step.replica] : [],
  );
  const answer = askBudget(context.picture, service, removed, budget);
  // A plan that brings its replacement first keeps the number; only a bare removal is judged here.
  const brings = plan.steps.some(
    ({ step }) => step.kind === 'route' && step.weights.some((w) => w.weight > 0),
  );
  if (answer.kind === 'denied' && !brings) {
    return refuse(
      incident,
      'would-break-availability',
      `${answer.availableAfter} would be available, at least ${answer.floor} must be`,
      soon,
    );
  }
  return undefined;
}

/** How may this playbook run here? The manifest's word, else the playbook's own default. */
export function choiceOf(
  playbook: string,
  fallback: PlaybookChoice,
  context: DecideContext,
): PlaybookChoice {
  const { mode, playbooks } = context.manifest.healing;
  const choice = playbooks.get(playbook) ?? fallback;
  return mode === 'suggest' && choice === 'automatic' ? 'ask' : choice;
}
