// What survives a crash? A disk in memory for simulations: nothing that was not synced has to
// survive, and what happens to the rest is the simulator's choice, sector by sector.
// Y1. `datasync` keeps the bytes of one file, `syncDir` the names of one folder; nothing else does.
// Y2. After `crash` every open handle and lock of before is dead.
// Y3. After `kill` as well, but nothing is lost yet: a later crash may still take what was not
//     synced.

import { LedgerError } from './errors.ts';
import type { Files, OpenFile } from './files.ts';

const SECTOR = 512;

export type FilesOperation =
  | 'mkdir'
  | 'list'
  | 'open'
  | 'read'
  | 'write'
  | 'datasync'
  | 'preallocate'
  | 'rename'
  | 'remove'
  | 'syncDir';

export interface MemoryFilesOptions {
  /** Total size of all files before ENOSPC. */
  readonly capacityBytes?: number;
  /** Runs before each operation: throw to make it fail, return a promise to make it slow. */
  readonly before?: (operation: FilesOperation, path: string) => Promise<void> | void;
}

export interface CrashChoices {
  /** Does this unsynced 512-byte sector survive? Default: none does. */
  readonly keepSector?: (path: string, sector: number) => boolean;
  /** Do the unsynced names of this folder survive? Default: they do not. */
  readonly keepNames?: (dir: string) => boolean;
}

interface Undo {
  readonly position: number;
  readonly old: Uint8Array;
}

interface Inode {
  readonly id: number;
  data: Buffer;
  length: number;
  syncedLength: number;
  undo: Undo[];
}

export class MemoryFiles implements Files {
  #names = new Map<string, Inode>();
  /** Per folder: what its names were at the last syncDir. */
  readonly #synced = new Map<string, ReadonlyMap<string, Inode>>();
  readonly #locks = new Set<string>();
  readonly #options: MemoryFilesOptions;
  #epoch = 0;
  #nextId = 1;
  #capacityBytes: number;

  constructor(options: MemoryFilesOptions = {}) {
    this.#options = options;
    this.#capacityBytes = options.capacityBytes ?? Number.MAX_SAFE_INTEGER;
  }

  setCapacity(bytes: number): void {
    this.#capacityBytes = bytes;
  }

