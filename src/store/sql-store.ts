// The store over SQL, joined from its parts: the same for the embedded database and for a server.
import type { Store } from '../world/store.ts';
import { closed, storeError } from './errors.ts';
import { changeFleet, readFleet } from './fleet.ts';
import type { Db } from './guard.ts';
import { releaseLease, takeLease } from './lease.ts';
import * as records from './records.ts';
import * as runs from './runs.ts';
import type { KeepLimits } from './rules.ts';
import { KEEP } from './rules.ts';
import { dropOld, vacuum } from './tidy.ts';

export interface SqlStoreParts {
  readonly db: Db;
  /** Folder or redacted URL, for messages. */
  readonly where: string;
  readonly embedded: boolean;
  readonly keep?: Partial<KeepLimits>;
  /** Called once, when no query runs any more. */
  readonly end: () => Promise<void>;
}

export function sqlStore(parts: SqlStoreParts): Store {
  const { db, where, embedded, end } = parts;
  const keep: KeepLimits = { ...KEEP, ...parts.keep };
  const running = new Set<Promise<unknown>>();
  let ended: Promise<void> | undefined;

  async function call<T>(work: () => Promise<T>): Promise<T> {
    if (ended !== undefined) throw closed();
    const answer = work();
    running.add(answer);
    try {
      return await answer;
    } catch (error) {
      throw storeError(error, where);
    } finally {
      running.delete(answer);
    }
  }

  return {
    lease: (owner, nowMs, ttlMs) => call(() => takeLease(db, owner, nowMs, ttlMs)),
    release: (owner) => call(() => releaseLease(db, owner)),
    beginRun: (run, epoch) => call(() => runs.beginRun(db, run, epoch)),
    putStep: (run, step, epoch) => call(() => runs.putStep(db, run, step, epoch)),
    setRun: (run, change, epoch) => call(() => runs.setRun(db, run, change, epoch)),
    openRuns: () => call(() => runs.openRuns(db)),
    run: (id) => call(() => runs.oneRun(db, id)),
    runs: (query) => call(() => runs.recentRuns(db, query)),
    putIncident: (incident, epoch) => call(() => records.putIncident(db, incident, epoch)),
    openIncidents: () => call(() => records.openIncidents(db)),
    incident: (id) => call(() => records.oneIncident(db, id)),
    incidents: (query) => call(() => records.recentIncidents(db, query.limit)),
    fleet: () => call(() => readFleet(db)),
    changeFleet: (change, epoch) => call(() => changeFleet(db, change, epoch)),
    putApproval: (approval, epoch) => call(() => records.putApproval(db, approval, epoch)),
    approval: (id) => call(() => records.oneApproval(db, id)),
    approvals: (query) => call(() => records.recentApprovals(db, query)),
    tell: (event, epoch) => call(() => records.tell(db, event, epoch)),
    story: (query) => call(() => records.story(db, query)),
    putKey: (key, epoch) => call(() => records.putKey(db, key, epoch)),
    dropKey: (id, epoch) => call(() => records.dropKey(db, id, epoch)),
    keys: () => call(() => records.keys(db)),
    putSetting: (name, value, epoch) => call(() => records.putSetting(db, name, value, epoch)),
    setting: (name) => call(() => records.setting(db, name)),
    tidy: (_nowMs, epoch) =>
      call(async () => {
        await dropOld(db, epoch, keep);
        if (embedded) await vacuum(db);
      }),
    close() {
      ended ??= (async () => {
        await Promise.allSettled(running);
        await end();
      })();
      return ended;
    },
  };
}
