// How are the steps done that bring, move and end replicas? Each first looks whether it has already
// happened, so that a resumed run repeats nothing (P6).
//
//   SR1. Before an act that takes an available replica away, the budget is asked again, on the
//        state of that very moment (P2).
//   SR2. `drain` ends with zero requests inside or at its deadline, and says which.
//   SR3. A replica that lives is not stopped while a gateway may still send it requests, for as
//        long as its service has for draining.
//   SR4. Readiness that the next step turns into traffic is written with that step: one write.
import { askBudget } from '../../../model/budget.ts';
import { messageOf } from '../../../model/errors.ts';
import type { ReplicaId } from '../../../model/ids.ts';
import { isAvailable } from '../../../model/picture.ts';
import type { Picture } from '../../../model/picture.ts';
import type { Step } from '../../../model/plan.ts';
import { exitText } from '../../../model/replica.ts';
import type { Replica } from '../../../model/replica.ts';
import { done, failed } from '../ports.ts';
import type { StepAnswer, StepContext } from '../ports.ts';

type Of<K extends Step['kind']> = Extract<Step, { kind: K }>;

export async function start(step: Of<'start'>, context: StepContext): Promise<StepAnswer> {
  const { book, world, manifest } = context.ports;
  const before = book.fleet().replicas.get(step.replica);
  const spec = manifest().services.get(step.service);
  const release = book.fleet().releases.get(step.release);
  if (spec === undefined) return failed(`${step.service} is no longer in the manifest`);
  if (release === undefined) return failed(`release ${step.release} is unknown`);
  const replica: Replica = before ?? {
    id: step.replica,
    service: step.service,
    release: step.release,
    role: step.role,
    phase: 'starting',
    weight: 0,
    region: spec.regions[0] ?? 'any',
    endpoint: undefined,
    createdAtMs: world.clock.nowMs(),
  };
  // The run that stands in the store names this replica, so a crash between the two loses nothing.
  const order = await context.ports.order(replica, release);
  const [answer] = await Promise.all([
    world.runtime.start(order, context.receipt),
    before === undefined ? enterBook(replica, context) : undefined,
  ]);
  switch (answer.kind) {
    case 'started':
    case 'already':
      await book.change({ replicas: [{ ...replica, endpoint: answer.endpoint }] });
      return done(`pid ${answer.pid}, port ${answer.endpoint.port}`);
    case 'ended':
      return failed(`it has already ended: ${exitText(answer.exit)}`);
    case 'failed':
      return failed(`${answer.code}: ${answer.detail}`);
  }
}

/**
 * With its service as it is at that moment, so that the ordinal is durable (BK3). What could not be
 * entered must not run.
 */
async function enterBook(replica: Replica, context: StepContext): Promise<void> {
  const { book, world } = context.ports;
  try {
    await book.change((fleet) => {
      const service = fleet.services.get(replica.service);
      return { replicas: [replica], ...(service === undefined ? {} : { services: [service] }) };
    });
  } catch (error) {
    context.ports.ending(replica.id);
    await world.runtime.stop(replica.id, 0, context.receipt);
    throw error;
  }
}

const POLL = { fastMs: 15, slowMs: 100, fastForMs: 3_000 } as const;

export async function awaitReady(
  step: Of<'await-ready'>,
  context: StepContext,
): Promise<StepAnswer> {
  const { book, world, manifest } = context.ports;
  const startedAtMs = world.clock.monotonicMs();
  const untilMs = Math.min(startedAtMs + step.deadlineMs, context.deadlineAtMs);
  // Bounded by the deadline: each turn sleeps or probes.
  while (world.clock.monotonicMs() < untilMs && !context.ports.stop.aborted) {
    const replica = book.fleet().replicas.get(step.replica);
    const spec = replica === undefined ? undefined : manifest().services.get(replica.service);
    if (replica?.endpoint === undefined || spec === undefined) {
      return failed(`${step.replica} is not in the book`);
    }
    if (replica.phase === 'ready') return done('ready');
    if (world.runtime.look(step.replica) !== 'running') {
      const exit = context.ports.picture().replicas.get(step.replica)?.exited?.exit;
      return failed(
        exit === undefined
          ? 'it ended before it was ready'
          : `it ended before it was ready: ${exitText(exit)}`,
      );
    }
    const result = await world.probes.probe(replica.endpoint, spec.readiness);
    const tookMs = world.clock.monotonicMs() - startedAtMs;
    if (result.kind === 'ok') {
      if (isRoutedNext(step.replica, context)) context.proved.add(step.replica);
      else await book.change({ replicas: [{ ...replica, phase: 'ready' }] });
      return done(`ready after ${Math.round(tookMs)} ms`);
    }
    await pause(step.replica, tookMs < POLL.fastForMs ? POLL.fastMs : POLL.slowMs, context);
  }
  return failed(`not ready within ${step.deadlineMs} ms`);
}

