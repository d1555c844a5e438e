// THE loop: observe → detect → diagnose → decide → act → verify → record. This file is its table of
// contents; each stage is a folder beside it, and only this folder's own files join them.
//
//   LP1. Level-triggered: each look starts from what is, not from what happened, so that a normal
//        look, a restart and a fail-over take the same path.
//   LP2. A look is synchronous and short; acting goes on beside it, one run a target.
//   LP3. A stale epoch ends the loop: the new leader acts from then on.
import type { Incident } from '../model/incident.ts';
import type { Run } from '../model/run.ts';
import { messageOf } from '../model/errors.ts';
import { planId } from '../model/ids.ts';
import { EMPTY_FLEET } from '../model/fleet.ts';
import { keepBook } from './act/book.ts';
import { createExecutor } from './act/executor.ts';
import { createApprovals } from './act/approvals.ts';
import type { DecideContext } from './decide/context.ts';
import { converge } from './decide/converge.ts';
import { planChange } from './decide/change.ts';
import type { ChangeAnswer, ChangeRequest } from './decide/change.ts';
import { decide } from './decide/decide.ts';
import { detect } from './detect/detect.ts';
import { diagnose } from './diagnose/diagnose.ts';
import type { Group } from './diagnose/diagnose.ts';
import { matchIncidents } from './diagnose/incidents.ts';
import { emptyCanvas, fold } from './observe/fold.ts';
import { frame } from './observe/frame.ts';
import { createInbox } from './observe/inbox.ts';
import { startWatch } from './observe/watch.ts';
import { createRecorder, reconcileIntents, runOf } from './record/record.ts';
import { applyIncidentChange, applyRefusal, putIncident } from './incidents.ts';
import { launch, progress, resume, verify } from './runs.ts';
import { tellSignal } from './tell.ts';
import type { LoopPorts, LoopState } from './state.ts';

export interface Loop {
  readonly state: LoopState;
  /** Looks until `stop` is called, or a newer leader fences this one. */
  run(): Promise<void>;
  /** One look. */
  look(): void;
  /** A change that a person asked for; `ended` resolves with the run. */
  change(
    request: ChangeRequest, actor: string,
  ): ChangeAnswer & { ended?: Promise<Run | undefined> };
  /** Is the data fresh enough to judge on? */
  warm(): boolean;
  stop(): void;
}

export function createLoop(ports: LoopPorts): Loop {
  const state = assemble(ports);
  // The picture is framed before anything goes on: a resumed step asks the budget of it.
  reframe(state, ports.world.clock.monotonicMs());
  const open = new Set<string>(ports.runs.map((run) => run.id));
  const left = ports.world.ledger.openIntents()
    .filter(({ detail }) => !open.has(runOf(detail) ?? ''));
  for (const run of ports.runs) void resume(state, run);
  reconcileIntents(ports, left).catch((error: unknown) => {
    ports.world.log.error('intents not reconciled', { error: messageOf(error) });
  });
  return {
    state,
    look: () => look(state),
    run: () => runLoop(state),
    change: (request, actor) => requestChange(state, request, actor),
    warm: () => isWarm(state, ports.world.clock.monotonicMs()),
    stop() {
      state.stop.abort();
      state.watch.close();
    },
  };
}

async function runLoop(state: LoopState): Promise<void> {
  // Bounded by `stop`.
  while (!state.stop.signal.aborted) {
    look(state);
    await state.inbox.wait(state.ports.lookEveryMs, state.stop.signal);
  }
  if (state.fatal instanceof Error) throw state.fatal;
}

