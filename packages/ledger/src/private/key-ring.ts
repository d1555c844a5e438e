// Which key seals the data of this subject, and how does it cease to exist? A data key for each
// (tenant, subject), wrapped by the tenant's key, which is wrapped by the KeyWrapper.
// S2. A key is durable before anything is sealed under it.
// S3. `destroy` returns after the wrapped key has left the disk: overwritten, synced, the file
//     rewritten without it; and after a canary showed that no stored key opens what it sealed.
// S4. A key store that answers with another key is noticed before it is used.

import { LedgerError } from '../errors.ts';
import type { Files, LedgerClock } from '../files.ts';
import { checkCanary, makeCanary } from './canary.ts';
import { FrameStore } from './frame-store.ts';
import type { FramePlace } from './frame-writer.ts';
import { encodeFrame } from './frame.ts';
import type { Frame } from './frame.ts';
import {
  encodeKeyHead,
  readKeyHead,
  subjectTag,
  unwrapDataKey,
  wrapDataKey,
} from './key-frames.ts';
import type { KeyHead } from './key-frames.ts';
import { KeyTable } from './key-table.ts';
import { KEY_ID_BYTES, SESSION_BYTES, sessionKeyOf } from './payload.ts';
import type { Random } from './random.ts';
import { KEY_BYTES, makeTenantKey, readyKey, unwrapTenantKey } from './tenant-key.ts';
import type { DataKey, TenantDraft, TenantKey } from './tenant-key.ts';
import type { KeyWrapper } from './wrapper.ts';

const KEY_FILE_BYTES = 512 * 1024;

export interface KeyRingOptions {
  readonly files: Files;
  /** The folder of the keys. */
  readonly dir: string;
  readonly clock: LedgerClock;
  readonly wrapper: KeyWrapper;
  readonly random: Random;
  readonly subjectsMax: number;
  readonly cachedKeysMax: number;
  readonly deadlineMs: number;
}

interface StoredTenantKey {
  readonly head: KeyHead;
  readonly places: FramePlace[];
}

export type Destroyed =
  | { readonly canary: 'refused' }
  /** The key had gone before this run, so there was nothing left to seal a canary with. */
  | { readonly canary: 'key-absent' }
  /** The key store was away: only the absence of the key on disk was checked. */
  | { readonly canary: 'not-tried' };

export class KeyRing {
  readonly #options: KeyRingOptions;
  readonly #store: FrameStore;
  readonly table = new KeyTable();
  readonly #stored = new Map<string, StoredTenantKey>();
  readonly #tenants = new Map<string, Promise<TenantKey>>();
  readonly #opened = new Map<string, TenantKey>();
  readonly #making = new Map<string, Promise<DataKey>>();
  readonly #drafts = new Map<string, Buffer>();
  readonly #tenantDrafts = new Map<string, TenantDraft>();
  readonly #copies = new Map<number, FramePlace[]>();
  readonly #session: Buffer;
  #cached = 0;

