// What does the loop hold between two looks? One value that its parts share; each field says who
// writes it. Nothing here outlives the process: what must is in the store.
import type { Finding } from '../model/finding.ts';
import type { IncidentId, PlanId, ReplicaId } from '../model/ids.ts';
import type { Incident } from '../model/incident.ts';
import type { Manifest } from '../model/manifest.ts';
import type { Plan, Refusal } from '../model/plan.ts';
import type { Release } from '../model/release.ts';
import type { Replica } from '../model/replica.ts';
import type { RoutingTable } from '../model/routing.ts';
import type { Run } from '../model/run.ts';
import type { Fleet } from '../model/fleet.ts';
import type { ReplicaOrder } from '../world/runtime.ts';
import type { World } from '../world/world.ts';
import type { Book } from './act/book.ts';
import type { Approvals } from './act/approvals.ts';
import type { Executor } from './act/executor.ts';
import type { Disruption, LiveRun } from './decide/context.ts';
import type { Canvas } from './observe/fold.ts';
import type { Inbox } from './observe/inbox.ts';
import type { Watch } from './observe/watch.ts';
import type { Recorder } from './record/record.ts';
import type { Trial } from './verify/assess.ts';

export interface LoopPorts {
  readonly world: World;
  readonly epoch: number;
  /** The book and what was open when the last controller ended. */
  readonly fleet: Fleet;
  readonly incidents: readonly Incident[];
  readonly runs: readonly Run[];
  readonly manifest: () => Manifest;
  readonly table: (fleet: Fleet, version: number) => RoutingTable;
  readonly order: (replica: Replica, release: Release) => Promise<ReplicaOrder>;
  /** Stable digest of a plan's essence. */
  readonly digest: (essence: unknown) => string;
  readonly crashPoint: (name: string) => Promise<void>;
  /** Ms between two looks when nothing urgent happens. */
  readonly lookEveryMs: number;
}

export interface LiveEntry extends LiveRun {
  readonly plan: Plan;
  /** As far as it has got; undefined until its intent is durable. */
  readonly current: Run | undefined;
}

export interface PendingTrial {
  readonly trial: Trial;
  readonly run: Run;
  readonly plan: Plan;
}

export interface LoopState {
  readonly ports: LoopPorts;
  readonly canvas: Canvas;
  readonly inbox: Inbox;
  readonly watch: Watch;
  readonly book: Book;
  readonly recorder: Recorder;
  readonly executor: Executor;
  readonly approvals: Approvals;
  readonly stop: AbortController;
  /** Open incidents; written by `incidents.ts`. */
  readonly incidents: Map<IncidentId, Incident>;
  /** Incidents whose newest value is not durable yet; written by `incidents.ts`. */
  readonly unwritten: Map<IncidentId, Incident>;
  /** Plans at work; written by `runs.ts`. */
  readonly live: Map<PlanId, LiveEntry>;
  readonly trials: Map<IncidentId, PendingTrial>;
  readonly refusals: Map<IncidentId, Refusal>;
  readonly readyWords: Map<ReplicaId, Set<() => void>>;
  disruptions: readonly Disruption[];
  findings: readonly Finding[];
  halted: boolean;
  /** Monotonic ms: before it nothing is decided, because what was could not be written down. */
  heldUntilMs: number;
  /** Why the loop ended by itself, for its owner. */
  fatal: unknown;
}
