// How is a change made that a person asked for? Deploy, roll back, scale: the same plans, budget,
// runs and evidence as a heal, so that a person is just another actor (P2).
//
//   CH1. A deploy shifts traffic only to replicas that are ready and did well as a canary; the old
//        ones stay, unrouted and warm, until the new release is proved.
//   CH2. Every step up to that point is undone by itself when one fails.
import { nextIds, replicasOf } from '../../model/fleet.ts';
import type { Fleet } from '../../model/fleet.ts';
import { planId, target } from '../../model/ids.ts';
import type { Fingerprint, ReleaseId, ServiceName, Target, TenantId } from '../../model/ids.ts';
import type { Plan, PlannedStep, Step } from '../../model/plan.ts';
import type { Replica } from '../../model/replica.ts';
import type { ServiceView } from '../../model/picture.ts';
import type { DecideContext } from './context.ts';
import { planHold, planRelease } from './hold.ts';
import type { HoldAnswer, HoldRequest } from './hold.ts';
import { deadlineOf, drainAndStop, plain, readyDeadlineMs } from './steps.ts';
import { rollbackEligibility, rollbackSteps } from './playbooks/release.ts';

export type ChangeRequest =
  | { readonly kind: 'deploy'; readonly service: ServiceName; readonly release: ReleaseId }
  | { readonly kind: 'rollback'; readonly service: ServiceName }
  | { readonly kind: 'scale'; readonly service: ServiceName; readonly replicas: number }
  | { readonly kind: 'remove'; readonly service: ServiceName }
  | { readonly kind: 'lift-quarantine'; readonly id: Fingerprint }
  | HoldRequest
  | { readonly kind: 'release-tenant'; readonly tenant: TenantId };

export type ChangeAnswer =
  | { readonly kind: 'plan'; readonly plan: Plan }
  | {
      readonly kind: 'refuse';
      readonly code: `KIN_${string}`;
      readonly detail: string;
      readonly fix: string;
    };

const no = (code: `KIN_${string}`, detail: string, fix: string): ChangeAnswer => ({
  kind: 'refuse',
  code,
  detail,
  fix,
});

export function planChange(
  request: ChangeRequest,
  actor: string,
  id: string,
  context: DecideContext,
): ChangeAnswer {
  if (request.kind === 'lift-quarantine') {
    const step: Step = { kind: 'lift-quarantine', id: request.id };
    return planOf(
      {
        id,
        actor,
        playbook: 'lift-quarantine',
        summary: `lift ${request.id}`,
        service: undefined,
        on: target('quarantine', request.id),
        disrupts: 0,
      },
      [plain(step)],
    );
  }
  if (request.kind === 'hold-tenant') {
    const { kind, tenant } = request;
    return holdPlan(kind, tenant, planHold(request, actor, context), actor, id, context);
  }
  if (request.kind === 'release-tenant') {
    const { kind, tenant } = request;
    return holdPlan(kind, tenant, planRelease(tenant, context), actor, id, context);
  }
  if (request.kind === 'remove') return planRemoval(request.service, actor, id, context);
  const service = context.picture.services.get(request.service);
  if (service === undefined) {
    return no('KIN_SERVICE_UNKNOWN', `no service ${request.service}`, 'See `kintsugi status`.');
  }
  const busy = context.liveRuns.find((run) => run.target === target('service', request.service));
  if (busy !== undefined) {
    return no(
      'KIN_TARGET_BUSY',
      `${busy.playbook} is at work on ${request.service}`,
      'Wait until it ends: `kintsugi status`.',
    );
  }
  switch (request.kind) {
    case 'scale':
      return planScale(request.replicas, service, actor, id);
    case 'rollback':
      return planRollback(service, actor, id, context);
    case 'deploy':
      return planDeploy(request.release, service, actor, id, context);
  }
}

function holdPlan(
  playbook: string,
  tenant: TenantId,
  answer: HoldAnswer,
  actor: string,
  id: string,
  context: DecideContext,
): ChangeAnswer {
  if (answer.kind === 'refuse') return answer;
  const on = target('hold', tenant);
  if (context.liveRuns.some((run) => run.target === on)) {
    return no(
      'KIN_TARGET_BUSY',
      `the quarantine of ${tenant} is being changed`,
      'Wait until that ends: `kintsugi status`.',
    );
  }
  const { summary, step } = answer;
  return planOf({ id, actor, playbook, summary, service: undefined, on, disrupts: 0 }, [step]);
}

