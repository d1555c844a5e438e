// What may a decision look at? Everything that it needs, as one value: deciding is pure.
import type { Fleet } from '../../model/fleet.ts';
import type { Incident } from '../../model/incident.ts';
import type { Manifest } from '../../model/manifest.ts';
import type { Picture } from '../../model/picture.ts';
import type { IncidentId, ReplicaId, RunId, ServiceName, Target } from '../../model/ids.ts';

export interface LiveRun {
  readonly run: RunId;
  readonly target: Target;
  readonly service: ServiceName | undefined;
  readonly disrupts: number;
  readonly incident: IncidentId | undefined;
  readonly playbook: string;
  /** Replicas that the run starts or promotes. */
  readonly brings: readonly ReplicaId[];
}

export interface Disruption {
  readonly service: ServiceName;
  readonly atMs: number;
}

export interface DecideContext {
  readonly nowMs: number;
  readonly wallMs: number;
  readonly picture: Picture;
  readonly fleet: Fleet;
  readonly manifest: Manifest;
  readonly liveRuns: readonly LiveRun[];
  /** Disruptive runs of the last hour. */
  readonly disruptions: readonly Disruption[];
  /** Incidents that are not healed. */
  readonly incidents: readonly Incident[];
  /** False until the data is fresh after a start (P6). */
  readonly warm: boolean;
  /** Everything is on hold: the kill switch. */
  readonly halted: boolean;
}
