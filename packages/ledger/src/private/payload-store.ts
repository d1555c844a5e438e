// Where are the disclosures of an entry, and whose are they? Payload frames found by digest, with a
// compact index in memory: about 16 bytes a digest and 20 a payload.
// A1. `put` resolves after the payload is durable, or rejects with a code.
// A2. Damage is reported with file and offset; it hides no other payload.

import { LedgerError } from '../errors.ts';
import type { Files, LedgerClock } from '../files.ts';
import { Columns, DigestIndex } from './digest-index.ts';
import { FrameStore } from './frame-store.ts';
import type { FrameRecovery } from './frame-store.ts';
import type { FramePlace } from './frame-writer.ts';
import { FRAME_HEADER } from './frame.ts';
import type { Frame, RemovalCause } from './frame.ts';
import { readPayloadHead } from './payload.ts';
import type { PayloadHead } from './payload.ts';

export interface PayloadStoreOptions {
  readonly files: Files;
  /** The folder of the payloads. */
  readonly dir: string;
  readonly clock: LedgerClock;
  readonly fileBytes: number;
  readonly queueBytesMax: number;
  readonly digestsMax: number;
  /** The row of a key id in the key table. */
  readonly keyRow: (keyId: Buffer) => number;
}

export type PayloadState = 'live' | RemovalCause;
const STATES: readonly PayloadState[] = ['live', 'erased', 'retired', 'orphan'];

export type Found =
  | { readonly kind: 'found'; readonly row: number; readonly frame: Frame; readonly at: number }
  | { readonly kind: 'damaged'; readonly reason: string }
  | { readonly kind: 'absent' };

/** One payload, as a walk over the index sees it. */
export interface PayloadRow {
  readonly row: number;
  readonly keyRow: number;
  readonly state: PayloadState;
}

const GROUP_BYTES_MAX = 1024 * 1024;
const [FILE, OFFSET, LENGTH, KEY, STATE] = [0, 1, 2, 3, 4] as const;

export class PayloadStore {
  readonly #options: PayloadStoreOptions;
  readonly #store: FrameStore;
  readonly #rows = new Columns(5);
  readonly #index = new DigestIndex();
  readonly #pending = new Set<Promise<unknown>>();
  #pendingDigests = 0;

