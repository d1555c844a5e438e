// What is a replica, and which lives can it lead? A replica is immutable: it is started once under
// an id that is never used again; "restart" is a new replica beside it or after it.
//
//   phase     may become            because
//   starting  ready, gone           its readiness probe passed / it exited or was stopped
//   ready     draining, gone        a plan drains it / it exited
//   draining  ready, gone           the drain is undone / it was stopped or exited
//   gone      (nothing)
//
//   R1. Only the pairs of the table happen; `gone` is final.
//   R2. Only a replica with weight > 0 receives requests, and only while `ready`.
import type { ReleaseId, ReplicaId, ServiceName } from './ids.ts';

export type Phase = 'starting' | 'ready' | 'draining' | 'gone';

export const PHASE_TABLE: Readonly<Record<Phase, readonly Phase[]>> = {
  starting: ['ready', 'gone'],
  ready: ['draining', 'gone'],
  draining: ['ready', 'gone'],
  gone: [],
};

/** What a replica is for: a spare is kept ready and unrouted until it is promoted. */
export type Role = 'active' | 'spare';

/** Where it listens. Loopback by default. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Our book about one replica: what we want it to be. What it is, the runtime says. */
export interface Replica {
  readonly id: ReplicaId;
  readonly service: ServiceName;
  readonly release: ReleaseId;
  readonly role: Role;
  readonly phase: Phase;
  /** Share of its service's requests relative to 100 for a full replica; 0 = none. */
  readonly weight: number;
  readonly region: string;
  /** Undefined until the runtime has placed it. */
  readonly endpoint: Endpoint | undefined;
  /** Wall time, ms since the epoch. */
  readonly createdAtMs: number;
}

export type Exit =
  | { readonly kind: 'code'; readonly code: number }
  | { readonly kind: 'signal'; readonly signal: string }
  | { readonly kind: 'memory' }
  | { readonly kind: 'unknown' };

export function exitText(exit: Exit): string {
  switch (exit.kind) {
    case 'code':
      return `exit code ${exit.code}`;
    case 'signal':
      return `ended by ${exit.signal}`;
    case 'memory':
      return 'ended at its memory limit';
    case 'unknown':
      return 'ended (status not seen)';
  }
}

export function mayBecome(from: Phase, to: Phase): boolean {
  return PHASE_TABLE[from].includes(to);
}
