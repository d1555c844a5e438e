// Where are frames kept, and how do they go away for good? Append-only files of a fixed size in one
// folder; a frame can be overwritten in place, and a file rewritten without what was removed.
// R6. `remove` returns after the marks are synced, the bodies overwritten with zeros, and those
//     synced as well. It may be repeated at any time.
// R7. `rewrite` replaces a file by rename and then overwrites the old one with zeros.
// R8. What a killed process left in the cache (frames, removals, names) is synced before it counts.

import { LedgerError } from '../errors.ts';
import { syncFile } from '../files.ts';
import type { Files, LedgerClock, OpenFile } from '../files.ts';
import { byFile, overwrite, packFrames, zeroBody, zeroRegions } from './frame-rewrite.ts';
import { scanFrames, trustedEnd } from './frame-scan.ts';
import type { FileScan, Region } from './frame-scan.ts';
import { FrameWriter } from './frame-writer.ts';
import type { FramePlace, GrowingFile } from './frame-writer.ts';
import {
  FRAME_BYTES_MAX,
  GROUP_ALIGN,
  encodeFileHeader,
  encodeState,
  padTo,
  readFrame,
  stateOffset,
} from './frame.ts';
import type { Frame, RemovalCause } from './frame.ts';

const READ_HANDLES_MAX = 32;
const READ_ROUNDS_MAX = 8;
const DRAFT = 'spare.tmp';

export interface FrameStoreOptions {
  readonly files: Files;
  readonly dir: string;
  /** Of the file names, e.g. `pay`. */
  readonly suffix: string;
  readonly clock: LedgerClock;
  readonly fileBytes: number;
  readonly queueBytesMax: number;
  readonly groupBytesMax: number;
}

export interface Damage extends Region {
  readonly file: string;
}

export interface FrameRecovery {
  readonly damaged: readonly Damage[];
  /** Dropped: nobody was told that they were stored. */
  readonly torn: readonly Damage[];
}

interface Active extends GrowingFile {
  readonly handle: OpenFile;
}

/** `moved` gives the new offset of each frame that a rewrite kept. */
export type Moved = (from: number, to: FramePlace) => void;

export class FrameStore {
  readonly #options: FrameStoreOptions;
  readonly #writer: FrameWriter;
  readonly #readers = new Map<number, Promise<OpenFile>>();
  #active: Active | undefined;
  #lastFile = 0;
  #lastEnd = 0;
  #draft: Promise<boolean> | undefined;
  /** The file that is being rewritten, or 0; and how often one was begun or ended. */
  #rewriting = 0;
  #rewrites = 0;

