// How does everything stop? In order, with a record: first what serves, then what it needs; each
// gets its time to finish. `controller` alone leaves all that serves untouched.
import type { Actor, ShutdownMode } from '../api/port.ts';
import { planId, runId, target } from '../model/ids.ts';
import { messageOf } from '../model/errors.ts';
import { planEssence } from '../model/plan.ts';
import type { Plan, PlannedStep } from '../model/plan.ts';
import type { Receipt } from '../model/receipt.ts';
import type { Replica } from '../model/replica.ts';
import type { Run } from '../model/run.ts';
import type { Controller } from './parts.ts';

/** Lets the answer of the call that asked for it get out first. */
const GRACE_MS = 50;
/** With nobody who ends init, the controller ends by itself. */
const IDLE_MS = 30_000;
const ROUNDS_MS = 30_000;

export async function shutdown(
  controller: Controller,
  mode: ShutdownMode,
  actor: Actor,
): Promise<void> {
  controller.stopping = true;
  controller.loop.state.halted = true;
  controller.loop.state.recorder.tell({
    entry: 'controller.stopped',
    kind: 'controller.stopped',
    text: `${actor.name} stops ${mode}`,
    data: { mode, actor: actor.name },
  });
  const end = (afterMs: number): void => {
    setTimeout(() => controller.stop.abort(), afterMs);
  };
  if (mode === 'controller') {
    end(GRACE_MS);
    return;
  }
  controller.ending = stopEverything(controller, actor)
    .catch((error: unknown) =>
      controller.world.log.error('shutdown', {
        error: messageOf(error),
      }),
    )
    // Ended now, init would start another at once: it stays, idle, until init is told to end.
    .finally(() => end(IDLE_MS));
}

/** Runs that were under way may still have started one: rounds, until nothing is left. */
async function stopEverything(controller: Controller, actor: Actor): Promise<void> {
  const { loop, world } = controller;
  const untilMs = world.clock.monotonicMs() + ROUNDS_MS;
  // Bounded by `untilMs`.
  for (;;) {
    await stopRound(controller, actor);
    // One that waits for a person starts nothing.
    const working = [...loop.state.live.values()].filter((run) => run.current?.state !== 'waiting');
    const left = loop.state.book.fleet().replicas.size + working.length;
    if (left === 0 || world.clock.monotonicMs() > untilMs) return;
    await world.clock.sleep(50);
  }
}

async function stopRound(controller: Controller, actor: Actor): Promise<void> {
  const { loop, world, settings } = controller;
  const all = [...loop.state.book.fleet().replicas.values()].filter((r) => r.phase !== 'gone');
  const [first, ...rest] = all.map((r): PlannedStep => ({
    step: { kind: 'stop', replica: r.id, termMs: termOf(controller, r) },
    undo: [],
  }));
  if (first === undefined) return;
  const run = runOf(controller, [first, ...rest], actor);
  const { receipt, index } = await loop.state.recorder.intend(run);
  // From here on an exit is wanted: nobody is to be told of an incident.
  await loop.state.book.change({
    replicas: all.map((r): Replica =>
      r.phase === 'ready' ? { ...r, phase: 'draining', weight: 0 } : r,
    ),
  });
  const stateful = (r: Replica): boolean =>
    settings.manifest.services.get(r.service)?.kind === 'stateful';
  // What depends goes before what it depends on.
  const failures = [
    ...(await endAll(
      controller,
      all.filter((r) => !stateful(r)),
      receipt,
    )),
    ...(await endAll(controller, all.filter(stateful), receipt)),
  ];
  const failure = failures.length === 0 ? undefined : failures.join('; ').slice(0, 500);
  const ended: Run = {
    ...run,
    intentIndex: index,
    state: failure === undefined ? 'done' : 'stuck',
    failure,
  };
  await loop.state.recorder.conclude(ended, failure === undefined ? 'succeeded' : 'failed');
  if (failure === undefined) world.log.info('everything is stopped', { replicas: all.length });
  else world.log.error('not everything could be stopped', { failure });
}

function termOf(controller: Controller, replica: Replica): number {
  return controller.settings.manifest.services.get(replica.service)?.termMs ?? 5_000;
}

function runOf(controller: Controller, steps: Plan['steps'], actor: Actor): Run {
  const { world, loop } = controller;
  const plan: Plan = {
    id: planId(world.ids.next('chg')),
    playbook: 'shutdown',
    target: target('system', 'all'),
    origin: { kind: 'operator', actor: actor.name },
    summary: `stop everything: ${steps.length} replicas`,
    steps,
    service: undefined,
    disrupts: steps.length,
    approval: { kind: 'none' },
    verification: { symptoms: [], stableMs: 0, deadlineMs: 0 },
    deadlineMs: 60_000,
  };
  return {
    id: runId(world.ids.next('run')),
    plan,
    planDigest: loop.state.ports.digest(planEssence(plan)),
    state: 'running',
    incident: undefined,
    intentIndex: undefined,
    startedAtWallMs: world.clock.nowMs(),
    endedAtWallMs: undefined,
    steps: [],
    failure: undefined,
  };
}

/** Answers what could not be stopped; one that fails keeps no other from its end. */
async function endAll(
  controller: Controller,
  replicas: readonly Replica[],
  receipt: Receipt,
): Promise<readonly string[]> {
  const answers = await Promise.allSettled(replicas.map((r) => end(controller, r, receipt)));
  return answers.flatMap((answer) => {
    if (answer.status === 'rejected') return [messageOf(answer.reason)];
    return answer.value === undefined ? [] : [answer.value];
  });
}

/** Gone in the book is only what is gone: undefined, or why it is not. */
async function end(
  controller: Controller,
  replica: Replica,
  receipt: Receipt,
): Promise<string | undefined> {
  const { world, loop } = controller;
  const answer = await world.runtime.stop(replica.id, termOf(controller, replica), receipt);
  if (answer.kind === 'failed') return `${replica.id}: ${answer.detail}`;
  const now = loop.state.book.fleet().replicas.get(replica.id);
  if (now !== undefined) {
    await loop.state.book.change({ replicas: [{ ...now, phase: 'gone', weight: 0 }] });
  }
  return undefined;
}
