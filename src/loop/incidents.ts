// How do incidents move? Every change goes through here: checked against the table, written, told.
import { incidentMayBecome } from '../model/incident.ts';
import type { Incident } from '../model/incident.ts';
import type { Plan, Refusal } from '../model/plan.ts';
import { assert, messageOf } from '../model/errors.ts';
import { isFenced } from './act/executor.ts';
import { incidentFact, refusalFact } from './record/record.ts';
import type { IncidentChange } from './diagnose/incidents.ts';
import type { LoopState } from './state.ts';

/** Writes are behind and in order; an incident that changes again before is written once more. */
export function putIncident(state: LoopState, next: Incident): void {
  const before = state.incidents.get(next.id);
  if (before !== undefined && before.state.kind !== next.state.kind) {
    assert(
      incidentMayBecome(before.state.kind, next.state.kind),
      `${next.id} went from ${before.state.kind} to ${next.state.kind}`,
    );
  }
  if (next.state.kind === 'healed') {
    state.incidents.delete(next.id);
    state.refusals.delete(next.id);
    state.trials.delete(next.id);
    state.recorder.tell(incidentFact('closed', next));
  } else {
    state.incidents.set(next.id, next);
  }
  const busy = state.unwritten.size > 0;
  state.unwritten.set(next.id, next);
  if (!busy) void writeBehind(state);
}

/** One write at a time: a store with several connections must not keep the older one. */
async function writeBehind(state: LoopState): Promise<void> {
  const { world, epoch } = state.ports;
  for (const [id, incident] of state.unwritten) {
    try {
      await world.store.putIncident(incident, epoch);
    } catch (error) {
      if (isFenced(error)) {
        endFenced(state, error);
        return;
      }
      world.log.error('incident not written', { incident: id, error: messageOf(error) });
    }
    // What changed meanwhile is written again: the map goes on with it at its end.
    const latest = state.unwritten.get(id);
    state.unwritten.delete(id);
    if (latest !== undefined && latest !== incident) state.unwritten.set(id, latest);
  }
}

/** LP3: another leads now; this loop ends. */
export function endFenced(state: LoopState, error: unknown): void {
  state.fatal = error;
  state.stop.abort();
}

export function applyIncidentChange(state: LoopState, change: IncidentChange): void {
  const { incident } = change;
  switch (change.what) {
    case 'opened':
      state.recorder.tell(incidentFact('opened', incident));
      putIncident(state, incident);
      return;
    case 'healed-by-itself':
      putIncident(state, incident);
      return;
    case 'updated': {
      const before = state.incidents.get(incident.id);
      if (before === undefined) return;
      if (before.findings === incident.findings) {
        // Seen again, nothing new: kept here, not written.
        state.incidents.set(incident.id, incident);
        return;
      }
      if (before.title !== incident.title) state.recorder.tell(incidentFact('updated', incident));
      putIncident(state, incident);
    }
  }
}

/** "Nothing was done because …" is written once for each new reason (P12). */
export function applyRefusal(state: LoopState, incident: Incident, refusal: Refusal): void {
  const last = state.refusals.get(incident.id);
  state.refusals.set(incident.id, refusal);
  const news =
    last === undefined || last.reason !== refusal.reason || last.escalate !== refusal.escalate;
  if (!news) return;
  state.recorder.tell(refusalFact(incident, refusal));
  const { reason, detail } = refusal;
  if (refusal.escalate && incident.state.kind !== 'escalated') {
    const sinceMs = state.ports.world.clock.monotonicMs();
    putIncident(state, { ...incident, state: { kind: 'escalated', reason, detail, sinceMs } });
  } else if (incident.state.kind === 'open') {
    putIncident(state, { ...incident, state: { kind: 'waiting', reason, detail } });
  }
}

export function attempted(
  state: LoopState,
  incident: Incident,
  plan: Plan,
  verdict: Incident['attempts'][0]['verdict'],
  next: Incident['state'],
): void {
  const endedAtMs = state.ports.world.clock.monotonicMs();
  const attempt = { plan: plan.id, playbook: plan.playbook, endedAtMs, verdict };
  // Bounded: an incident that lasts for days keeps its last attempts.
  const attempts = [...incident.attempts, attempt].slice(-50);
  putIncident(state, { ...incident, attempts, state: next, seenAtMs: endedAtMs });
}
