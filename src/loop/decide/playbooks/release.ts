// How does a service go back to its last good release? The old release is started in full beside
// the bad one, takes the traffic in one push, and only then the bad one goes.
//
//   RL1. Only to a release that is eligible: known, present, not marked bad, schema in range.
//   RL2. Without an eligible release nothing is rolled back: replicas are tried one at a time with
//        growing pauses, and a person is asked.
//   RL3. Errors that a short absence of a dependency left behind condemn no release: some must be
//        newer than its last good answer.
import { nextIds, replicasOf } from '../../../model/fleet.ts';
import type { Fleet } from '../../../model/fleet.ts';
import type { Incident } from '../../../model/incident.ts';
import type { ReleaseId, ServiceName } from '../../../model/ids.ts';
import type { PlannedStep, Step } from '../../../model/plan.ts';
import type { RollbackEligibility } from '../../../model/release.ts';
import { lastBadMs } from '../../../model/picture.ts';
import type { ServiceView } from '../../../model/picture.ts';
import { serviceReplicas } from '../../../model/budget.ts';
import type { DecideContext } from '../context.ts';
import { unconfirmedNeed } from '../correlate.ts';
import { refuse } from '../guards.ts';
import { drainAndStop, plain, readyDeadlineMs } from '../steps.ts';
import { replaceReplica } from './replica.ts';
import { no, steps } from './playbook.ts';
import type { Proposal } from './playbook.ts';

const LATELY_MS = 5_000;

export function rollbackEligibility(fleet: Fleet, service: ServiceName): RollbackEligibility {
  const book = fleet.services.get(service);
  if (book?.previous === undefined) return { kind: 'ineligible', reason: 'no-previous-release' };
  const previous = fleet.releases.get(book.previous);
  if (previous === undefined) return { kind: 'ineligible', reason: 'artefact-missing' };
  if (previous.verdict.kind === 'bad') {
    return { kind: 'ineligible', reason: 'previous-release-was-bad' };
  }
  const current = fleet.releases.get(book.release);
  const wants = previous.schema;
  const has = current?.schema;
  if (wants !== undefined && has !== undefined && has.min > wants.max) {
    return { kind: 'ineligible', reason: 'schema-out-of-range' };
  }
  return { kind: 'eligible', release: previous.id };
}

export function healRelease(
  incident: Incident,
  serviceName: ServiceName,
  context: DecideContext,
): Proposal {
  const service = context.picture.services.get(serviceName);
  if (service === undefined) {
    return no(refuse(incident, 'no-playbook', 'unknown service', context.nowMs + 5_000));
  }
  const best = incident.diagnosis.hypotheses[0].subject;
  const need = unconfirmedNeed(
    service,
    context.picture,
    incident.findings[0]?.sinceMs ?? 0,
    context.nowMs,
  );
  if (need !== undefined) {
    return no(
      refuse(
        incident,
        'evidence-too-thin',
        `${need} has not answered since it began`,
        context.nowMs + 500,
      ),
    );
  }
  if (incident.findings[0]?.kind === 'release-erroring' && !failsBeside(service, context)) {
    return no(
      refuse(
        incident,
        'evidence-too-thin',
        'no client has failed since its dependencies answered',
        context.nowMs + 500,
      ),
    );
  }
  const eligibility = rollbackEligibility(context.fleet, serviceName);
  if (best.kind === 'release' && eligibility.kind === 'eligible') {
    const draft = rollbackSteps(service, eligibility.release, context);
    const [first, ...rest] = draft;
    if (first === undefined) throw new Error('unreachable: a rollback has steps');
    return steps({
      playbook: 'rollback',
      fallback: 'automatic',
      targetKind: 'service',
      targetName: serviceName,
      service: serviceName,
      summary: `${incident.title}: go back to release ${eligibility.release}`,
      steps: [first, ...rest],
      disrupts: 1,
      stableMs: 2_000,
    });
  }
  const dead = incident.findings.find(
    (f) => f.kind === 'replica-exited' && f.subject.kind === 'replica',
  );
  if (dead?.subject.kind === 'replica') {
    return replaceReplica({ ...incident, findings: [dead] }, dead.subject.replica, context);
  }
  const why =
    eligibility.kind === 'ineligible'
      ? `cannot go back: ${eligibility.reason}`
      : 'no change is near in time';
  return no(refuse(incident, 'rollback-ineligible', why, context.nowMs + 5_000, true));
}

/** Did clients fail while all that it needs was answering? A short absence leaves errors behind. */
function failsBeside(service: ServiceView, context: DecideContext): boolean {
  const { picture, nowMs } = context;
  const lastBad = serviceReplicas(picture, service.spec.name).map(
    (r) => lastBadMs(r.windows, nowMs, LATELY_MS) ?? 0,
  );
  const lastBadAtMs = Math.max(0, ...lastBad);
  return service.spec.dependsOn.every((name) => {
    const track = picture.dependencies.get(name)?.track;
    return track === undefined || lastBadAtMs >= track.lastAtMs;
  });
}

/** Everything of the service on `release`, traffic over in one push, the others out. */
export function rollbackSteps(
  service: ServiceView,
  release: ReleaseId,
  context: DecideContext,
): readonly PlannedStep[] {
  const { name } = service.spec;
  const book = context.fleet.services.get(name);
  const leavers = replicasOf(context.fleet, name).filter((r) => r.release !== release);
  const stayers = replicasOf(context.fleet, name).filter(
    (r) => r.release === release && r.role === 'active',
  ).length;
  const ids = book === undefined ? [] : nextIds(book, Math.max(0, service.replicas - stayers));
  const deadlineMs = readyDeadlineMs(service, context);
  const starts: PlannedStep[] = ids.map((replica) => ({
    step: { kind: 'start', replica, service: name, release, role: 'active' },
    undo: [{ kind: 'stop', replica, termMs: service.spec.termMs }],
  }));
  const awaits = ids.map((replica) => plain({ kind: 'await-ready', replica, deadlineMs }));
  const weights = [
    ...ids.map((replica) => ({ replica, weight: 100 })),
    ...leavers.map((r) => ({ replica: r.id, weight: 0 })),
  ];
  const undo: readonly Step[] = [
    {
      kind: 'route',
      weights: leavers.map((r) => ({ replica: r.id, weight: r.weight })),
    },
  ];
  const route: readonly PlannedStep[] =
    weights.length === 0
      ? []
      : [{ step: { kind: 'route', weights }, undo: leavers.length === 0 ? [] : undo }];
  return [
    ...starts,
    ...awaits,
    ...route,
    plain({ kind: 'set-release', service: name, release, previous: undefined }),
    plain({
      kind: 'mark-release',
      service: name,
      release: service.release,
      verdict: 'bad',
      reason: 'rolled back',
    }),
    ...leavers.flatMap((r) => drainAndStop(r.id, service)),
  ];
}
