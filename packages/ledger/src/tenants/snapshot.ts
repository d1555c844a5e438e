// What must be kept of all tenants' logs when the entries that they were learnt from are pruned?
// Format 1, numbers as varints:
//
//   "KTTL" 1 | map key digest, 1 if the log names it, else 0 | size |
//   newest epoch: 0 none, 1 without heads, 2 with heads, then index, size, logs, map |
//   number of logs | each log | SHA-256
//   log: id, position, size, first kept, minimum, last index + 1, begin: 0 or 1 at salt |
//        tree nodes | number of held groups: number, 16 leaf hashes | differences of positions |
//        head in the epoch: 0 the present one, 1 none, 2 size root
//
// SN1. What comes back is checked: the digest, each inner node, each held group, the order of
//      positions, and the map root of the newest epoch against its entry.

import { sameBytes, utf8 } from '../bytes.ts';
import { HASH_BYTES } from '../merkle.ts';
import { CompactTree, GROUP_LEAVES, keptNodes } from './compact-tree.ts';
import type { Epoch, KnownEpoch } from './epochs.ts';
import { PositionList } from './positions.ts';
import { SnapshotReader, SnapshotWriter, corrupt } from './snapshot-bytes.ts';
import { findInMap, mapLeaf, mapRoot, updateMap } from './sparse-map.ts';
import type { MapLeaf, MapNode } from './sparse-map.ts';
import { TENANT_CHARS_MAX, isSalt, isTenantId } from './tenant-of.ts';
import type { LogBegin } from './tenant-log.ts';
import { TenantLog, splitHashes } from './tenant-log.ts';

const MAGIC = utf8('KTTL');
const FORMAT = 1;
const AT_CHARS_MAX = 40;
const GROUP_BYTES = GROUP_LEAVES * HASH_BYTES;
const HELD_MAX = 2;

export interface TenantsState {
  readonly keyDigest: Uint8Array;
  /** Does an entry of the log name that digest? */
  readonly isKeySaid: boolean;
  /** Entries of the system log that were followed. */
  readonly size: number;
  readonly epoch: { readonly kind: 'none' } | SavedEpoch;
  readonly logs: readonly TenantLog[];
}

export type SavedEpoch =
  | { readonly kind: 'unknown'; readonly epoch: Epoch }
  | {
      readonly kind: 'known';
      readonly epoch: KnownEpoch;
      /** Logs whose head is another one now; only a restored state names them. */
      readonly changed: readonly TenantLog[];
    };

const EPOCH_KINDS = ['none', 'unknown', 'known'] as const;

export function encodeTenants(state: TenantsState): Uint8Array {
  const writer = new SnapshotWriter();
  writer.bytes(MAGIC);
  writer.number(FORMAT);
  writer.bytes(state.keyDigest);
  writer.number(state.isKeySaid ? 1 : 0);
  writer.number(state.size);
  writer.number(EPOCH_KINDS.indexOf(state.epoch.kind));
  if (state.epoch.kind !== 'none') {
    const { index, size, logs, map } = state.epoch.epoch;
    for (const value of [index, size, logs]) writer.number(value);
    writer.bytes(map);
  }
  writer.number(state.logs.length);
  const heads = state.epoch.kind === 'known' ? state.epoch.epoch.heads : undefined;
  for (const log of state.logs) writeLog(writer, log, heads);
  return writer.finish();
}

function writeLog(writer: SnapshotWriter, log: TenantLog, heads: MapNode): void {
  const { id, position, tree, positions, begin, minimum, held } = log.state();
  writer.text(id);
  writer.bytes(position);
  for (const value of [tree.size, positions.first, minimum, positions.last + 1]) {
    writer.number(value);
  }
  writer.number(begin === undefined ? 0 : 1);
  if (begin !== undefined) {
    writer.text(begin.at);
    writer.text(begin.salt);
  }
  writer.bytes(tree.bytes());
  writer.number(held.size);
  for (const [group, leaves] of held) {
    writer.number(group);
    writer.bytes(leaves);
  }
  let before = -1;
  for (const index of positions.page(positions.first, positions.count)) {
    writer.number(index - before);
    before = index;
  }
  writeHead(writer, log, findInMap(heads, position));
}

function writeHead(writer: SnapshotWriter, log: TenantLog, head: MapLeaf | undefined): void {
  if (head === undefined) return writer.number(1);
  // A head of the same size is the same head: logs only grow.
  if (head.size === log.size) return writer.number(0);
  writer.number(2);
  writer.number(head.size);
  writer.bytes(head.root);
}

