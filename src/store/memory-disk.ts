// What does the store in memory hold, and how does each call change it? The disk of `memory.ts`:
// plain maps in the order of first writing, changed only by these functions.
//
// Values are immutable, so the disk holds references and never copies.
import { assert } from '../model/errors.ts';
import type { StoryEvent } from '../model/entry.ts';
import type { Fleet, ServiceBook } from '../model/fleet.ts';
import type { Incident } from '../model/incident.ts';
import type { TenantHold } from '../model/hold.ts';
import type { QuarantineRule } from '../model/plan.ts';
import type { Release } from '../model/release.ts';
import type { Replica } from '../model/replica.ts';
import { OPEN_STATES } from '../model/run.ts';
import type { Approval, Run, StepRecord } from '../model/run.ts';
import type {
  ApiKeyRow,
  BeginAnswer,
  FleetChange,
  LeaseAnswer,
  Store,
  StoryQuery,
} from '../world/store.ts';
import type { KeepLimits } from './rules.ts';
import { PAGE_MAX, dropped, page, statesBefore } from './rules.ts';

/** What survives a crash. Made once, given to each handle in turn. */
export interface MemoryDisk {
  lease: { readonly owner: string; readonly epoch: number; readonly untilMs: number };
  readonly runs: Map<string, Run>;
  /** Ids of the open runs, in the order of their beginning. */
  readonly openRuns: Set<string>;
  /** Target → id of its one open run (ST3). */
  readonly targets: Map<string, string>;
  readonly incidents: Map<string, Incident>;
  readonly openIncidents: Set<string>;
  readonly approvals: Map<string, Approval>;
  readonly services: Map<string, ServiceBook>;
  readonly replicas: Map<string, Replica>;
  readonly releases: Map<string, Release>;
  readonly quarantines: Map<string, QuarantineRule>;
  readonly holds: Map<string, TenantHold>;
  /** The last answer of `fleetOf`, for as long as it is true. */
  fleet: Fleet | undefined;
  story: StoryEvent[];
  seq: number;
  readonly keys: Map<string, ApiKeyRow>;
  readonly settings: Map<string, unknown>;
}

export function memoryDisk(): MemoryDisk {
  return {
    lease: { owner: '', epoch: 0, untilMs: 0 },
    runs: new Map(),
    openRuns: new Set(),
    targets: new Map(),
    incidents: new Map(),
    openIncidents: new Set(),
    approvals: new Map(),
    services: new Map(),
    replicas: new Map(),
    releases: new Map(),
    quarantines: new Map(),
    holds: new Map(),
    fleet: undefined,
    story: [],
    seq: 0,
    keys: new Map(),
    settings: new Map(),
  };
}

export function takeLease(
  disk: MemoryDisk,
  owner: string,
  nowMs: number,
  ttlMs: number,
): LeaseAnswer {
  assert(owner !== '', 'a lease has an owner');
  const held = disk.lease;
  const free = held.owner === '' || held.untilMs <= nowMs;
  if (held.owner !== owner && !free) {
    return { kind: 'taken', owner: held.owner, untilMs: held.untilMs };
  }
  const epoch = held.owner === owner ? held.epoch : held.epoch + 1;
  disk.lease = { owner, epoch, untilMs: nowMs + ttlMs };
  return { kind: 'held', epoch };
}

export function beginRun(disk: MemoryDisk, run: Run): BeginAnswer {
  assert(OPEN_STATES.includes(run.state), `run ${run.id} begins as ${run.state}`);
  const { target } = run.plan;
  const other = disk.targets.get(target);
  if (disk.openRuns.has(run.id) || other === run.id) return { kind: 'begun' };
  if (other !== undefined) return { kind: 'busy', run: disk.runs.get(other)?.id ?? run.id, target };
  assert(!disk.runs.has(run.id), `the run ${run.id} was begun before and has ended`);
  disk.runs.set(run.id, run);
  disk.openRuns.add(run.id);
  disk.targets.set(target, run.id);
  return { kind: 'begun' };
}

export function putStep(disk: MemoryDisk, id: string, step: StepRecord): void {
  const run = disk.runs.get(id);
  assert(run !== undefined, `step of the unknown run ${id}`);
  const at = run.steps.findIndex((known) => known.key === step.key);
  const steps = at < 0 ? [...run.steps, step] : run.steps.with(at, step);
  disk.runs.set(id, { ...run, steps });
}

export function setRun(disk: MemoryDisk, id: string, change: Parameters<Store['setRun']>[1]): void {
  const run = disk.runs.get(id);
  const lawful =
    run !== undefined &&
    (change.state === undefined || statesBefore(change.state).includes(run.state));
  assert(lawful, `run ${id} is unknown or may not become ${change.state ?? 'changed'}`);
  const next = { ...run, ...change };
  disk.runs.set(id, next);
  if (OPEN_STATES.includes(next.state)) return;
  disk.openRuns.delete(id);
  if (disk.targets.get(run.plan.target) === id) disk.targets.delete(run.plan.target);
}

