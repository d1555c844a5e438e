// What is known of one tenant's log? Its tree, the global index of each of its entries, how it
// began, and from where on retention still serves it.
// TL1. The log begins with `ledger.log`, which names its position in the map; those bytes can be
//      given again even when retention removed them, because every proof shows them.
// TL2. Before entries are forgotten, the leaf hashes that later proofs need are held: those of the
//      first group and of the group in which the first kept entry stands.

import { concat, sameBytes } from '../bytes.ts';
import { LedgerError } from '../errors.ts';
import { HASH_BYTES } from '../merkle.ts';
import { CompactTree, GROUP_LEAVES } from './compact-tree.ts';
import { PositionList } from './positions.ts';
import type { Range } from './ranges.ts';
import {
  logStartEntry,
  mayBeLogStart,
  mayBeMinimum,
  readLogStart,
  readMinimum,
} from './tenant-entries.ts';

/** The leaf hash at a global index; rejects with KIN_LEDGER_PRUNED below the first kept entry. */
export type LeafReader = (globalIndex: number) => Promise<Uint8Array>;

/** What the first leaf says beside the position. */
export interface LogBegin {
  readonly at: string;
  readonly salt: string;
}

export interface TenantLogState {
  readonly id: string;
  readonly position: Uint8Array;
  readonly tree: CompactTree;
  readonly positions: PositionList;
  readonly begin: LogBegin | undefined;
  readonly minimum: number;
  /** Whole groups of leaf hashes, by number. */
  readonly held: ReadonlyMap<number, Uint8Array>;
}

export class TenantLog {
  readonly id: string;
  readonly position: Uint8Array;
  readonly tree: CompactTree;
  readonly positions: PositionList;
  /** Is it on the list of logs that changed since the map was last brought up to date? */
  isChanged = false;
  #begin: LogBegin | undefined;
  #minimum: number;
  #held: Map<number, Uint8Array> | undefined;

  constructor(state: TenantLogState) {
    this.id = state.id;
    this.position = state.position;
    this.tree = state.tree;
    this.positions = state.positions;
    this.#begin = state.begin;
    this.#minimum = state.minimum;
    this.#held = state.held.size === 0 ? undefined : new Map(state.held);
  }

  static empty(id: string, position: Uint8Array): TenantLog {
    const tree = new CompactTree();
    const positions = new PositionList();
    const held = new Map<number, Uint8Array>();
    return new TenantLog({ id, position, tree, positions, begin: undefined, minimum: 0, held });
  }

  state(): TenantLogState {
    const { id, position, tree, positions } = this;
    const held = this.#held ?? new Map<number, Uint8Array>();
    return { id, position, tree, positions, begin: this.#begin, minimum: this.#minimum, held };
  }

  get size(): number {
    return this.tree.size;
  }

  /** Number of the first entry that is served. */
  get minimum(): number {
    return Math.max(this.#minimum, this.positions.first);
  }

  append(index: number, entry: Uint8Array, leaf: Uint8Array): void {
    if (this.size === 0 && mayBeLogStart(entry, this.id)) this.#began(entry);
    else if (mayBeMinimum(entry, this.id)) this.#raised(entry);
    if (this.positions.first > 0 && this.size % GROUP_LEAVES === GROUP_LEAVES - 1) {
      this.#holdNewest(leaf);
    }
    this.tree.append(leaf);
    this.positions.append(index);
  }

  #began(entry: Uint8Array): void {
    const start = readLogStart(entry);
    if (start === undefined || !sameBytes(start.position, this.position)) return;
    this.#begin = { at: start.at, salt: start.salt };
  }

  #raised(entry: Uint8Array): void {
    const mark = readMinimum(entry);
    if (mark !== undefined && mark.index <= this.size) this.raiseMinimum(mark.index);
  }

