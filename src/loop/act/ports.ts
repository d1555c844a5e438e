// What does acting need? Performers take these parts; the loop builds them once.
import type { Manifest } from '../../model/manifest.ts';
import type { Step } from '../../model/plan.ts';
import type { Picture } from '../../model/picture.ts';
import type { Release } from '../../model/release.ts';
import type { Replica } from '../../model/replica.ts';
import type { Receipt } from '../../model/receipt.ts';
import type { ReplicaId } from '../../model/ids.ts';
import type { ReplicaOrder } from '../../world/runtime.ts';
import type { World } from '../../world/world.ts';
import type { Book } from './book.ts';

export interface ActPorts {
  readonly world: World;
  readonly epoch: number;
  readonly book: Book;
  readonly manifest: () => Manifest;
  readonly picture: () => Picture;
  /** Secrets are resolved here, at the last moment, and nowhere kept. */
  readonly order: (replica: Replica, release: Release) => Promise<ReplicaOrder>;
  /** Resolves when the SDK of this replica says that it is ready, or when `signal` aborts. */
  readonly readyWord: (replica: ReplicaId, signal: AbortSignal) => Promise<void>;
  /** Said before a replica is stopped: its exit is wanted, and no crash. */
  readonly ending: (replica: ReplicaId) => void;
  /** Every exit, health and traffic look that is due, now. */
  readonly hurry: () => void;
  readonly stop: AbortSignal;
  /** Named points where tests let the control plane die. */
  readonly crashPoint: (name: string) => Promise<void>;
}

/** Why a step did not do what it should. `retryable`: the same step may work in a moment. */
export type StepAnswer =
  | { readonly kind: 'done'; readonly detail: string }
  | { readonly kind: 'failed'; readonly detail: string };

export const done = (detail: string): StepAnswer => ({ kind: 'done', detail });
export const failed = (detail: string): StepAnswer => ({ kind: 'failed', detail });

export interface StepContext {
  readonly ports: ActPorts;
  readonly receipt: Receipt;
  /** Monotonic time at which the whole run must be over. */
  readonly deadlineAtMs: number;
  /** The step after this one, which may write down for both. */
  readonly next: Step | undefined;
  /** Replicas that this run has seen ready, and whose readiness the next `route` writes. */
  readonly proved: Set<ReplicaId>;
}
