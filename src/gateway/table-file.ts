// What does a gateway serve from when it starts and nobody is there to tell? Its last good table.
// On disk it is a manifest, which names the parts by their digests, and packs that hold their
// bodies: what did not change is not written again.
//
//   TF1. The manifest is replaced as a whole (write beside, sync, rename) after its packs are on
//        disk. All is readable by its owner only: it holds MACs and keys.
//   TF2. What is torn, foreign or of another format is not used; it is no reason to stop, and it is
//        told. Then the table before is used, if it is whole.
//   TF3. Packs that neither of the two needs are removed; when most of the bytes in packs are of no
//        use any more, all is written anew.
//   TF4. A table of format 1, one file with everything, is read once and written in format 2.
import { mkdirSync } from 'node:fs';
import { link, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hash, randomBytes } from 'node:crypto';
import type { RoutingTable } from '../model/routing.ts';
import { FAMILIES } from './parts.ts';
import type { Part } from './parts.ts';
import { fileNames, isMissing, readManifest, readTable, textOf } from './table-manifest.ts';
import type { Manifest, Place } from './table-manifest.ts';
import { tableOfParts } from './routes.ts';
import type { TableOfParts } from './routes.ts';

const PACKS_MAX = 32;
/** Below this, bytes without use are no reason to write all of it. */
const WASTE_BYTES_MIN = 1_024 * 1_024;
const WRITE_AT_ONCE = 64;

export interface SavedTable {
  readonly table: RoutingTable;
  readonly pepper: string;
}

export type LoadAnswer =
  /** `fault`: why the newest one could not be used, and the one before is. */
  | { readonly kind: 'loaded'; readonly saved: SavedTable; readonly fault: string | undefined }
  | { readonly kind: 'none' }
  | { readonly kind: 'unusable'; readonly reason: string };

export function tablePath(folder: string, worker: string): string {
  return fileNames(folder, worker).manifest;
}

export function loadTable(folder: string, worker: string): LoadAnswer {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { manifest, before } = fileNames(folder, worker);
  const newest = readTable(folder, manifest);
  if (newest.kind === 'loaded') return { ...newest, fault: undefined };
  const older = readTable(folder, before);
  if (older.kind !== 'loaded') return newest.kind === 'none' ? older : newest;
  return { ...older, fault: newest.kind === 'none' ? 'it is gone' : newest.reason };
}

export interface TableFile {
  /** Writes it soon; of several at once only the newest. */
  save(saved: SavedTable): void;
  /** Resolves when nothing is left to write. */
  settled(): Promise<void>;
}

export function openTableFile(
  folder: string,
  worker: string,
  onFault: (error: unknown) => void,
): TableFile {
  const writer = new TableWriter(folder, worker);
  let next: SavedTable | undefined;
  let writing: Promise<void> | undefined;

  const run = async (): Promise<void> => {
    for (let saved = next; saved !== undefined; saved = next) {
      next = undefined;
      try {
        await writer.write(tableOfParts(saved.table, saved.pepper));
      } catch (error) {
        onFault(error);
      }
    }
    writing = undefined;
  };
  return {
    save(saved) {
      next = saved;
      writing ??= run();
    },
    async settled() {
      await writing;
    },
  };
}

class TableWriter {
  readonly #folder: string;
  readonly #names: ReturnType<typeof fileNames>;
  /** What the manifests on disk say; undefined when they say nothing. */
  #known: Manifest | undefined;
  #before: Manifest | undefined;

  constructor(folder: string, worker: string) {
    this.#folder = folder;
    this.#names = fileNames(folder, worker);
  }

  async write(table: TableOfParts): Promise<void> {
    const { manifest: path, before } = this.#names;
    this.#known ??= readManifest(path);
    this.#before ??= readManifest(before);
    const known = this.#known;
    const wanted = new Map<string, Part>();
    for (const family of FAMILIES) {
      for (const part of table.parts[family]) wanted.set(part.digest, part);
    }
    const old = known === undefined || isWasteful(known, wanted) ? undefined : known;
    const fresh = [...wanted.values()].filter(({ digest }) => old?.places.has(digest) !== true);
    const packs = new Map(old?.packs);
    const places = new Map<string, Place>();
    for (const digest of wanted.keys()) {
      const place = old?.places.get(digest);
      if (place !== undefined) places.set(digest, place);
    }
    if (fresh.length > 0) await this.#writePack(fresh, packs, places);
    const used = new Set([...places.values()].map(({ pack }) => pack));
    for (const pack of packs.keys()) if (!used.has(pack)) packs.delete(pack);
    const next: Manifest = { packs, places };
    await writeBeside(path, textOf(table, next), async () => {
      // The one before stays usable under another name, unless it is not. It is linked, so that at
      // every moment there is a manifest under the first one.
      if (known === undefined) return;
      await rm(before, { force: true });
      await link(path, before).catch(ignoreMissing);
    });
    await syncFolder(this.#folder);
    this.#before = known ?? this.#before;
    this.#known = next;
    await this.#removeUnused();
  }

  async #writePack(
    parts: readonly Part[],
    packs: Map<string, number>,
    places: Map<string, Place>,
  ): Promise<void> {
    const pack = `${this.#names.packPrefix}${randomBytes(8).toString('hex')}.pack`;
    const file = await open(join(this.#folder, pack), 'wx', 0o600);
    let offset = 0;
    try {
      for (let i = 0; i < parts.length; i += WRITE_AT_ONCE) {
        const some = parts.slice(i, i + WRITE_AT_ONCE);
        await file.writeFile(Buffer.concat(some.map(({ body }) => body)));
        for (const { digest, body } of some) {
          places.set(digest, { pack, offset, bytes: body.length });
          offset += body.length;
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
    packs.set(pack, offset);
  }

  /** TF3. Also what was left by a writer that died half-way. */
  async #removeUnused(): Promise<void> {
    const { packPrefix, manifest } = this.#names;
    const keep = new Set([this.#known, this.#before].flatMap((m) => [...(m?.packs.keys() ?? [])]));
    for (const name of await readdir(this.#folder)) {
      const isPack = name.startsWith(packPrefix) && name.endsWith('.pack');
      const isBeside = join(this.#folder, name).startsWith(`${manifest}.new-`);
      if ((isPack && !keep.has(name)) || isBeside) await rm(join(this.#folder, name));
    }
  }
}

function isWasteful({ packs, places }: Manifest, wanted: ReadonlyMap<string, Part>): boolean {
  let used = 0;
  for (const [digest, { bytes }] of places) if (wanted.has(digest)) used += bytes;
  let all = 0;
  for (const bytes of packs.values()) all += bytes;
  return packs.size >= PACKS_MAX || all - used > Math.max(used, WASTE_BYTES_MIN);
}

async function writeBeside(
  path: string,
  body: string,
  beforeRename: () => Promise<void>,
): Promise<void> {
  const beside = `${path}.new-${process.pid}`;
  await rm(beside, { force: true });
  const file = await open(beside, 'wx', 0o600);
  try {
    await file.writeFile(`${hash('sha256', body)}\n${body}`);
    await file.sync();
  } finally {
    await file.close();
  }
  await beforeRename();
  await rename(beside, path);
}

/** Without this a rename may be forgotten in a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function ignoreMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}
