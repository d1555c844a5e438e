// How are differences closed that nobody is at fault for? Missing replicas are started, surplus
// ones drained, spares refilled. One run a service at a time, and never against a heal at work.
//
//   CV1. Nothing is started for a service whose starts failed a moment ago (backoff), nor while
//        everything is on hold.
//   CV3. A replica that is ready without its share of requests is routed before any is started.
//   CV2. Surplus goes, other releases first, then newest first, drained, and only as far as the
//        budget allows.
import { count } from '../../model/words.ts';
import type { Finding } from '../../model/finding.ts';
import { nextIds } from '../../model/fleet.ts';
import { planId, target } from '../../model/ids.ts';
import type { ReplicaId } from '../../model/ids.ts';
import type { Plan, PlannedStep, Step } from '../../model/plan.ts';
import type { ReplicaView, ServiceView } from '../../model/picture.ts';
import { isAvailable, isDown } from '../../model/picture.ts';
import { askBudget, serviceReplicas } from '../../model/budget.ts';
import type { DecideContext } from './context.ts';
import { deadlineOf, drainAndStop, plain, startSteps } from './steps.ts';

const TROUBLE_BACKOFF_MS = [500, 1_000, 2_000] as const;
const TRIAL_EVERY_MS = 60_000;

export function converge(finding: Finding, context: DecideContext): Plan | undefined {
  if (finding.subject.kind !== 'service') return undefined;
  const service = context.picture.services.get(finding.subject.service);
  if (service === undefined || service.paused || context.halted || !context.warm) return undefined;
  const { name } = service.spec;
  const busy = context.liveRuns.some((run) => run.service === name);
  if (busy || held(service, context)) return undefined;
  switch (finding.kind) {
    case 'under-capacity':
    case 'start-failed':
      return grow(service, finding.kind === 'start-failed' ? 1 : undefined, context);
    case 'over-capacity':
      return shrink(service, context);
    case 'spares-missing':
      return refill(service, context);
    default:
      return undefined;
  }
}

/** CV1: failed starts wait longer each time; after three a trial every minute (P5). */
function held(service: ServiceView, context: DecideContext): boolean {
  const { count, atMs } = service.troubles;
  if (count === 0) return false;
  const backMs = service.spec.dependsOn.map(
    (name) => context.picture.dependencies.get(name)?.track.recoveredAtMs ?? 0,
  );
  if (Math.max(0, ...backMs) > atMs) return false;
  const waitMs = TROUBLE_BACKOFF_MS[count - 1] ?? TRIAL_EVERY_MS;
  return context.nowMs < atMs + waitMs;
}

function grow(
  service: ServiceView,
  limit: number | undefined,
  context: DecideContext,
): Plan | undefined {
  const { name, dependsOn } = service.spec;
  // Started against a dependency that is known to be down, it could only fail.
  const down = dependsOn.some((d) => {
    const view = context.picture.dependencies.get(d);
    return view !== undefined && view.track.okAtMs !== undefined && isDown(view);
  });
  const book = context.fleet.services.get(name);
  if (down || book === undefined) return undefined;
  const mine = serviceReplicas(context.picture, name).filter(
    (r) => r.role === 'active' && r.phase !== 'draining' && r.release === service.release,
  );
  const unrouted = mine.filter(
    (r) => r.phase === 'ready' && r.exited === undefined && r.weight < 100,
  );
  if (unrouted.length > 0) return routeIn(service, unrouted, context);
  const active = mine.length;
  const missing = Math.min(service.replicas - active, limit ?? 16);
  const ids = nextIds(book, missing);
  return planOf(
    service,
    bringUp(service, ids, 'active', context),
    `${name}: ${active} of ${service.replicas} replicas, start ${ids.join(', ')}`,
    context,
  );
}

