// What is done about a dependency, a tenant's route, a control, or all replicas at once?
//
//   OT1. A dependency that is down is restarted itself; none of its users is touched (P3).
//   OT2. A quarantine holds back one tenant's one route, nothing else (P9).
//   OT3. A control is enforced only for the violations that were found, then proved.
//   OT5. A dependency whose users are still served is not restarted, however its probe looks (P3).
//   OT4. When every probe fails while clients are served, nothing is done and a person is asked.
import { count } from '../../../model/words.ts';
import type { Incident } from '../../../model/incident.ts';
import { nextIds, replicasOf } from '../../../model/fleet.ts';
import type { CheckId, DependencyName, ServiceName } from '../../../model/ids.ts';
import { quarantineId } from '../../../model/quarantine.ts';
import type { Subject } from '../../../model/finding.ts';
import type { DependencySpec } from '../../../model/manifest.ts';
import type { PlannedStep, Refusal } from '../../../model/plan.ts';
import { isAvailable, sumWindows } from '../../../model/picture.ts';
import type { ReplicaView } from '../../../model/picture.ts';
import type { DecideContext } from '../context.ts';
import { unconfirmedNeed } from '../correlate.ts';
import { refuse } from '../guards.ts';
import { plain, startSteps } from '../steps.ts';
import { no, steps } from './playbook.ts';
import type { Proposal } from './playbook.ts';

/** A living provider gets this long to answer again by itself. */
const DEPENDENCY_GRACE_MS = 2_000;

/** After this long of probes that fail while its users are served, a person is asked. */
const STILL_SERVING_MS = 30_000;
const SERVED = { spanMs: 2_000, requestsMin: 5, shareMin: 0.5 } as const;

/** OT5: who is served through it shows that it works, however slow its probe is. */
function usersServed(name: DependencyName, context: DecideContext): string | undefined {
  const { picture, nowMs } = context;
  let requests = 0;
  let good = 0;
  for (const replica of picture.replicas.values()) {
    const needs = picture.services.get(replica.service)?.spec.dependsOn ?? [];
    if (!needs.includes(name)) continue;
    const sum = sumWindows(replica.windows, nowMs, SERVED.spanMs);
    requests += sum.requests;
    good += sum.requests - sum.errors - sum.broken - sum.timeouts;
  }
  if (requests < SERVED.requestsMin || good < requests * SERVED.shareMin) return undefined;
  return `${good} of ${requests} requests of its users went well in ${SERVED.spanMs / 1000} s`;
}

/** Why a provider whose process lives is left alone for now. */
function notYet(
  incident: Incident,
  spec: DependencySpec,
  view: ReplicaView,
  context: DecideContext,
): Refusal | undefined {
  // What was seen before its present process was ready says nothing about that process.
  const sinceMs = Math.max(incident.findings[0]?.sinceMs ?? 0, view.readyAtMs ?? 0);
  const graceMs = Math.max(DEPENDENCY_GRACE_MS, spec.failures * (spec.intervalMs + spec.timeoutMs));
  if (context.nowMs - sinceMs < graceMs) {
    return refuse(
      incident,
      'evidence-too-thin',
      'its process lives: a moment to answer again',
      sinceMs + graceMs,
    );
  }
  const serving = usersServed(spec.name, context);
  if (serving === undefined) return undefined;
  return refuse(
    incident,
    'still-serving',
    serving,
    context.nowMs + 1_000,
    context.nowMs - sinceMs > STILL_SERVING_MS,
  );
}

export function restartDependency(
  incident: Incident,
  name: DependencyName,
  context: DecideContext,
): Proposal {
  const spec = context.picture.dependencies.get(name)?.spec;
  const provider = spec?.service;
  const service = provider === undefined ? undefined : context.picture.services.get(provider);
  const book = provider === undefined ? undefined : context.fleet.services.get(provider);
  if (spec === undefined || service === undefined || book === undefined) {
    return no(
      refuse(
        incident,
        'no-playbook',
        `${name} is not run by us: its owner must bring it back`,
        context.nowMs + 5_000,
        true,
      ),
    );
  }
  const [before] = replicasOf(context.fleet, book.name);
  const view = before === undefined ? undefined : context.picture.replicas.get(before.id);
  const alive = view !== undefined && view.exited === undefined;
  if (before?.phase === 'starting') {
    return no(refuse(incident, 'target-busy', `${before.id} is starting`, context.nowMs + 500));
  }
  const patience = alive ? notYet(incident, spec, view, context) : undefined;
  if (patience !== undefined) return no(patience);
  const [id] = nextIds(book, 1);
  if (id === undefined) throw new Error('unreachable: one id was asked for');
  const termMs = alive && view.live.last?.kind !== 'timeout' ? service.spec.termMs : 0;
  const stop: PlannedStep[] =
    before === undefined ? [] : [plain({ kind: 'stop', replica: before.id, termMs })];
  const [start, ready] = startSteps(service, id, book.release, 'active', context);
  if (start === undefined || ready === undefined) throw new Error('unreachable: start has steps');
  const tail: PlannedStep[] = [
    ready,
    plain({ kind: 'route', weights: [{ replica: id, weight: 100 }] }),
    plain({ kind: 'await-dependency', dependency: name, deadlineMs: service.spec.startupMs }),
  ];
  const [first, ...rest] = [...stop, start, ...tail];
  return steps({
    playbook: 'restart-dependency',
    fallback: 'automatic',
    targetKind: 'dependency',
    targetName: name,
    service: book.name,
    summary: `${incident.title}: restart it as ${id}; replicas that need it are left alone`,
    steps: [first ?? start, ...rest],
    disrupts: view !== undefined && isAvailable(view) ? 1 : 0,
    stableMs: 1_000,
  });
}

