// A log in memory with tenants' entries, epochs and signed checkpoints, and the naive answers that
// the real parts are compared with.

import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { formatTreeHead, signNote } from '../../src/note.ts';
import { emptyRoot, leafHash, nodeHash } from '../../src/merkle.ts';
import { utf8 } from '../../src/bytes.ts';
import { LedgerError } from '../../src/errors.ts';
import type { EntryFollower } from '../../src/follow.ts';
import { epochEntry, logStartEntry, mapKeyEntry } from '../../src/tenants/tenant-entries.ts';
import { tenantProof } from '../../src/tenants/tenant-evidence.ts';
import type { TenantProofRequest } from '../../src/tenants/tenant-evidence.ts';
import { TenantLogs } from '../../src/tenants/tenant-logs.ts';
import type { TenantLogsOptions } from '../../src/tenants/tenant-logs.ts';
import { tenantTail } from '../../src/tenants/tenant-of.ts';
import { HashTree } from '../../src/tree.ts';
import { ORIGIN, signer } from '../support.ts';

export const AT = '2026-11-20T12:00:00.000Z';
export const MAP_KEY = new Uint8Array(32).fill(3);

/** Deterministic, so that vectors stay the same. */
export function saltAt(number: number): string {
  const bytes = createHash('sha256').update(`salt ${number}`).digest().subarray(0, 16);
  return bytes.toString('base64url');
}

export function tenantEntry(tenant: string, text: string, number: number): Uint8Array {
  const head = `{"at":"${AT}","detail":${JSON.stringify(text)},"kind":"test.event"`;
  return utf8(`${head}${tenantTail(saltAt(number), tenant)}`);
}

export function systemEntry(text: string): Uint8Array {
  return utf8(`{"at":"${AT}","detail":${JSON.stringify(text)},"kind":"test.event","v":1}`);
}

export function hmac(mapKey: Uint8Array, tenant: string): Uint8Array {
  return createHmac('sha256', mapKey).update(tenant).digest();
}

/** RFC 6962 §2.1 word by word. */
export function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (first === undefined) return emptyRoot();
  if (leaves.length === 1) return first;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(naiveRoot(leaves.slice(0, split)), naiveRoot(leaves.slice(split)));
}

export class Model {
  readonly entries: Uint8Array[] = [];
  readonly tree: HashTree;
  readonly tenants: TenantLogs;
  readonly followers: Pick<EntryFollower, 'follow'>[];
  /** Entries below are pruned. */
  first = 0;
  readonly #numbers = new Map<string, number[]>();

  constructor(options: { mapKey?: Uint8Array; tenantsMax?: number } = {}) {
    const load = (from: number, count: number): Promise<Uint8Array[]> =>
      Promise.resolve(this.entries.slice(from, from + count));
    this.tree = new HashTree(load);
    this.tenants = this.newLogs(options);
    this.followers = [this.tenants];
  }

  newLogs(options: Partial<TenantLogsOptions> = {}): TenantLogs {
    return new TenantLogs({ mapKey: MAP_KEY, readLeaf: (at) => this.readLeaf(at), ...options });
  }

  readLeaf(index: number): Promise<Uint8Array> {
    const entry = this.entries[index];
    if (entry === undefined || index < this.first) {
      return Promise.reject(new LedgerError('KIN_LEDGER_PRUNED', `${index} is gone`));
    }
    return Promise.resolve(leafHash(entry));
  }

  append(entry: Uint8Array): number {
    const index = this.entries.push(entry) - 1;
    const leaf = leafHash(entry);
    this.tree.append(leaf);
    for (const follower of this.followers) follower.follow(index, entry, leaf);
    return index;
  }

  sayKey(mapKey = MAP_KEY): void {
    this.append(mapKeyEntry(AT, createHash('sha256').update(mapKey).digest()));
  }

  begin(tenant: string, position = hmac(MAP_KEY, tenant)): void {
    this.#own(
      tenant,
      logStartEntry({ at: AT, salt: saltAt(this.entries.length), tenant, position }),
    );
  }

  /** Begins the log where it has not begun. */
  add(tenant: string, text = 'x'): number {
    if (!this.#numbers.has(tenant)) this.begin(tenant);
    return this.#own(tenant, tenantEntry(tenant, text, this.entries.length));
  }

  #own(tenant: string, entry: Uint8Array): number {
    const index = this.append(entry);
    const numbers = this.#numbers.get(tenant) ?? [];
    this.#numbers.set(tenant, [...numbers, index]);
    return index;
  }

  system(): number {
    return this.append(systemEntry(`system ${this.entries.length}`));
  }

  /** Drafts at once, appends after `between`. */
  epoch(between: () => void = () => undefined): number | undefined {
    const detail = this.tenants.draftEpoch();
    between();
    return detail === undefined ? undefined : this.append(epochEntry(AT, detail));
  }

  ids(): string[] {
    return [...this.#numbers.keys()];
  }

  /** Global indexes of a tenant's entries, below `bound`. */
  indexes(tenant: string, bound = this.entries.length): number[] {
    return (this.#numbers.get(tenant) ?? []).filter((index) => index < bound);
  }

  entriesOf(tenant: string, bound?: number): Uint8Array[] {
    return this.indexes(tenant, bound).map((index) => this.entries[index] ?? utf8(''));
  }

  rootOf(tenant: string, bound?: number): Uint8Array {
    return naiveRoot(this.entriesOf(tenant, bound).map((entry) => leafHash(entry)));
  }

  checkpoint(): { text: string; size: number } {
    const size = this.entries.length;
    return { text: signNote(formatTreeHead(ORIGIN, size, this.tree.root()), [signer]), size };
  }

  async proof(
    tenant: string,
    about: TenantProofRequest['about'],
    tenants = this.tenants,
  ): Promise<string> {
    const view = {
      checkpoint: this.checkpoint(),
      inclusion: (index: number, size: number) => this.tree.inclusion(index, size),
      readEntry: (index: number) => Promise.resolve(this.entries[index] ?? utf8('')),
    };
    const result = await tenantProof(tenants, view, { tenant, about });
    assert.equal(result.kind, 'proof', JSON.stringify(result));
    return result.kind === 'proof' ? result.text : '';
  }
}

export const trust = { vkey: signer.vkey };