/** CV3. What an interrupted run left ready and without its share of requests. */
function routeIn(
  service: ServiceView,
  unrouted: readonly ReplicaView[],
  context: DecideContext,
): Plan | undefined {
  const weights = unrouted.map((r) => ({ replica: r.id, weight: 100 }));
  const undo: readonly Step[] = [
    {
      kind: 'route',
      weights: unrouted.map((r) => ({ replica: r.id, weight: r.weight })),
    },
  ];
  const ids = unrouted.map((r) => r.id).join(', ');
  return planOf(
    service,
    [{ step: { kind: 'route', weights }, undo }],
    `${service.spec.name}: ${ids} ready without requests, route them`,
    context,
  );
}

/** All are started first, then each is awaited and routed as it comes. */
function bringUp(
  service: ServiceView,
  ids: readonly ReplicaId[],
  role: 'active' | 'spare',
  context: DecideContext,
): readonly PlannedStep[] {
  const pairs = ids.map((id) => startSteps(service, id, service.release, role, context));
  const starts = pairs.flatMap(([start]) => (start === undefined ? [] : [start]));
  const rest = pairs.flatMap(([, ready], i) => {
    const id = ids[i];
    if (ready === undefined || id === undefined) return [];
    const route = plain({ kind: 'route', weights: [{ replica: id, weight: 100 }] });
    return role === 'active' ? [ready, route] : [ready];
  });
  return [...starts, ...rest];
}

function shrink(service: ServiceView, context: DecideContext): Plan | undefined {
  const { name } = service.spec;
  const active = serviceReplicas(context.picture, name).filter(
    (r) => r.role === 'active' && r.phase !== 'draining',
  );
  const surplus = active.length - service.replicas;
  // Those that serve nobody go first, then the newest.
  const leavers = [...active]
    .sort(
      (a, b) =>
        Number(a.release === service.release) - Number(b.release === service.release) ||
        Number(isAvailable(a)) - Number(isAvailable(b)) ||
        b.startedAtMs - a.startedAtMs,
    )
    .slice(0, surplus);
  const ids = leavers.map((r) => r.id);
  const answer = askBudget(context.picture, name, ids, context.manifest.healing.budget);
  if (answer.kind === 'denied') return undefined;
  const weights = ids.map((replica) => ({ replica, weight: 0 }));
  const all = [
    {
      step: { kind: 'route', weights } as const,
      undo: [
        {
          kind: 'route' as const,
          weights: leavers.map((r) => ({ replica: r.id, weight: r.weight })),
        },
      ],
    },
    ...ids.flatMap((id) => drainAndStop(id, service)),
  ];
  return planOf(
    service,
    all,
    `${name}: ${active.length} replicas, ${service.replicas} wanted: stop ${ids.join(', ')}`,
    context,
  );
}

function refill(service: ServiceView, context: DecideContext): Plan | undefined {
  const { name } = service.spec;
  const book = context.fleet.services.get(name);
  if (book === undefined) return undefined;
  // Spares wait until the service itself stands.
  const ready = serviceReplicas(context.picture, name).filter(isAvailable).length;
  if (ready < service.replicas) return undefined;
  const spares = serviceReplicas(context.picture, name).filter(
    (r) => r.role === 'spare' && r.exited === undefined,
  ).length;
  const ids = nextIds(book, service.spec.replicas.spares - spares);
  return planOf(
    service,
    bringUp(service, ids, 'spare', context),
    `${name}: keep ${count(service.spec.replicas.spares, 'warm spare')}, ` +
      `start ${ids.join(', ')}`,
    context,
  );
}

function planOf(
  service: ServiceView,
  all: readonly PlannedStep[],
  summary: string,
  context: DecideContext,
): Plan | undefined {
  const [first, ...rest] = all;
  const { name } = service.spec;
  if (first === undefined) return undefined;
  return {
    id: planId(
      `${name}.${Math.round(context.wallMs)}.${context.fleet.services.get(name)?.nextOrdinal ?? 0}`,
    ),
    playbook: 'converge',
    target: target('capacity', name),
    origin: { kind: 'converge', service: name },
    summary,
    steps: [first, ...rest],
    service: name,
    disrupts: 0,
    approval: { kind: 'none' },
    verification: { symptoms: [], stableMs: 0, deadlineMs: 0 },
    deadlineMs: deadlineOf(all),
  };
}
