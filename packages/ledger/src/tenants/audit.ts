// Did every epoch say the truth about every tenant? Fed with the whole log in order, it computes
// each map again and reports what is wrong, the first wrong place first.
// TA1. The heads of an epoch of size S are those over exactly [0, S): entries wait until an epoch
//      asks for them, because others may be appended before its entry is.
// TA2. Without the map key positions are taken from the first leaves, and one tenant with two
//      positions is still found; with the key, each position is computed.
// TA3. An epoch that is wrong is reported and not believed: the next is judged on its own.

import { sameBytes, toBase64 } from '../bytes.ts';
import type { EntryFollower } from '../follow.ts';
import { CompactTree } from './compact-tree.ts';
import { checkMapKey, mapKeyDigest, mapPosition } from './map-key.ts';
import { mapLeaf, mapRoot, updateMap } from './sparse-map.ts';
import type { MapNode } from './sparse-map.ts';
import {
  mayBeEpoch,
  mayBeLogStart,
  mayBeMapKey,
  readEpoch,
  readLogStart,
  readMapKey,
} from './tenant-entries.ts';
import type { EpochDetail } from './tenant-entries.ts';
import { saltOf, tenantOf } from './tenant-of.ts';

const FAULTS_MAX = 100;
const WAITING_MAX = 1_048_576;

export type TenantFaultKind =
  | 'map-root-wrong'
  | 'log-count-wrong'
  | 'epoch-went-back'
  | 'epoch-too-new'
  | 'epoch-overdue'
  | 'log-not-begun'
  | 'position-wrong'
  | 'second-position'
  | 'position-shared'
  | 'entry-unsalted'
  | 'map-key-changed'
  | 'map-key-wrong';

export interface TenantFault {
  /** Global index of the entry that is wrong. */
  readonly index: number;
  readonly kind: TenantFaultKind;
  readonly detail: string;
}

export interface TenantAuditReport {
  readonly tenants: number;
  readonly epochs: number;
  /** In the order of the log, the first 100. */
  readonly faults: readonly TenantFault[];
  readonly faultCount: number;
}

interface AuditedLog {
  readonly id: string;
  readonly position: Uint8Array | undefined;
  readonly tree: CompactTree;
  isChanged: boolean;
}

interface Waiting {
  readonly index: number;
  readonly log: AuditedLog;
  readonly leaf: Uint8Array;
}

export class TenantAudit implements Pick<EntryFollower, 'follow'> {
  readonly #mapKey: Uint8Array | undefined;
  readonly #logs = new Map<string, AuditedLog>();
  readonly #positions = new Map<string, string>();
  readonly #faults: TenantFault[] = [];
  #faultCount = 0;
  #epochs = 0;
  #waiting: Waiting[] = [];
  #changed: AuditedLog[] = [];
  #heads: MapNode;
  #placed = 0;
  #applied = 0;
  #keyDigest: Uint8Array | undefined;

  constructor(options: { readonly mapKey?: Uint8Array } = {}) {
    if (options.mapKey !== undefined) checkMapKey(options.mapKey);
    this.#mapKey = options.mapKey;
  }