/** SR4. */
function isRoutedNext(id: ReplicaId, { next }: StepContext): boolean {
  return next?.kind === 'route' && next.weights.some((w) => w.replica === id && w.weight > 0);
}

/** Sleeps, but not past the replica's own word that it is ready. */
async function pause(id: ReplicaId, ms: number, context: StepContext): Promise<void> {
  const alarm = new AbortController();
  try {
    await Promise.race([
      context.ports.world.clock.sleep(ms, alarm.signal),
      context.ports.readyWord(id, alarm.signal),
    ]);
  } finally {
    alarm.abort();
  }
}

export async function route(step: Of<'route'>, context: StepContext): Promise<StepAnswer> {
  const { book } = context.ports;
  const denied = askAgain(step.weights, context);
  if (denied !== undefined) return failed(denied);
  const changed: Replica[] = [];
  for (const { replica: id, weight } of step.weights) {
    const replica = book.fleet().replicas.get(id);
    if (replica === undefined) {
      // A leaver that is gone already needs no rerouting; a newcomer that is gone is a failure.
      if (weight > 0) return failed(`${id} is gone`);
      continue;
    }
    const isReady = replica.phase === 'ready' || context.proved.has(id);
    if (weight > 0 && !isReady && replica.phase !== 'draining') {
      return failed(`${id} is ${replica.phase}, not ready`);
    }
    const role = weight > 0 ? 'active' : replica.role;
    const phase = weight > 0 ? 'ready' : replica.phase;
    if (replica.weight !== weight || replica.role !== role || replica.phase !== phase) {
      changed.push({ ...replica, weight, role, phase });
    }
  }
  if (changed.length > 0) await book.change({ replicas: changed });
  const pushed = await book.publish();
  const text = step.weights.map((w) => `${w.replica} ${w.weight}`).join(', ');
  return done(
    pushed.kind === 'applied'
      ? `${text}; applied by ${pushed.workers} gateways`
      : `${text}; not yet applied by ${pushed.missing.join(', ')}`,
  );
}

/** SR1: what would be available after this push, newcomers counted? */
function askAgain(weights: Of<'route'>['weights'], context: StepContext): string | undefined {
  const { ports } = context;
  const picture = pictureNow(context);
  const leavers = weights
    .filter((w) => w.weight === 0)
    .flatMap((w) => {
      const view = picture.replicas.get(w.replica);
      return view !== undefined && isAvailable(view) ? [view] : [];
    });
  const [first] = leavers;
  if (first === undefined) return undefined;
  const newcomers = weights.filter((w) => {
    const replica = ports.book.fleet().replicas.get(w.replica);
    return (
      w.weight > 0 &&
      replica?.weight === 0 &&
      (replica.phase === 'ready' || context.proved.has(w.replica)) &&
      ports.world.runtime.look(w.replica) === 'running'
    );
  }).length;
  const { budget } = ports.manifest().healing;
  const answer = askBudget(
    picture,
    first.service,
    leavers.map((r) => r.id),
    budget,
  );
  if (answer.kind === 'granted' || answer.availableAfter + newcomers >= answer.floor) {
    return undefined;
  }
  return (
    `budget: ${answer.availableAfter + newcomers} would be available, ` +
    `at least ${answer.floor} must be`
  );
}

/** The picture is framed once a look; what this very run has just routed stands in the book. */
function pictureNow(context: StepContext): Picture {
  const picture = context.ports.picture();
  const replicas = new Map(picture.replicas);
  for (const { id, weight, role, phase } of context.ports.book.fleet().replicas.values()) {
    const view = replicas.get(id);
    if (view !== undefined) replicas.set(id, { ...view, weight, role, phase });
  }
  return { ...picture, replicas };
}

