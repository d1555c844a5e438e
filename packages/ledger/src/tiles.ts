// How does anybody read a log over HTTP? c2sp.org/tlog-tiles: the checkpoint, tiles of 256 hashes
// and bundles of 256 entries under fixed paths, over the whole log or over one tenant's log.
// T3. A path is served only in its one spelling; everything else is no resource.
// T4. Nothing at or above the published size is served, whatever the source holds already.
// T5. A tile or bundle that lies wholly below the minimum index is gone (410); one that reaches
//     over it is served, as the specification demands, so owners set it to a multiple of 256.
// T6. What the source cannot answer is an error without details, and never a wrong body.

import { concat, utf8 } from './bytes.ts';
import { HASH_BYTES, nodeHash } from './merkle.ts';

export const TILE_WIDTH = 256;
const LEVEL_MAX = 63;
/** Five groups of three digits stay below 2^53; a longer path is never a tile of ours. */
const GROUPS_MAX = 5;
const PATH_CHARS_MAX = 64;
const ENTRY_BYTES_MAX = 65_535;
/** Without `levelHashes` a tile of a high level is refused when it means hashing more leaves. */
const FOLDED_LEAVES_MAX = 2 ** 20;

export type TilePath =
  | { readonly kind: 'checkpoint' }
  | {
      readonly kind: 'tile';
      readonly level: number;
      readonly number: number;
      readonly width: number;
    }
  | { readonly kind: 'entries'; readonly number: number; readonly width: number };

/** `width` is 256 for a full tile. Undefined for every text that is not exactly such a path. */
export function parseTilePath(path: string): TilePath | undefined {
  if (path === 'checkpoint') return { kind: 'checkpoint' };
  if (path.length > PATH_CHARS_MAX) return undefined;
  const match =
    /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(
      path,
    );
  const [, place = '', groups = '', widthText] = match ?? [];
  if (match === null || groups.split('/').length > GROUPS_MAX) return undefined;
  // A first group of zeroes would be a second name of the same tile.
  if (groups.startsWith('x000/')) return undefined;
  const number = Number(groups.replaceAll(/[x/]/g, ''));
  const width = widthText === undefined ? TILE_WIDTH : Number(widthText);
  if (widthText !== undefined && width >= TILE_WIDTH) return undefined;
  if (place === 'entries') return { kind: 'entries', number, width };
  const level = Number(place);
  return level <= LEVEL_MAX ? { kind: 'tile', level, number, width } : undefined;
}

export function formatTilePath(path: TilePath): string {
  if (path.kind === 'checkpoint') return 'checkpoint';
  const place = path.kind === 'entries' ? 'entries' : String(path.level);
  const partial = path.width === TILE_WIDTH ? '' : `.p/${path.width}`;
  return `tile/${place}/${tileNumber(path.number)}${partial}`;
}

/** 1234067 becomes `x001/x234/067`. */
export function tileNumber(number: number): string {
  const digits = String(number);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/\d{3}/g) ?? [];
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/');
}

/** What a log, or a tenant's view of it, can say. Ranges asked for lie below `size`. */
export interface TileSource {
  /** Of the published checkpoint. */
  size(): number;
  /** Undefined before the first one. */
  checkpointText(): string | undefined;
  /** Entries below it are gone or not to be shown. Default 0. */
  minimumIndex?(): number;
  leafHashes(from: number, count: number): Answer;
  /** Roots of complete subtrees of 256^level leaves, `level` from 1 up. Default: computed. */
  levelHashes?(level: number, from: number, count: number): Answer;
  /** The bytes of entries. Undefined when they are no longer kept. */
  entries(from: number, count: number): Answer;
}

type Answer = readonly Uint8Array[] | undefined | Promise<readonly Uint8Array[] | undefined>;

