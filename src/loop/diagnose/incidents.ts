// Which incidents are open, and which are over? Groups of findings are matched with the incidents
// that exist; what is new opens one, what stays quiet closes by itself.
//
//   IT1. Pure. One open incident a fingerprint.
//   IT2. An incident that is acted on or verified is closed by its verdict, never by silence.
//   IT3. Silence must last `quietMs`: a finding that blinks does not open ten incidents.
import type { Finding } from '../../model/finding.ts';
import { incidentId } from '../../model/ids.ts';
import type { Incident, IncidentState } from '../../model/incident.ts';
import type { Group } from './diagnose.ts';

export interface IncidentChange {
  readonly incident: Incident;
  readonly what: 'opened' | 'updated' | 'healed-by-itself';
}

const QUIET_MS = 2_000;

export interface IncidentTimes {
  readonly nowMs: number;
  readonly wallMs: number;
  /** Makes the id of a new incident. */
  readonly mint: () => string;
}

export function matchIncidents(
  groups: readonly Group[],
  open: readonly Incident[],
  times: IncidentTimes,
): readonly IncidentChange[] {
  const changes: IncidentChange[] = [];
  const byMark = new Map(open.map((incident) => [incident.fingerprint, incident]));
  for (const group of groups) {
    const before = byMark.get(group.fingerprint);
    if (before === undefined) {
      changes.push({ incident: opened(group, times), what: 'opened' });
      continue;
    }
    byMark.delete(group.fingerprint);
    const incident: Incident = {
      ...before,
      title: group.title,
      findings: group.findings,
      diagnosis: group.diagnosis,
      seenAtMs: times.nowMs,
    };
    // A look that saw just the same is no news and is not written again.
    const same = sameFindings(before.findings, group.findings) && before.title === group.title;
    changes.push({
      incident: same ? { ...before, seenAtMs: times.nowMs } : incident,
      what: 'updated',
    });
  }
  for (const quiet of byMark.values()) {
    if (quiet.state.kind === 'acting' || quiet.state.kind === 'verifying') continue;
    if (times.nowMs - quiet.seenAtMs < QUIET_MS) continue;
    const state: IncidentState = { kind: 'healed', atMs: times.nowMs, by: 'itself' };
    changes.push({ incident: { ...quiet, state }, what: 'healed-by-itself' });
  }
  return changes;
}

function opened(group: Group, times: IncidentTimes): Incident {
  return {
    id: incidentId(times.mint()),
    fingerprint: group.fingerprint,
    title: group.title,
    findings: group.findings,
    diagnosis: group.diagnosis,
    state: { kind: 'open' },
    openedAtMs: Math.min(times.nowMs, ...group.findings.map((f) => f.sinceMs)),
    openedAtWallMs: times.wallMs,
    attempts: [],
    seenAtMs: times.nowMs,
  };
}

function sameFindings(a: readonly Finding[], b: readonly Finding[]): boolean {
  return a.length === b.length && a.every((f, i) => f.fingerprint === b[i]?.fingerprint);
}