  report(): TenantAuditReport {
    const { size } = this.#logs;
    const faults = [...this.#faults];
    return { tenants: size, epochs: this.#epochs, faults, faultCount: this.#faultCount };
  }

  follow(index: number, entry: Uint8Array, leaf: Uint8Array): void {
    const tenant = tenantOf(entry);
    if (tenant === undefined) {
      this.#followSystem(index, entry);
      return;
    }
    if (saltOf(entry, tenant) === undefined) {
      this.#fault(index, 'entry-unsalted', `an entry of ${tenant} can be guessed from its hash`);
    }
    const known = this.#logs.get(tenant);
    const log = known ?? this.#begin(index, entry, tenant);
    if (known !== undefined && mayBeLogStart(entry, tenant)) this.#beganAgain(index, entry, known);
    this.#waiting.push({ index, log, leaf: new Uint8Array(leaf) });
    if (this.#waiting.length < WAITING_MAX) return;
    this.#fault(index, 'epoch-overdue', `${WAITING_MAX} tenants' entries without an epoch`);
    this.#apply(index + 1);
  }

  #begin(index: number, entry: Uint8Array, id: string): AuditedLog {
    const start = readLogStart(entry);
    const computed = this.#mapKey === undefined ? undefined : mapPosition(this.#mapKey, id);
    if (start === undefined) {
      this.#fault(index, 'log-not-begun', `the log of ${id} does not begin with its position`);
    } else if (computed !== undefined && !sameBytes(start.position, computed)) {
      this.#fault(index, 'position-wrong', `the log of ${id} stands at another position`);
    }
    const position = computed ?? start?.position;
    const log = { id, position, tree: new CompactTree(), isChanged: false };
    this.#logs.set(id, log);
    if (position !== undefined) this.#place(index, id, position);
    return log;
  }

  /** One position is one place in the map: two logs there would hide one of them. */
  #place(index: number, id: string, position: Uint8Array): void {
    const key = toBase64(position);
    const other = this.#positions.get(key);
    if (other === undefined) this.#positions.set(key, id);
    else this.#fault(index, 'position-shared', `${id} stands where ${other} does`);
  }

  #beganAgain(index: number, entry: Uint8Array, log: AuditedLog): void {
    const start = readLogStart(entry);
    if (start === undefined || log.position === undefined) return;
    if (sameBytes(start.position, log.position)) return;
    this.#fault(index, 'second-position', `${log.id} was given a second place for another head`);
  }

  #followSystem(index: number, entry: Uint8Array): void {
    if (mayBeMapKey(entry)) {
      const digest = readMapKey(entry);
      if (digest !== undefined) this.#followKey(index, digest);
    } else if (mayBeEpoch(entry)) {
      const detail = readEpoch(entry);
      if (detail !== undefined) this.#followEpoch(index, detail);
    }
  }

  #followKey(index: number, digest: Uint8Array): void {
    if (this.#keyDigest !== undefined && !sameBytes(this.#keyDigest, digest)) {
      this.#fault(index, 'map-key-changed', 'a second map key would move every log');
    }
    if (this.#mapKey !== undefined && !sameBytes(mapKeyDigest(this.#mapKey), digest)) {
      this.#fault(index, 'map-key-wrong', 'the map key given is not the one of the log');
    }
    this.#keyDigest ??= digest;
  }

  #followEpoch(index: number, detail: EpochDetail): void {
    this.#epochs += 1;
    if (detail.size > index) {
      this.#fault(index, 'epoch-too-new', `it speaks of ${detail.size} entries`);
      return;
    }
    if (detail.size < this.#applied) {
      this.#fault(index, 'epoch-went-back', `from ${this.#applied} entries to ${detail.size}`);
      return;
    }
    this.#apply(detail.size);
    if (detail.logs !== this.#placed) {
      this.#fault(index, 'log-count-wrong', `${detail.logs} logs where ${this.#placed} exist`);
    }
    const root = mapRoot(this.#heads);
    if (!sameBytes(root, detail.map)) {
      const said = toBase64(detail.map);
      this.#fault(index, 'map-root-wrong', `${said} where the entries give ${toBase64(root)}`);
    }
  }

  /** TA1: takes in what stands below `size`. */
  #apply(size: number): void {
    let taken = 0;
    for (const { index, log, leaf } of this.#waiting) {
      if (index >= size) break;
      taken += 1;
      if (log.tree.size === 0 && log.position !== undefined) this.#placed += 1;
      log.tree.append(leaf);
      if (log.isChanged) continue;
      log.isChanged = true;
      this.#changed.push(log);
    }
    this.#waiting = this.#waiting.slice(taken);
    const heads = this.#changed.flatMap(({ position, tree }) =>
      position === undefined ? [] : [mapLeaf(position, tree.size, tree.root())],
    );
    this.#heads = updateMap(this.#heads, distinct(heads));
    for (const log of this.#changed) log.isChanged = false;
    this.#changed = [];
    this.#applied = size;
  }

  #fault(index: number, kind: TenantFaultKind, detail: string): void {
    this.#faultCount += 1;
    if (this.#faults.length < FAULTS_MAX) this.#faults.push({ index, kind, detail });
  }
}

/** Two logs at one position are reported already; the map takes the later one. */
function distinct<Head extends { readonly position: Uint8Array }>(heads: readonly Head[]): Head[] {
  const byPosition = new Map(heads.map((head) => [toBase64(head.position), head]));
  return [...byPosition.values()];
}