export interface TileResponse {
  readonly status: 200 | 404 | 405 | 410 | 503;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface TileOptions {
  /** Where the log stands, such as `/logs/one/`. Default `/`. */
  readonly prefix?: string;
  /** `private` for what only one reader may see: no shared cache keeps it. Default `public`. */
  readonly cache?: 'public' | 'private';
  /** Told what a 503 was about; the client only learns that it may try again. */
  readonly onError?: (cause: unknown, path: string) => void;
}

/** `url` is a request's path, as `request.url` has it. A query is allowed and ignored. */
export type TileHandler = (method: string, url: string) => Promise<TileResponse>;

export function tileHandler(source: TileSource, options: TileOptions = {}): TileHandler {
  const prefix = options.prefix ?? '/';
  const cache = options.cache ?? 'public';
  const folded = new Map<string, Uint8Array>();
  return async (method, url) => {
    if (method !== 'GET' && method !== 'HEAD') {
      return { ...failure(405, 'only GET and HEAD'), headers: { ...PLAIN, allow: 'GET, HEAD' } };
    }
    const [address = ''] = url.split('?', 1);
    const path = address.startsWith(prefix)
      ? parseTilePath(address.slice(prefix.length))
      : undefined;
    if (path === undefined) return failure(404, 'no such resource');
    try {
      return await answer(source, path, cache, folded);
    } catch (cause) {
      options.onError?.(cause, address);
      return failure(503, 'the log cannot answer now');
    }
  };
}

const PLAIN = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' };
const GONE = 'below the minimum index of this log';

function failure(status: 404 | 405 | 410 | 503, text: string): TileResponse {
  return { status, headers: PLAIN, body: utf8(`${text}\n`) };
}

async function answer(
  source: TileSource,
  path: TilePath,
  cache: string,
  folded: Map<string, Uint8Array>,
): Promise<TileResponse> {
  if (path.kind === 'checkpoint') {
    const text = source.checkpointText();
    if (text === undefined) return failure(404, 'nothing is published yet');
    const headers = { ...PLAIN, 'cache-control': `${cache}, max-age=1, must-revalidate` };
    return { status: 200, headers, body: utf8(text) };
  }
  const level = path.kind === 'entries' ? 0 : path.level;
  const size = source.size();
  const available = Math.floor(size / 256 ** level);
  const from = path.number * TILE_WIDTH;
  if (from + path.width > available) return failure(404, 'not in the published tree');
  // A partial tile goes together with its full one.
  const endIndex = (from + TILE_WIDTH) * 256 ** level;
  if (endIndex <= (source.minimumIndex?.() ?? 0)) return failure(410, GONE);
  const parts =
    path.kind === 'entries'
      ? await source.entries(from, path.width)
      : await hashesOf(source, level, from, path.width, folded);
  if (parts === undefined) return failure(410, GONE);
  if (parts.length !== path.width) throw new Error(`${parts.length} parts for ${path.width}`);
  return {
    status: 200,
    headers: {
      'content-type': 'application/octet-stream',
      'cache-control': `${cache}, max-age=31536000, immutable`,
    },
    body: path.kind === 'entries' ? bundle(parts) : hashTile(parts),
  };
}

/** Entries as a tlog-tiles bundle: each with its length in two bytes in front. */
export function bundle(entries: readonly Uint8Array[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    if (entry.length > ENTRY_BYTES_MAX) throw new Error(`an entry of ${entry.length} bytes`);
    parts.push(Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry);
  }
  return concat(...parts);
}

/** Undefined when the bytes are not exactly a sequence of 1 to 256 entries. */
export function parseBundle(bytes: Uint8Array): readonly Uint8Array[] | undefined {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    const end = at + 2 + length;
    if (end > bytes.length || entries.length === TILE_WIDTH) return undefined;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries.length === 0 ? undefined : entries;
}

function hashTile(hashes: readonly Uint8Array[]): Uint8Array {
  if (!hashes.every(({ length }) => length === HASH_BYTES))
    throw new Error('a hash of a wrong size');
  return concat(...hashes);
}

async function hashesOf(
  source: TileSource,
  level: number,
  from: number,
  count: number,
  folded: Map<string, Uint8Array>,
): Promise<readonly Uint8Array[] | undefined> {
  if (level === 0) return source.leafHashes(from, count);
  if (source.levelHashes !== undefined) return source.levelHashes(level, from, count);
  let leaves = 0;
  const out: Uint8Array[] = [];
  for (let at = from; at < from + count; at++) {
    const place = `${level}:${at}`;
    let hash = folded.get(place);
    if (hash === undefined) {
      leaves += 256 ** level;
      if (leaves > FOLDED_LEAVES_MAX) throw new Error(`level ${level} needs levelHashes`);
      const below = await hashesOf(source, level - 1, at * TILE_WIDTH, TILE_WIDTH, folded);
      if (below === undefined) return undefined;
      if (below.length !== TILE_WIDTH) throw new Error(`${below.length} hashes of a full tile`);
      hash = foldTile(below);
      if (folded.size >= FOLDED_MAX) folded.clear();
      folded.set(place, hash);
    }
    out.push(hash);
  }
  return out;
}

const FOLDED_MAX = 65_536;

/** The root of a full tile, or of any power of two of hashes. */
export function foldTile(hashes: readonly Uint8Array[]): Uint8Array {
  let row = hashes;
  while (row.length > 1) {
    const above: Uint8Array[] = [];
    for (let at = 0; at + 1 < row.length; at += 2) {
      above.push(nodeHash(row[at] ?? new Uint8Array(0), row[at + 1] ?? new Uint8Array(0)));
    }
    row = above;
  }
  return row[0] ?? new Uint8Array(0);
}

/** The part of a node:http response that is needed here; also `reply.raw` of Fastify. */
export interface HttpResponse {
  writeHead(status: number, headers: Record<string, string>): unknown;
  end(body?: Uint8Array): unknown;
}

/** A listener for `http.createServer`. */
export function tileListener(
  handler: TileHandler,
): (
  request: { readonly method?: string | undefined; readonly url?: string | undefined },
  response: HttpResponse,
) => void {
  return (request, response) => {
    const method = request.method ?? 'GET';
    const write = ({ status, headers, body }: TileResponse): unknown => {
      response.writeHead(status, { ...headers, 'content-length': String(body.length) });
      return method === 'HEAD' ? response.end() : response.end(body);
    };
    // A response that can no longer be written has no reader left who could be told.
    handler(method, request.url ?? '/')
      .then(write)
      .catch(() => response.end());
  };
}