/** Between two looks at what is inside a replica, or at who has the newest table. */
const LOOK_MS = 130;

export async function drain(step: Of<'drain'>, context: StepContext): Promise<StepAnswer> {
  const { book, world } = context.ports;
  const replica = book.fleet().replicas.get(step.replica);
  if (replica === undefined) return done('already gone');
  const answer =
    replica.weight > 0
      ? await route({ kind: 'route', weights: [{ replica: replica.id, weight: 0 }] }, context)
      : done('no new requests');
  if (answer.kind === 'failed') return answer;
  const now = book.fleet().replicas.get(step.replica);
  if (now?.phase === 'ready') await book.change({ replicas: [{ ...now, phase: 'draining' }] });
  const startedAtMs = world.clock.monotonicMs();
  const untilMs = startedAtMs + step.deadlineMs;
  // Counters arrive every 250 ms: two quiet looks in a row mean that nothing is inside.
  let quiet = 0;
  while (world.clock.monotonicMs() < untilMs && !context.ports.stop.aborted) {
    if (world.runtime.look(step.replica) !== 'running') return done('it ended while draining');
    // A gateway that still has the old table sends it more, however empty it looks.
    const lagging = book.lagging().length > 0 && (await book.publish()).kind === 'partial';
    quiet = !lagging && world.gateways.inFlight(step.replica).count === 0 ? quiet + 1 : 0;
    if (quiet > 2) {
      return done(`empty after ${Math.round(world.clock.monotonicMs() - startedAtMs)} ms`);
    }
    await world.clock.sleep(LOOK_MS, context.ports.stop);
  }
  const left = world.gateways.inFlight(step.replica).count;
  return done(`deadline of ${step.deadlineMs} ms passed with ${left} requests inside`);
}

/** SR3: bounded by the time that its service has for draining; a gateway may be gone for good. */
async function untilUnrouted(replica: Replica, context: StepContext): Promise<void> {
  const { book, world, manifest } = context.ports;
  const drainMs = manifest().services.get(replica.service)?.drainMs ?? 0;
  const untilMs = world.clock.monotonicMs() + drainMs;
  while (book.lagging().length > 0 && world.clock.monotonicMs() < untilMs) {
    if (world.runtime.look(replica.id) !== 'running') return;
    if ((await book.publish()).kind === 'applied') return;
    await world.clock.sleep(LOOK_MS, context.ports.stop);
  }
}

export async function stop(step: Of<'stop'>, context: StepContext): Promise<StepAnswer> {
  const { book, world, manifest } = context.ports;
  const replica = book.fleet().replicas.get(step.replica);
  const picture = pictureNow(context);
  const view = picture.replicas.get(step.replica);
  if (replica !== undefined && view !== undefined && isAvailable(view)) {
    const { budget } = manifest().healing;
    const answer = askBudget(picture, replica.service, [replica.id], budget);
    const stateful = manifest().services.get(replica.service)?.kind === 'stateful';
    if (answer.kind === 'denied' && !stateful) {
      return failed(
        `budget: ${answer.availableAfter} would be available, ` +
          `at least ${answer.floor} must be`,
      );
    }
  }
  if (replica?.phase === 'ready') {
    await book.change({ replicas: [{ ...replica, phase: 'draining', weight: 0 }] });
    if (step.termMs > 0 && replica.weight > 0) await book.publish();
  }
  if (replica !== undefined && step.termMs > 0) await untilUnrouted(replica, context);
  context.ports.ending(step.replica);
  let detail: string;
  try {
    const answer = await world.runtime.stop(step.replica, step.termMs, context.receipt);
    if (answer.kind === 'failed') return failed(answer.detail);
    detail =
      answer.kind === 'not-running'
        ? 'not running'
        : `${exitText(answer.exit)}${answer.forced ? ', forced' : ''}`;
  } catch (error) {
    return failed(messageOf(error));
  }
  const now = book.fleet().replicas.get(step.replica);
  if (now !== undefined) await book.change({ replicas: [{ ...now, phase: 'gone', weight: 0 }] });
  if (now !== undefined && now.endpoint !== undefined) await book.publish();
  return done(detail);
}