export function decodeTenants(bytes: Uint8Array): TenantsState {
  const reader = new SnapshotReader(bytes);
  if (!sameBytes(reader.bytes(MAGIC.length, 'its magic'), MAGIC)) throw corrupt('its magic');
  const format = reader.number('its format');
  if (format !== FORMAT) throw corrupt(`format ${format} is not known`);
  const keyDigest = reader.bytes(HASH_BYTES, 'the key digest');
  const isKeySaid = reader.number('its key') === 1;
  const size = reader.number('its size');
  const kind = EPOCH_KINDS[reader.number('the kind of its epoch')];
  if (kind === undefined) throw corrupt('the kind of its epoch');
  const epoch = kind === 'none' ? undefined : readEpochPart(reader);
  const count = reader.number('the number of logs');
  const logs: TenantLog[] = [];
  const heads: MapLeaf[] = [];
  const changed: TenantLog[] = [];
  let before = '';
  for (let at = 0; at < count; at++) {
    const log = readLog(reader, size);
    if (log.id <= before) throw corrupt('the order of the logs');
    before = log.id;
    const head = readHead(reader, log);
    if (head !== undefined) heads.push(head);
    if (head?.size !== log.size) changed.push(log);
    logs.push(log);
  }
  reader.end();
  const start = { keyDigest, isKeySaid, size, logs };
  if (epoch === undefined) return { ...start, epoch: { kind: 'none' } };
  if (kind !== 'known') return { ...start, epoch: { kind: 'unknown', epoch } };
  const known = { ...epoch, heads: updateMap(undefined, heads) };
  if (!sameBytes(mapRoot(known.heads), epoch.map) || heads.length !== epoch.logs) {
    throw corrupt(`the heads are not those of the epoch in entry ${epoch.index}`);
  }
  return { ...start, epoch: { kind, epoch: known, changed } };
}

function readEpochPart(reader: SnapshotReader): Epoch {
  const index = reader.number('the index of the epoch');
  const size = reader.number('the size of the epoch');
  const logs = reader.number('the logs of the epoch');
  return { index, size, logs, map: reader.bytes(HASH_BYTES, 'the map of the epoch') };
}

function readLog(reader: SnapshotReader, bound: number): TenantLog {
  const id = reader.text(TENANT_CHARS_MAX, 'a tenant id');
  if (!isTenantId(id)) throw corrupt('a tenant id');
  const position = reader.bytes(HASH_BYTES, `the position of ${id}`);
  const size = reader.number(`the size of ${id}`);
  const first = reader.number(`the first entry of ${id}`);
  const minimum = reader.number(`the minimum of ${id}`);
  const last = reader.number(`the last index of ${id}`) - 1;
  if (size > bound || first > size || last >= bound) throw corrupt(`the sizes of ${id}`);
  const begin = readBegin(reader, id);
  const nodes = reader.bytes(keptNodes(size) * HASH_BYTES, `the tree of ${id}`);
  const tree = CompactTree.from(size, nodes);
  if (tree === undefined) throw corrupt(`the tree of ${id}`);
  const held = readHeld(reader, id, tree);
  const positions = PositionList.restored(first, first === size ? last : -1);
  for (let number = first; number < size; number++) {
    const step = reader.number(`the positions of ${id}`);
    if (step === 0) throw corrupt(`the positions of ${id}`);
    positions.append((number === first ? -1 : positions.last) + step);
  }
  if (positions.last !== last) throw corrupt(`the positions of ${id}`);
  return new TenantLog({ id, position, tree, positions, begin, minimum, held });
}

function readBegin(reader: SnapshotReader, id: string): LogBegin | undefined {
  const what = `the beginning of ${id}`;
  const flag = reader.number(what);
  if (flag === 0) return undefined;
  const at = reader.text(AT_CHARS_MAX, what);
  const salt = reader.text(22, what);
  if (flag !== 1 || !isSalt(salt)) throw corrupt(what);
  return { at, salt };
}

function readHeld(reader: SnapshotReader, id: string, tree: CompactTree): Map<number, Uint8Array> {
  const what = `the held leaves of ${id}`;
  const held = new Map<number, Uint8Array>();
  const count = reader.number(what);
  if (count > HELD_MAX) throw corrupt(what);
  for (let at = 0; at < count; at++) {
    const group = reader.number(what);
    const leaves = reader.bytes(GROUP_BYTES, what);
    if ((group + 1) * GROUP_LEAVES > tree.size || !tree.isGroup(group, splitHashes(leaves))) {
      throw corrupt(what);
    }
    held.set(group, leaves);
  }
  return held;
}

function readHead(reader: SnapshotReader, log: TenantLog): MapLeaf | undefined {
  const what = `the head of ${log.id} in the epoch`;
  const flag = reader.number(what);
  if (flag === 1) return undefined;
  if (flag === 0) return mapLeaf(log.position, log.size, log.tree.root());
  const size = reader.number(what);
  if (flag !== 2 || size === 0 || size >= log.size) throw corrupt(what);
  return mapLeaf(log.position, size, reader.bytes(HASH_BYTES, what));
}
