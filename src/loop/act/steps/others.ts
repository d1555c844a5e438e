// How are the steps done that change settings, hold back a route, wait for a dependency, compare
// releases, or put a control right?
//
//   SO1. `watch` fails when the new release is worse and what it needs has answered since, or when
//        one of its replicas ends; it passes when its time is over, and says whether it saw enough
//        traffic. Time in which something that it needs is missing does not count.
//   SO2. `enforce-control` touches only what the plan names; `prove-control` tries what must be
//        impossible.
import { compare } from '../../../model/compare.ts';
import type { Comparison } from '../../../model/compare.ts';
import type { DependencyName, ReleaseId, ServiceName } from '../../../model/ids.ts';
import { addWindows, quantileMs, sumWindows } from '../../../model/picture.ts';
import type { TrafficWindow } from '../../../model/picture.ts';
import { serviceReplicas } from '../../../model/budget.ts';
import type { Step } from '../../../model/plan.ts';
import { exitText } from '../../../model/replica.ts';
import type { ReleaseVerdict } from '../../../model/release.ts';
import { done, failed } from '../ports.ts';
import type { StepAnswer, StepContext } from '../ports.ts';

type Of<K extends Step['kind']> = Extract<Step, { kind: K }>;

/** Past its time, a watch waits this much longer for traffic before it passes as unsure. */
const THIN_TRAFFIC_FACTOR = 1.5;
const WATCH_EVERY_MS = 200;
const SPAN_MAX_MS = 60_000;
/** With fewer requests beside the new release, the old one is judged by its last minute. */
const BASELINE_MIN = 20;
const FAR_TOO_SLOW = 5;

export async function watch(step: Of<'watch'>, context: StepContext): Promise<StepAnswer> {
  const { clock } = context.ports.world;
  let startedAtMs = clock.monotonicMs();
  let worseSinceMs: number | undefined;
  // Bounded by forMs × THIN_TRAFFIC_FACTOR after the last trouble of a dependency, and by the run.
  while (!context.ports.stop.aborted) {
    const ended = endedReplica(step, context);
    if (ended !== undefined) return failed(ended);
    const nowMs = clock.monotonicMs();
    if (nowMs > context.deadlineAtMs) return failed('its dependencies did not let it be judged');
    const need = needOf(step.service, worseSinceMs, context);
    if (need === 'missing') {
      // What both releases suffer from now says nothing about either: judge from here on.
      startedAtMs = nowMs;
      worseSinceMs = undefined;
    }
    const spentMs = nowMs - startedAtMs;
    const verdict = judgeRelease(step, spentMs, context);
    if (verdict.kind === 'worse' && need === 'there' && worseSinceMs !== undefined) {
      return failed(`${step.release} is worse: ${verdict.why}`);
    }
    worseSinceMs = verdict.kind === 'worse' ? (worseSinceMs ?? nowMs) : undefined;
    const enough = verdict.kind === 'as-good' && spentMs >= step.forMs;
    const over = verdict.kind !== 'worse' && spentMs >= step.forMs * THIN_TRAFFIC_FACTOR;
    if (over && verdict.kind === 'unsure' && !verdict.clean) {
      return failed(`${step.release} is suspect: ${verdict.why}`);
    }
    if (enough || over) {
      return done(`${verdict.kind}: ${verdict.why}`);
    }
    await clock.sleep(WATCH_EVERY_MS, context.ports.stop);
  }
  return failed('stopped');
}

/** Against the old release at the same time; once that has no traffic, against its last minute. */
function judgeRelease(step: Of<'watch'>, spentMs: number, context: StepContext): Comparison {
  const out = ejectedReplica(step, context);
  if (out !== undefined) return { kind: 'worse', why: out };
  const { service, release, baseline, minRequests } = step;
  const candidate = traffic(service, release, spentMs, context);
  if (baseline === undefined) return compare(candidate, undefined, minRequests);
  const beside = traffic(service, baseline, spentMs, context);
  const before =
    beside.requests >= BASELINE_MIN ? beside : traffic(service, baseline, SPAN_MAX_MS, context);
  // After a restart nothing is remembered of the old release: then its promise is the measure.
  const promisedMs = context.ports.manifest().services.get(service)?.slo.latencyMs ?? 0;
  const median = quantileMs(candidate.latency, 0.5);
  if (
    before.requests < BASELINE_MIN &&
    candidate.requests >= BASELINE_MIN &&
    promisedMs > 0 &&
    median >= FAR_TOO_SLOW * promisedMs
  ) {
    return { kind: 'worse', why: `median ${median} ms, ${promisedMs} ms are promised` };
  }
  return compare(candidate, before, minRequests);
}

/** A gateway that ejects it has compared it with its siblings. */
function ejectedReplica(step: Of<'watch'>, context: StepContext): string | undefined {
  const out = serviceReplicas(context.ports.picture(), step.service).find(
    (r) =>
      r.release === step.release &&
      r.weight > 0 &&
      (r.ejected?.reason === 'slow' || r.ejected?.reason === 'errors'),
  );
  return out === undefined ? undefined : `gateway ejected ${out.id}: ${out.ejected?.detail ?? ''}`;
}

/** Does everything that the service needs answer, and has it since `sinceMs`? */
function needOf(
  service: ServiceName,
  sinceMs: number | undefined,
  context: StepContext,
): 'there' | 'missing' | 'unconfirmed' {
  const { picture, manifest } = context.ports;
  const tracks = (manifest().services.get(service)?.dependsOn ?? []).flatMap(
    (name) => picture().dependencies.get(name)?.track ?? [],
  );
  if (tracks.some((track) => track.failures > 0)) return 'missing';
  const confirmed = sinceMs !== undefined && tracks.every((track) => track.lastAtMs >= sinceMs);
  return confirmed ? 'there' : 'unconfirmed';
}

