// What can an auditor with the folder of a ledger prove to one tenant? Its log is put together from
// the entries, the map from the first leaf of every log; the secret key of the map is not needed.
//
//   OT1. A proof leaves only after it was verified as its receiver will verify it.
import { tenantOf } from '@kintsugi/ledger';
import { toBase64, verifyCheckpoint } from '@kintsugi/ledger/verify';
import { KinError } from '../../model/errors.ts';
import { HashTiles } from './hash-tiles.ts';
import {
  formatTenantProof,
  mapLeaf,
  mapRoot,
  proveInMap,
  readEpoch,
  readLogStart,
  updateMap,
  verifyTenantHead,
  verifyTenantProof,
} from './package.ts';
import type { EpochDetail, TenantProof, TenantTrust } from './package.ts';
import type { OfflineLog } from './read-log.ts';

export interface OfflineTenant {
  readonly tenant: string;
  readonly tree: HashTiles;
  /** Global indexes, in order. */
  readonly indexes: readonly number[];
}

interface Collected extends OfflineTenant {
  readonly begin: Uint8Array;
  readonly position: Uint8Array | undefined;
  readonly indexes: number[];
  readonly entries: Uint8Array[] | undefined;
}

interface KnownEpoch {
  readonly index: number;
  readonly entry: Uint8Array;
  readonly detail: EpochDetail;
}

export type OfflineAbout =
  | { readonly kind: 'head' }
  | { readonly kind: 'entry'; readonly index: number };

export interface OfflineProof {
  readonly tenant: string;
  readonly proof: string;
  readonly entry: Uint8Array | undefined;
  /** Entries that the epoch of the proof covers. */
  readonly size: number;
}

export class TenantCollector {
  readonly #wanted: string | undefined;
  readonly #logs = new Map<string, Collected>();
  readonly #epochs: KnownEpoch[] = [];
  #first: number | undefined;

  /** Entries are kept for the tenant that is wanted. */
  constructor(wanted?: string) {
    this.#wanted = wanted;
  }

  follow(index: number, entry: Uint8Array, leaf: Uint8Array): void {
    this.#first ??= index;
    const tenant = tenantOf(entry);
    if (tenant === undefined) {
      const detail = readEpoch(entry);
      if (detail !== undefined && detail.size <= index) {
        this.#epochs.push({ index, entry: Uint8Array.from(entry), detail });
      }
      return;
    }
    let log = this.#logs.get(tenant);
    if (log === undefined) {
      const begin = Uint8Array.from(entry);
      const entries = tenant === this.#wanted ? [] : undefined;
      const position = readLogStart(begin)?.position;
      log = { tenant, tree: new HashTiles(), indexes: [], begin, position, entries };
      this.#logs.set(tenant, log);
    }
    log.tree.append(leaf);
    log.indexes.push(index);
    log.entries?.push(Uint8Array.from(entry));
  }

  tenants(): readonly OfflineTenant[] {
    return [...this.#logs.values()];
  }

  /** The entries that a proof covers. */
  entries(size: number): readonly Uint8Array[] {
    return this.#log(this.#wanted ?? '').entries?.slice(0, size) ?? [];
  }

  /** `checkpoints`: best first; one that an epoch can be proved to is taken. */
  prove(
    about: OfflineAbout,
    log: OfflineLog,
    checkpoints: readonly string[],
    trust: TenantTrust & { readonly vkey: string },
  ): OfflineProof {
    const tenant = this.#wanted ?? '';
    const own = this.#log(tenant);
    this.#refusePruned();
    const { checkpoint, size, epoch } = this.#choose([...checkpoints, log.checkpoint], trust.vkey);
    const bound = epoch.detail.size;
    const head = countBelow(own.indexes, bound);
    if (head === 0) throw noProof(`the newest epoch does not know ${tenant} yet`);
    if (about.kind === 'entry' && about.index >= head) {
      throw noProof(`the newest epoch covers ${head} entries of ${tenant}`);
    }
    const text = formatTenantProof({
      tenant,
      size: BigInt(head),
      root: own.tree.rootAt(head),
      part: partOf(about, own, head),
      begin: { entry: own.begin, hashes: own.tree.inclusion(0, head) },
      map: this.#mapPath(own, epoch),
      epoch: {
        index: BigInt(epoch.index),
        entry: epoch.entry,
        hashes: log.tree.inclusion(epoch.index, size),
      },
      checkpoint,
    });
    const entry = about.kind === 'entry' ? own.entries?.[about.index] : undefined;
    assertValid(text, entry, tenant, trust);
    return { tenant, proof: text, entry, size: head };
  }

  #log(tenant: string): Collected {
    const log = this.#logs.get(tenant);
    if (log !== undefined) return log;
    throw new KinError(
      'KIN_LEDGER_TENANT_UNKNOWN',
      `the tenant ${JSON.stringify(tenant.slice(0, 64))} has no log here`,
      'See "kintsugi ledger tenants" for those that have one.',
    );
  }