  constructor(options: PayloadStoreOptions) {
    this.#options = options;
    const { files, dir, clock, fileBytes, queueBytesMax } = options;
    this.#store = new FrameStore({
      files,
      dir,
      suffix: 'pay',
      clock,
      fileBytes,
      queueBytesMax,
      groupBytesMax: GROUP_BYTES_MAX,
    });
  }

  get payloads(): number {
    return this.#rows.rows;
  }

  get digests(): number {
    return this.#index.count;
  }

  get indexBytes(): number {
    return this.#rows.bytes + this.#index.bytes;
  }

  get groups(): number {
    return this.#store.groups;
  }

  get failure(): LedgerError | undefined {
    return this.#store.failure;
  }

  recover(): Promise<FrameRecovery> {
    return this.#store.recover((file, frame) => {
      const { offset, length, state } = frame;
      const name: PayloadState = state.kind === 'removed' ? state.cause : 'live';
      this.#learn({ file, offset, length }, frame.head, name);
    });
  }

  /** A1. */
  put(frame: Buffer, deadlineMs: number): Promise<void> {
    const count = frame.readUInt16BE(FRAME_HEADER + 48);
    const { digestsMax } = this.#options;
    if (this.#index.count + this.#pendingDigests + count > digestsMax) {
      const message = `the payload store holds ${this.#index.count} digests, its limit`;
      return Promise.reject(new LedgerError('KIN_LEDGER_PAYLOAD_FULL', message));
    }
    this.#pendingDigests += count;
    const put = this.#store.append(frame, deadlineMs).then(
      (place) => {
        this.#settle(put, count);
        const head = frame.subarray(FRAME_HEADER, FRAME_HEADER + frame.readUInt16BE(12));
        this.#learn(place, head, 'live');
      },
      (cause: unknown) => {
        this.#settle(put, count);
        throw cause;
      },
    );
    this.#pending.add(put);
    return put;
  }

  /** Everything accepted before this call is indexed or refused. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#pending);
    await this.#store.idle();
  }

  /** A live payload before a removed one, the newest of either. */
  async find(digest: Buffer): Promise<Found> {
    let best: Found = { kind: 'absent' };
    for (const row of this.#index.candidates(digest).toReversed()) {
      const frame = await this.#frameOf(row);
      if (frame === undefined) {
        if (best.kind === 'absent') best = { kind: 'damaged', reason: this.#where(row) };
        continue;
      }
      const digests = readPayloadHead(frame.head)?.digests ?? [];
      const at = digests.findIndex((known) => known.equals(digest));
      if (at < 0) continue;
      const found = { kind: 'found', row, frame, at } as const;
      if (this.#state(row) === 'live') return found;
      if (best.kind !== 'found') best = found;
    }
    return best;
  }

  keyRowOf(row: number): number {
    return this.#rows.get(row, KEY);
  }

  /** All payloads; typed-array reads only, so a walk over millions takes milliseconds. */
  *walk(): Iterable<PayloadRow> {
    for (let row = 0; row < this.#rows.rows; row++) {
      yield { row, keyRow: this.#rows.get(row, KEY), state: this.#state(row) };
    }
  }

  async read(
    row: number,
  ): Promise<{ readonly head: PayloadHead; readonly frame: Frame } | undefined> {
    const frame = await this.#frameOf(row);
    const head = frame && readPayloadHead(frame.head);
    return frame === undefined || head === undefined ? undefined : { frame, head };
  }

  /** Overwritten on disk when this returns. May be repeated. */
  async remove(rows: readonly number[], cause: RemovalCause, index: number): Promise<void> {
    const placesOf = (): readonly FramePlace[] => rows.map((row) => this.#placeOf(row));
    await this.#store.remove(placesOf, cause, index);
    for (const row of rows) this.#rows.set(row, STATE, STATES.indexOf(cause));
  }

  /** Gives the space of removed payloads back; files that are damaged are left as they are. */
  async compact(removedShareMin: number): Promise<{ readonly files: number }> {
    await this.idle();
    const shares = new Map<number, { all: number; removed: number }>();
    for (const { row, state } of this.walk()) {
      const { file, length } = this.#placeOf(row);
      const share = shares.get(file) ?? { all: 0, removed: 0 };
      share.all += length;
      if (state !== 'live') share.removed += length;
      shares.set(file, share);
    }
    let files = 0;
    for (const [file, { all, removed }] of shares) {
      if (removed === 0 || removed / all < removedShareMin) continue;
      if ((await this.#rewrite(file)) === 'rewritten') files += 1;
    }
    return { files };
  }

  close(deadlineMs: number): Promise<void> {
    return this.#store.close(deadlineMs);
  }

  #rewrite(file: number): Promise<'rewritten' | 'damaged'> {
    let rows: ReadonlyMap<number, number> | undefined;
    return this.#store.rewrite(file, 'keep-heads', (from, to) => {
      // Only now nothing is appended: an earlier look would miss the newest rows.
      rows ??= this.#rowsIn(file);
      const row = rows.get(from);
      if (row === undefined) return;
      this.#rows.set(row, OFFSET, to.offset);
      this.#rows.set(row, LENGTH, to.length);
    });
  }

  #rowsIn(file: number): ReadonlyMap<number, number> {
    const rows = new Map<number, number>();
    for (let row = 0; row < this.#rows.rows; row++) {
      if (this.#rows.get(row, FILE) === file) rows.set(this.#rows.get(row, OFFSET), row);
    }
    return rows;
  }

  #settle(put: Promise<unknown>, count: number): void {
    this.#pendingDigests -= count;
    this.#pending.delete(put);
  }

  #learn(place: FramePlace, head: Buffer, state: PayloadState): void {
    const parsed = readPayloadHead(head);
    if (parsed === undefined) return;
    const { file, offset, length } = place;
    const keyRow = this.#options.keyRow(parsed.keyId);
    const row = this.#rows.push(file, offset, length, keyRow, STATES.indexOf(state));
    for (const digest of parsed.digests) this.#index.add(digest, row);
  }

  #state(row: number): PayloadState {
    return STATES[this.#rows.get(row, STATE)] ?? 'live';
  }

  #placeOf(row: number): FramePlace {
    const get = (column: number): number => this.#rows.get(row, column);
    return { file: get(FILE), offset: get(OFFSET), length: get(LENGTH) };
  }

  #frameOf(row: number): Promise<Frame | undefined> {
    return this.#store.read(() => this.#placeOf(row));
  }

  #where(row: number): string {
    const { file, offset } = this.#placeOf(row);
    return `payload file ${file} is damaged at byte ${offset}`;
  }
}
