import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import fastify from 'fastify';
import { toBase64 } from '../src/bytes.ts';
import { leafHash, nodeHash } from '../src/merkle.ts';
import { formatTreeHead, signNote } from '../src/note.ts';
import {
  foldTile,
  formatTilePath,
  parseBundle,
  parseTilePath,
  tileHandler,
  tileListener,
} from '../src/tiles.ts';
import type { TileHandler, TileSource } from '../src/tiles.ts';
import { HashTree } from '../src/tree.ts';
import { verifyCheckpoint } from '../src/verify.ts';
import { ORIGIN, bytesOf, signer } from './support.ts';

function entryAt(index: number): Uint8Array {
  return bytesOf(`entry ${index}`);
}

/** A log whose entries are a function of their index. */
function logOf(size: number, more: Partial<TileSource> = {}): TileSource {
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  for (let at = 0; at < size; at++) tree.append(leafHash(entryAt(at)));
  const range = (from: number, count: number): Uint8Array[] =>
    Array.from({ length: count }, (_, at) => entryAt(from + at));
  const text = signNote(formatTreeHead(ORIGIN, size, tree.root()), signer);
  return {
    size: () => size,
    checkpointText: () => text,
    leafHashes: (from, count) => range(from, count).map(leafHash),
    entries: range,
    ...more,
  };
}

/** What a third party does: it knows the specification, the key and the handler, nothing else. */
class TileClient {
  readonly #get: TileHandler;
  readonly read: string[] = [];

  constructor(get: TileHandler) {
    this.#get = get;
  }

  async fetch(path: string): Promise<Uint8Array> {
    const { status, body } = await this.#get('GET', `/${path}`);
    assert.equal(status, 200, path);
    this.read.push(path);
    return body;
  }

  /** Reads every tile of every level, checks each against the one above, and gives the root. */
  async root(size: number): Promise<Uint8Array> {
    let below: Uint8Array[] = [];
    const ragged: Uint8Array[][] = [];
    for (let level = 0, width = size; width > 0; level++, width = Math.floor(width / 256)) {
      const hashes: Uint8Array[] = [];
      for (let from = 0; from < width; from += 256) {
        const number = from / 256;
        const tile = { kind: 'tile', level, number, width: Math.min(256, width - from) } as const;
        const bytes = await this.fetch(formatTilePath(tile));
        assert.equal(bytes.length, tile.width * 32);
        for (let at = 0; at < bytes.length; at += 32) hashes.push(bytes.subarray(at, at + 32));
      }
      const folds = Array.from({ length: width }, (_, at) => below.slice(at * 256, at * 256 + 256));
      if (level > 0) assert.deepEqual(hashes.map(toBase64), folds.map(foldTile).map(toBase64));
      ragged.unshift(hashes.slice(width - (width % 256)));
      below = hashes;
    }
    // The root: subtrees from the largest to the smallest, joined from the right.
    const peaks = ragged.flatMap((hashes) => peaksOf(hashes));
    return peaks.reduceRight((right, left) => nodeHash(left, right));
  }
}

function peaksOf(hashes: readonly Uint8Array[]): Uint8Array[] {
  const peaks: Uint8Array[] = [];
  let from = 0;
  for (let width = 128; width >= 1; width /= 2) {
    if (hashes.length - from < width) continue;
    peaks.push(foldTile(hashes.slice(from, from + width)));
    from += width;
  }
  return peaks;
}

test('a client that walks the tiles comes to the signed root, at every awkward size', async () => {
  for (const size of [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537]) {
    const client = new TileClient(tileHandler(logOf(size)));
    const text = new TextDecoder().decode(await client.fetch('checkpoint'));
    const verdict = verifyCheckpoint(text, signer.vkey);
    assert.ok(verdict.kind === 'valid');
    assert.equal(toBase64(await client.root(size)), verdict.head.root, `size ${size}`);
    const last = Math.floor((size - 1) / 256);
    const width = size - last * 256;
    const path = formatTilePath({ kind: 'entries', number: last, width });
    const entries = parseBundle(await client.fetch(path)) ?? [];
    assert.deepEqual(entries.at(-1), entryAt(size - 1));
    assert.equal(entries.length, width);
    const leaves = await client.fetch(path.replace('entries', '0'));
    assert.equal(toBase64(Buffer.concat(entries.map(leafHash))), toBase64(leaves));
  }
});

test('a tree of 70 000 has exactly the tiles that the specification counts', async () => {
  const client = new TileClient(tileHandler(logOf(70_000)));
  await client.root(70_000);
  const of = (pattern: RegExp): number => client.read.filter((path) => pattern.test(path)).length;
  assert.equal(of(/^tile\/0\/[x0-9/]+$/), 273);
  assert.equal(of(/^tile\/0\/273\.p\/112$/), 1);
  assert.deepEqual(
    client.read.filter((path) => !path.startsWith('tile/0/')),
    ['tile/1/000', 'tile/1/001.p/17', 'tile/2/000.p/1'],
  );
});

