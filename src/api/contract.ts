// What does the control API show? The views that the CLI, the live view and the console read:
// plain JSON, derived from the model and from nothing secret. Every time here is wall time in ms
// since the epoch (the model's monotonic times are translated by the port), so a reader needs one
// clock only.
//
//   C1. No view carries a secret; an API key appears once, in the answer that creates it.
//   C2. A score never stands without its population and age (P11).
import type { HoldSummary } from './hold-contract.ts';
import type { StoryEvent } from '../model/entry.ts';
import type { KinErrorCode } from '../model/errors.ts';
import type { FindingKind, Subject } from '../model/finding.ts';
import type { Attempt, IncidentState } from '../model/incident.ts';
import type { RefusalReason } from '../model/plan.ts';
import type { Phase, Role } from '../model/replica.ts';
import type { ReleaseVerdict, RollbackEligibility } from '../model/release.ts';
import type { Approval, RunState, StepRecord, Verdict } from '../model/run.ts';
import type { CheckResult, EjectReason } from '../model/signal.ts';

export type { StoryEvent } from '../model/entry.ts';
export type * from './answers.ts';

/** Everything that the live view shows, in one value. */
export interface Status {
  readonly atMs: number;
  readonly instance: InstanceSummary;
  readonly overall: Overall;
  readonly services: readonly ServiceSummary[];
  readonly dependencies: readonly DependencySummary[];
  readonly controls: readonly ControlSummary[];
  readonly tenants: readonly TenantSummary[];
  readonly gateway: GatewaySummary;
  /** Not healed yet, oldest first. */
  readonly incidents: readonly IncidentSummary[];
  /** Runs that are not at their end. */
  readonly runs: readonly RunSummary[];
  /** Approvals that wait for a person. */
  readonly approvals: readonly ApprovalSummary[];
  readonly ledger: LedgerHead;
  /** `seq` of the newest stored story event, 0 when there is none. */
  readonly storySeq: number;
}

export interface InstanceSummary {
  /** Name of the manifest. */
  readonly name: string;
  /** Id of this start of the controller. */
  readonly instance: string;
  readonly pid: number;
  readonly version: string;
  readonly startedAtMs: number;
  /** `observing`: watches only, until its data is fresh (P6). `standby`: another one leads. */
  readonly mode: 'observing' | 'acting' | 'standby';
  /** The manifest says that real users depend on this: drills are refused. */
  readonly production: boolean;
  readonly manifestPath: string;
  readonly healing: 'automatic' | 'suggest' | 'off';
  /** CPU and memory limits: what can be enforced here, and if not, why. */
  readonly limits: string;
  readonly rssBytes: number | undefined;
  readonly cpu: number | undefined;
}

export type Overall =
  /** `waitingFor`: what is not ready yet, in words; `up` follows it. */
  | { readonly kind: 'starting'; readonly waitingFor: readonly string[] }
  | { readonly kind: 'healthy' }
  | { readonly kind: 'healing'; readonly incidents: number }
  /** Something waits for a person, or a floor is not held. */
  | { readonly kind: 'degraded'; readonly reasons: readonly string[] }
  | { readonly kind: 'stopping' };

export interface ServiceSummary {
  readonly name: string;
  readonly kind: 'stateless' | 'stateful';
  readonly wanted: number;
  readonly ready: number;
  readonly spares: number;
  readonly release: string;
  readonly previous: string | undefined;
  readonly releasedAtMs: number | undefined;
  readonly rollingOut: boolean;
  readonly paused: boolean;
  /** How far one tenant's trouble can reach; undefined without shards. */
  readonly blast?: string | undefined;
  readonly routes: readonly string[];
  readonly dependsOn: readonly string[];
  readonly budget: BudgetSummary;
  readonly traffic: TrafficSummary;
  readonly replicas: readonly ReplicaSummary[];
}

