// Which replicas does a tenant live on, and who shares its fate? Shuffle sharding: each tenant has
// k of the N replicas, chosen by weighted rendezvous hashing, so that two tenants seldom share all.
//
//   SH1. The same tenant and replicas give the same shard, in whatever order they are listed, in
//        every worker and after every restart.
//   SH2. When a replica is lost only its tenants move, and each of them by one replica; when one
//        comes only those move that it takes over.
//   SH3. A tenant's chance to have a replica grows with the replica's weight, so that a canary gets
//        few tenants even where each lives on one replica only. Weight 0 is never chosen.
import type { ReplicaId, TenantId } from './ids.ts';

export interface Sharded {
  readonly id: ReplicaId;
  readonly weight: number;
}

const FNV_OFFSET = 0x81_1c_9d_c5;
const FNV_PRIME = 0x01_00_01_93;

function hash(text: string): number {
  let h = FNV_OFFSET;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), FNV_PRIME);
  return mix(h);
}

/** The finaliser of MurmurHash3: each bit of the input moves half of the output's. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85_eb_ca_6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2_b2_ae_35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Smaller is nearer: exponentially distributed with the weight as its rate. */
function distance(tenant: number, replica: Sharded): number {
  const both = mix(tenant ^ Math.imul(hash(replica.id), 0x9e_37_79_b1));
  return -Math.log((both + 0.5) / 4_294_967_296) / replica.weight;
}

/** The `k` replicas of this tenant, nearest first; all of them when there are no more than `k`. */
export function shardOf<R extends Sharded>(
  tenant: TenantId,
  replicas: readonly R[],
  k: number,
): readonly R[] {
  const fit = replicas.filter((replica) => replica.weight > 0);
  const own = hash(tenant);
  return fit
    .map((replica) => ({ replica, at: distance(own, replica) }))
    .sort((a, b) => a.at - b.at || (a.replica.id < b.replica.id ? -1 : 1))
    .slice(0, Math.max(1, k))
    .map(({ replica }) => replica);
}

export interface BlastRadius {
  readonly replicas: number;
  readonly shard: number;
  /** Different shards that there are. */
  readonly shards: number;
  /** 0–1: chance that another tenant has the very same replicas, all of them. */
  readonly sharesAll: number;
  /** 0–1: tenants that lose at least one replica when all of one tenant's are lost. */
  readonly sharesAny: number;
}

function choose(n: number, k: number): number {
  if (k < 0 || k > n) return 0;
  let ways = 1;
  for (let i = 1; i <= k; i += 1) ways = (ways * (n - k + i)) / i;
  return Math.round(ways);
}

/** What a tenant that breaks whatever serves it can take with it; replicas of equal weight. */
export function blastRadius(replicas: number, shardSize: number | undefined): BlastRadius {
  const shard = Math.max(1, Math.min(replicas, shardSize ?? replicas));
  const shards = Math.max(1, choose(replicas, shard));
  return {
    replicas,
    shard,
    shards,
    sharesAll: 1 / shards,
    sharesAny: replicas === 0 ? 0 : 1 - choose(replicas - shard, shard) / shards,
  };
}

const percent = (share: number): string => {
  const value = share * 100;
  return `${value >= 10 ? Math.round(value) : Number(value.toPrecision(2))} %`;
};

/** One line for people. */
export function blastText(radius: BlastRadius): string {
  const { replicas, shard, sharesAll, sharesAny } = radius;
  if (shard >= replicas) return `each tenant on all ${replicas}: what breaks one breaks all`;
  const touched = `${percent(sharesAny)} lose one or more`;
  return (
    `each tenant on ${shard} of ${replicas}: if one breaks its ${shard}, ` +
    `${percent(sharesAll)} of the others lose all of theirs, ${touched}`
  );
}
