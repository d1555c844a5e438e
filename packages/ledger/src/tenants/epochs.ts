// Which heads of all tenants' logs stand in the newest epochs? The map is brought up to date only
// when an epoch is drafted; the draft becomes an epoch when its entry is seen in the log.
// EP1. A draft of size S holds the heads over exactly the entries [0, S), whatever is appended
//      before its entry reaches the log.
// EP2. An epoch is due only when a head changed: the map is a function of the heads, so its root
//      is the one of the newest epoch otherwise.
// EP3. After a restart the map is computed again; when nothing followed the newest epoch, its root
//      must be the recorded one.
// EP4. The newest epochs stay provable, and of the older ones those that a public checkpoint needs.

import { sameBytes, toBase64 } from '../bytes.ts';
import { LedgerError } from '../errors.ts';
import { mapLeaf, mapRoot, updateMap } from './sparse-map.ts';
import type { MapNode } from './sparse-map.ts';
import type { EpochDetail } from './tenant-entries.ts';
import type { TenantLog } from './tenant-log.ts';

export interface Epoch extends EpochDetail {
  /** Global index of its entry. */
  readonly index: number;
}

/** An epoch whose heads are at hand, so that it can be proved. */
export interface KnownEpoch extends Epoch {
  readonly heads: MapNode;
}

interface Draft extends EpochDetail {
  readonly heads: MapNode;
}

export class EpochBook {
  readonly #kept: number;
  readonly #needed: () => readonly number[];
  #heads: MapNode;
  #isBuilt = false;
  #logs = 0;
  #changed: TenantLog[] = [];
  #drafts: Draft[] = [];
  #known: KnownEpoch[] = [];
  #newest: Epoch | undefined;

  /** `needed` answers sizes of checkpoints that proofs are made for. */
  constructor(kept: number, needed: () => readonly number[] = () => []) {
    this.#kept = kept;
    this.#needed = needed;
  }

  /** The newest epoch in the log. */
  get newest(): Epoch | undefined {
    return this.#newest;
  }

  changed(log: TenantLog): void {
    if (log.isChanged || !this.#isBuilt) return;
    log.isChanged = true;
    this.#changed.push(log);
  }

  /** EP1: `logs` are all of them, at the state after `size` entries. */
  draft(size: number, logs: ReadonlyMap<string, TenantLog>, last: number): EpochDetail | undefined {
    this.#update(logs);
    const map = mapRoot(this.#heads);
    const newest = this.#newest;
    if (newest !== undefined && sameBytes(newest.map, map)) {
      if (!this.#known.some(({ index }) => index === newest.index)) this.#know(newest);
      return undefined;
    }
    if (newest !== undefined && last < newest.size) throw this.#differs(newest, map);
    if (this.#logs === 0) return undefined;
    const detail: EpochDetail = { logs: this.#logs, map, size };
    this.#drafts = [...this.#drafts, { ...detail, heads: this.#heads }].slice(-this.#kept);
    return detail;
  }

  /** EP3. */
  #differs(newest: Epoch, map: Uint8Array): LedgerError {
    return new LedgerError(
      'KIN_LEDGER_CORRUPT',
      `the tenants' logs have the map root ${toBase64(map)}, but the epoch in entry ` +
        `${newest.index} says ${toBase64(newest.map)}`,
    );
  }

  #update(logs: ReadonlyMap<string, TenantLog>): void {
    const due = this.#isBuilt ? this.#changed : [...logs.values()];
    const heads = due.map((log) => mapLeaf(log.position, log.size, log.tree.root()));
    this.#heads = updateMap(this.#heads, heads);
    for (const log of due) log.isChanged = false;
    this.#changed = [];
    this.#logs = logs.size;
    this.#isBuilt = true;
  }

  #know(epoch: Epoch): void {
    this.#keep({ ...epoch, heads: this.#heads });
  }

  /** EP4: a map of many logs is large, so no other one is kept. */
  #keep(epoch: KnownEpoch): void {
    const known = [...this.#known, epoch];
    const needed = this.#needed().map((size) => known.findLast(({ index }) => index < size));
    this.#known = known.filter(
      (one, at) => at >= known.length - this.#kept || needed.includes(one),
    );
  }

  /** Its entry was followed. */
  recorded(index: number, detail: EpochDetail): void {
    this.#newest = { index, ...detail };
    const draft = this.#drafts.find(
      ({ size, map }) => size === detail.size && sameBytes(map, detail.map),
    );
    this.#drafts = this.#drafts.filter(({ size }) => size > detail.size);
    if (draft === undefined) return;
    this.#keep({ ...this.#newest, heads: draft.heads });
  }

  /** The newest provable epoch whose entry is in a log of `size` entries. */
  provable(size: number): KnownEpoch | undefined {
    return this.#known.findLast(({ index }) => index < size);
  }

  /** From a snapshot: the newest epoch, its heads, and what changed since. */
  restore(epoch: Epoch, heads: MapNode, changed: readonly TenantLog[], logs: number): void {
    this.#newest = epoch;
    this.#known = [{ ...epoch, heads }];
    this.#heads = heads;
    this.#logs = logs;
    this.#isBuilt = true;
    for (const log of changed) this.changed(log);
  }

  /** From a snapshot that did not have the heads: the next draft computes them. */
  restoreUnknown(epoch: Epoch): void {
    this.#newest = epoch;
  }
}