  raiseMinimum(minimum: number): void {
    if (minimum > this.#minimum) this.#minimum = minimum;
  }

  /** TL2: this leaf completes a group of which entries may be gone already. */
  #holdNewest(leaf: Uint8Array): void {
    const group = Math.floor(this.size / GROUP_LEAVES);
    if (!this.#needsHeld(group, this.positions.first)) return;
    const leaves: Uint8Array[] = [];
    for (let at = group * GROUP_LEAVES; at < this.size; at++) {
      leaves.push(this.tree.leaf(at) ?? leaf);
    }
    this.#held ??= new Map();
    this.#held.set(group, concat(...leaves, leaf));
  }

  #needsHeld(group: number, first: number): boolean {
    const low = group * GROUP_LEAVES;
    return low < first && (group === 0 || first < low + GROUP_LEAVES);
  }

  /** TL1: undefined when this log did not begin as it should. */
  firstEntry(): Uint8Array | undefined {
    if (this.#begin === undefined) return undefined;
    return logStartEntry({ ...this.#begin, tenant: this.id, position: this.position });
  }

  /** Hashes of subtrees, reading back the leaves that are not in memory. */
  async hashes(ranges: readonly Range[], read: LeafReader): Promise<readonly Uint8Array[]> {
    const loaded = new Map<number, readonly Uint8Array[]>();
    // The log may grow while leaves are read and so complete the newest group: twice at most.
    for (let round = 0; round < 4; round++) {
      const missing = this.tree.groupsFor(ranges).filter((group) => !loaded.has(group));
      if (missing.length === 0) return ranges.map((range) => this.tree.hash(range, loaded));
      for (const group of missing) loaded.set(group, await this.#group(group, read));
    }
    throw new LedgerError('KIN_LEDGER_OVERLOADED', `the log of ${this.id} grew faster than read`);
  }

  async leaf(index: number, read: LeafReader): Promise<Uint8Array> {
    const near = this.tree.leaf(index);
    if (near !== undefined) return near;
    const group = await this.#group(Math.floor(index / GROUP_LEAVES), read);
    return group[index % GROUP_LEAVES] ?? new Uint8Array(0);
  }

  async #group(group: number, read: LeafReader): Promise<readonly Uint8Array[]> {
    const held = this.#held?.get(group);
    if (held !== undefined) return splitHashes(held);
    const from = group * GROUP_LEAVES;
    const positions = this.positions.page(from, GROUP_LEAVES);
    if (positions.length < GROUP_LEAVES) {
      throw new LedgerError('KIN_LEDGER_PRUNED', `entry ${from} of ${this.id} is no longer kept`);
    }
    const leaves = await Promise.all(positions.map((position) => read(position)));
    if (!this.tree.isGroup(group, leaves)) {
      throw new LedgerError(
        'KIN_LEDGER_CORRUPT',
        `entries ${from} to ${from + GROUP_LEAVES - 1} of ${this.id} are not those of its tree`,
      );
    }
    return leaves;
  }

  /** TL2: entries below the global index `bound` are about to be deleted. */
  async forgetBelow(bound: number, read: LeafReader): Promise<void> {
    const first = this.positions.countBelow(bound);
    if (first <= this.positions.first) return;
    const held = new Map<number, Uint8Array>();
    for (const group of new Set([0, Math.floor(first / GROUP_LEAVES)])) {
      if (!this.#needsHeld(group, first)) continue;
      // A group that is still ragged is in the tree; `append` holds it once it is complete.
      if ((group + 1) * GROUP_LEAVES > this.size) continue;
      held.set(group, concat(...(await this.#group(group, read))));
    }
    if (this.#completedMeanwhile(first, held)) {
      await this.forgetBelow(bound, read);
      return;
    }
    this.#held = held.size === 0 ? undefined : held;
    this.positions.forget(first);
  }

  #completedMeanwhile(first: number, held: ReadonlyMap<number, Uint8Array>): boolean {
    const groups = [0, Math.floor(first / GROUP_LEAVES)];
    const isLate = (group: number): boolean =>
      this.#needsHeld(group, first) && (group + 1) * GROUP_LEAVES <= this.size && !held.has(group);
    return groups.some(isLate);
  }
}

export function splitHashes(bytes: Uint8Array): readonly Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += HASH_BYTES) {
    hashes.push(bytes.subarray(at, at + HASH_BYTES));
  }
  return hashes;
}
