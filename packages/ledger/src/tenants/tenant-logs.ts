// What are the logs of all tenants? Views of the one log: each entry of a tenant is also a leaf of
// that tenant's own RFC 6962 tree. Learnt from the entries alone, so the same after a restart.
// TN1. A tenant's log holds exactly the entries that `tenantOf` gives to it, in their order.
// TN2. The limit on tenants is enforced before anything is written (`admit`); what is in the log
//      is always followed, so that reaching the limit loses nothing.
// TN3. Entries below a tenant's minimum are neither served nor proved; their tree goes on.
// TN4. Following never throws; a map key that is not the one of the log is reported by
//      `keyState`, and the ledger must not go on with it.

import { sameBytes } from '../bytes.ts';
import { LedgerError } from '../errors.ts';
import type { EntryFollower } from '../follow.ts';
import { EpochBook } from './epochs.ts';
import type { Epoch, KnownEpoch } from './epochs.ts';
import { checkMapKey, mapKeyDigest, mapPosition } from './map-key.ts';
import { consistencyRanges, inclusionRanges, peakRanges } from './ranges.ts';
import { corrupt } from './snapshot-bytes.ts';
import { decodeTenants, encodeTenants } from './snapshot.ts';
import type { TenantsState } from './snapshot.ts';
import { mayBeEpoch, mayBeMapKey, readEpoch, readMapKey } from './tenant-entries.ts';
import type { EpochDetail } from './tenant-entries.ts';
import { TenantLog } from './tenant-log.ts';
import type { LeafReader } from './tenant-log.ts';
import { checkTenantId, tenantOf } from './tenant-of.ts';

export const TENANTS_MAX = 1_000_000;
export const PAGE_MAX = 1000;
/** The newest one, and those under way to a public checkpoint; each is a map of all tenants. */
const EPOCHS_KEPT = 3;

export interface TenantLogsOptions {
  /** 32 secret bytes; whoever has them can tell which position is whose. */
  readonly mapKey: Uint8Array;
  readonly readLeaf: LeafReader;
  readonly tenantsMax?: number;
}

export interface TenantHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** `unsaid`: the log names no key yet. `lost` would put every tenant at a second position. */
export type MapKeyState = 'unsaid' | 'agreed' | 'lost';

export class TenantLogs implements EntryFollower {
  readonly name = 'tenants';
  readonly #mapKey: Uint8Array;
  readonly #keyDigest: Uint8Array;
  readonly #read: LeafReader;
  readonly #tenantsMax: number;
  #logs = new Map<string, TenantLog>();
  #epochs = this.#newEpochs();
  #needed: () => readonly number[] = () => [];
  #size = 0;
  #last = -1;
  #keyState: MapKeyState = 'unsaid';

  constructor(options: TenantLogsOptions) {
    checkMapKey(options.mapKey);
    this.#mapKey = Uint8Array.from(options.mapKey);
    this.#keyDigest = mapKeyDigest(this.#mapKey);
    this.#read = options.readLeaf;
    this.#tenantsMax = options.tenantsMax ?? TENANTS_MAX;
  }

  /** Number of tenants that have a log. */
  get count(): number {
    return this.#logs.size;
  }

  /** Entries of the whole log that were followed. */
  get size(): number {
    return this.#size;
  }

  get keyState(): MapKeyState {
    return this.#keyState;
  }

  get keyDigest(): Uint8Array {
    return this.#keyDigest;
  }