/** A service that the manifest no longer names: drained and stopped, nothing of it is kept up. */
function planRemoval(
  name: ServiceName,
  actor: string,
  id: string,
  context: DecideContext,
): ChangeAnswer {
  const leavers = replicasOf(context.fleet, name);
  const all = leavers.flatMap((r) => [
    plain({ kind: 'drain', replica: r.id, deadlineMs: 10_000 }),
    plain({ kind: 'stop', replica: r.id, termMs: 5_000 }),
  ]);
  return planOf(
    {
      id,
      actor,
      playbook: 'remove',
      summary: `${name} is no longer wanted: stop it`,
      service: name,
      on: target('service', name),
      disrupts: leavers.length,
    },
    all,
  );
}

function planScale(
  replicas: number,
  service: ServiceView,
  actor: string,
  id: string,
): ChangeAnswer {
  const { name, replicas: range } = service.spec;
  if (!Number.isSafeInteger(replicas) || replicas < range.min || replicas > range.max) {
    return no(
      'KIN_SCALE_RANGE',
      `${name} may have ${range.min} to ${range.max} replicas`,
      'Choose a number in the range, or change replicas in the manifest.',
    );
  }
  const step: PlannedStep = {
    step: { kind: 'set-scale', service: name, replicas },
    undo: [{ kind: 'set-scale', service: name, replicas: service.replicas }],
  };
  return planOf(
    {
      id,
      actor,
      playbook: 'scale',
      summary: `${name}: ${service.replicas} → ${replicas} replicas`,
      service: name,
      on: target('scale', name),
      disrupts: 0,
    },
    [step],
  );
}

function planRollback(
  service: ServiceView,
  actor: string,
  id: string,
  context: DecideContext,
): ChangeAnswer {
  const { name } = service.spec;
  const eligibility = rollbackEligibility(context.fleet, name);
  if (eligibility.kind === 'ineligible') {
    return no(
      'KIN_ROLLBACK_INELIGIBLE',
      `${name} cannot go back: ${eligibility.reason}`,
      'Deploy a release that works instead.',
    );
  }
  const all = rollbackSteps(service, eligibility.release, context);
  return planOf(
    {
      id,
      actor,
      playbook: 'rollback',
      summary: `${name}: back to ${eligibility.release}`,
      service: name,
      on: target('service', name),
      disrupts: 1,
    },
    all,
  );
}

function planDeploy(
  release: ReleaseId,
  service: ServiceView,
  actor: string,
  id: string,
  context: DecideContext,
): ChangeAnswer {
  const { name } = service.spec;
  const found = context.fleet.releases.get(release);
  if (found === undefined) {
    return no('KIN_RELEASE_UNKNOWN', `no release ${release}`, 'See `kintsugi releases`.');
  }
  if (found.verdict.kind === 'bad') {
    return no(
      'KIN_RELEASE_BAD',
      `${release} was rolled back: ${found.verdict.reason}`,
      'Deploy a changed artefact: it gets another id.',
    );
  }
  if (release === service.release) {
    return no('KIN_RELEASE_CURRENT', `${name} already runs ${release}`, 'Nothing to do.');
  }
  const all =
    service.spec.kind === 'stateful'
      ? statefulRollout(service, release, context)
      : rollout(service, release, context);
  return planOf(
    {
      id,
      actor,
      playbook: 'rollout',
      summary: `${name}: ${service.release} → ${release}`,
      service: name,
      on: target('service', name),
      disrupts: 0,
    },
    all,
  );
}

