// Where can a scenario be played? On anything that can be broken on purpose and observed: the
// simulator, or real processes through the control API.
import type { Fault } from './language.ts';

export interface Stage {
  /** Ms since the scenario began: virtual in simulation, real elsewhere. */
  nowMs(): number;
  /** Lets time pass. */
  wait(ms: number): Promise<void>;
  act(fault: Fault): Promise<void>;
  /** The present state. Undefined while the control plane does not answer. */
  status(): Promise<Snapshot | undefined>;
  /** Lines of the story with `seq` above this, oldest first; none while it does not answer. */
  story(after: number): Promise<readonly StoryLine[]>;
  /** What clients got since the scenario began. */
  traffic(): Promise<{ readonly requests: number; readonly failed: number }>;
}

export interface Snapshot {
  readonly services: readonly ServiceState[];
  readonly incidents: readonly IncidentState[];
  readonly quarantines: readonly QuarantineState[];
}

export interface ServiceState {
  readonly name: string;
  readonly wanted: number;
  readonly release: string;
  readonly replicas: readonly ReplicaState[];
}

export interface ReplicaState {
  readonly id: string;
  readonly pid: number | undefined;
  readonly phase: string;
  readonly role: string;
  readonly weight: number;
  readonly available: boolean;
  readonly release: string;
}

export interface IncidentState {
  readonly id: string;
  readonly title: string;
  readonly state: string;
  /** Of the refusal, when a person is asked or it waits. */
  readonly reason: string | undefined;
}

export interface QuarantineState {
  readonly tenant: string;
  /** `METHOD /route`. */
  readonly route: string;
}

export interface StoryLine {
  readonly seq: number;
  readonly kind: string;
  readonly incident: string | undefined;
  readonly service: string | undefined;
  readonly text: string;
}
