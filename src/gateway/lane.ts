// The words that a backend, its lanes and their guests share: a lane leads to one replica, a guest
// is a request inside it, a wish is what a request asks of the next replica.
import type { ReplicaId, TenantId } from '../model/ids.ts';
import type { ReplicaRoute } from '../model/routing.ts';
import type { GatewayEvent, Suspect } from '../model/signal.ts';
import type { Lane as Balanced } from './balance.ts';
import type { Inside } from './guests.ts';
import type { Track } from './health.ts';
import type { PoisonState } from './poison.ts';
import type { UpstreamPool } from './http/upstream-pool.ts';
import type { Look } from './look.ts';

/** A request inside a replica. */
export interface Guest {
  readonly startedMs: number;
  /**
   * Since when the replica owes it an answer. Infinity after the head of the answer came, and while
   * its client has not sent it whole: neither is a sign of a hang.
   */
  readonly waitingSinceMs: number;
  readonly suspected: boolean;
  suspect(): Suspect;
  /** Its replica hangs: repeat it elsewhere now, if that is safe. */
  rescue(): void;
}

export interface Lane extends Balanced {
  readonly id: ReplicaId;
  route: ReplicaRoute;
  readonly pool: UpstreamPool;
  readonly inside: Inside;
  track: Track | undefined;
  share: number;
  inFlight: number;
  failures: number;
  lastEndMs: number;
  /** Something was answered or ended in it, or it was empty: the last sign of life. */
  progressMs: number;
  /** Kept for pinned tenants: nobody else is served here. */
  reserved: boolean;
  /** Tenants that were inside when it last died or was found hung. */
  endedWith: { readonly atMs: number; readonly tenants: ReadonlySet<TenantId> } | undefined;
  hangTimer: NodeJS.Timeout | undefined;
  looking: boolean;
  /** When a look at it was answered last. */
  lookedMs: number;
  /** Connections that broke since the death that is being looked into began. */
  dying: { readonly all: readonly Suspect[]; readonly broken: Suspect[] } | undefined;
  /** Who was inside when it was found hung, until it is looked at again. */
  hungWith: readonly Suspect[] | undefined;
  /** Its death has been told: connections that break later are no new one. */
  dead: boolean;
  gone: boolean;
}

export interface Wish {
  readonly region: string;
  /** Whose request it is: undefined has neither shard nor pin. */
  readonly tenant?: TenantId;
  readonly tried: ReadonlySet<ReplicaId>;
  /** May it be repeated if this replica fails it? */
  readonly repeatable: boolean;
  /** Was it inside a replica that died? */
  readonly suspected: boolean;
}

export interface BackendDeps {
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly open: (host: string, port: number) => UpstreamPool;
  readonly look: (host: string, port: number, path: string, timeoutMs: number) => Promise<Look>;
  readonly emit: (event: GatewayEvent) => void;
  /** Somebody entered or left this replica. */
  readonly changed: (lane: Lane) => void;
  readonly poison: PoisonState;
}