function rollout(
  service: ServiceView,
  release: ReleaseId,
  context: DecideContext,
): readonly PlannedStep[] {
  const { name, rollout: spec, termMs } = service.spec;
  const book = context.fleet.services.get(name);
  const ids = book === undefined ? [] : nextIds(book, service.replicas);
  const [canary, ...others] = ids;
  if (canary === undefined) return [];
  const olds = oldOnes(context.fleet, service);
  const deadlineMs = readyDeadlineMs(service, context);
  const start = (replica: typeof canary): PlannedStep => ({
    step: { kind: 'start', replica, service: name, release, role: 'active' },
    undo: [{ kind: 'stop', replica, termMs }],
  });
  const ready = (replica: typeof canary): PlannedStep =>
    plain({ kind: 'await-ready', replica, deadlineMs });
  const watch = plain({
    kind: 'watch',
    service: name,
    release,
    baseline: service.release,
    forMs: spec.bakeMs,
    minRequests: spec.minRequests,
  });
  return [
    start(canary),
    ready(canary),
    {
      step: { kind: 'route', weights: [{ replica: canary, weight: spec.canaryPercent }] },
      undo: [{ kind: 'route', weights: [{ replica: canary, weight: 0 }] }],
    },
    watch,
    ...others.map(start),
    ...others.map(ready),
    shift(ids, olds),
    watch,
    plain({ kind: 'set-release', service: name, release, previous: service.release }),
    plain({
      kind: 'mark-release',
      service: name,
      release,
      verdict: 'proved',
      reason: 'did well under traffic',
    }),
    ...replicasOf(context.fleet, name).flatMap((r) => drainAndStop(r.id, service)),
  ];
}

function oldOnes(fleet: Fleet, service: ServiceView): readonly Replica[] {
  return replicasOf(fleet, service.spec.name).filter((r) => r.weight > 0);
}

/** All traffic over in one push; the old ones keep running until the release is proved. */
function shift(ids: readonly Replica['id'][], olds: readonly Replica[]): PlannedStep {
  return {
    step: {
      kind: 'route',
      weights: [
        ...ids.map((replica) => ({ replica, weight: 100 })),
        ...olds.map((r) => ({ replica: r.id, weight: 0 })),
      ],
    },
    undo: [
      {
        kind: 'route',
        weights: [
          ...olds.map((r) => ({ replica: r.id, weight: r.weight })),
          ...ids.map((replica) => ({ replica, weight: 0 })),
        ],
      },
    ],
  };
}

/** One at a time on its data: the old one stops before the new one starts. */
function statefulRollout(
  service: ServiceView,
  release: ReleaseId,
  context: DecideContext,
): readonly PlannedStep[] {
  const { name, termMs } = service.spec;
  const book = context.fleet.services.get(name);
  const [next, back] = book === undefined ? [] : nextIds(book, 2);
  if (next === undefined || back === undefined) return [];
  const deadlineMs = readyDeadlineMs(service, context);
  const olds = replicasOf(context.fleet, name);
  return [
    ...olds.map((r): PlannedStep => ({
      step: { kind: 'stop', replica: r.id, termMs },
      undo: [
        { kind: 'start', replica: back, service: name, release: service.release, role: 'active' },
        { kind: 'await-ready', replica: back, deadlineMs },
        { kind: 'route', weights: [{ replica: back, weight: 100 }] },
      ],
    })),
    {
      step: { kind: 'start', replica: next, service: name, release, role: 'active' },
      undo: [{ kind: 'stop', replica: next, termMs }],
    },
    plain({ kind: 'await-ready', replica: next, deadlineMs }),
    plain({ kind: 'route', weights: [{ replica: next, weight: 100 }] }),
    plain({ kind: 'set-release', service: name, release, previous: service.release }),
  ];
}

interface Change {
  readonly id: string;
  readonly actor: string;
  readonly playbook: string;
  readonly summary: string;
  readonly service: ServiceName | undefined;
  readonly on: Target;
  readonly disrupts: number;
}

function planOf(change: Change, all: readonly PlannedStep[]): ChangeAnswer {
  const { id, actor, playbook, summary, service, on, disrupts } = change;
  const [first, ...rest] = all;
  if (first === undefined) {
    return no('KIN_CHANGE_EMPTY', 'the change has no step', 'See `kintsugi status`.');
  }
  return {
    kind: 'plan',
    plan: {
      id: planId(id),
      playbook,
      target: on,
      origin: { kind: 'operator', actor },
      summary,
      steps: [first, ...rest],
      service,
      disrupts,
      approval: { kind: 'none' },
      verification: { symptoms: [], stableMs: 0, deadlineMs: 0 },
      deadlineMs: deadlineOf(all),
    },
  };
}
