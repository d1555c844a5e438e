// What do we run, where does traffic go, who is held back? The book of the control plane, as one
// immutable value; the routing table is derived from it and from nothing else.
//
//   F1. Ordinals only grow: an id is never given twice, not even after a restart.
import type { Release } from './release.ts';
import type { Replica } from './replica.ts';
import type { TenantHold } from './hold.ts';
import type { QuarantineRule } from './plan.ts';
import type { Fingerprint, ReleaseId, ReplicaId, ServiceName } from './ids.ts';
import { replicaId } from './ids.ts';

export interface ServiceBook {
  readonly name: ServiceName;
  readonly replicas: number;
  readonly release: ReleaseId;
  readonly previous: ReleaseId | undefined;
  /** Wall ms of the last change of release. */
  readonly releasedAtMs: number | undefined;
  /** The next ordinal to give out, ≥ 1. */
  readonly nextOrdinal: number;
  readonly paused: boolean;
}

export interface Fleet {
  readonly services: ReadonlyMap<ServiceName, ServiceBook>;
  readonly replicas: ReadonlyMap<ReplicaId, Replica>;
  readonly releases: ReadonlyMap<ReleaseId, Release>;
  readonly quarantines: ReadonlyMap<Fingerprint, QuarantineRule>;
  /** Whole tenants that an operator holds to less. */
  readonly holds: ReadonlyMap<Fingerprint, TenantHold>;
}

export const EMPTY_FLEET: Fleet = {
  services: new Map(),
  replicas: new Map(),
  releases: new Map(),
  quarantines: new Map(),
  holds: new Map(),
};

export function replicasOf(fleet: Fleet, service: ServiceName): Replica[] {
  return [...fleet.replicas.values()].filter((r) => r.service === service && r.phase !== 'gone');
}

/** The ids that the next `count` replicas will have. */
export function nextIds(book: ServiceBook, count: number): ReplicaId[] {
  return Array.from({ length: count }, (_, i) => replicaId(book.name, book.nextOrdinal + i));
}
