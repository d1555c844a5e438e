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
import type { DecideContext } from './decide/context.ts';
import { converge } from './decide/converge.ts';
import { planChange } from './decide/change.ts';
import type { ChangeAnswer, ChangeRequest } from './decide/change.ts';
import { decide } from './decide/decide.ts';
import { expiredHolds } from './decide/hold.ts';
import { detect } from './detect/detect.ts';
import { diagnose } from './diagnose/diagnose.ts';
import type { Group } from './diagnose/diagnose.ts';
import { matchIncidents } from './diagnose/incidents.ts';
import { fold } from './observe/fold.ts';
import { frame } from './observe/frame.ts';
import { reconcileIntents, runOf } from './record/record.ts';
import { applyIncidentChange, applyRefusal, putIncident } from './incidents.ts';
import { launch, resume } from './runs.ts';
import { tellSignal } from './tell.ts';
import { assemble } from './assemble.ts';
import { verify } from './trials.ts';
import type { LoopPorts, LoopState } from './state.ts';

export interface Loop {
  readonly state: LoopState;
  /** Looks until `stop` is called, or a newer leader fences this one. */
  run(): Promise<void>;
  /** One look. */
  look(): void;
  /** A change that a person asked for; `ended` resolves with the run. */
  change(
    request: ChangeRequest,
    actor: string,
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
  const left = ports.world.ledger
    .openIntents()
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
  verify(state, (plan) => void launch(state, plan));
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
  for (const { tenant } of expiredHolds(contextOf(state))) {
    requestChange(state, { kind: 'release-tenant', tenant }, 'its-end');
  }
}

function reframe(state: LoopState, nowMs: number): void {
  const live = [...state.live.values()];
  frame(
    state.canvas,
    {
      manifest: state.ports.manifest(),
      fleet: state.book.fleet(),
      rollingOut: new Set(
        live.flatMap((run) =>
          ROLLS.has(run.playbook) && run.service !== undefined ? [run.service] : [],
        ),
      ),
      wallOffsetMs: state.ports.world.clock.nowMs() - nowMs,
    },
    nowMs,
  );
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
  return [...state.canvas.replicas.values()].every(
    (r) => r.phase !== 'ready' || r.exited !== undefined || r.ready.lastAtMs > 0,
  );
}

function requestChange(
  state: LoopState,
  request: ChangeRequest,
  actor: string,
): ChangeAnswer & { ended?: Promise<Run | undefined> } {
  const id = planId(state.ports.world.ids.next('chg'));
  const answer = planChange(request, actor, id, contextOf(state));
  if (answer.kind === 'refuse') return answer;
  const ended = launch(state, answer.plan).then((outcome) => outcome?.run);
  return { ...answer, ended };
}
