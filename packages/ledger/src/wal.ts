// How do bytes get onto the disk for good? One open segment, one spare, one write and one fdatasync
// per record.
// D1. `write` returns only after the fdatasync that covers the record.
// D2. After a failed write or sync a segment is never written again (the kernel may have dropped
//     the pages and would report the next sync as a success): the same bytes go into a new segment
//     and are read back; a second failure ends writing for good.
// D3. While no spare can be made, ordinary records may not use the last `reserveBytes`.
// D4. A segment that could not be started leaves no name behind: an empty one between two others
//     would look like lost entries.

import { LedgerError, errorText } from './errors.ts';
import { isDiskFull } from './files.ts';
import type { Files, OpenFile } from './files.ts';
import { attemptOf, segmentFile } from './scan.ts';
import type { RecordPlace, RecordWriter } from './store.ts';

const SPARE = 'spare.wal';
const SPARE_DRAFT = 'spare.tmp';

interface OpenSegment {
  readonly file: string;
  readonly handle: OpenFile;
  readonly bytes: number;
  readonly identity: string;
  offset: number;
}

type Spare =
  | { readonly kind: 'none' }
  | { readonly kind: 'preparing' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'no-space'; readonly triedAtMs: number };

export interface WalOptions {
  readonly files: Files;
  /** The folder of segments. */
  readonly dir: string;
  readonly segmentBytes: number;
  readonly monotonicMs: () => number;
}

const RETRY_SPARE_MS = 1000;

export class Wal implements RecordWriter {
  readonly #options: WalOptions;
  #current: OpenSegment | undefined;
  #spare: Spare = { kind: 'none' };
  #attempt = 0;
  #preparing: Promise<void> = Promise.resolve();

  constructor(options: WalOptions) {
    this.#options = options;
  }