export function openRuns(disk: MemoryDisk): readonly Run[] {
  return firstOf(disk.openRuns, disk.runs);
}

export function putIncident(disk: MemoryDisk, incident: Incident): void {
  disk.incidents.set(incident.id, incident);
  if (incident.state.kind === 'healed') disk.openIncidents.delete(incident.id);
  else disk.openIncidents.add(incident.id);
}

export function openIncidents(disk: MemoryDisk): readonly Incident[] {
  return firstOf(disk.openIncidents, disk.incidents);
}

function firstOf<T>(ids: ReadonlySet<string>, values: ReadonlyMap<string, T>): readonly T[] {
  const found: T[] = [];
  for (const id of ids) {
    const value = values.get(id);
    if (value !== undefined) found.push(value);
    if (found.length >= PAGE_MAX) break;
  }
  return found;
}

export function newest<T>(
  values: ReadonlyMap<string, T>,
  limit: number,
  wanted: (value: T) => boolean = () => true,
): readonly T[] {
  return [...values.values()].filter(wanted).slice(-PAGE_MAX).toReversed().slice(0, page(limit));
}

export function changeFleet(disk: MemoryDisk, change: FleetChange): void {
  const { services = [], replicas = [], releases = [], quarantine = [], hold = [] } = change;
  const names = services.map((s) => s.name);
  for (const name of dropped(change.dropServices, names)) disk.services.delete(name);
  const rules = quarantine.map((q) => q.id);
  for (const id of dropped(change.unquarantine, rules)) disk.quarantines.delete(id);
  for (const service of services) disk.services.set(service.name, service);
  for (const replica of replicas) disk.replicas.set(replica.id, replica);
  for (const release of releases) disk.releases.set(release.id, release);
  for (const rule of quarantine) disk.quarantines.set(rule.id, rule);
  const holds = hold.map((h) => h.id);
  for (const id of dropped(change.unhold, holds)) disk.holds.delete(id);
  for (const one of hold) disk.holds.set(one.id, one);
  disk.fleet = undefined;
}

export function fleetOf(disk: MemoryDisk): Fleet {
  disk.fleet ??= {
    services: new Map([...disk.services.values()].map((s) => [s.name, s])),
    replicas: new Map([...disk.replicas.values()].map((r) => [r.id, r])),
    releases: new Map([...disk.releases.values()].map((r) => [r.id, r])),
    quarantines: new Map([...disk.quarantines.values()].map((q) => [q.id, q])),
    holds: new Map([...disk.holds.values()].map((h) => [h.id, h])),
  };
  return disk.fleet;
}

export function tell(disk: MemoryDisk, event: Omit<StoryEvent, 'seq'>): number {
  disk.seq += 1;
  disk.story.push({ ...event, seq: disk.seq });
  return disk.seq;
}

export function readStory(disk: MemoryDisk, query: StoryQuery): readonly StoryEvent[] {
  const limit = page(query.limit);
  const found: StoryEvent[] = [];
  for (let at = firstAfter(disk.story, query.after); at < disk.story.length; at += 1) {
    const event = disk.story[at];
    if (event === undefined || found.length >= limit) break;
    if (query.incident === undefined || event.incident === query.incident) found.push(event);
  }
  return found;
}

/** Numbers only grow, so the place is found by halving. */
function firstAfter(story: readonly StoryEvent[], seq: number): number {
  let low = 0;
  let high = story.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((story[middle]?.seq ?? 0) > seq) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function tidy(disk: MemoryDisk, keep: KeepLimits): void {
  if (disk.story.length > keep.story) disk.story = disk.story.slice(-keep.story);
  forget(disk.runs, keep.endedRuns, (run) => !OPEN_STATES.includes(run.state));
  forget(disk.incidents, keep.healedIncidents, (i) => i.state.kind === 'healed');
  forget(disk.approvals, keep.decidedApprovals, (a) => a.state.kind !== 'pending');
  for (const service of new Set([...disk.replicas.values()].map((r) => r.service))) {
    const isGone = (r: Replica): boolean => r.service === service && r.phase === 'gone';
    if (forget(disk.replicas, keep.goneReplicas, isGone)) disk.fleet = undefined;
  }
}

/** Drops the oldest that are over. Was there any? */
function forget<T>(values: Map<string, T>, keep: number, isOver: (value: T) => boolean): boolean {
  if (values.size <= keep) return false;
  const over = [...values].filter(([, value]) => isOver(value));
  const old = over.slice(0, Math.max(0, over.length - keep));
  for (const [id] of old) values.delete(id);
  return old.length > 0;
}
