// What does the control plane remember? One contract (`test/contract/store.ts`), passed by the SQL
// store (PGlite embedded, PostgreSQL by DATABASE_URL) and by the simulator's store.
//
//   ST1. A write is durable when its promise resolves.
//   ST2. Every write carries the epoch of its writer; a stale epoch gets `KIN_STORE_FENCED` and
//        changes nothing.
//   ST3. One open run per target: `beginRun` answers `busy` instead of making a second.
//   ST4. Reads are pages: never more than `limit` (≤ 1000) values.
import type { Fleet } from '../model/fleet.ts';
import type { Incident } from '../model/incident.ts';
import type { Approval, Run, RunState, StepRecord } from '../model/run.ts';
import type { StoryEvent } from '../model/entry.ts';
import type { ApprovalId, IncidentId, RunId, Target } from '../model/ids.ts';
import type { Replica } from '../model/replica.ts';
import type { Release } from '../model/release.ts';
import type { ServiceBook } from '../model/fleet.ts';
import type { TenantHold } from '../model/hold.ts';
import type { QuarantineRule } from '../model/plan.ts';

export type LeaseAnswer =
  | { readonly kind: 'held'; readonly epoch: number }
  | { readonly kind: 'taken'; readonly owner: string; readonly untilMs: number };

export type BeginAnswer =
  | { readonly kind: 'begun' }
  | { readonly kind: 'busy'; readonly run: RunId; readonly target: Target };

/** A change of the book; all parts of one change are durable together or not at all. */
export interface FleetChange {
  readonly services?: readonly ServiceBook[];
  readonly replicas?: readonly Replica[];
  readonly releases?: readonly Release[];
  readonly quarantine?: readonly QuarantineRule[];
  readonly unquarantine?: readonly string[];
  readonly hold?: readonly TenantHold[];
  readonly unhold?: readonly string[];
  readonly dropServices?: readonly string[];
}

/** What an operator may be given: the id and facts of an API key, never the secret. */
export interface ApiKeyRow {
  readonly id: string;
  readonly tenant: string;
  readonly mac: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  /** For the matrix of routes; undefined: none. */
  readonly roles?: readonly string[];
}

export interface StoryQuery {
  readonly after: number;
  readonly limit: number;
  readonly incident?: string;
}

export interface Store {
  /** Takes or renews the lease of the one leader. A new owner gets a higher epoch. */
  lease(owner: string, nowMs: number, ttlMs: number): Promise<LeaseAnswer>;
  /** Gives the lease back, so that a successor need not wait. */
  release(owner: string): Promise<void>;

  beginRun(run: Run, epoch: number): Promise<BeginAnswer>;
  /** Writes or replaces the record with this key. */
  putStep(run: RunId, step: StepRecord, epoch: number): Promise<void>;
  setRun(
    run: RunId,
    change: {
      readonly state?: RunState;
      readonly failure?: string;
      readonly intentIndex?: number;
      readonly endedAtWallMs?: number;
    },
    epoch: number,
  ): Promise<void>;
  openRuns(): Promise<readonly Run[]>;
  run(id: RunId): Promise<Run | undefined>;
  runs(query: { readonly limit: number; readonly incident?: IncidentId }): Promise<readonly Run[]>;

  putIncident(incident: Incident, epoch: number): Promise<void>;
  openIncidents(): Promise<readonly Incident[]>;
  incident(id: IncidentId): Promise<Incident | undefined>;
  /** Newest first. */
  incidents(query: { readonly limit: number }): Promise<readonly Incident[]>;

  fleet(): Promise<Fleet>;
  changeFleet(change: FleetChange, epoch: number): Promise<void>;

  putApproval(approval: Approval, epoch: number): Promise<void>;
  approval(id: ApprovalId): Promise<Approval | undefined>;
  approvals(query: {
    readonly limit: number;
    readonly pendingOnly: boolean;
  }): Promise<readonly Approval[]>;

  /** Appends to the story; `seq` is given by the store, strictly growing. Answers it. */
  tell(event: Omit<StoryEvent, 'seq'>, epoch: number): Promise<number>;
  story(query: StoryQuery): Promise<readonly StoryEvent[]>;

  putKey(key: ApiKeyRow, epoch: number): Promise<void>;
  dropKey(id: string, epoch: number): Promise<void>;
  keys(): Promise<readonly ApiKeyRow[]>;

  putSetting(name: string, value: unknown, epoch: number): Promise<void>;
  setting(name: string): Promise<unknown>;

  /** Vacuum, checkpoint, and dropping of story rows and ended runs past their limits. */
  tidy(nowMs: number, epoch: number): Promise<void>;
  close(): Promise<void>;
}
