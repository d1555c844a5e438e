// How far is a plan? A run is the durable life of one plan: an intent row before each act, a result
// row after it, so that another controller can go on without doing anything twice.
//
//   state     may become                        because
//   waiting   running, refused                  approved / denied or the deadline passed
//   running   done, undoing                     all steps ended well / one failed
//   undoing   undone, stuck                     all undos ended / one failed for good
//   done, undone, refused, stuck                final
//
//   RUN1. Only the pairs of the table happen.
import type { ApprovalId, IncidentId, RunId } from './ids.ts';
import type { Plan } from './plan.ts';

export type RunState = 'waiting' | 'running' | 'undoing' | 'done' | 'undone' | 'refused' | 'stuck';

export const RUN_TABLE: Readonly<Record<RunState, readonly RunState[]>> = {
  waiting: ['running', 'refused'],
  running: ['done', 'undoing'],
  undoing: ['undone', 'stuck'],
  done: [],
  undone: [],
  refused: [],
  stuck: [],
};

export const OPEN_STATES: readonly RunState[] = ['waiting', 'running', 'undoing'];

export interface Run {
  readonly id: RunId;
  readonly plan: Plan;
  /** SHA-256 hex of the plan's essence, pinned: an upgrade never changes a run in flight. */
  readonly planDigest: string;
  readonly state: RunState;
  readonly incident: IncidentId | undefined;
  /** Ledger index of the intent, once it is durable. */
  readonly intentIndex: number | undefined;
  readonly startedAtWallMs: number;
  readonly endedAtWallMs: number | undefined;
  readonly steps: readonly StepRecord[];
  /** Why it is being undone or was refused. */
  readonly failure: string | undefined;
}

/** `key` is `do:<index>` or `undo:<index>.<n>`. */
export interface StepRecord {
  readonly key: string;
  readonly state: 'intended' | 'done' | 'failed';
  readonly detail: string;
  readonly atWallMs: number;
  readonly tookMs: number | undefined;
}

export interface Approval {
  readonly id: ApprovalId;
  readonly run: RunId;
  readonly summary: string;
  readonly why: string;
  /** Wall ms; past it the safe default holds: nothing is done. */
  readonly deadlineAtMs: number;
  readonly state:
    | { readonly kind: 'pending' }
    | { readonly kind: 'approved'; readonly by: string; readonly atMs: number }
    | { readonly kind: 'denied'; readonly by: string; readonly atMs: number }
    | { readonly kind: 'expired'; readonly atMs: number };
}

/** How a run ended, as the executor reports it. */
export type Outcome =
  | { readonly kind: 'done'; readonly run: Run }
  | { readonly kind: 'undone'; readonly run: Run; readonly reason: string }
  | { readonly kind: 'refused'; readonly run: Run; readonly reason: 'denied' | 'expired' }
  | { readonly kind: 'stuck'; readonly run: Run; readonly reason: string };

export interface Verdict {
  readonly run: RunId;
  readonly kind: 'healed' | 'ineffective' | 'harmful' | 'inconclusive';
  readonly reasons: readonly string[];
  /** From the first finding to the verdict, ms. */
  readonly tookMs: number;
}