function look(state: LoopState): void {
  const { clock } = state.ports.world;
  const nowMs = clock.monotonicMs();
  // observe
  for (const signal of state.inbox.take()) {
    fold(state.canvas, signal);
    tellSignal(state, signal);
    if (signal.kind === 'gateway' && signal.event.kind === 'ejected') {
      state.watch.suspect(signal.event.replica);
    }
  }
  reframe(state, nowMs);
  state.watch.look();
  // detect, diagnose
  state.findings = detect(state.canvas, nowMs);
  const groups = diagnose(state.findings, state.canvas, nowMs);
  const times = { nowMs, wallMs: clock.nowMs(), mint: () => state.ports.world.ids.next('inc') };
  for (const change of matchIncidents(groups, [...state.incidents.values()], times)) {
    applyIncidentChange(state, change);
  }
  // verify what was done, then decide on what is left
  verify(state);
  if (nowMs >= state.heldUntilMs) decideAll(state, groups);
}

function decideAll(state: LoopState, groups: readonly Group[]): void {
  // Only on what is there now: an incident that went quiet closes by itself.
  const present = new Set(groups.map((group) => group.fingerprint));
  for (const incident of [...state.incidents.values()]) {
    if (present.has(incident.fingerprint)) decideOn(state, incident);
  }
  for (const finding of state.findings) {
    const plan = converge(finding, contextOf(state));
    if (plan !== undefined) void launch(state, plan);
  }
}

function reframe(state: LoopState, nowMs: number): void {
  const live = [...state.live.values()];
  frame(state.canvas, {
    manifest: state.ports.manifest(),
    fleet: state.book.fleet(),
    rollingOut: new Set(live.flatMap((run) =>
      ROLLS.has(run.playbook) && run.service !== undefined ? [run.service] : [])),
    wallOffsetMs: state.ports.world.clock.nowMs() - nowMs,
  }, nowMs);
}

const ROLLS: ReadonlySet<string> = new Set(['rollout', 'rollback']);

function decideOn(state: LoopState, incident: Incident): void {
  if (incident.state.kind === 'acting' || incident.state.kind === 'verifying') return;
  const nowMs = state.ports.world.clock.monotonicMs();
  const last = state.refusals.get(incident.id);
  // An answer that cannot have changed yet is not asked for again, unless the findings did.
  if (last !== undefined && nowMs < last.retryAtMs && last.reason === 'ineffective-too-often') {
    return;
  }
  const decision = decide(incident, contextOf(state));
  if (decision.kind === 'refuse') {
    applyRefusal(state, incident, decision.refusal);
    return;
  }
  state.refusals.delete(incident.id);
  const acting: Incident = { ...incident, state: { kind: 'acting', plan: decision.plan.id } };
  putIncident(state, acting);
  void launch(state, decision.plan);
}

export function contextOf(state: LoopState): DecideContext {
  const { clock } = state.ports.world;
  const nowMs = clock.monotonicMs();
  return {
    nowMs,
    wallMs: clock.nowMs(),
    picture: state.canvas,
    fleet: state.book.fleet(),
    manifest: state.ports.manifest(),
    liveRuns: [...state.live.values()],
    disruptions: state.disruptions,
    incidents: [...state.incidents.values()],
    warm: isWarm(state, nowMs),
    halted: state.halted,
  };
}

const WARM = { minMs: 300, maxMs: 3_000 } as const;

/** Every replica that was there at the start has been looked at once, or enough time passed. */
function isWarm(state: LoopState, nowMs: number): boolean {
  const ageMs = nowMs - state.canvas.since;
  if (ageMs >= WARM.maxMs || state.ports.fleet.replicas.size === 0) return true;
  if (ageMs < WARM.minMs) return false;
  return [...state.canvas.replicas.values()].every((r) =>
    r.phase !== 'ready' || r.exited !== undefined || r.ready.lastAtMs > 0);
}

function requestChange(
  state: LoopState, request: ChangeRequest, actor: string,
): ChangeAnswer & { ended?: Promise<Run | undefined> } {
  const id = planId(state.ports.world.ids.next('chg'));
  const answer = planChange(request, actor, id, contextOf(state));
  if (answer.kind === 'refuse') return answer;
  const ended = launch(state, answer.plan).then((outcome) => outcome?.run);
  return { ...answer, ended };
}