  get reserveBytes(): number {
    return Math.min(256 * 1024, Math.floor(this.#options.segmentBytes / 4));
  }

  /** True while the disk has no room for another segment. */
  get outOfSpace(): boolean {
    return this.#spare.kind === 'no-space';
  }

  /** Continues a recovered segment at its end. */
  async resume(file: string, offset: number): Promise<void> {
    const handle = await this.#options.files.open(this.#path(file), 'write');
    this.#current = {
      file,
      handle,
      bytes: await handle.size(),
      identity: await handle.identity(),
      offset,
    };
  }

  /** Leftovers of a preparation that a crash interrupted are removed; a finished spare is kept. */
  async adoptSpare(): Promise<void> {
    const { files, dir } = this.#options;
    await files.remove(this.#path(SPARE_DRAFT));
    const names = await files.list(dir);
    if (!names.includes(SPARE)) return;
    const handle = await files.open(this.#path(SPARE), 'read');
    const bytes = await handle.size();
    await handle.close();
    if (bytes === this.#options.segmentBytes) this.#spare = { kind: 'ready' };
    else await files.remove(this.#path(SPARE));
  }

  /** May a record of that size be written now? D3 keeps room for what must not be lost. */
  hasRoom(bytes: number, mayUseReserve: boolean): boolean {
    if (this.#spare.kind !== 'no-space') return true;
    const left = this.#current === undefined ? 0 : this.#current.bytes - this.#current.offset;
    return left - bytes >= (mayUseReserve ? 0 : this.reserveBytes);
  }

  /** Near the end of a segment, know whether there is another one before the reserve is touched. */
  async makeRoom(groupBytes: number): Promise<void> {
    if (this.#spare.kind === 'ready') return;
    const left = this.#current === undefined ? 0 : this.#current.bytes - this.#current.offset;
    if (left >= this.reserveBytes + 2 * groupBytes) return;
    this.prepareSpare();
    await this.#preparing;
  }

  async write(record: Uint8Array, firstIndex: number): Promise<RecordPlace> {
    const segment = await this.#segmentFor(record.length, firstIndex);
    try {
      return await putRecord(segment, record);
    } catch (cause) {
      await this.#abandon(segment);
      return this.#rewrite(record, firstIndex, segment.file, cause);
    }
  }

  /** D2: the second and last try, in a new file, read back. */
  async #rewrite(
    record: Uint8Array,
    firstIndex: number,
    poisoned: string,
    first: unknown,
  ): Promise<RecordPlace> {
    try {
      this.#attempt = attemptOf(poisoned) + 1;
      const segment = await this.#roll(record.length, firstIndex);
      const place = await putRecord(segment, record);
      const back = await segment.handle.read(place.offset, record.length);
      if (Buffer.compare(back, record) !== 0)
        throw new Error('read back other bytes', { cause: first });
      return place;
    } catch (second) {
      if (this.#current !== undefined) await this.#abandon(this.#current);
      throw new LedgerError(
        'KIN_LEDGER_POISONED',
        `${poisoned} failed (${errorText(first)}), and so did its successor (${errorText(second)})`,
        { cause: second, inLog: 'unknown' },
      );
    }
  }

  /** Starts preparing the next segment unless there is one; never throws. */
  prepareSpare(): void {
    const spare = this.#spare;
    if (spare.kind === 'ready' || spare.kind === 'preparing') return;
    const now = this.#options.monotonicMs();
    if (spare.kind === 'no-space' && now - spare.triedAtMs < RETRY_SPARE_MS) return;
    const wasFull = spare.kind === 'no-space';
    const done = this.#makeSpare().then(
      () => {
        this.#spare = { kind: 'ready' };
      },
      (cause: unknown) => {
        // Another failure than a full disk shows again, loudly, when the segment is needed.
        this.#spare = isDiskFull(cause) ? { kind: 'no-space', triedAtMs: now } : { kind: 'none' };
      },
    );
    // While a retry runs, the reserve stays protected: the state changes only when it succeeds.
    this.#spare = wasFull ? { kind: 'no-space', triedAtMs: now } : { kind: 'preparing' };
    this.#preparing = done;
  }

  /** Resolves when no preparation is under way. */
  async settled(): Promise<void> {
    await this.#preparing;
  }

  /** Has somebody removed or replaced the file that we are writing to? */
  async isIntact(): Promise<boolean> {
    const current = this.#current;
    if (current === undefined) return true;
    const onDisk = await this.#options.files.identity(this.#path(current.file));
    if (current !== this.#current) return true;
    // Cut short in place is as bad as removed: what was acknowledged is gone.
    return onDisk === current.identity && (await current.handle.size()) >= current.bytes;
  }

  async close(): Promise<void> {
    await this.#preparing;
    const current = this.#current;
    this.#current = undefined;
    await current?.handle.close();
  }

  async #segmentFor(bytes: number, firstIndex: number): Promise<OpenSegment> {
    const current = this.#current;
    if (current !== undefined && current.offset + bytes <= current.bytes) return current;
    this.#attempt = 0;
    return this.#roll(bytes, firstIndex);
  }

  async #roll(bytes: number, firstIndex: number): Promise<OpenSegment> {
    const { files, dir, segmentBytes } = this.#options;
    await this.#preparing;
    const file = segmentFile(firstIndex, this.#attempt);
    const old = this.#current;
    try {
      if (this.#spare.kind !== 'ready' || bytes > segmentBytes) {
        await this.#makeSpare(Math.max(bytes, segmentBytes));
      }
    } catch (cause) {
      throw this.#fullOr(cause);
    }
    try {
      this.#spare = { kind: 'none' };
      await files.rename(this.#path(SPARE), this.#path(file));
      await files.syncDir(dir);
      await this.resume(file, 0);
    } catch (cause) {
      await this.#undoRoll(file, cause);
      throw this.#fullOr(cause);
    }
    await old?.handle.close();
    const opened = this.#current;
    if (opened === undefined) throw new LedgerError('KIN_LEDGER_CLOSED', 'closed while writing');
    return opened;
  }

  /** D4: a smaller record may still go into the old segment, behind the name of the new one. */
  async #undoRoll(file: string, first: unknown): Promise<void> {
    try {
      await this.#options.files.remove(this.#path(file));
      await this.#options.files.syncDir(this.#options.dir);
    } catch (cause) {
      throw new LedgerError(
        'KIN_LEDGER_POISONED',
        `${file} could not be started (${errorText(first)}) and not be removed either`,
        { cause, inLog: 'no' },
      );
    }
  }

  #fullOr(cause: unknown): unknown {
    if (!isDiskFull(cause)) return cause;
    this.#spare = { kind: 'no-space', triedAtMs: this.#options.monotonicMs() };
    const message = `no space for a new segment in ${this.#options.dir}`;
    return new LedgerError('KIN_LEDGER_FULL', message, { cause });
  }

  async #makeSpare(bytes = this.#options.segmentBytes): Promise<void> {
    const { files, dir } = this.#options;
    await files.remove(this.#path(SPARE_DRAFT));
    const file = await files.open(this.#path(SPARE_DRAFT), 'create');
    try {
      await file.preallocate(bytes);
    } catch (cause) {
      await file.close();
      await files.remove(this.#path(SPARE_DRAFT));
      throw cause;
    }
    await file.close();
    await files.rename(this.#path(SPARE_DRAFT), this.#path(SPARE));
    await files.syncDir(dir);
  }

  async #abandon(segment: OpenSegment): Promise<void> {
    this.#current = undefined;
    try {
      await segment.handle.close();
    } catch {
      // The segment is given up already; a failing close tells nothing new.
    }
  }

  #path(file: string): string {
    return `${this.#options.dir}/${file}`;
  }
}

async function putRecord(segment: OpenSegment, record: Uint8Array): Promise<RecordPlace> {
  const { file, handle, offset } = segment;
  await handle.write(record, offset);
  await handle.datasync();
  segment.offset = offset + record.length;
  return { file, offset };
}