  follow(index: number, entry: Uint8Array, leaf: Uint8Array): void {
    this.#size = index + 1;
    const tenant = tenantOf(entry);
    if (tenant === undefined) {
      this.#followSystem(index, entry);
      return;
    }
    let log = this.#logs.get(tenant);
    if (log === undefined) {
      log = TenantLog.empty(tenant, mapPosition(this.#mapKey, tenant));
      this.#logs.set(tenant, log);
    }
    log.append(index, entry, leaf);
    this.#last = index;
    this.#epochs.changed(log);
  }

  #followSystem(index: number, entry: Uint8Array): void {
    if (mayBeEpoch(entry)) {
      const detail = readEpoch(entry);
      if (detail !== undefined) this.#epochs.recorded(index, detail);
    } else if (mayBeMapKey(entry)) {
      const digest = readMapKey(entry);
      if (digest === undefined || this.#keyState === 'lost') return;
      this.#keyState = sameBytes(digest, this.#keyDigest) ? 'agreed' : 'lost';
    }
  }

  /** TN2: before the first entry of a tenant is written; `more` others are about to begin. */
  admit(tenant: string, more = 0): void {
    checkTenantId(tenant);
    if (this.#logs.has(tenant) || this.#logs.size + more < this.#tenantsMax) return;
    throw new LedgerError(
      'KIN_LEDGER_TENANTS_FULL',
      `${this.#logs.size} tenants have a log, and the limit is ${this.#tenantsMax}`,
    );
  }

  has(tenant: string): boolean {
    return this.#logs.has(tenant);
  }

  /** Ids in the order of their first entry, after `after`; at most 1000. */
  list(limit: number, after?: string): readonly string[] {
    const page: string[] = [];
    let isOn = after === undefined;
    for (const id of this.#logs.keys()) {
      if (page.length >= Math.min(limit, PAGE_MAX)) break;
      if (isOn) page.push(id);
      else isOn = id === after;
    }
    return page;
  }

  /** Where the tenant's log stands in the map, whether it has one or not. */
  position(tenant: string): Uint8Array {
    checkTenantId(tenant);
    return mapPosition(this.#mapKey, tenant);
  }

  head(tenant: string): TenantHead | undefined {
    const log = this.#logs.get(tenant);
    return log === undefined ? undefined : { size: log.size, root: log.tree.root() };
  }

  /** The bytes of the first leaf, `ledger.log`. */
  firstEntry(tenant: string): Uint8Array | undefined {
    return this.#log(tenant).firstEntry();
  }

  /** TN3: number of the first entry that is served. */
  minimum(tenant: string): number {
    return this.#log(tenant).minimum;
  }

  async rootAt(tenant: string, size: number): Promise<Uint8Array> {
    const log = this.#log(tenant);
    checkRange(log, size, log.size);
    if (size === 0 || size === log.size) return log.tree.rootAt(size, new Map());
    const [root] = await log.hashes([{ low: 0, high: size }], this.#read);
    return root ?? log.tree.root();
  }

  /** Global indexes of the entries from number `from` on; at most 1000, none below the minimum. */
  positions(tenant: string, from: number, limit: number): readonly number[] {
    const log = this.#served(tenant, from);
    return log.positions.page(from, Math.min(limit, PAGE_MAX));
  }

  /** How many entries of the tenant stand below the global index `bound`. */
  countBelow(tenant: string, bound: number): number {
    return this.#log(tenant).positions.countBelow(bound);
  }

  async leafHashes(tenant: string, from: number, limit: number): Promise<readonly Uint8Array[]> {
    const log = this.#served(tenant, from);
    const leaves: Uint8Array[] = [];
    const end = Math.min(log.size, from + Math.min(limit, PAGE_MAX));
    for (const [step, position] of log.positions.page(from, end - from).entries()) {
      leaves.push(log.tree.leaf(from + step) ?? (await this.#read(position)));
    }
    return leaves;
  }

  /** From the leaf's sibling up. The first leaf can always be proved: every proof shows it. */
  async inclusion(tenant: string, index: number, size: number): Promise<readonly Uint8Array[]> {
    const log = index === 0 ? this.#log(tenant) : this.#served(tenant, index);
    checkRange(log, size, log.size);
    checkRange(log, index, size - 1);
    return log.hashes(inclusionRanges(index, size), this.#read);
  }

  async consistency(tenant: string, before: number, after: number): Promise<readonly Uint8Array[]> {
    const log = this.#log(tenant);
    checkRange(log, after, log.size);
    checkRange(log, before, after);
    if (before === 0) throw new LedgerError('KIN_LEDGER_RANGE', 'size 0 proves nothing');
    return log.hashes(consistencyRanges(before, after), this.#read);
  }

  /** The complete subtrees of the first `size` entries, left to right. */
  async peaks(tenant: string, size: number): Promise<readonly Uint8Array[]> {
    const log = this.#log(tenant);
    checkRange(log, size, log.size);
    return log.hashes(peakRanges(size), this.#read);
  }

  #newEpochs(): EpochBook {
    return new EpochBook(EPOCHS_KEPT, () => this.#needed());
  }

  /** EP4: asked for the sizes of the checkpoints that proofs lead to, when an epoch is added. */
  proveTo(checkpointSizes: () => readonly number[]): void {
    this.#needed = checkpointSizes;
  }

  /** EP1, EP2: what a `ledger.epoch` entry written now must say; undefined when none is due. */
  draftEpoch(): EpochDetail | undefined {
    return this.#epochs.draft(this.#size, this.#logs, this.#last);
  }

  get newestEpoch(): Epoch | undefined {
    return this.#epochs.newest;
  }

  /** The newest epoch that can be proved to a checkpoint of `size` entries. */
  provableEpoch(size: number): KnownEpoch | undefined {
    return this.#epochs.provable(size);
  }

  /** Retention: from now on entries below number `minimum` are not served. Never lowered. */
  raiseMinimum(tenant: string, minimum: number): void {
    const log = this.#log(tenant);
    checkRange(log, minimum, log.size);
    log.raiseMinimum(minimum);
  }

  /**
   * How far retention may go: no entry that a tenant is still served, and not the newest epoch,
   * without which nothing could be proved, stands below this global index.
   */
  prunableBelow(): number {
    let bound = this.#epochs.newest?.index ?? this.#size;
    for (const { minimum, positions } of this.#logs.values()) {
      bound = Math.min(bound, positions.at(minimum) ?? bound);
    }
    return bound;
  }

  /**
   * Before pruning: entries of the whole log below `bound` are about to be deleted. Reads back the
   * leaf hashes that later proofs need; afterwards `snapshot` is small. Fails towards safety: when
   * pruning is then given up, those entries are on disk but not served until the next start.
   */
  async forgetBelow(bound: number): Promise<void> {
    for (const log of this.#logs.values()) await log.forgetBelow(bound, this.#read);
  }

  snapshot(): Uint8Array {
    const logs = [...this.#logs.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    return encodeTenants({
      keyDigest: this.#keyDigest,
      isKeySaid: this.#keyState === 'agreed',
      size: this.#size,
      epoch: this.#savedEpoch(),
      logs,
    });
  }

  #savedEpoch(): TenantsState['epoch'] {
    const epoch = this.#epochs.newest;
    if (epoch === undefined) return { kind: 'none' };
    const known = this.#epochs.provable(Number.MAX_SAFE_INTEGER);
    if (known?.index !== epoch.index) return { kind: 'unknown', epoch };
    return { kind: 'known', epoch: known, changed: [] };
  }

  /** Replaces everything that is known; throws KIN_LEDGER_CORRUPT and changes nothing then. */
  restore(bytes: Uint8Array): void {
    const { keyDigest, isKeySaid, size, epoch, logs } = decodeTenants(bytes);
    if (!sameBytes(keyDigest, this.#keyDigest)) throw corrupt('it was made with another map key');
    this.#logs = new Map(logs.map((log) => [log.id, log]));
    this.#size = size;
    this.#last = logs.reduce((last, log) => Math.max(last, log.positions.last), -1);
    this.#keyState = isKeySaid ? 'agreed' : 'unsaid';
    this.#epochs = this.#newEpochs();
    if (epoch.kind === 'unknown') this.#epochs.restoreUnknown(epoch.epoch);
    if (epoch.kind === 'known') {
      this.#epochs.restore(epoch.epoch, epoch.epoch.heads, epoch.changed, logs.length);
    }
  }

  #log(tenant: string): TenantLog {
    const log = this.#logs.get(tenant);
    if (log !== undefined) return log;
    checkTenantId(tenant);
    throw new LedgerError('KIN_LEDGER_TENANT_UNKNOWN', `the tenant ${tenant} has no log`);
  }

  #served(tenant: string, from: number): TenantLog {
    const log = this.#log(tenant);
    checkRange(log, from, log.size);
    if (from >= log.minimum) return log;
    throw new LedgerError(
      'KIN_LEDGER_PRUNED',
      `entry ${from} of ${tenant} is below its minimum index ${log.minimum}`,
    );
  }
}

function checkRange(log: TenantLog, value: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= max) return;
  throw new LedgerError('KIN_LEDGER_RANGE', `${value} is not in the log of ${log.id} (to ${max})`);
}