/** The one disruption budget (P2) of a service. */
export interface BudgetSummary {
  /** Replicas that take requests and answer them right now. */
  readonly available: number;
  /** Never fewer than these by our doing. */
  readonly floor: number;
  /** So many more may go away before the floor: `max(0, available − floor)`. */
  readonly mayLose: number;
}

/** Over the last 10 s. `p99Ms` is the upper bound of its log2 bucket, 0 without requests. */
export interface TrafficSummary {
  readonly requestsPerSecond: number;
  /** Share of requests that a client saw fail, 0–1. */
  readonly failedShare: number;
  readonly p99Ms: number;
}

export interface ReplicaSummary {
  readonly id: string;
  readonly service: string;
  readonly release: string;
  readonly role: Role;
  readonly phase: Phase;
  readonly weight: number;
  readonly pid: number | undefined;
  readonly port: number | undefined;
  readonly region: string;
  readonly sinceMs: number;
  readonly available: boolean;
  readonly ejected: { readonly reason: EjectReason; readonly detail: string } | undefined;
  readonly rssBytes: number | undefined;
  /** Share of one core over the last samples, 0–64. */
  readonly cpu: number | undefined;
  readonly traffic: TrafficSummary;
}

export interface DependencySummary {
  readonly name: string;
  readonly kind: 'postgres' | 'tcp';
  /** The supervised service that provides it, when there is one. */
  readonly service: string | undefined;
  readonly state: 'up' | 'down' | 'unknown';
  readonly detail: string;
  readonly sinceMs: number | undefined;
}

export interface ControlSummary {
  readonly id: string;
  readonly kind: string;
  readonly dependency: string;
  readonly frameworks: readonly string[];
  readonly heal: 'automatic' | 'ask' | 'off';
  readonly intervalMs: number;
  readonly verdict: 'satisfied' | 'not-satisfied' | 'not-evaluated' | 'error' | 'stale';
  /** Undefined until it was measured once. Its population stands in it. */
  readonly result: CheckResult | undefined;
  /** When `result` was measured. */
  readonly measuredAtMs: number | undefined;
}

export interface TenantSummary {
  readonly id: string;
  readonly plan: string;
  readonly region: string;
  readonly status: 'active' | 'suspended';
  readonly isolation: 'pool' | 'silo';
  readonly frameworks: readonly string[];
  readonly keys: readonly KeySummary[];
  /** Routes that are held back for this tenant. */
  readonly quarantined: readonly string[];
  /** What the whole tenant is held to. */
  readonly hold?: HoldSummary | undefined;
  readonly traffic: TrafficSummary;
}

export interface KeySummary {
  readonly id: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly roles: readonly string[] | undefined;
}

export interface GatewaySummary {
  readonly url: string;
  readonly workersWanted: number;
  /** Version of the routing table that the controller pushed last. */
  readonly tableVersion: number;
  readonly workers: readonly {
    readonly worker: string;
    readonly pid: number | undefined;
    readonly version: number;
  }[];
}

export interface IncidentSummary {
  readonly id: string;
  readonly title: string;
  readonly subject: Subject;
  readonly state: IncidentState;
  /** One sentence: what happens now, or why nothing does. */
  readonly now: string;
  /** Best hypothesis in words. */
  readonly diagnosis: string;
  readonly confidence: number;
  readonly openedAtMs: number;
  readonly healedAtMs: number | undefined;
  readonly attempts: readonly Attempt[];
}

/** What `explain` tells: signals → findings → diagnosis → decisions → acts → verdict → proofs. */
export interface IncidentStory {
  readonly incident: IncidentSummary;
  readonly findings: readonly FindingView[];
  /** Ranked, best first. */
  readonly hypotheses: readonly HypothesisView[];
  /** In the order in which they were taken. */
  readonly decisions: readonly DecisionView[];
  readonly runs: readonly RunStory[];
  readonly proofs: readonly ProofView[];
  /** The story lines of this incident, oldest first. */
  readonly events: readonly StoryEvent[];
}

export interface FindingView {
  readonly kind: FindingKind;
  readonly subject: string;
  readonly sinceMs: number;
  readonly confidence: number;
  readonly evidence: readonly string[];
}