test('tiles T3: a path has one spelling, and everything else is no resource', async () => {
  const good = {
    checkpoint: { kind: 'checkpoint' },
    'tile/0/000': { kind: 'tile', level: 0, number: 0, width: 256 },
    'tile/63/x001/x234/067': { kind: 'tile', level: 63, number: 1_234_067, width: 256 },
    'tile/8/001.p/1': { kind: 'tile', level: 8, number: 1, width: 1 },
    'tile/entries/x001/000.p/255': { kind: 'entries', number: 1000, width: 255 },
    'tile/0/x999/x999/x999/x999/999': {
      kind: 'tile',
      level: 0,
      number: 999_999_999_999_999,
      width: 256,
    },
  };
  for (const [text, path] of Object.entries(good)) {
    assert.deepEqual(parseTilePath(text), path, text);
    assert.equal(formatTilePath(parseTilePath(text) ?? { kind: 'checkpoint' }), text);
  }
  const bad = [
    '',
    '/',
    'checkpoint/',
    '/checkpoint',
    'Checkpoint',
    'tile',
    'tile/0',
    'tile/0/',
    'tile/0/0',
    'tile/0/00',
    'tile/0/0000',
    'tile/00/000',
    'tile/01/000',
    'tile/64/000',
    'tile/-1/000',
    'tile/+1/000',
    'tile/0/x000/000',
    'tile/0/x000/x001/000',
    'tile/0/001/000',
    'tile/0/x001',
    'tile/0/x1/000',
    'tile/0/X001/000',
    'tile/0/000.p',
    'tile/0/000.p/',
    'tile/0/000.p/0',
    'tile/0/000.p/01',
    'tile/0/000.p/256',
    'tile/0/000.p/1000',
    'tile/0/000.p/1/2',
    'tile/0/000/',
    'tile/0/000.p/-1',
    'tile/entries',
    'tile/entries/',
    'tile/data/000',
    'tile/entries/000.P/1',
    'tile/0/x001/x001/x001/x001/x001/001',
    'tile/0/\u0660\u0660\u0660',
    'tile//000',
    'tile/0/000\n',
    'tile/0/000 ',
    ' tile/0/000',
    'tile/0/000%2ep/1',
    'tile/0/../0/000',
    `tile/0/${'x001/'.repeat(5000)}001`,
  ];
  const handler = tileHandler(logOf(3));
  for (const text of bad) {
    assert.equal(parseTilePath(text), undefined, JSON.stringify(text));
    assert.equal((await handler('GET', `/${text}`)).status, 404);
  }
  assert.equal((await handler('GET', 'checkpoint')).status, 404, 'without the slash in front');
  assert.equal((await handler('GET', '/checkpoint?fresh=1')).status, 200);
});

test('tiles T4: what is not published is not served, although the log has it already', async () => {
  const source = logOf(600);
  const handler = tileHandler({ ...source, size: () => 300 });
  const expected = {
    '/tile/0/000': 200,
    '/tile/0/000.p/7': 200,
    '/tile/0/001.p/44': 200,
    '/tile/0/001.p/45': 404,
    '/tile/0/001': 404,
    '/tile/entries/001.p/44': 200,
    '/tile/entries/001.p/45': 404,
    '/tile/1/000.p/1': 200,
    '/tile/1/000.p/2': 404,
    '/tile/1/000': 404,
    '/tile/2/000.p/1': 404,
    '/tile/63/x999/x999/x999/x999/999': 404,
  };
  for (const [path, status] of Object.entries(expected)) {
    assert.equal((await handler('GET', path)).status, status, path);
  }
  const empty = tileHandler({ ...source, size: () => 0, checkpointText: () => undefined });
  for (const path of ['/checkpoint', '/tile/0/000.p/1', '/tile/entries/000.p/1']) {
    assert.equal((await empty('GET', path)).status, 404);
  }
});

test('tiles T5: below the minimum index is gone, and what reaches over it is served', async () => {
  const handler = tileHandler(logOf(70_000, { minimumIndex: () => 65_800 }));
  const expected = {
    '/tile/0/000': 410,
    '/tile/0/000.p/3': 410,
    '/tile/entries/000': 410,
    '/tile/entries/255': 410,
    '/tile/0/256': 410,
    '/tile/0/257': 200,
    '/tile/entries/257': 200,
    '/tile/1/000': 410,
    '/tile/1/001.p/17': 200,
    '/tile/2/000.p/1': 200,
    '/checkpoint': 200,
  };
  for (const [path, status] of Object.entries(expected)) {
    assert.equal((await handler('GET', path)).status, status, path);
  }
  const lost = tileHandler(logOf(300, { entries: () => undefined }));
  assert.equal((await lost('GET', '/tile/entries/000')).status, 410);
});

