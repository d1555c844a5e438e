// How are the steps done that change settings, hold back a route, wait for a dependency, compare
// releases, or put a control right?
//
//   SO1. `watch` fails as soon as the new release is worse or one of its replicas ends; it passes
//        when its time is over, and says whether it saw enough traffic.
//   SO2. `enforce-control` touches only what the plan names; `prove-control` tries what must be
//        impossible.
import { compare } from '../../../model/compare.ts';
import type { ReleaseId, ServiceName } from '../../../model/ids.ts';
import { sumWindows } from '../../../model/picture.ts';
import type { TrafficWindow } from '../../../model/picture.ts';
import { serviceReplicas } from '../../../model/budget.ts';
import type { Step } from '../../../model/plan.ts';
import type { ReleaseVerdict } from '../../../model/release.ts';
import { done, failed } from '../ports.ts';
import type { StepAnswer, StepContext } from '../ports.ts';

type Of<K extends Step['kind']> = Extract<Step, { kind: K }>;

/** Past its time, a watch waits this much longer for traffic before it passes as unsure. */
const THIN_TRAFFIC_FACTOR = 1.5;
const WATCH_EVERY_MS = 200;

export async function watch(step: Of<'watch'>, context: StepContext): Promise<StepAnswer> {
  const { clock } = context.ports.world;
  const startedAtMs = clock.monotonicMs();
  // Bounded by forMs × THIN_TRAFFIC_FACTOR.
  while (!context.ports.stop.aborted) {
    const ended = endedReplica(step, context);
    if (ended !== undefined) return failed(ended);
    const spentMs = clock.monotonicMs() - startedAtMs;
    const candidate = traffic(step.service, step.release, spentMs, context);
    const baseline = step.baseline === undefined
      ? undefined : traffic(step.service, step.baseline, spentMs, context);
    const verdict = compare(candidate, baseline, step.minRequests);
    if (verdict.kind === 'worse') return failed(`${step.release} is worse: ${verdict.why}`);
    const enough = verdict.kind === 'as-good' && spentMs >= step.forMs;
    if (enough || spentMs >= step.forMs * THIN_TRAFFIC_FACTOR) {
      return done(`${verdict.kind}: ${verdict.why}`);
    }
    await clock.sleep(WATCH_EVERY_MS, context.ports.stop);
  }
  return failed('stopped');
}

function endedReplica(step: Of<'watch'>, context: StepContext): string | undefined {
  const { ports } = context;
  const dead = [...ports.book.fleet().replicas.values()].find((r) =>
    r.service === step.service && r.release === step.release && r.phase === 'ready'
    && ports.world.runtime.look(r.id) !== 'running');
  return dead === undefined ? undefined : `${dead.id} of ${step.release} ended`;
}

function traffic(
  service: ServiceName, release: ReleaseId, spanMs: number, context: StepContext,
): TrafficWindow {
  const picture = context.ports.picture();
  const nowMs = context.ports.world.clock.monotonicMs();
  const sums = serviceReplicas(picture, service)
    .filter((r) => r.release === release)
    .map((r) => sumWindows(r.windows, nowMs, Math.min(spanMs, 60_000)));
  const total = { atMs: nowMs, requests: 0, errors: 0, broken: 0, timeouts: 0, failed: 0 };
  const latency = Array.from({ length: 16 }, () => 0);
  for (const sum of sums) {
    total.requests += sum.requests;
    total.errors += sum.errors;
    total.broken += sum.broken;
    total.timeouts += sum.timeouts;
    total.failed += sum.failed;
    for (let b = 0; b < 16; b += 1) latency[b] = (latency[b] ?? 0) + (sum.latency[b] ?? 0);
  }
  return { ...total, latency };
}

export async function setRelease(
  step: Of<'set-release'>, context: StepContext,
): Promise<StepAnswer> {
  const { book, world } = context.ports;
  const service = book.fleet().services.get(step.service);
  if (service === undefined) return failed(`no service ${step.service}`);
  if (service.release !== step.release) {
    await book.change({
      services: [{
        ...service, release: step.release, previous: step.previous,
        releasedAtMs: world.clock.nowMs(),
      }],
    });
  }
  return done(`${step.service} is on ${step.release}`);
}

export async function markRelease(
  step: Of<'mark-release'>, context: StepContext,
): Promise<StepAnswer> {
  const { book, world } = context.ports;
  const release = book.fleet().releases.get(step.release);
  if (release === undefined) return done('its artefact is no longer known');
  const atMs = world.clock.nowMs();
  const verdict: ReleaseVerdict = step.verdict === 'proved'
    ? { kind: 'proved', atMs } : { kind: 'bad', atMs, reason: step.reason };
  await book.change({ releases: [{ ...release, verdict }] });
  return done(`${step.release} is ${step.verdict}`);
}

export async function setScale(step: Of<'set-scale'>, context: StepContext): Promise<StepAnswer> {
  const { book } = context.ports;
  const service = book.fleet().services.get(step.service);
  if (service === undefined) return failed(`no service ${step.service}`);
  await book.change({ services: [{ ...service, replicas: step.replicas }] });
  return done(`${step.replicas} replicas wanted`);
}

export async function quarantine(
  step: Of<'quarantine'>, context: StepContext,
): Promise<StepAnswer> {
  await context.ports.book.change({ quarantine: [step.rule] });
  const pushed = await context.ports.book.publish();
  return done(pushed.kind === 'applied'
    ? `held back by ${pushed.workers} gateways` : 'written; some gateways get it when they return');
}

export async function liftQuarantine(
  step: Of<'lift-quarantine'>, context: StepContext,
): Promise<StepAnswer> {
  await context.ports.book.change({ unquarantine: [step.id] });
  await context.ports.book.publish();
  return done('lifted');
}

export async function awaitDependency(
  step: Of<'await-dependency'>, context: StepContext,
): Promise<StepAnswer> {
  const { world, hurry, book, manifest } = context.ports;
  const startedAtMs = world.clock.monotonicMs();
  while (world.clock.monotonicMs() < startedAtMs + step.deadlineMs
    && !context.ports.stop.aborted) {
    const result = await world.probes.dependency(step.dependency, 500);
    if (result.kind === 'ok') {
      // Its users are looked at and routed again at once: no timer has to run out first.
      const users = [...book.fleet().replicas.values()].filter((r) =>
        manifest().services.get(r.service)?.dependsOn.includes(step.dependency) === true);
      world.gateways.forgive(users.map((r) => r.id));
      hurry();
      return done(`answers after ${Math.round(world.clock.monotonicMs() - startedAtMs)} ms`);
    }
    await world.clock.sleep(50, context.ports.stop);
  }
  return failed(`no answer within ${step.deadlineMs} ms`);
}

export async function enforceControl(
  step: Of<'enforce-control'>, context: StepContext,
): Promise<StepAnswer> {
  const answer = await context.ports.world.controls.enforce(
    step.check, step.subjects, context.receipt,
  );
  if (answer.kind === 'failed') return failed(answer.detail);
  context.ports.hurry();
  return done(answer.detail);
}

export async function proveControl(
  step: Of<'prove-control'>, context: StepContext,
): Promise<StepAnswer> {
  const result = await context.ports.world.controls.prove(step.check);
  switch (result.kind) {
    case 'satisfied':
      return done(`proved on ${result.population}: ${result.detail}`);
    case 'not-satisfied':
      return failed(`not proved: ${result.violations[0]?.detail ?? 'violations left'}`);
    case 'not-evaluated':
    case 'error':
      return failed(`not proved: ${result.reason}`);
  }
}