  constructor(options: KeyRingOptions) {
    this.#options = options;
    this.#session = Buffer.from(options.random(SESSION_BYTES));
    const { files, dir, clock } = options;
    this.#store = new FrameStore({
      files,
      dir,
      suffix: 'key',
      clock,
      fileBytes: KEY_FILE_BYTES,
      queueBytesMax: 4 * 1024 * 1024,
      groupBytesMax: 256 * 1024,
    });
  }

  /** A key file that is damaged is refused: going on could give one subject two keys. */
  async recover(): Promise<void> {
    const unfinished = new Set<number>();
    const { damaged } = await this.#store.recover((file, frame) => {
      // An unclear state with a whole body is a removal that was cut off before it took effect.
      if (frame.state.kind === 'removed') unfinished.add(file);
      else this.#learn(file, frame);
    });
    const [first] = damaged;
    if (first !== undefined) throw this.#corrupt(first.file, first.from, first.reason);
    for (const file of unfinished) await this.#rewrite(file);
  }

  /** Of tenants or people: once there is one, a tenant's key is always there. */
  get hasKeys(): boolean {
    return this.#stored.size > 0 || this.table.rows > 0;
  }

  get subjects(): number {
    return this.table.rows;
  }

  /** The data key when it is in memory, for the fast path of sealing. */
  cached(tenant: string, subject: string): DataKey | undefined {
    return this.#opened.get(tenant)?.cache.get(subject);
  }

  /** S2: found, or made and stored. */
  async forSealing(tenant: string, subject: string): Promise<DataKey> {
    const owner = await this.#tenantKey(tenant);
    const ready = owner.cache.get(subject);
    if (ready !== undefined) return ready;
    const name = `${tenant}\n${subject}`;
    let making = this.#making.get(name);
    if (making === undefined) {
      making = this.#loadOrMake(owner, tenant, subject, name).finally(() => {
        this.#making.delete(name);
      });
      this.#making.set(name, making);
    }
    return making;
  }

  /** Undefined when nothing is stored for that subject. Needs the key store. */
  async find(tenant: string, subject: string): Promise<number | undefined> {
    if (!this.#stored.has(tenant)) return undefined;
    const { tagKey } = await this.#tenantKey(tenant);
    return this.table.rowOfTag(subjectTag(tagKey, subject));
  }

  /** The tag under which holds and restrictions name a subject, whether or not it has data. */
  async tagOf(tenant: string, subject: string): Promise<Buffer> {
    const { tagKey } = await this.#tenantKey(tenant);
    return subjectTag(tagKey, subject);
  }

  /** The key's bytes, for reading; undefined when it does not exist or is damaged. */
  async open(row: number, tenant: string): Promise<Buffer | undefined> {
    const state = this.table.state(row);
    if (state === 'unknown' || state === 'destroyed') return undefined;
    const owner = await this.#tenantKey(tenant);
    const frame = await this.#store.read(() => this.table.placeOf(row));
    if (frame === undefined || frame.state.kind === 'removed') return undefined;
    return unwrapDataKey(owner.key, frame.head, frame.body);
  }

  /** From here on nothing is sealed or read under the key. */
  setErasing(row: number, tenant: string, isErasing: boolean): void {
    const state = this.table.state(row);
    // An erasure that was cut off after its key had gone.
    if (state === 'unknown' && isErasing) this.table.setState(row, 'destroyed');
    if (state !== 'live' && state !== 'erasing') return;
    this.table.setState(row, isErasing ? 'erasing' : 'live');
    this.#forget(row, tenant);
  }

  /** S3. May be repeated; `index` is the ledger entry that ordered it. */
  async destroy(row: number, tenant: string, index: number): Promise<Destroyed> {
    const state = this.table.state(row);
    if (state === 'unknown' || state === 'destroyed') return { canary: 'key-absent' };
    const owner = await this.#tenantIfReachable(tenant);
    const key = owner && (await this.open(row, tenant));
    const keyId = Buffer.from(this.table.idOf(row));
    const canary = makeCanary(keyId, key, this.#options.random);
    const placesOf = (): readonly FramePlace[] => [
      this.table.placeOf(row),
      ...(this.#copies.get(row) ?? []),
    ];
    // A rewrite moves frames within their file, never to another.
    const files = new Set(placesOf().map(({ file }) => file));
    await this.#store.remove(placesOf, 'erased', index);
    for (const file of files) await this.#rewrite(file);
    this.table.setState(row, 'destroyed');
    this.#forget(row, tenant);
    key?.fill(0);
    for (const file of files) {
      checkCanary(canary, await this.#store.frames(file), owner?.key);
    }
    return { canary: key === undefined ? 'not-tried' : 'refused' };
  }

  /** A key can be destroyed without the key store; only the canary needs it. */
  async #tenantIfReachable(tenant: string): Promise<TenantKey | undefined> {
    try {
      return await this.#tenantKey(tenant);
    } catch {
      return undefined;
    }
  }

  async close(deadlineMs: number): Promise<void> {
    await this.#store.close(deadlineMs);
    for (const { key, tagKey, cache } of this.#opened.values()) {
      for (const held of cache.values()) held.key.fill(0);
      key.fill(0);
      tagKey.fill(0);
    }
    this.#opened.clear();
    this.#tenants.clear();
  }

  #learn(file: number, frame: Frame): void {
    const { offset, length, bodyIntact } = frame;
    const head = readKeyHead(frame.head);
    if (head === undefined || !bodyIntact) {
      throw this.#corrupt(`${file}`, offset, head === undefined ? 'unknown head' : 'body checksum');
    }
    const place = { file, offset, length };
    if (head.type === 'tenant') {
      const known = this.#stored.get(head.tenant);
      if (known === undefined) this.#stored.set(head.tenant, { head, places: [place] });
      else known.places.push(place);
      return;
    }
    const row = this.table.rowOfId(head.keyId);
    if (this.table.state(row) === 'live') this.#addCopy(row, place);
    else this.table.learn(head.keyId, head.tag, place);
  }

  /** The same frame twice: its first write missed the deadline and arrived after all. */
  #addCopy(row: number, place: FramePlace): void {
    this.#copies.set(row, [...(this.#copies.get(row) ?? []), place]);
  }

  async #loadOrMake(
    owner: TenantKey,
    tenant: string,
    subject: string,
    name: string,
  ): Promise<DataKey> {
    const tag = subjectTag(owner.tagKey, subject);
    const row = this.table.rowOfTag(tag);
    if (row !== undefined) {
      if (this.table.state(row) === 'erasing') throw erasing();
      const key = await this.open(row, tenant);
      if (key === undefined) {
        throw new LedgerError('KIN_LEDGER_CORRUPT', 'a data key cannot be unwrapped');
      }
      return this.#keep(owner, subject, row, key);
    }
    return this.#make(owner, tenant, subject, name, tag);
  }

  async #make(
    owner: TenantKey,
    tenant: string,
    subject: string,
    name: string,
    tag: Buffer,
  ): Promise<DataKey> {
    const { random, subjectsMax, deadlineMs } = this.#options;
    if (this.table.rows >= subjectsMax) {
      throw new LedgerError(
        'KIN_LEDGER_PAYLOAD_FULL',
        `${subjectsMax} subjects have keys, which is the limit`,
      );
    }
    // After a write of unknown fate the same key is tried again, never a second one.
    const draft = this.#drafts.get(name);
    const keyId = draft?.subarray(0, KEY_ID_BYTES) ?? Buffer.from(random(KEY_ID_BYTES));
    const key = draft?.subarray(KEY_ID_BYTES) ?? Buffer.from(random(KEY_BYTES));
    const { frame } = wrapDataKey(owner.key, key, { tenant, keyId, tag }, random);
    let place: FramePlace;
    try {
      place = await this.#store.append(frame, deadlineMs);
    } catch (cause) {
      if (cause instanceof LedgerError && cause.inLog === 'unknown') {
        this.#drafts.set(name, Buffer.concat([keyId, key]));
      }
      throw cause;
    }
    this.#drafts.delete(name);
    const row = this.table.learn(keyId, tag, place);
    if (draft !== undefined) await this.#findCopies(row, keyId, place);
    return this.#keep(owner, subject, row, Buffer.from(key));
  }

  /** Where the write of unknown fate went, so that destroying the key finds it as well. */
  async #findCopies(row: number, keyId: Buffer, place: FramePlace): Promise<void> {
    for (let file = 1; file <= this.#store.lastFile; file++) {
      for (const { offset, length, head } of await this.#store.frames(file)) {
        const isSame = readKeyHead(head)?.keyId.equals(keyId) === true;
        const isOther = file !== place.file || offset !== place.offset;
        if (isSame && isOther) this.#addCopy(row, { file, offset, length });
      }
    }
  }

  #keep(owner: TenantKey, subject: string, row: number, key: Buffer): DataKey {
    if (this.table.state(row) === 'erasing') throw erasing();
    const session = this.#session;
    const id = Buffer.from(this.table.idOf(row));
    const held = { row, key, id, session, sessionKey: sessionKeyOf(key, session) };
    if (this.#cached >= this.#options.cachedKeysMax) this.#dropCaches();
    owner.cache.set(subject, held);
    this.#cached += 1;
    return held;
  }

  /** Simple and rare: everything is loaded again on demand. */
  #dropCaches(): void {
    for (const { cache } of this.#opened.values()) cache.clear();
    this.#cached = 0;
  }

  #forget(row: number, tenant: string): void {
    const cache = this.#opened.get(tenant)?.cache;
    for (const [subject, held] of cache ?? []) {
      if (held.row !== row) continue;
      // A caller may hold it until its next look at the state, which `destroyed` never leaves.
      if (this.table.state(row) === 'destroyed') held.key.fill(0);
      cache?.delete(subject);
      this.#cached -= 1;
    }
  }

  #tenantKey(tenant: string): Promise<TenantKey> {
    let opening = this.#tenants.get(tenant);
    if (opening === undefined) {
      const stored = this.#stored.get(tenant);
      opening = stored === undefined ? this.#makeTenant(tenant) : this.#openTenant(stored);
      this.#tenants.set(tenant, opening);
      opening.then(
        (owner) => this.#opened.set(tenant, owner),
        // The next caller tries again.
        () => this.#tenants.delete(tenant),
      );
    }
    return opening;
  }

  async #makeTenant(tenant: string): Promise<TenantKey> {
    // After a write of unknown fate the same key is written again: both copies then agree.
    const { wrapper, random, deadlineMs } = this.#options;
    const draft = this.#tenantDrafts.get(tenant) ?? (await makeTenantKey(tenant, wrapper, random));
    this.#tenantDrafts.set(tenant, draft);
    const { key, head, wrapped } = draft;
    const frame = encodeFrame(encodeKeyHead(head), wrapped);
    const place = await this.#store.append(frame, deadlineMs);
    this.#tenantDrafts.delete(tenant);
    this.#stored.set(tenant, { head, places: [place] });
    return readyKey(key);
  }

  async #openTenant({ head, places }: StoredTenantKey): Promise<TenantKey> {
    const first = (): FramePlace => places[0] ?? { file: 0, offset: 0, length: 0 };
    const frame = await this.#store.read(first);
    if (frame === undefined) throw this.#corrupt(`${first().file}`, first().offset, 'key gone');
    return unwrapTenantKey(head, frame.body, this.#options.wrapper);
  }

  async #rewrite(file: number): Promise<void> {
    let movers: ReadonlyMap<number, readonly ((to: FramePlace) => void)[]> | undefined;
    await this.#store.rewrite(file, 'leave-out', (from, to) => {
      // Only now nothing is appended: an earlier look would miss the newest keys.
      movers ??= this.#moversOf(file);
      for (const move of movers.get(from) ?? []) move(to);
    });
  }

  /** Who has to know when the frame at an offset of this file moves. */
  #moversOf(file: number): ReadonlyMap<number, readonly ((to: FramePlace) => void)[]> {
    const movers = new Map<number, ((to: FramePlace) => void)[]>();
    const add = (offset: number, move: (to: FramePlace) => void): void => {
      movers.set(offset, [...(movers.get(offset) ?? []), move]);
    };
    for (const [offset, row] of this.table.rowsIn(file)) {
      add(offset, (to) => this.table.moveTo(row, to));
    }
    const lists = [...this.#stored.values()].map(({ places }) => places);
    for (const places of [...lists, ...this.#copies.values()]) {
      for (const [at, place] of places.entries()) {
        if (place.file === file) add(place.offset, (to) => (places[at] = to));
      }
    }
    return movers;
  }

  #corrupt(file: string, offset: number, reason: string): LedgerError {
    const { dir } = this.#options;
    const place = { file: `${dir}/${file}`, offset, index: 0 };
    const message = `${place.file} is damaged at byte ${offset}: ${reason}`;
    return new LedgerError('KIN_LEDGER_CORRUPT', message, { place });
  }
}

function erasing(): LedgerError {
  return new LedgerError('KIN_LEDGER_ERASING', 'the data of this subject is being erased');
}
