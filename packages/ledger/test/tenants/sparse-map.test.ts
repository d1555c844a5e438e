import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { sameBytes, toHex } from '../../src/bytes.ts';
import { hmacSha256, mapPosition } from '../../src/tenants/map-key.ts';
import {
  EMPTY_MAP,
  checkInMap,
  findInMap,
  mapLeaf,
  mapRoot,
  mapValue,
  proveInMap,
  updateMap,
} from '../../src/tenants/sparse-map.ts';
import type { MapLeaf, MapNode } from '../../src/tenants/sparse-map.ts';
import { MAP_KEY, hmac } from './model.ts';

const sha = (...parts: Uint8Array[]): Uint8Array =>
  createHash('sha256').update(Buffer.concat(parts)).digest();

/** The definition of the format, word by word, from scratch. */
function naiveMap(heads: readonly MapLeaf[], depth = 0): Uint8Array {
  const [only] = heads;
  if (only === undefined) return new Uint8Array(32);
  if (heads.length === 1) {
    const size = Buffer.alloc(8);
    size.writeBigUInt64BE(BigInt(only.size));
    const value = sha(Uint8Array.of(4), size, only.root);
    return sha(Uint8Array.of(2), only.position, value);
  }
  const bit = (head: MapLeaf): string =>
    (head.position[depth >> 3] ?? 0).toString(2).padStart(8, '0')[depth % 8] ?? '';
  const left = naiveMap(
    heads.filter((head) => bit(head) === '0'),
    depth + 1,
  );
  const right = naiveMap(
    heads.filter((head) => bit(head) === '1'),
    depth + 1,
  );
  return sha(Uint8Array.of(3), left, right);
}

const root32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
/** Positions that share long prefixes as well as random ones. */
const positions = fc.oneof(
  root32,
  fc.tuple(fc.nat(31), fc.nat(255)).map(([at, byte]) => new Uint8Array(32).fill(byte, at, at + 1)),
);
const heads = fc
  .tuple(positions, fc.integer({ min: 1, max: 2 ** 40 }), root32)
  .map(([position, size, root]) => mapLeaf(position, size, root));
const headLists = fc.uniqueArray(heads, {
  maxLength: 30,
  selector: ({ position }) => toHex(position),
});

test('positions are HMAC-SHA256 of the id under the map key', () => {
  assert.equal(toHex(mapPosition(MAP_KEY, 'acme')), toHex(hmac(MAP_KEY, 'acme')));
  const long = new Uint8Array(100).fill(9);
  assert.equal(
    toHex(hmacSha256(long, MAP_KEY)),
    toHex(hmac(long, Buffer.from(MAP_KEY).toString())),
  );
});

test('SM1, SM2: the map is that of its definition, however it came about; old ones stay', () => {
  fc.assert(
    fc.property(
      headLists,
      fc.array(fc.tuple(fc.nat(29), root32)),
      fc.nat(7),
      (first, later, step) => {
        let map: MapNode;
        const model = new Map<string, MapLeaf>();
        const kept: { map: MapNode; root: string }[] = [];
        const apply = (batch: readonly MapLeaf[]): void => {
          map = updateMap(map, batch);
          for (const head of batch) model.set(toHex(head.position), head);
          const root = toHex(naiveMap([...model.values()]));
          assert.equal(toHex(mapRoot(map)), root);
          kept.push({ map, root });
        };
        for (let at = 0; at < first.length; at += step + 1) apply(first.slice(at, at + step + 1));
        for (const [at, root] of later) {
          const head = first[at];
          if (head !== undefined) apply([mapLeaf(head.position, head.size + 1, root)]);
        }
        apply([]);
        for (const { map, root } of kept) assert.equal(toHex(mapRoot(map)), root);
        for (const head of model.values()) {
          assert.deepEqual(findInMap(map, head.position)?.hash, head.hash);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('SM3: presence and absence are proved, and no changed proof says anything else', () => {
  fc.assert(
    fc.property(headLists, positions, root32, fc.nat(40), (list, position, noise, at) => {
      const map = updateMap(undefined, list);
      const root = mapRoot(map);
      const proof = proveInMap(map, position);
      const head = list.find((head) => sameBytes(head.position, position));
      const verdict = checkInMap(position, proof, root);
      if (head === undefined) assert.deepEqual(verdict, { kind: 'absent' });
      else {
        const value = mapValue(BigInt(head.size), head.root);
        assert.deepEqual(verdict, { kind: 'present', value });
      }
      const { siblings, found } = proof;
      const changed = [
        { found, siblings: [...siblings, noise] },
        { found, siblings: siblings.slice(1) },
        { found, siblings: siblings.slice(0, -1) },
        { found, siblings: siblings.map((hash, step) => (step === at ? noise : hash)) },
        { found: { kind: 'leaf', position, value: noise } as const, siblings },
        { found: { kind: 'empty' } as const, siblings },
        { found: { kind: 'leaf', position: noise, value: noise } as const, siblings },
        { found, siblings: siblings.map((hash) => hash.subarray(1)) },
        { found, siblings: Array.from({ length: 257 }, () => noise) },
      ];
      for (const wrong of changed) {
        const answer = checkInMap(position, wrong, root);
        if (answer.kind === 'invalid') continue;
        assert.equal(answer.kind, verdict.kind);
        if (verdict.kind === 'present') assert.deepEqual(answer, verdict);
      }
    }),
    { numRuns: 300 },
  );
});

test('SM3: an empty map proves absence, and its path has no hashes', () => {
  const position = hmac(MAP_KEY, 'acme');
  const proof = proveInMap(undefined, position);
  assert.deepEqual(proof, { found: { kind: 'empty' }, siblings: [] });
  assert.deepEqual(checkInMap(position, proof, EMPTY_MAP), { kind: 'absent' });
});

test('SM3: a leaf that does not lie on the path is no evidence of absence', () => {
  const [a, b] = [new Uint8Array(32), new Uint8Array(32).fill(0x80, 0, 1)];
  const head = mapLeaf(b, 1, a);
  const map = updateMap(undefined, [mapLeaf(a, 1, a), head]);
  const proof = proveInMap(map, b);
  const position = new Uint8Array(32).fill(0x40, 0, 1);
  assert.deepEqual(checkInMap(position, proof, mapRoot(map)), {
    kind: 'invalid',
    reason: 'leaf-off-path',
  });
});

test('two heads for one position in one update are a mistake that stops', () => {
  const position = hmac(MAP_KEY, 'acme');
  const twice = [mapLeaf(position, 1, EMPTY_MAP), mapLeaf(position, 2, EMPTY_MAP)];
  assert.throws(() => updateMap(undefined, twice), /two heads/);
});