  /** The beginnings of logs are gone, and with them the numbers of all later entries. */
  #refusePruned(): void {
    if (this.#first === 0) return;
    throw new KinError(
      'KIN_LEDGER_PRUNED',
      `retention removed the entries below ${this.#first} of this copy`,
      'Ask the running system, which remembers the beginnings, or use an older export.',
    );
  }

  #choose(
    checkpoints: readonly string[],
    vkey: string,
  ): { readonly checkpoint: string; readonly size: number; readonly epoch: KnownEpoch } {
    for (const checkpoint of checkpoints) {
      const verdict = verifyCheckpoint(checkpoint, vkey);
      if (verdict.kind === 'invalid') continue;
      const size = Number(verdict.head.size);
      const epoch = this.#epochs.findLast(({ index }) => index < size);
      if (epoch !== undefined) return { checkpoint, size, epoch };
    }
    throw noProof('no epoch is in the log yet');
  }

  #mapPath(own: Collected, { detail }: KnownEpoch): readonly Uint8Array[] {
    const heads = [...this.#logs.values()].flatMap(({ position, indexes, tree }) => {
      const size = countBelow(indexes, detail.size);
      if (size === 0 || position === undefined) return [];
      return [mapLeaf(position, size, tree.rootAt(size))];
    });
    const map = updateMap(undefined, heads);
    if (own.position === undefined || toBase64(mapRoot(map)) !== toBase64(detail.map)) {
      throw new KinError(
        'KIN_LEDGER_CORRUPT',
        'the entries do not give the map that the epoch commits to',
        'Run "kintsugi ledger fsck --deep": it names the first wrong epoch.',
      );
    }
    return proveInMap(map, own.position).siblings;
  }
}

function partOf(about: OfflineAbout, own: Collected, head: number): TenantProof['part'] {
  if (about.kind === 'head') return { kind: 'head' };
  const hashes = own.tree.inclusion(about.index, head);
  return { kind: 'entry', index: BigInt(about.index), hashes };
}

/** OT1. */
function assertValid(
  text: string,
  entry: Uint8Array | undefined,
  tenant: string,
  trust: TenantTrust,
): void {
  const verdict =
    entry === undefined
      ? verifyTenantHead(text, { trust, tenant })
      : verifyTenantProof(text, entry, { trust, tenant });
  if (verdict.kind === 'valid') return;
  throw new KinError(
    'KIN_LEDGER_PROOF_INVALID',
    `the proof does not verify (${verdict.reason}): ${verdict.detail}`,
    'Run "kintsugi ledger fsck --deep" on this folder.',
  );
}

/** How many of the sorted indexes are below the bound. */
function countBelow(indexes: readonly number[], bound: number): number {
  let low = 0;
  let high = indexes.length;
  // Each round halves what is left.
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((indexes[middle] ?? Infinity) < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

function noProof(why: string): KinError {
  return new KinError(
    'KIN_LEDGER_NO_PROOF',
    why,
    'Publish the log once more (it does by itself), or ask for an earlier entry.',
  );
}