  constructor(options: FrameStoreOptions) {
    this.#options = options;
    const { clock, queueBytesMax, groupBytesMax } = options;
    this.#writer = new FrameWriter({
      current: () => this.#active,
      renew: () => this.#renew(),
      abandon: () => this.#abandon(),
      clock,
      queueBytesMax,
      groupBytesMax: Math.min(groupBytesMax, options.fileBytes - 2 * GROUP_ALIGN),
    });
  }

  get groups(): number {
    return this.#writer.groups;
  }

  /** Files are numbered from 1 up to this. */
  get lastFile(): number {
    return this.#lastFile;
  }

  get failure(): LedgerError | undefined {
    return this.#writer.failure;
  }

  /** Reads every file once; frames are handed over in order, with views that must be copied. */
  async recover(onFrame: (file: number, frame: Frame) => void): Promise<FrameRecovery> {
    const { files, dir, fileBytes } = this.#options;
    await files.mkdir(dir);
    const names = await files.list(dir);
    for (const name of names) if (name.endsWith('.tmp')) await files.remove(`${dir}/${name}`);
    const numbers = names.map((name) => this.#numberOf(name)).filter((no) => no > 0);
    // R8. Every file, because a removal may have been cut off in any of them.
    for (const file of numbers) await syncFile(files, this.#path(file));
    await files.syncDir(dir);
    const damaged: Damage[] = [];
    const torn: Damage[] = [];
    let next: FileScan | undefined;
    const found: { readonly file: number; readonly scan: FileScan }[] = [];
    // Newest first, because each file says how far the one before it was good.
    for (const file of numbers.toReversed()) {
      const bytes = await files.readWhole(this.#path(file), 2 * fileBytes + FRAME_BYTES_MAX);
      const scan = scanFrames(Buffer.from(bytes ?? []), trustedEnd(next));
      const isUnused = next === undefined && scan.frames.length === 0;
      if (isUnused && scan.damaged.length === 0) {
        // Begun, and nothing in it was ever acknowledged.
        for (const region of scan.torn) torn.push({ file: this.#name(file), ...region });
        await files.remove(this.#path(file));
        await files.syncDir(dir);
        continue;
      }
      found.push({ file, scan });
      next = scan;
    }
    for (const { file, scan } of found.toReversed()) {
      for (const frame of scan.frames) onFrame(file, frame);
      const name = this.#name(file);
      for (const region of scan.damaged) damaged.push({ file: name, ...region });
      for (const region of scan.torn) torn.push({ file: name, ...region });
      if (scan.torn.length > 0) {
        await this.#change(file, (handle) => zeroRegions(handle, scan.torn));
      }
      this.#lastFile = file;
      this.#lastEnd = scan.end;
    }
    if (this.#lastFile > 0) await this.#resume();
    return { damaged, torn };
  }

  append(frame: Buffer, deadlineMs: number): Promise<FramePlace> {
    return this.#writer.append(frame, deadlineMs);
  }

  /** Reads one file again from disk, as a later start would. */
  async frames(file: number): Promise<readonly Frame[]> {
    const { files, fileBytes } = this.#options;
    const bytes = await files.readWhole(this.#path(file), 2 * fileBytes + FRAME_BYTES_MAX);
    return scanFrames(Buffer.from(bytes ?? []), Number.MAX_SAFE_INTEGER).frames;
  }

  /** Undefined: no whole frame is there. The place is asked for again when a rewrite moved it. */
  async read(placeOf: () => FramePlace): Promise<Frame | undefined> {
    for (let round = 0; round < READ_ROUNDS_MAX; round++) {
      if (this.#rewriting === placeOf().file) await this.#writer.exclusive(() => Promise.resolve());
      const rewrites = this.#rewrites;
      const place = placeOf();
      try {
        const handle = await this.#reader(place.file);
        const bytes = await handle.read(place.offset, place.length);
        if (rewrites !== this.#rewrites) continue;
        const found = readFrame(Buffer.from(bytes), 0, place.offset);
        return found.kind === 'frame' ? found.frame : undefined;
      } catch (cause) {
        // A rewrite closes the handles of its file.
        if (rewrites === this.#rewrites) throw cause;
      }
    }
    throw new LedgerError('KIN_LEDGER_OVERLOADED', 'the files are being rewritten all the time');
  }

  /** R6. */
  remove(placesOf: () => readonly FramePlace[], cause: RemovalCause, index: number): Promise<void> {
    return this.#writer.exclusive(async () => {
      const state = encodeState(cause, index);
      // Asked for only now: an earlier answer could be that of before a rewrite.
      for (const [file, list] of byFile(placesOf())) {
        await this.#change(file, async (handle) => {
          for (const { offset } of list) await handle.write(state, stateOffset(offset));
          await handle.datasync();
          for (const place of list) await zeroBody(handle, place);
          await handle.datasync();
        });
      }
    });
  }

  /** Everything that was accepted before this call is on disk or refused. */
  idle(): Promise<void> {
    return this.#writer.idle();
  }

  /** R7. Removed frames are kept as heads, or left out. A damaged file stays as it is. */
  rewrite(
    file: number,
    removed: 'keep-heads' | 'leave-out',
    moved: Moved,
  ): Promise<'rewritten' | 'damaged'> {
    return this.#writer.exclusive(async () => {
      this.#rewriting = file;
      this.#rewrites += 1;
      try {
        return await this.#rewriteNow(file, removed, moved);
      } finally {
        this.#rewriting = 0;
        this.#rewrites += 1;
      }
    });
  }

  async close(deadlineMs: number): Promise<void> {
    await this.#writer.close(deadlineMs);
    await this.#draft;
    await this.#active?.handle.close();
    this.#active = undefined;
    await this.#closeReaders();
  }

  async #rewriteNow(
    file: number,
    removed: 'keep-heads' | 'leave-out',
    moved: Moved,
  ): Promise<'rewritten' | 'damaged'> {
    const { files, dir, fileBytes } = this.#options;
    const path = this.#path(file);
    const isActive = this.#active?.file === file;
    const old = await files.open(path, 'write');
    try {
      const bytes = Buffer.from(await old.read(0, await old.size()));
      const packed = packFrames(file, bytes, removed);
      if (packed.kind === 'damaged') return 'damaged';
      await this.#replace(path, packed.bytes, isActive ? fileBytes : 0);
      await this.#forgetReader(file);
      for (const { from, to } of packed.moves) moved(from, to);
      if (isActive) {
        await this.#active?.handle.close();
        this.#lastEnd = padTo(packed.bytes.length, GROUP_ALIGN);
        await this.#resume();
      }
      await overwrite(old, bytes.length);
      return 'rewritten';
    } finally {
      await old.close();
      await files.remove(`${dir}/rewrite.tmp`);
    }
  }

  async #replace(path: string, bytes: Buffer, fileBytes: number): Promise<void> {
    const { files, dir } = this.#options;
    const draft = `${dir}/rewrite.tmp`;
    await files.remove(draft);
    const handle = await files.open(draft, 'create');
    try {
      if (fileBytes > 0) await handle.preallocate(fileBytes);
      await handle.write(bytes, 0);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await files.rename(draft, path);
    await files.syncDir(dir);
  }

  async #change(file: number, work: (handle: OpenFile) => Promise<void>): Promise<void> {
    const active = this.#active;
    if (active?.file === file) {
      try {
        await work(active.handle);
      } catch (cause) {
        // R5 of the writer: after a failed sync this file is not written again.
        await this.#abandon();
        throw cause;
      }
      return;
    }
    const handle = await this.#options.files.open(this.#path(file), 'write');
    try {
      await work(handle);
    } finally {
      await handle.close();
    }
  }

  async #resume(): Promise<void> {
    const handle = await this.#options.files.open(this.#path(this.#lastFile), 'write');
    this.#active = this.#growing(handle, this.#lastFile, this.#lastEnd, await handle.size());
  }

  #growing(handle: OpenFile, file: number, from: number, size: number): Active {
    const state = { offset: from };
    const { fileBytes } = this.#options;
    const put = async (group: Buffer): Promise<void> => {
      await handle.write(group, state.offset);
      await handle.datasync();
      state.offset += group.length;
      this.#lastEnd = state.offset;
      if (state.offset > fileBytes / 2) this.#draft ??= this.#makeDraft();
    };
    return {
      handle,
      file,
      put,
      get offset() {
        return state.offset;
      },
      fits: (bytes) => state.offset + bytes <= size,
    };
  }

  async #renew(): Promise<Active> {
    const { files, dir, fileBytes } = this.#options;
    const drafted = await (this.#draft ?? this.#makeDraft());
    this.#draft = undefined;
    // The first attempt may have failed long ago; the error is the one of now.
    if (!drafted) await this.#fillDraft();
    const file = this.#lastFile + 1;
    const header = encodeFileHeader({ file, previousEnd: this.#lastEnd });
    await files.rename(`${dir}/${DRAFT}`, this.#path(file));
    await files.syncDir(dir);
    const handle = await files.open(this.#path(file), 'write');
    await handle.write(header, 0);
    await this.#active?.handle.close();
    this.#lastFile = file;
    this.#lastEnd = GROUP_ALIGN;
    this.#active = this.#growing(handle, file, GROUP_ALIGN, fileBytes);
    return this.#active;
  }

  #makeDraft(): Promise<boolean> {
    return this.#fillDraft().then(
      () => true,
      () => false,
    );
  }

  async #fillDraft(): Promise<void> {
    const { files, dir, fileBytes } = this.#options;
    await files.remove(`${dir}/${DRAFT}`);
    const handle = await files.open(`${dir}/${DRAFT}`, 'create');
    try {
      await handle.preallocate(fileBytes);
    } finally {
      await handle.close();
    }
  }

  async #abandon(): Promise<void> {
    const active = this.#active;
    this.#active = undefined;
    try {
      await active?.handle.close();
    } catch {
      // Given up already; a failing close tells nothing new.
    }
  }

  async #reader(file: number): Promise<OpenFile> {
    let reader = this.#readers.get(file);
    if (reader === undefined) {
      if (this.#readers.size >= READ_HANDLES_MAX) await this.#closeReaders();
      reader = this.#options.files.open(this.#path(file), 'read');
      this.#readers.set(file, reader);
      reader.catch(() => this.#readers.delete(file));
    }
    return reader;
  }

  async #forgetReader(file: number): Promise<void> {
    const reader = this.#readers.get(file);
    this.#readers.delete(file);
    await (await reader)?.close();
  }

  async #closeReaders(): Promise<void> {
    const readers = [...this.#readers.values()];
    this.#readers.clear();
    for (const reader of readers) await (await reader.catch(() => undefined))?.close();
  }

  #name(file: number): string {
    return `${String(file).padStart(8, '0')}.${this.#options.suffix}`;
  }

  #path(file: number): string {
    return `${this.#options.dir}/${this.#name(file)}`;
  }

  #numberOf(name: string): number {
    const no = Number.parseInt(name, 10);
    return Number.isSafeInteger(no) && no > 0 && name === this.#name(no) ? no : 0;
  }
}