function assemble(ports: LoopPorts): LoopState {
  const { world, epoch } = ports;
  const stop = new AbortController();
  const canvas = emptyCanvas(world.clock.monotonicMs());
  const inbox = createInbox(world.clock);
  const book = keepBook({ world, epoch, fleet: ports.fleet ?? EMPTY_FLEET, table: ports.table });
  const recorder = createRecorder({ world, epoch });
  const readyWords: LoopState['readyWords'] = new Map();
  const watch = startWatch({
    world, manifest: ports.manifest, fleet: () => book.fleet(), put: (s) => inbox.put(s),
    onReady: (replica) => {
      for (const wake of readyWords.get(replica) ?? []) wake();
    },
    onAudit: (replica, event) => world.ledger.note('service.audit', { replica, event }),
  });
  const approvals = createApprovals({
    world, epoch, nudge: () => inbox.nudge(),
    told: (text, run, incident) => recorder.tell({
      entry: 'approval.decided', kind: 'approval', text, data: {}, run,
      ...(incident === undefined ? {} : { incident }),
    }),
  });
  const executor = createExecutor({
    world, epoch, book, manifest: ports.manifest, picture: () => canvas, order: ports.order,
    readyWord: (replica, signal) => new Promise((resolve) => {
      const wakes = readyWords.get(replica) ?? new Set();
      readyWords.set(replica, wakes);
      const wake = (): void => {
        wakes.delete(wake);
        if (wakes.size === 0) readyWords.delete(replica);
        resolve();
      };
      wakes.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    }),
    ending: (replica) => canvas.ending.add(replica),
    hurry: () => watch.hurry(),
    stop: stop.signal,
    crashPoint: ports.crashPoint,
    digest: ports.digest,
    intend: (run) => recorder.intend(run),
    conclude: (run, result) => recorder.conclude(run, result),
    approval: (run) => approvals.ask(run, stop.signal),
    told: (run, text, data) => {
      progress(state, run);
      recorder.tell({
        entry: undefined, kind: 'run.step', text, data, run: run.id,
        ...(run.incident === undefined ? {} : { incident: run.incident }),
        ...(run.plan.service === undefined ? {} : { service: run.plan.service }),
      });
    },
  });
  const state: LoopState = {
    ports, canvas, inbox, watch, book, recorder, executor, approvals, stop,
    incidents: new Map(ports.incidents.map((i) => [i.id, afterRestart(i, ports)])),
    unwritten: new Map(), live: new Map(), trials: new Map(), refusals: new Map(), readyWords,
    disruptions: [], findings: [], halted: false, heldUntilMs: 0, fatal: undefined,
  };
  return state;
}

/** What is resumed is acted on, what was interrupted is looked at anew. */
function afterRestart(incident: Incident, ports: LoopPorts): Incident {
  const nowMs = ports.world.clock.monotonicMs();
  const resumed = ports.runs.find((run) => run.incident === incident.id);
  const before = incident.attempts.map((a) => ({ ...a, endedAtMs: Math.min(a.endedAtMs, nowMs) }));
  const { state, attempts } = stateAfterRestart(incident.state, before, resumed, nowMs);
  return {
    ...incident, state, attempts,
    openedAtMs: Math.min(incident.openedAtMs, nowMs),
    seenAtMs: nowMs,
  };
}

function stateAfterRestart(
  state: Incident['state'], attempts: Incident['attempts'], resumed: Run | undefined,
  nowMs: number,
): Pick<Incident, 'state' | 'attempts'> {
  if (resumed !== undefined) return { state: { kind: 'acting', plan: resumed.plan.id }, attempts };
  if (state.kind !== 'verifying' && state.kind !== 'acting') return { state, attempts };
  // Its verdict died with the controller. It counts as an attempt, so that no plan id comes twice.
  const interrupted = {
    plan: state.plan, playbook: 'interrupted', endedAtMs: nowMs, verdict: 'inconclusive',
  } as const;
  return { state: { kind: 'open' }, attempts: [...attempts, interrupted] };
}
