// What does the API need of the controller? This port and nothing else: `server.ts` turns requests
// into these calls, the controller implements them, tests pass a fake. Expected failures are thrown
// as `KinError`; `server.ts` maps their codes to HTTP (see `errors.ts`).
//
//   PO1. Every call that changes something takes the actor who asked for it.
import type { StoryEvent } from '../model/entry.ts';
import type {
  ApplyAnswer,
  ApprovalSummary,
  AuditReport,
  DeployAnswer,
  DrillAnswer,
  DrillSpec,
  IncidentStory,
  IncidentSummary,
  KeyAnswer,
  LedgerEntry,
  LedgerHead,
  LedgerProof,
  LogPart,
  PauseAnswer,
  ReleaseList,
  RunAnswer,
  RunStory,
  RunSummary,
  ScaleAnswer,
  Status,
  TenantSummary,
} from './contract.ts';
import type { HoldAnswer, HoldOrder } from './hold-contract.ts';
import type { Metric } from './exposition.ts';

/**
 * Who asks. `name`: `operator`, `operator:<name that the caller gives itself>`, `auditor:<name>` or
 * `tenant:<id>`.
 */
export interface Actor {
  readonly name: string;
  readonly requestId: string;
}

/** A manifest as it was read: relative paths in it start in the folder of `path`. */
export interface ManifestSource {
  readonly path: string;
  readonly text: string;
}

export type ShutdownMode = 'everything' | 'controller';

export interface ControlPort {
  /** In memory; called often. */
  status(): Status;
  /** What the gateways counted; in memory. */
  edgeMetrics(): readonly Metric[];
  /** Newest first, healed ones too. */
  incidents(limit: number): Promise<readonly IncidentSummary[]>;
  explain(id: string): Promise<IncidentStory | undefined>;
  /** Newest first. */
  runs(limit: number): Promise<readonly RunSummary[]>;
  run(id: string): Promise<RunStory | undefined>;
  approvals(limit: number, pendingOnly: boolean): Promise<readonly ApprovalSummary[]>;
  decideApproval(id: string, decision: 'approve' | 'deny', actor: Actor): Promise<ApprovalSummary>;

  releases(service: string): Promise<ReleaseList>;
  /** `path`: absolute folder of the artefact. Answers once the run is durable, not at its end. */
  deploy(service: string, path: string, actor: Actor): Promise<DeployAnswer>;
  rollback(service: string, actor: Actor): Promise<RunAnswer>;
  scale(service: string, replicas: number, actor: Actor): Promise<ScaleAnswer>;
  /** No automatic act on this service (or on all, when undefined) until `resume`. */
  pause(service: string | undefined, actor: Actor): Promise<PauseAnswer>;
  resume(service: string | undefined, actor: Actor): Promise<PauseAnswer>;

  /** Runs every check now. */
  audit(actor: Actor): Promise<AuditReport>;
  /** Oldest first, `seq > after`. */
  story(after: number, limit: number): Promise<readonly StoryEvent[]>;
  /** Every new story event, in order of `seq`, after it is stored. Answers the unsubscribe. */
  subscribe(listener: (event: StoryEvent) => void): () => void;

  ledgerHead(): LedgerHead;
  /** KIN_LEDGER_RANGE past the end. */
  ledgerProve(index: number): Promise<LedgerProof>;
  ledgerEntries(from: number, limit: number): Promise<readonly LedgerEntry[]>;

  tenants(): Promise<readonly TenantSummary[]>;
  /** `roles`: for the policy of routes; left out: none. */
  createKey(tenant: string, actor: Actor, roles?: readonly string[]): Promise<KeyAnswer>;
  revokeKey(id: string, actor: Actor): Promise<void>;

  /** Of one tenant; `route` is `METHOD /path` as `tenants` shows it, undefined: all of them. */
  liftQuarantine(
    tenant: string,
    route: string | undefined,
    actor: Actor,
  ): Promise<{ readonly lifted: readonly string[] }>;

  /** The whole tenant, in the place of what it is held to now. Answers once it is in force. */
  holdTenant(tenant: string, order: HoldOrder, actor: Actor): Promise<HoldAnswer>;
  /** KIN_HOLD_UNKNOWN when there is none. */
  releaseTenant(tenant: string, actor: Actor): Promise<HoldAnswer>;

  applyManifest(source: ManifestSource, dryRun: boolean, actor: Actor): Promise<ApplyAnswer>;
  /** Target: replica, service (all its replicas), `controller`, `init`, `gateway`, `access`. */
  logs(target: string, bytes: number): Promise<readonly LogPart[]>;

  /** What can be drilled here; empty in production. */
  drills(): readonly DrillSpec[];
  /** Only on what we run; KIN_DRILL_REFUSED when the manifest says production. */
  drill(name: string, target: string, actor: Actor): Promise<DrillAnswer>;

  /** Resolves when the shutdown has begun. `controller`: replicas and gateways go on. */
  shutdown(mode: ShutdownMode, actor: Actor): Promise<void>;
}
