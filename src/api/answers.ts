// What does the control API answer to a call that does something? One answer a call, typed; the
// views that only show something are in `contract.ts`, which passes these on.
import type { RollbackEligibility } from '../model/release.ts';
import type { ManifestChange, ReleaseSummary } from './contract.ts';

export interface ApplyAnswer {
  readonly dryRun: boolean;
  readonly changes: readonly ManifestChange[];
}

export interface DeployAnswer {
  readonly release: ReleaseSummary;
  readonly run: string;
  readonly rollback: RollbackEligibility;
}

export interface RunAnswer {
  readonly run: string;
}

/** `run` is undefined when nothing had to change. */
export interface ScaleAnswer {
  readonly service: string;
  readonly from: number;
  readonly to: number;
  readonly run: string | undefined;
}

export interface PauseAnswer {
  /** Services that changed. */
  readonly changed: readonly string[];
}

/** The only place where a whole key appears, once. */
export interface KeyAnswer {
  readonly tenant: string;
  readonly id: string;
  readonly key: string;
}

export interface LogPart {
  /** Replica id, `controller`, `init` or a gateway worker. */
  readonly source: string;
  readonly text: string;
}

export interface DrillSpec {
  readonly name: string;
  readonly does: string;
  /** What a target names. */
  readonly targets: 'replica' | 'service' | 'dependency' | 'control' | 'controller' | 'tenant';
  /** Example for a copy-paste. */
  readonly example: string;
  /** What should happen then. */
  readonly expect: string;
}

export interface DrillAnswer {
  readonly name: string;
  readonly target: string;
  readonly atMs: number;
  /** What was done, in words. */
  readonly did: string;
}