export function quarantineRoute(
  incident: Incident,
  subject: Extract<Subject, { kind: 'tenant-route' }>,
): Proposal {
  const { tenant, service, method, route } = subject;
  const id = quarantineId({ tenant, service, method, route });
  const reason = `${incident.title} (${incident.id})`;
  return steps({
    playbook: 'quarantine-tenant-route',
    fallback: 'automatic',
    targetKind: 'tenant-route',
    targetName: id,
    service: undefined,
    summary: `hold back ${method} ${route} of ${tenant}: it crashes what serves it`,
    steps: [
      {
        step: { kind: 'quarantine', rule: { id, tenant, service, method, route, reason } },
        undo: [{ kind: 'lift-quarantine', id }],
      },
    ],
    disrupts: 0,
    stableMs: 2_000,
  });
}

export function enforceControl(
  incident: Incident,
  check: CheckId,
  context: DecideContext,
): Proposal {
  const control = context.picture.controls.get(check);
  const result = control?.result;
  if (control === undefined || result?.kind !== 'not-satisfied') {
    return no(refuse(incident, 'no-playbook', 'no violation any more', context.nowMs + 1_000));
  }
  const down = context.picture.dependencies.get(control.dependency)?.track.failures ?? 0;
  if (down > 0) {
    return no(
      refuse(
        incident,
        'dependency-down',
        `${control.dependency} does not answer`,
        context.nowMs + 1_000,
      ),
    );
  }
  return steps({
    playbook: 'enforce-control',
    fallback: control.heal,
    targetKind: 'control',
    targetName: check,
    service: undefined,
    summary: `enforce ${check} on ${count(result.violations.length, 'violation')} and prove it`,
    steps: [
      plain({
        kind: 'enforce-control',
        check,
        subjects: result.violations.map((v) => v.subject),
      }),
      plain({ kind: 'prove-control', check, deadlineMs: 10_000 }),
    ],
    disrupts: 0,
    stableMs: 1_000,
  });
}

/** All replicas look bad at once: is it the look, or what they share? */
export function sharedCause(
  incident: Incident,
  service: ServiceName,
  context: DecideContext,
): Proposal {
  const best = incident.diagnosis.hypotheses[0];
  const laterMs = context.nowMs + 5_000;
  if (best.subject.kind === 'probe') {
    return no(
      refuse(
        incident,
        'probe-suspected',
        `${best.why}: the probe is suspected, nothing is restarted`,
        laterMs,
        true,
      ),
    );
  }
  const view = context.picture.services.get(service);
  const head = incident.findings[0];
  const need =
    view === undefined
      ? undefined
      : unconfirmedNeed(view, context.picture, head?.sinceMs ?? 0, context.nowMs);
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
  const silent = (head?.measures['served'] ?? 0) === 0 && (head?.measures['failed'] ?? 0) > 0;
  const waitedMs = head === undefined ? 0 : context.nowMs - head.sinceMs;
  const trying = context.liveRuns.some((run) => run.service === service);
  if (view !== undefined && silent && waitedMs > 3_000 && !trying) {
    return trialStart(incident, service, context);
  }
  return no(
    refuse(
      incident,
      'shared-cause',
      'all replicas suffer at once: no single one is to blame, restarts are withheld',
      laterMs,
      true,
    ),
  );
}

/** One new replica beside the sick ones costs nothing and shows whether a restart would help. */
export function trialStart(
  incident: Incident,
  service: ServiceName,
  context: DecideContext,
): Proposal {
  const view = context.picture.services.get(service);
  const book = context.fleet.services.get(service);
  const [id] = book === undefined ? [] : nextIds(book, 1);
  if (view === undefined || id === undefined || view.spec.kind === 'stateful') {
    return no(refuse(incident, 'no-playbook', 'nothing to try', context.nowMs + 5_000, true));
  }
  const [start, ...rest] = startSteps(view, id, view.release, 'active', context);
  if (start === undefined) throw new Error('unreachable: start has steps');
  return steps({
    playbook: 'trial-start',
    fallback: 'automatic',
    targetKind: 'service',
    targetName: service,
    service,
    summary: `${incident.title}: start ${id} beside them as a trial, end nothing`,
    steps: [
      start,
      ...rest,
      {
        step: { kind: 'route', weights: [{ replica: id, weight: 100 }] },
        undo: [{ kind: 'route', weights: [{ replica: id, weight: 0 }] }],
      },
    ],
    disrupts: 0,
    stableMs: 2_000,
  });
}
