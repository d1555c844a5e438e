// What is wrong, who is to blame, and how far are we with it?
//
//   state      may become                      because
//   open       acting, waiting, escalated, healed
//                                              a plan runs / a refusal says wait / a person is
//                                              asked / it went away by itself
//   waiting    acting, open, escalated, healed the reason to wait is over
//   acting     verifying, open, escalated      the run ended / failed and may be tried again
//   verifying  healed, open, escalated         the verdict
//   escalated  acting, verifying, healed       a person decided / a trial start worked
//   healed     (nothing)                       a return of the same fault is a new incident
//
//   INC1. Only the pairs of the table happen; `healed` is final.
import type { Finding, Subject } from './finding.ts';
import type { Fingerprint, IncidentId, PlanId } from './ids.ts';
import type { RefusalReason } from './plan.ts';

export type IncidentState =
  | { readonly kind: 'open' }
  | { readonly kind: 'waiting'; readonly reason: RefusalReason; readonly detail: string }
  | { readonly kind: 'acting'; readonly plan: PlanId }
  | { readonly kind: 'verifying'; readonly plan: PlanId; readonly sinceMs: number }
  | {
      readonly kind: 'escalated';
      readonly reason: RefusalReason;
      readonly detail: string;
      readonly sinceMs: number;
    }
  | { readonly kind: 'healed'; readonly atMs: number; readonly by: PlanId | 'itself' };

export const INCIDENT_TABLE: Readonly<
  Record<IncidentState['kind'], readonly IncidentState['kind'][]>
> = {
  open: ['acting', 'waiting', 'escalated', 'healed'],
  waiting: ['acting', 'open', 'escalated', 'healed'],
  acting: ['verifying', 'open', 'escalated'],
  verifying: ['healed', 'open', 'escalated'],
  escalated: ['acting', 'verifying', 'healed'],
  healed: [],
};

export interface Hypothesis {
  readonly subject: Subject;
  /** 0–1. */
  readonly confidence: number;
  readonly why: string;
}

/** Ranked, best first; the first is what decisions are made on. Never empty. */
export interface Diagnosis {
  readonly hypotheses: readonly [Hypothesis, ...Hypothesis[]];
}

export interface Incident {
  readonly id: IncidentId;
  /** `kind:subject` of the diagnosis: dedup key while the incident is not healed. */
  readonly fingerprint: Fingerprint;
  readonly title: string;
  readonly findings: readonly Finding[];
  readonly diagnosis: Diagnosis;
  readonly state: IncidentState;
  /** Monotonic ms of the first finding. */
  readonly openedAtMs: number;
  /** Wall ms. */
  readonly openedAtWallMs: number;
  /** Plans tried so far, oldest first, with how each ended. */
  readonly attempts: readonly Attempt[];
  /** Last time that one of its findings was seen. */
  readonly seenAtMs: number;
}

export interface Attempt {
  readonly plan: PlanId;
  readonly playbook: string;
  readonly endedAtMs: number;
  readonly verdict: 'healed' | 'ineffective' | 'harmful' | 'inconclusive' | 'failed';
}

export function incidentMayBecome(from: IncidentState['kind'], to: IncidentState['kind']): boolean {
  return INCIDENT_TABLE[from].includes(to);
}
