// What shall be done? A plan is immutable and concrete: the ids, weights and deadlines are chosen,
// and no meaningful choice is left for the moment of acting. A refusal says why nothing is done.
//
//   PL1. A plan has at least one step; each step that changes something names its undo, or `[]`.
//   PL2. `planDigest` covers every field that acting depends on.
import type {
  CheckId,
  DependencyName,
  Fingerprint,
  IncidentId,
  PlanId,
  ReleaseId,
  ReplicaId,
  ServiceName,
  Target,
  TenantId,
} from './ids.ts';
import type { TenantHold } from './hold.ts';
import type { Role } from './replica.ts';

export type Step =
  | {
      readonly kind: 'start';
      readonly replica: ReplicaId;
      readonly service: ServiceName;
      readonly release: ReleaseId;
      readonly role: Role;
    }
  | { readonly kind: 'await-ready'; readonly replica: ReplicaId; readonly deadlineMs: number }
  /** Sets weights in one push of the routing table; weight > 0 makes the replica active. */
  | { readonly kind: 'route'; readonly weights: readonly Weight[] }
  /** No new requests, then wait until none is inside or the deadline passes. */
  | { readonly kind: 'drain'; readonly replica: ReplicaId; readonly deadlineMs: number }
  /** SIGTERM, then SIGKILL after `termMs`; 0 means SIGKILL at once. */
  | { readonly kind: 'stop'; readonly replica: ReplicaId; readonly termMs: number }
  /** Compares a release with the baseline over live traffic; fails when it is worse. */
  | {
      readonly kind: 'watch';
      readonly service: ServiceName;
      readonly release: ReleaseId;
      readonly baseline: ReleaseId | undefined;
      readonly forMs: number;
      readonly minRequests: number;
    }
  | {
      readonly kind: 'set-release';
      readonly service: ServiceName;
      readonly release: ReleaseId;
      readonly previous: ReleaseId | undefined;
    }
  | {
      readonly kind: 'mark-release';
      readonly release: ReleaseId;
      readonly service: ServiceName;
      readonly verdict: 'proved' | 'bad';
      readonly reason: string;
    }
  | { readonly kind: 'set-scale'; readonly service: ServiceName; readonly replicas: number }
  | { readonly kind: 'quarantine'; readonly rule: QuarantineRule }
  | { readonly kind: 'lift-quarantine'; readonly id: Fingerprint }
  /** Takes the place of the hold that the tenant has. */
  | { readonly kind: 'hold-tenant'; readonly hold: TenantHold }
  | { readonly kind: 'release-tenant'; readonly id: Fingerprint }
  | {
      readonly kind: 'await-dependency';
      readonly dependency: DependencyName;
      readonly deadlineMs: number;
    }
  | {
      readonly kind: 'enforce-control';
      readonly check: CheckId;
      readonly subjects: readonly string[];
    }
  | { readonly kind: 'prove-control'; readonly check: CheckId; readonly deadlineMs: number };

export interface Weight {
  readonly replica: ReplicaId;
  readonly weight: number;
}

export interface QuarantineRule {
  readonly id: Fingerprint;
  readonly tenant: TenantId;
  readonly service: ServiceName;
  readonly method: string;
  readonly route: string;
  readonly reason: string;
}

export type Origin =
  | { readonly kind: 'heal'; readonly incident: IncidentId }
  | { readonly kind: 'converge'; readonly service: ServiceName }
  | { readonly kind: 'operator'; readonly actor: string };

export interface PlannedStep {
  readonly step: Step;
  readonly undo: readonly Step[];
}

export interface Plan {
  readonly id: PlanId;
  readonly playbook: string;
  readonly target: Target;
  readonly origin: Origin;
  /** One sentence for people: what will happen and why. */
  readonly summary: string;
  readonly steps: readonly [PlannedStep, ...PlannedStep[]];
  readonly service: ServiceName | undefined;
  /** Replicas that were available and will not be, at the worst moment of the plan (P2). */
  readonly disrupts: number;
  readonly approval: ApprovalNeed;
  readonly verification: Verification;
  /** Whole run, ms; past it the run fails and is undone. */
  readonly deadlineMs: number;
}

export type ApprovalNeed =
  | { readonly kind: 'none' }
  | { readonly kind: 'needed'; readonly why: string; readonly deadlineMs: number };

/** What must hold for the plan to count as healed. */
export interface Verification {
  /** Findings that must be gone. */
  readonly symptoms: readonly Fingerprint[];
  /** How long they must stay gone, ms. */
  readonly stableMs: number;
  /** After this the verdict is `ineffective`. */
  readonly deadlineMs: number;
}

export type RefusalReason =
  | 'observing-only'
  | 'frozen'
  | 'healing-off'
  | 'suggest-only'
  | 'paused'
  | 'budget-spent'
  | 'would-break-availability'
  | 'target-busy'
  | 'backing-off'
  | 'dependency-down'
  | 'shared-cause'
  | 'probe-suspected'
  | 'still-serving'
  | 'rollback-ineligible'
  | 'playbook-off'
  | 'ineffective-too-often'
  | 'no-playbook'
  | 'approval-denied'
  | 'approval-expired'
  | 'parked'
  | 'evidence-too-thin';

export interface Refusal {
  readonly incident: IncidentId;
  readonly reason: RefusalReason;
  readonly detail: string;
  /** Ask a person: nothing here will change by waiting. */
  readonly escalate: boolean;
  /** Look again at this monotonic time at the latest. */
  readonly retryAtMs: number;
}

export type Decision =
  | { readonly kind: 'plan'; readonly plan: Plan }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };

/** The part of a plan that acting depends on, in a fixed order, for digests (version 1). */
export function planEssence(plan: Plan): unknown {
  return {
    v: 1,
    id: plan.id,
    playbook: plan.playbook,
    target: plan.target,
    origin: plan.origin,
    steps: plan.steps,
    disrupts: plan.disrupts,
    approval: plan.approval,
    verification: plan.verification,
    deadlineMs: plan.deadlineMs,
  };
}
