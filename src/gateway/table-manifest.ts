// What does the manifest of a saved table say, and is what it names there and whole? Reading only;
// table-file.ts writes.
//
// First line: SHA-256 of the rest. Then JSON: `packs` (file, bytes), and for each family its parts
// as [digest, index of the pack, offset, bytes].
import { hash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../model/errors.ts';
import type { RoutingTable } from '../model/routing.ts';
import { PartShelf, namesOf } from './checked.ts';
import type { PartNames } from './checked.ts';
import { isRecord } from './lines.ts';
import { DIGEST, FAMILIES, PARTS_MAX, PART_BYTES_MAX, TABLE_BYTES_MAX } from './parts.ts';
import type { Family } from './parts.ts';
import { TableOfParts } from './routes.ts';

const FORMAT = 2;
const OLD_FORMAT = 1;
const OLD_BYTES_MAX = 64 * 1_024 * 1_024;
/** A pack also holds what is of no use any more. */
const PACK_BYTES_MAX = 3 * TABLE_BYTES_MAX;

export interface Place {
  readonly pack: string;
  readonly offset: number;
  readonly bytes: number;
}

export interface Manifest {
  /** Bytes by name of file. */
  readonly packs: ReadonlyMap<string, number>;
  readonly places: ReadonlyMap<string, Place>;
}

interface WholeManifest extends Manifest {
  readonly version: number;
  readonly names: PartNames;
}

export type ReadAnswer =
  | {
      readonly kind: 'loaded';
      readonly saved: { readonly table: RoutingTable; readonly pepper: string };
    }
  | { readonly kind: 'none' }
  | { readonly kind: 'unusable'; readonly reason: string };

export function fileNames(
  folder: string,
  worker: string,
): { readonly manifest: string; readonly before: string; readonly packPrefix: string } {
  const name = `table-${worker.replaceAll(/[^A-Za-z0-9-]/gu, '_')}`;
  const manifest = join(folder, `${name}.json`);
  return { manifest, before: join(folder, `${name}.before.json`), packPrefix: `${name}.` };
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Reads it whole, at the start, before anybody is served. */
export function readTable(folder: string, path: string): ReadAnswer {
  try {
    const body = readBody(path);
    const value: unknown = JSON.parse(body);
    if (isRecord(value) && value['v'] === OLD_FORMAT) return oldTable(value);
    const manifest = parseManifest(value);
    const shelf = new PartShelf();
    addParts(shelf, folder, manifest);
    const table = new TableOfParts(manifest.version, shelf.take(manifest.names));
    return { kind: 'loaded', saved: { table, pepper: table.pepper } };
  } catch (error) {
    return isMissing(error) && messageOf(error).includes(path)
      ? { kind: 'none' }
      : { kind: 'unusable', reason: messageOf(error) };
  }
}

/** Only what it says, for who writes the next one. */
export function readManifest(path: string): Manifest | undefined {
  try {
    return parseManifest(JSON.parse(readBody(path)));
  } catch {
    return undefined;
  }
}

export function textOf({ version, parts }: TableOfParts, { packs, places }: Manifest): string {
  const index = new Map([...packs.keys()].map((pack, i) => [pack, i]));
  const names = namesOf(parts);
  const rows = (family: Family): unknown[] =>
    names[family].map((digest) => {
      const place = places.get(digest);
      return [digest, index.get(place?.pack ?? ''), place?.offset, place?.bytes];
    });
  const families = Object.fromEntries(FAMILIES.map((family) => [family, rows(family)]));
  return JSON.stringify({ v: FORMAT, version, packs: [...packs], families });
}

function readBody(path: string): string {
  const text = readFileSafely(path, OLD_BYTES_MAX).toString();
  const line = text.indexOf('\n');
  const body = text.slice(line + 1);
  if (line < 0 || text.slice(0, line) !== hash('sha256', body)) {
    throw new Error('its checksum does not match');
  }
  return body;
}

function oldTable(value: Readonly<Record<string, unknown>>): ReadAnswer {
  const { table, pepper } = value as { readonly table?: unknown; readonly pepper?: unknown };
  if (!isRecord(table) || typeof pepper !== 'string') throw new Error('its format is not known');
  return { kind: 'loaded', saved: { table: table as unknown as RoutingTable, pepper } };
}

function parseManifest(value: unknown): WholeManifest {
  if (!isRecord(value) || value['v'] !== FORMAT) throw new Error('its format is not known');
  const { version, packs, families } = value as {
    readonly version: number;
    readonly packs: readonly (readonly [string, number])[];
    readonly families: Readonly<Record<Family, readonly (readonly unknown[])[]>>;
  };
  const places = new Map<string, Place>();
  const namesIn = (family: Family): string[] =>
    families[family].map(([digest, index, offset, bytes]) => {
      const [pack] = packs[Number(index)] ?? [];
      if (typeof digest !== 'string' || !DIGEST.test(digest)) throw new Error('an odd digest');
      if (pack === undefined || !isBytes(offset) || !isBytes(bytes) || bytes > PART_BYTES_MAX) {
        throw new Error('a part of it is nowhere');
      }
      places.set(digest, { pack, offset, bytes });
      return digest;
    });
  const names: Partial<Record<Family, readonly string[]>> = {};
  for (const family of FAMILIES) names[family] = namesIn(family);
  if (places.size > PARTS_MAX) throw new Error('it has too many parts');
  for (const [pack] of packs) {
    // A name, and never a path.
    if (!/^table-[A-Za-z0-9_-]+\.[0-9a-f]{16}\.pack$/u.test(pack)) throw new Error('an odd pack');
  }
  return { version, packs: new Map(packs), places, names: names as PartNames };
}

function isBytes(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}

function addParts(shelf: PartShelf, folder: string, manifest: WholeManifest): void {
  const packs = new Map<string, Buffer>();
  for (const family of FAMILIES) {
    for (const digest of manifest.names[family]) {
      const place = manifest.places.get(digest);
      if (place === undefined || shelf.has(family, digest)) continue;
      let pack = packs.get(place.pack);
      if (pack === undefined) {
        pack = readFileSafely(join(folder, place.pack), PACK_BYTES_MAX);
        packs.set(place.pack, pack);
      }
      // A copy: otherwise one part that stays holds the whole pack in memory.
      const body = Buffer.from(pack.subarray(place.offset, place.offset + place.bytes));
      shelf.add(family, { digest, body });
    }
  }
}

/** Not through a link, and no more than so many bytes. */
function readFileSafely(path: string, bytesMax: number): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = fstatSync(file);
    if (size > bytesMax) throw new Error('too large');
    const bytes = Buffer.allocUnsafeSlow(size);
    let at = 0;
    for (let read = -1; read !== 0 && at < size; at += read) {
      read = readSync(file, bytes, at, size - at, at);
    }
    return bytes.subarray(0, at);
  } finally {
    closeSync(file);
  }
}
