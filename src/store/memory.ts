// The same contract without a disk, for the simulator: cheap enough for millions of calls, and able
// to lose what was not yet acknowledged when the control plane is killed.
//
//   MM1. What a promise has acknowledged is on the disk object; a new handle on it sees all of it.
//   MM2. A killed handle never writes again and answers nobody: its callers died with it.
import type { Store } from '../world/store.ts';
import { closed, fenced } from './errors.ts';
import * as disks from './memory-disk.ts';
import { memoryDisk } from './memory-disk.ts';
import type { MemoryDisk } from './memory-disk.ts';
import { KEEP } from './rules.ts';
import type { KeepLimits } from './rules.ts';

export { memoryDisk } from './memory-disk.ts';
export type { MemoryDisk } from './memory-disk.ts';

export type StoreCall = Exclude<keyof Store, 'close'>;

export interface MemoryHooks {
  /** Before a call has any effect; may take (virtual) time, or fail as a real store would. */
  readonly before?: (call: StoreCall) => Promise<void> | void;
  /** After it took effect and is durable, before its caller hears of it. */
  readonly after?: (call: StoreCall) => Promise<void> | void;
  readonly keep?: Partial<KeepLimits>;
}

export interface MemoryStore extends Store {
  /** As `kill -9`: what is in flight is lost, or was applied and is never answered. */
  kill(): void;
}

/** How every call goes through the hooks, the fence and the handle's end. */
interface Gate {
  readonly read: <T>(call: StoreCall, work: () => T) => Promise<T>;
  readonly write: <T>(call: StoreCall, epoch: number, work: () => T) => Promise<T>;
}

export function memoryStore(disk: MemoryDisk = memoryDisk(), hooks: MemoryHooks = {}): MemoryStore {
  let life: 'open' | 'closed' | 'killed' = 'open';
  const gate = openGate(disk, hooks, () => life);
  return {
    ...runCalls(disk, gate),
    ...recordCalls(disk, gate),
    tidy: (_nowMs, epoch) =>
      gate.write('tidy', epoch, () => disks.tidy(disk, { ...KEEP, ...hooks.keep })),
    async close() {
      if (life === 'open') life = 'closed';
    },
    kill() {
      life = 'killed';
    },
  };
}

function openGate(
  disk: MemoryDisk,
  hooks: MemoryHooks,
  lifeNow: () => 'open' | 'closed' | 'killed',
): Gate {
  async function read<T>(call: StoreCall, work: () => T): Promise<T> {
    if (lifeNow() === 'closed') throw closed();
    if (hooks.before !== undefined) await hooks.before(call);
    if (lifeNow() === 'killed') return await unanswered();
    const answer = work();
    if (hooks.after !== undefined) await hooks.after(call);
    return lifeNow() === 'killed' ? await unanswered() : answer;
  }
  return {
    read,
    write: (call, epoch, work) =>
      read(call, () => {
        if (disk.lease.owner === '' || disk.lease.epoch !== epoch) throw fenced(epoch);
        return work();
      }),
  };
}

/** A new promise each time, so that waiting callers can be collected as garbage. */
function unanswered(): Promise<never> {
  return new Promise<never>(() => undefined);
}

type RunCall =
  | 'lease'
  | 'release'
  | 'beginRun'
  | 'putStep'
  | 'setRun'
  | 'openRuns'
  | 'run'
  | 'runs';

function runCalls(disk: MemoryDisk, { read, write }: Gate): Pick<Store, RunCall> {
  return {
    lease: (owner, nowMs, ttlMs) => read('lease', () => disks.takeLease(disk, owner, nowMs, ttlMs)),
    release: (owner) =>
      read('release', () => {
        if (disk.lease.owner === owner) disk.lease = { ...disk.lease, owner: '', untilMs: 0 };
      }),
    beginRun: (run, epoch) => write('beginRun', epoch, () => disks.beginRun(disk, run)),
    putStep: (run, step, epoch) => write('putStep', epoch, () => disks.putStep(disk, run, step)),
    setRun: (run, change, epoch) => write('setRun', epoch, () => disks.setRun(disk, run, change)),
    openRuns: () => read('openRuns', () => disks.openRuns(disk)),
    run: (id) => read('run', () => disk.runs.get(id)),
    runs: ({ limit, incident }) =>
      read('runs', () =>
        disks.newest(
          disk.runs,
          limit,
          (run) => incident === undefined || run.incident === incident,
        ),
      ),
  };
}

function recordCalls(
  disk: MemoryDisk,
  { read, write }: Gate,
): Omit<Store, RunCall | 'tidy' | 'close'> {
  return {
    putIncident: (incident, epoch) =>
      write('putIncident', epoch, () => disks.putIncident(disk, incident)),
    openIncidents: () => read('openIncidents', () => disks.openIncidents(disk)),
    incident: (id) => read('incident', () => disk.incidents.get(id)),
    incidents: ({ limit }) => read('incidents', () => disks.newest(disk.incidents, limit)),
    fleet: () => read('fleet', () => disks.fleetOf(disk)),
    changeFleet: (change, epoch) =>
      write('changeFleet', epoch, () => disks.changeFleet(disk, change)),
    putApproval: (approval, epoch) =>
      write('putApproval', epoch, () => void disk.approvals.set(approval.id, approval)),
    approval: (id) => read('approval', () => disk.approvals.get(id)),
    approvals: ({ limit, pendingOnly }) =>
      read('approvals', () =>
        disks.newest(disk.approvals, limit, (a) => !pendingOnly || a.state.kind === 'pending'),
      ),
    tell: (event, epoch) => write('tell', epoch, () => disks.tell(disk, event)),
    story: (query) => read('story', () => disks.readStory(disk, query)),
    putKey: (key, epoch) => write('putKey', epoch, () => void disk.keys.set(key.id, key)),
    dropKey: (id, epoch) => write('dropKey', epoch, () => void disk.keys.delete(id)),
    keys: () => read('keys', () => [...disk.keys.values()]),
    putSetting: (name, value, epoch) =>
      write('putSetting', epoch, () => void disk.settings.set(name, value)),
    setting: (name) => read('setting', () => disk.settings.get(name)),
  };
}
