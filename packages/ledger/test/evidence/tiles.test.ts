// A pruned log over tlog-tiles: everything that a client may ask for by the specification is there,
// and only what lies below the minimum index is gone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EvidenceLog } from '../../src/index.ts';
import { sameBytes } from '../../src/bytes.ts';
import { minimumIndexOf } from '../../src/evidence/tile-sources.ts';
import { leafHash } from '../../src/merkle.ts';
import { parseCheckpointBody, parseNote } from '../../src/note.ts';
import { foldTile, formatTilePath, parseBundle, tileHandler } from '../../src/tiles.ts';
import type { TileHandler, TilePath } from '../../src/tiles.ts';
import { HashTree } from '../../src/tree.ts';
import { MemoryFiles } from '../../src/index.ts';
import { fill, openInMemory } from './memory.ts';

const BASIS = { code: 'retention-schedule', ref: 'one-year' } as const;

/** All tiles and bundles of a tree of `size`. */
function pathsOf(size: number): TilePath[] {
  const paths: TilePath[] = [];
  for (let level = 0, left = size; left > 0; level++, left = Math.floor(left / 256)) {
    for (let number = 0; number * 256 < left; number++) {
      const width = Math.min(256, left - number * 256);
      paths.push({ kind: 'tile', level, number, width });
      if (level === 0) paths.push({ kind: 'entries', number, width });
    }
  }
  return paths;
}

interface Seen {
  readonly size: number;
  readonly gone: readonly TilePath[];
  readonly bodies: ReadonlyMap<string, Uint8Array>;
}

async function readAll(handler: TileHandler): Promise<Seen> {
  const note = Buffer.from((await handler('GET', '/checkpoint')).body).toString();
  const size = Number(parseCheckpointBody(parseNote(note)?.text ?? '')?.size ?? 0n);
  const gone: TilePath[] = [];
  const bodies = new Map<string, Uint8Array>();
  for (const path of pathsOf(size)) {
    const { status, body } = await handler('GET', `/${formatTilePath(path)}`);
    if (status === 410) gone.push(path);
    else assert.equal(status, 200, `${formatTilePath(path)}: ${status}`);
    if (status === 200) bodies.set(formatTilePath(path), body);
  }
  return { size, gone, bodies };
}

function endOf(path: TilePath): number {
  if (path.kind === 'checkpoint') return 0;
  return (path.number + 1) * 256 ** (path.kind === 'entries' ? 1 : path.level + 1);
}

/** TS2, and that what is served is the same as before. */
function checkSeen(seen: Seen, minimum: number, before: Seen): void {
  assert.ok(minimum <= seen.size);
  for (const path of seen.gone) {
    assert.ok(endOf(path) <= minimum, `${formatTilePath(path)} is gone above ${minimum}`);
  }
  assert.ok(seen.gone.length > 0);
  for (const [name, body] of seen.bodies) {
    const old = before.bodies.get(name);
    if (old !== undefined) assert.ok(sameBytes(body, old), name);
    if (!name.startsWith('tile/entries/')) continue;
    const leaves = seen.bodies.get(name.replace('/entries/', '/0/'));
    const hashes = (parseBundle(body) ?? []).map((entry) => leafHash(entry));
    assert.deepEqual(Buffer.concat(hashes), Buffer.from(leaves ?? []), name);
  }
}

async function prune(log: EvidenceLog, north: number, first: number): Promise<void> {
  await log.retain('north', north, BASIS);
  await log.core.publish();
  const bound = Math.min(first, log.tenants.prunableBelow());
  const report = await log.core.prune({ first: bound, basis: 'one year' });
  assert.equal(report.kind, 'pruned', JSON.stringify(report));
}

test('TS2: after pruning, only what lies below whole bundles is gone', async () => {
  const files = new MemoryFiles();
  const { log } = await openInMemory(files);
  await fill(log, 1_400, 'north');
  await fill(log, 100);
  await log.core.publish();
  const system = await readAll(tileHandler(log.systemTiles()));
  const north = await readAll(tileHandler(log.tenantTiles('north')));
  await prune(log, 700, 600);
  await fill(log, 30, 'north');
  await log.core.publish();
  const { first } = log.core.stats();
  assert.ok(first > 0 && first % 256 !== 0, `first kept: ${first}`);
  const minimum = log.systemTiles().minimumIndex?.() ?? 0;
  assert.equal(minimum, Math.ceil(first / 256) * 256);
  checkSeen(await readAll(tileHandler(log.systemTiles())), minimum, system);
  const least = log.tenantTiles('north').minimumIndex?.() ?? 0;
  assert.ok(least > 256 && least % 256 === 0 && least >= log.tenants.minimum('north'));
  checkSeen(await readAll(tileHandler(log.tenantTiles('north'))), least, north);
  await log.close();
  const again = await openInMemory(files);
  checkSeen(await readAll(tileHandler(again.log.systemTiles())), minimum, system);
  checkSeen(await readAll(tileHandler(again.log.tenantTiles('north'))), least, north);
  await again.log.close();
});

test('TS2: with less than a bundle behind pruned entries the tree can be read', async () => {
  const { log } = await openInMemory();
  await fill(log, 400, 'north', 4);
  await log.core.publish();
  await log.retain('north', 350, BASIS);
  await log.core.publish();
  const bound = Math.min(350, log.tenants.prunableBelow());
  await log.core.prune({ first: bound, basis: 'one year' });
  await log.core.publish();
  const { first } = log.core.stats();
  assert.ok(first > 256 && log.core.size < 512, `${first} of ${log.core.size}`);
  const source = log.systemTiles();
  assert.equal(source.minimumIndex?.(), log.publisher.state().publishedSize);
  const seen = await readAll(tileHandler(source));
  // The one bundle that holds pruned entries; the hashes of the tree of this size are all there.
  assert.deepEqual(
    seen.gone.map((path) => formatTilePath(path)),
    ['tile/0/000', 'tile/entries/000', `tile/entries/001.p/${seen.size - 256}`],
  );
  await log.close();
});

test('TS2: the hashes of a tenant’s higher levels are those of its leaves', async () => {
  const { log } = await openInMemory();
  await fill(log, 1_300, 'north');
  await log.core.publish();
  const source = log.tenantTiles('north');
  for (const number of [0, 1, 2, 3, 4]) {
    const leaves = (await source.leafHashes(number * 256, 256)) ?? [];
    const [hash] = (await source.levelHashes?.(1, number, 1)) ?? [];
    assert.deepEqual(hash, foldTile(leaves), `subtree ${number}`);
  }
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  for (const leaf of (await source.leafHashes(0, 1000)) ?? []) tree.append(leaf);
  assert.deepEqual((await source.levelHashes?.(1, 0, 3))?.[2], tree.levelHashes(1, 2, 1)[0]);
  await log.close();
});

test('TS2: the minimum is the end of the bundle, and never above the size', () => {
  const cases = [
    [0, 10, 0],
    [1, 10, 10],
    [256, 300, 256],
    [257, 511, 511],
    [257, 512, 512],
    [300, 4000, 512],
  ] as const;
  for (const [first, size, minimum] of cases) assert.equal(minimumIndexOf(first, size), minimum);
});