test('tiles T6: a source that fails or answers wrongly gives no body, no details', async () => {
  const told: unknown[] = [];
  const onError = (cause: unknown): void => {
    told.push(cause);
  };
  const sources: Partial<TileSource>[] = [
    { entries: () => Promise.reject(new Error('secret path')) },
    { entries: () => [entryAt(0)] },
    { entries: (_, count) => Array.from({ length: count }, () => new Uint8Array(65_536)) },
  ];
  for (const source of sources) {
    const answer = await tileHandler(logOf(300, source), { onError })('GET', '/tile/entries/000');
    assert.equal(answer.status, 503);
    assert.doesNotMatch(new TextDecoder().decode(answer.body), /secret/);
    assert.equal(answer.headers['cache-control'], 'no-store');
  }
  const short = {
    leafHashes: (_: number, count: number) => Array<Uint8Array>(count).fill(entryAt(1)),
  };
  assert.equal(
    (await tileHandler(logOf(300, short), { onError })('GET', '/tile/0/000')).status,
    503,
  );
  // Without the hashes of higher levels a tile of them is bounded work.
  const vast = { ...logOf(1), size: () => 256 ** 4 };
  assert.equal((await tileHandler(vast, { onError })('GET', '/tile/3/000.p/1')).status, 503);
  assert.equal(told.length, 5);
  const known = tileHandler({
    ...vast,
    levelHashes: (_, __, count) => Array(count).fill(leafHash(entryAt(1))),
  });
  assert.equal((await known('GET', '/tile/3/000.p/1')).status, 200);
});

test('types and caching are as specified; a private log stays out of shared caches', async () => {
  const handler = tileHandler(logOf(300), { prefix: '/logs/one/', cache: 'private' });
  const checkpoint = await handler('GET', '/logs/one/checkpoint');
  assert.equal(checkpoint.headers['content-type'], 'text/plain; charset=utf-8');
  assert.match(checkpoint.headers['cache-control'] ?? '', /^private, max-age=1\b/);
  const tile = await handler('HEAD', '/logs/one/tile/0/000');
  assert.equal(tile.headers['content-type'], 'application/octet-stream');
  assert.equal(tile.headers['cache-control'], 'private, max-age=31536000, immutable');
  const post = await handler('POST', '/logs/one/checkpoint');
  assert.deepEqual([post.status, post.headers['allow']], [405, 'GET, HEAD']);
  assert.equal((await handler('GET', '/logs/two/checkpoint')).status, 404);
});

test('a bundle is read only whole: cut, padded or too wide is none', () => {
  const bytes = Uint8Array.of(0, 1, 65, 0, 0, 0, 2, 66, 67);
  assert.deepEqual(parseBundle(bytes), [
    Uint8Array.of(65),
    new Uint8Array(0),
    Uint8Array.of(66, 67),
  ]);
  for (const bad of [bytes.subarray(0, 8), bytes.subarray(0, 1), new Uint8Array(0)]) {
    assert.equal(parseBundle(bad), undefined);
  }
  assert.equal(parseBundle(new Uint8Array(512))?.length, 256);
  assert.equal(parseBundle(new Uint8Array(514)), undefined);
});

test('the same handler serves behind node:http and behind Fastify', async (context) => {
  const handler = tileHandler(logOf(300));
  const server = createServer(tileListener(handler));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const app = fastify();
  app.get('/*', async (request, reply) => {
    const { status, headers, body } = await handler(request.method, request.url);
    return reply.code(status).headers(headers).send(Buffer.from(body));
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  context.after(() => app.close());
  for (const base of [`http://127.0.0.1:${port}`, app.listeningOrigin]) {
    const client = new TileClient(async (_, path) => {
      const answer = await fetch(base + path);
      assert.equal(
        answer.headers.get('content-type')?.startsWith(path === '/checkpoint' ? 'text/' : 'app'),
        true,
      );
      const body = new Uint8Array(await answer.arrayBuffer());
      return { status: answer.status === 200 ? 200 : 404, headers: {}, body };
    });
    const text = new TextDecoder().decode(await client.fetch('checkpoint'));
    const verdict = verifyCheckpoint(text, signer.vkey);
    assert.equal(verdict.kind === 'valid' && verdict.head.root, toBase64(await client.root(300)));
    const head = await fetch(`${base}/tile/0/000`, { method: 'HEAD' });
    assert.equal(head.headers.get('content-length'), '8192');
    assert.equal((await fetch(`${base}/tile/0/002`)).status, 404);
  }
});