export interface HypothesisView {
  readonly kind: Subject['kind'];
  readonly subject: string;
  readonly confidence: number;
  readonly why: string;
}

export type DecisionView =
  | {
      readonly kind: 'plan';
      readonly atMs: number;
      readonly run: string;
      readonly playbook: string;
      readonly summary: string;
      readonly disrupts: number;
    }
  | {
      readonly kind: 'refusal';
      readonly atMs: number;
      readonly reason: RefusalReason;
      readonly detail: string;
      readonly escalate: boolean;
    };

export interface RunSummary {
  readonly id: string;
  readonly playbook: string;
  readonly summary: string;
  readonly target: string;
  readonly service: string | undefined;
  readonly incident: string | undefined;
  /** `heal`, `converge` or the actor who asked for it. */
  readonly origin: string;
  readonly state: RunState;
  readonly failure: string | undefined;
  readonly startedAtMs: number;
  readonly endedAtMs: number | undefined;
  readonly stepsDone: number;
  readonly stepsTotal: number;
  /** What it does right now. */
  readonly step: string | undefined;
  readonly verdict: Verdict | undefined;
}

export interface RunStory {
  readonly run: RunSummary;
  /** Every planned step in order, with its record when it was begun; undos come after. */
  readonly steps: readonly StepView[];
  readonly intentIndex: number | undefined;
}

export interface StepView {
  /** `do:<index>` or `undo:<index>.<n>`. */
  readonly key: string;
  /** In words: `start records-3 on r2`. */
  readonly text: string;
  readonly record: StepRecord | undefined;
}

export interface ApprovalSummary {
  readonly id: string;
  readonly run: string;
  readonly summary: string;
  readonly why: string;
  readonly deadlineAtMs: number;
  readonly state: Approval['state'];
}

export interface ReleaseSummary {
  readonly id: string;
  readonly service: string;
  readonly digest: string;
  readonly createdAtMs: number;
  readonly verdict: ReleaseVerdict;
  readonly current: boolean;
}

export interface ReleaseList {
  readonly service: string;
  /** Newest first. */
  readonly releases: readonly ReleaseSummary[];
  /** Could `rollback` go back from the current release right now? */
  readonly rollback: RollbackEligibility;
  /**
   * Were a new release deployed now: could it come back to the current one? Said before a deploy.
   */
  readonly afterDeploy: RollbackEligibility;
}

export interface LedgerHead {
  readonly origin: string;
  readonly size: number;
  /** Base64. */
  readonly root: string;
  /** The signed note as published. */
  readonly checkpoint: string;
  /** Public key to verify it with, in signed-note form. */
  readonly vkey: string;
}

export interface LedgerEntry {
  readonly index: number;
  readonly atMs: number;
  readonly kind: string;
  readonly body: unknown;
}

export interface LedgerProof {
  readonly index: number;
  /** The entry's exact bytes, base64. */
  readonly entry: string;
  /** tlog-proof@v1, verifiable offline with `vkey`. */
  readonly proof: string;
  readonly vkey: string;
}

/** Where in the ledger one fact of a story stands. */
export interface ProofView {
  readonly index: number;
  readonly kind: string;
  /** Base64 leaf hash, when it is at hand. */
  readonly leafHash: string | undefined;
}

export interface AuditReport {
  readonly atMs: number;
  /** `incomplete`: nothing is violated, but something was not evaluated, or there is no check. */
  readonly verdict: 'satisfied' | 'violated' | 'incomplete';
  readonly controls: readonly ControlSummary[];
  readonly ledger: LedgerHead;
}

export interface ManifestChange {
  readonly kind: 'add' | 'change' | 'remove';
  /** `service`, `tenant`, `dependency`, `check`, `gateway`, `healing` … */
  readonly what: string;
  readonly name: string;
  readonly detail: string;
}

/** RFC 9457, with the code and the fix of the error catalogue. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: KinErrorCode;
  readonly fix: string;
  readonly requestId: string;
}
