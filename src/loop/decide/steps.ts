// Which steps are used by more than one playbook? Bringing a replica, and taking one away.
import { nextIds } from '../../model/fleet.ts';
import { ordinalOf } from '../../model/ids.ts';
import type { ReleaseId, ReplicaId, ServiceName } from '../../model/ids.ts';
import type { PlannedStep, Step } from '../../model/plan.ts';
import type { ReplicaView, ServiceView } from '../../model/picture.ts';
import { serviceReplicas } from '../../model/budget.ts';
import type { DecideContext } from './context.ts';

export const plain = (step: Step): PlannedStep => ({ step, undo: [] });

export interface Newcomer {
  readonly id: ReplicaId;
  /** Steps that start it and wait until it is ready; none for a spare. */
  readonly prepare: readonly PlannedStep[];
  readonly promoted: boolean;
}

/** A warm spare of the wanted release when there is one, else a new replica. */
export function bring(
  service: ServiceView,
  release: ReleaseId,
  context: DecideContext,
): Newcomer | undefined {
  const { name } = service.spec;
  const taken = reserved(context);
  const spare = serviceReplicas(context.picture, name).find(
    (r) =>
      r.role === 'spare' &&
      r.phase === 'ready' &&
      r.release === release &&
      r.exited === undefined &&
      r.ready.failures === 0 &&
      !taken.has(r.id),
  );
  if (spare !== undefined) return { id: spare.id, prepare: [], promoted: true };
  const book = context.fleet.services.get(name);
  const [id] = book === undefined ? [] : nextIds(book, 1);
  if (id === undefined) return undefined;
  return { id, prepare: startSteps(service, id, release, 'active', context), promoted: false };
}

/** Spares that a live run is already bringing in. */
function reserved(context: DecideContext): ReadonlySet<ReplicaId> {
  return new Set(context.liveRuns.flatMap((run) => run.brings));
}

export function startSteps(
  service: ServiceView,
  id: ReplicaId,
  release: ReleaseId,
  role: 'active' | 'spare',
  context: DecideContext,
): readonly PlannedStep[] {
  const { name, termMs } = service.spec;
  return [
    {
      step: { kind: 'start', replica: id, service: name, release, role },
      undo: [{ kind: 'stop', replica: id, termMs }],
    },
    plain({ kind: 'await-ready', replica: id, deadlineMs: readyDeadlineMs(service, context) }),
  ];
}

/** A first start may have to wait until what it depends on is up as well. */
export function readyDeadlineMs(service: ServiceView, context: DecideContext): number {
  const waits = service.spec.dependsOn.map((name) => {
    const dependency = context.picture.dependencies.get(name);
    if (
      dependency === undefined ||
      (dependency.track.failures === 0 && dependency.track.okAtMs !== undefined)
    )
      return 0;
    const provider = dependency.spec.service;
    return provider === undefined
      ? 5_000
      : (context.picture.services.get(provider)?.spec.startupMs ?? 5_000);
  });
  return service.spec.startupMs + Math.max(0, ...waits);
}

/** Routes the newcomer in and the leaver out in one push. */
export function swap(newcomer: ReplicaId, leaver: ReplicaView): PlannedStep {
  return {
    step: {
      kind: 'route',
      weights: [
        { replica: newcomer, weight: 100 },
        { replica: leaver.id, weight: 0 },
      ],
    },
    undo:
      leaver.exited === undefined
        ? [
            {
              kind: 'route',
              weights: [
                { replica: leaver.id, weight: leaver.weight },
                { replica: newcomer, weight: 0 },
              ],
            },
          ]
        : [],
  };
}

export function drainAndStop(leaver: ReplicaId, service: ServiceView): readonly PlannedStep[] {
  return [
    plain({ kind: 'drain', replica: leaver, deadlineMs: service.spec.drainMs }),
    plain({ kind: 'stop', replica: leaver, termMs: service.spec.termMs }),
  ];
}

/** Sum of what the steps may take, with room: past it the run is undone. */
export function deadlineOf(steps: readonly PlannedStep[]): number {
  let sumMs = 10_000;
  for (const { step } of steps) {
    if ('deadlineMs' in step) sumMs += step.deadlineMs;
    if (step.kind === 'stop') sumMs += step.termMs + 2_000;
    if (step.kind === 'watch') sumMs += step.forMs * 3;
    if (step.kind === 'start') sumMs += 2_000;
  }
  return sumMs;
}

/** Highest ordinal that a plan's steps use for this service; 0 when none. */
export function highestOrdinal(steps: readonly PlannedStep[], service: ServiceName): number {
  const all = steps.flatMap(({ step, undo }) => [step, ...undo]);
  return Math.max(
    0,
    ...all.map((step) =>
      step.kind === 'start' && step.service === service ? ordinalOf(step.replica) : 0,
    ),
  );
}