function endedReplica(step: Of<'watch'>, context: StepContext): string | undefined {
  const { ports } = context;
  const dead = [...ports.book.fleet().replicas.values()].find(
    (r) =>
      r.service === step.service &&
      r.release === step.release &&
      r.phase === 'ready' &&
      ports.world.runtime.look(r.id) !== 'running',
  );
  if (dead === undefined) return undefined;
  const exit = ports.picture().replicas.get(dead.id)?.exited?.exit;
  return `${dead.id} of ${step.release} ended${exit === undefined ? '' : `: ${exitText(exit)}`}`;
}

function traffic(
  service: ServiceName,
  release: ReleaseId,
  spanMs: number,
  context: StepContext,
): TrafficWindow {
  const picture = context.ports.picture();
  const nowMs = context.ports.world.clock.monotonicMs();
  const sums = serviceReplicas(picture, service)
    .filter((r) => r.release === release)
    .map((r) => sumWindows(r.windows, nowMs, Math.min(spanMs, SPAN_MAX_MS)));
  return addWindows(sums, nowMs);
}

export async function setRelease(
  step: Of<'set-release'>,
  context: StepContext,
): Promise<StepAnswer> {
  const { book, world } = context.ports;
  const service = book.fleet().services.get(step.service);
  if (service === undefined) return failed(`no service ${step.service}`);
  if (service.release !== step.release) {
    await book.change({
      services: [
        {
          ...service,
          release: step.release,
          previous: step.previous,
          releasedAtMs: world.clock.nowMs(),
        },
      ],
    });
  }
  return done(`${step.service} is on ${step.release}`);
}

export async function markRelease(
  step: Of<'mark-release'>,
  context: StepContext,
): Promise<StepAnswer> {
  const { book, world } = context.ports;
  const release = book.fleet().releases.get(step.release);
  if (release === undefined) return done('its artefact is no longer known');
  const atMs = world.clock.nowMs();
  const verdict: ReleaseVerdict =
    step.verdict === 'proved'
      ? { kind: 'proved', atMs }
      : { kind: 'bad', atMs, reason: step.reason };
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
  step: Of<'quarantine'>,
  context: StepContext,
): Promise<StepAnswer> {
  await context.ports.book.change({ quarantine: [step.rule] });
  const pushed = await context.ports.book.publish();
  return done(
    pushed.kind === 'applied'
      ? `held back by ${pushed.workers} gateways`
      : 'written; some gateways get it when they return',
  );
}

export async function liftQuarantine(
  step: Of<'lift-quarantine'>,
  context: StepContext,
): Promise<StepAnswer> {
  await context.ports.book.change({ unquarantine: [step.id] });
  await context.ports.book.publish();
  return done('lifted');
}

export async function holdTenant(
  step: Of<'hold-tenant'>,
  context: StepContext,
): Promise<StepAnswer> {
  await context.ports.book.change({ hold: [step.hold] });
  const pushed = await context.ports.book.publish();
  return done(
    pushed.kind === 'applied'
      ? `in force in ${pushed.workers} gateways`
      : 'written; some gateways get it when they return',
  );
}

export async function releaseTenant(
  step: Of<'release-tenant'>,
  context: StepContext,
): Promise<StepAnswer> {
  await context.ports.book.change({ unhold: [step.id] });
  await context.ports.book.publish();
  return done('lifted');
}

export async function awaitDependency(
  step: Of<'await-dependency'>,
  context: StepContext,
): Promise<StepAnswer> {
  const { world, hurry, book, manifest } = context.ports;
  const startedAtMs = world.clock.monotonicMs();
  while (world.clock.monotonicMs() < startedAtMs + step.deadlineMs && !context.ports.stop.aborted) {
    const result = await world.probes.dependency(step.dependency, 500);
    if (result.kind === 'ok') {
      // Its users are looked at and routed again at once: no timer has to run out first.
      const users = [...book.fleet().replicas.values()].filter(
        (r) => manifest().services.get(r.service)?.dependsOn.includes(step.dependency) === true,
      );
      world.gateways.forgive(users.map((r) => r.id));
      hurry();
      return done(`answers after ${Math.round(world.clock.monotonicMs() - startedAtMs)} ms`);
    }
    if (!providerRuns(step.dependency, context)) return failed('its process has ended');
    await world.clock.sleep(50, context.ports.stop);
  }
  return failed(`no answer within ${step.deadlineMs} ms`);
}

/** Waiting for a process that is gone would only lose time. Those of others we cannot see. */
function providerRuns(dependency: DependencyName, context: StepContext): boolean {
  const { world, book, manifest } = context.ports;
  const provider = manifest().dependencies.get(dependency)?.service;
  if (provider === undefined) return true;
  return [...book.fleet().replicas.values()].some(
    (r) => r.service === provider && world.runtime.look(r.id) === 'running',
  );
}

export async function enforceControl(
  step: Of<'enforce-control'>,
  context: StepContext,
): Promise<StepAnswer> {
  const answer = await context.ports.world.controls.enforce(
    step.check,
    step.subjects,
    context.receipt,
  );
  if (answer.kind === 'failed') return failed(answer.detail);
  context.ports.hurry();
  return done(answer.detail);
}

export async function proveControl(
  step: Of<'prove-control'>,
  context: StepContext,
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