  usedBytes(): number {
    let sum = 0;
    for (const inode of this.#names.values()) sum += inode.length;
    return sum;
  }

  /** Power loss: every process on this disk is gone, `choices` decide on unsynced state. */
  crash(choices: CrashChoices = {}): void {
    this.#epoch += 1;
    this.#locks.clear();
    const folders = new Set([...this.#names.keys()].map(folderOf));
    for (const folder of this.#synced.keys()) folders.add(folder);
    const names = new Map<string, Inode>();
    for (const folder of folders) {
      const keep = choices.keepNames?.(folder) ?? false;
      const source = keep ? this.#namesIn(folder) : (this.#synced.get(folder) ?? new Map());
      for (const [path, inode] of source) names.set(path, inode);
    }
    this.#names = names;
    for (const [path, inode] of names) revert(inode, path, choices.keepSector ?? (() => false));
    // What is there after the restart has been read from the disk: it can not vanish any more.
    for (const folder of folders) this.#synced.set(folder, this.#namesIn(folder));
  }

  /** The process is killed, the machine goes on: all is still there, synced or not (Y3). */
  kill(): void {
    this.#epoch += 1;
    this.#locks.clear();
  }

  /** For tests that plant damage: changes bytes as if they had been on disk all along. */
  corrupt(path: string, change: (bytes: Uint8Array) => void): void {
    const inode = this.#find(path);
    change(this.#grow(inode, inode.length).subarray(0, inode.length));
  }

  /** A second disk with the same content, e.g. the old backup that somebody restores. */
  copy(options: MemoryFilesOptions = {}): MemoryFiles {
    const other = new MemoryFiles(options);
    for (const [path, inode] of this.#names) {
      const { id, length } = inode;
      const data = Buffer.from(inode.data);
      other.#names.set(path, { id, data, length, syncedLength: length, undo: [] });
    }
    other.#nextId = this.#nextId;
    for (const folder of this.#synced.keys()) other.#synced.set(folder, other.#namesIn(folder));
    return other;
  }

  async mkdir(path: string): Promise<void> {
    await this.#before('mkdir', path);
  }

  async list(dir: string): Promise<readonly string[]> {
    await this.#before('list', dir);
    const names = [...this.#namesIn(dir).keys()].map((path) => path.slice(dir.length + 1));
    return names.sort();
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<OpenFile> {
    await this.#before('open', path);
    if (mode === 'create') {
      if (this.#names.has(path)) throw coded('EEXIST', path);
      const inode = {
        id: this.#nextId,
        data: Buffer.alloc(0),
        length: 0,
        syncedLength: 0,
        undo: [],
      };
      this.#nextId += 1;
      this.#names.set(path, inode);
    }
    return this.#handle(this.#find(path), path);
  }

  async readWhole(path: string, bytesMax: number): Promise<Uint8Array | undefined> {
    await this.#before('read', path);
    const inode = this.#names.get(path);
    if (inode === undefined) return undefined;
    if (inode.length > bytesMax) throw new LedgerError('KIN_LEDGER_IO', `${path} is too large`);
    return readBytes(inode, 0, inode.length);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#before('rename', from);
    const inode = this.#find(from);
    this.#names.delete(from);
    this.#names.set(to, inode);
  }

  async remove(path: string): Promise<void> {
    await this.#before('remove', path);
    this.#names.delete(path);
  }

  async syncDir(dir: string): Promise<void> {
    await this.#before('syncDir', dir);
    this.#synced.set(dir, this.#namesIn(dir));
  }

  async identity(path: string): Promise<string | undefined> {
    await Promise.resolve();
    const inode = this.#names.get(path);
    return inode === undefined ? undefined : String(inode.id);
  }

  async lock(dir: string): Promise<{ release(): Promise<void> }> {
    await Promise.resolve();
    if (this.#locks.has(dir)) throw new LedgerError('KIN_LEDGER_LOCKED', `${dir} is in use`);
    this.#locks.add(dir);
    const epoch = this.#epoch;
    return {
      release: async () => {
        await Promise.resolve();
        if (epoch === this.#epoch) this.#locks.delete(dir);
      },
    };
  }

  #handle(inode: Inode, path: string): OpenFile {
    const epoch = this.#epoch;
    const enter = async (operation: FilesOperation): Promise<void> => {
      if (epoch !== this.#epoch) throw coded('EIO', `${path}: the machine crashed`);
      await this.#before(operation, path);
      if (epoch !== this.#epoch) throw coded('EIO', `${path}: the machine crashed`);
    };
    return {
      read: async (position, length) => {
        await enter('read');
        return readBytes(inode, position, length);
      },
      write: async (bytes, position) => {
        await enter('write');
        this.#write(inode, bytes, position);
      },
      datasync: async () => {
        await enter('datasync');
        inode.undo = [];
        inode.syncedLength = inode.length;
      },
      preallocate: async (length) => {
        await enter('preallocate');
        this.#checkSpace(inode, length);
        inode.length = Math.max(inode.length, length);
        inode.syncedLength = inode.length;
      },
      size: async () => {
        await Promise.resolve();
        return inode.length;
      },
      identity: async () => {
        await Promise.resolve();
        return String(inode.id);
      },
      close: async () => {
        await Promise.resolve();
      },
    };
  }

  #write(inode: Inode, bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    this.#checkSpace(inode, end);
    inode.undo.push({ position, old: readBytes(inode, position, bytes.length) });
    this.#grow(inode, end).set(bytes, position);
    inode.length = Math.max(inode.length, end);
  }

  #grow(inode: Inode, end: number): Buffer {
    if (inode.data.length < end) {
      inode.data = Buffer.concat([inode.data], Math.max(end, inode.data.length * 2));
    }
    return inode.data;
  }

  #checkSpace(inode: Inode, end: number): void {
    if (end <= inode.length || this.#capacityBytes === Number.MAX_SAFE_INTEGER) return;
    if (this.usedBytes() + end - inode.length > this.#capacityBytes) {
      throw coded('ENOSPC', 'no space left on the simulated disk');
    }
  }

  #find(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw coded('ENOENT', path);
    return inode;
  }

  #namesIn(dir: string): Map<string, Inode> {
    const found = new Map<string, Inode>();
    for (const [path, inode] of this.#names) if (folderOf(path) === dir) found.set(path, inode);
    return found;
  }

  async #before(operation: FilesOperation, path: string): Promise<void> {
    await this.#options.before?.(operation, path);
  }
}

function readBytes(inode: Inode, position: number, length: number): Uint8Array {
  const end = Math.min(position + length, inode.length);
  const out = Buffer.alloc(Math.max(0, end - position));
  // Preallocated zeros are not stored until somebody writes there.
  if (position < inode.data.length) {
    inode.data.copy(out, 0, position, Math.min(end, inode.data.length));
  }
  return out;
}

/** Newest first; a sector's fate is decided once, however often it was written. */
function revert(
  inode: Inode,
  path: string,
  keepSector: (path: string, sector: number) => boolean,
): void {
  const fate = new Map<number, boolean>();
  for (const { position, old } of inode.undo.reverse()) {
    for (let at = 0; at < old.length;) {
      const sector = Math.floor((position + at) / SECTOR);
      const end = Math.min(old.length, (sector + 1) * SECTOR - position);
      const kept = fate.get(sector) ?? keepSector(path, sector);
      fate.set(sector, kept);
      if (!kept) inode.data.set(old.subarray(at, end), position + at);
      at = end;
    }
  }
  inode.undo = [];
  inode.length = inode.syncedLength;
  inode.data.fill(0, Math.min(inode.length, inode.data.length));
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}
