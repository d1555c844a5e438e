import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex, utf8 } from '../../src/bytes.ts';
import { checkConsistency, checkInclusion, leafHash } from '../../src/merkle.ts';
import { CompactTree, GROUP_LEAVES, keptNodes } from '../../src/tenants/compact-tree.ts';
import { PositionList } from '../../src/tenants/positions.ts';
import { consistencyRanges, inclusionRanges } from '../../src/tenants/ranges.ts';
import type { Range } from '../../src/tenants/ranges.ts';
import { HashTree } from '../../src/tree.ts';

const leaves = Array.from({ length: 150 }, (_, at) => leafHash(utf8(`leaf ${at}`)));
const noLoad = (): Promise<never> => Promise.reject(new Error('nothing may be reloaded here'));

function treeOf(size: number): CompactTree {
  const tree = new CompactTree();
  for (const leaf of leaves.slice(0, size)) tree.append(leaf);
  return tree;
}

function hashes(tree: CompactTree, ranges: readonly Range[]): Uint8Array[] {
  const loaded = new Map<number, Uint8Array[]>();
  for (const group of tree.groupsFor(ranges)) {
    const group16 = leaves.slice(group * GROUP_LEAVES, (group + 1) * GROUP_LEAVES);
    assert.ok(tree.isGroup(group, group16));
    loaded.set(group, group16);
  }
  return ranges.map((range) => tree.hash(range, loaded));
}

test('CT1: every root and proof of every size up to 150 is that of the large tree', async () => {
  const reference = new HashTree(noLoad);
  for (const leaf of leaves) reference.append(leaf);
  for (let size = 1; size <= leaves.length; size += size < 70 ? 1 : 13) {
    const tree = treeOf(size);
    assert.equal(tree.bytes().length, 32 * keptNodes(size));
    const root = await reference.rootAt(size);
    assert.equal(toHex(tree.root()), toHex(root));
    for (let index = 0; index < size; index++) {
      const proof = hashes(tree, inclusionRanges(index, size));
      const leaf = leaves[index] ?? root;
      const claim = { index: BigInt(index), size: BigInt(size), leaf, root, proof };
      assert.deepEqual(checkInclusion(claim), { kind: 'valid' });
    }
    for (let before = 1; before <= size; before++) {
      const [root1 = root] = hashes(tree, [{ low: 0, high: before }]);
      const verdict = checkConsistency({
        size1: BigInt(before),
        size2: BigInt(size),
        root1,
        root2: root,
        proof: hashes(tree, consistencyRanges(before, size)),
      });
      assert.deepEqual(verdict, { kind: 'valid' }, `${before} to ${size}`);
    }
  }
});

test('CT2: leaves that do not hash to the known group are not believed', () => {
  const tree = treeOf(40);
  const group = leaves.slice(16, 32);
  assert.ok(tree.isGroup(1, group));
  assert.ok(!tree.isGroup(0, group));
  assert.ok(!tree.isGroup(1, group.slice(1)));
  assert.ok(!tree.isGroup(1, [...group.slice(1), ...group.slice(0, 1)]));
});

test('a tree comes back from its bytes; no flipped inner node or wrong size is accepted', () => {
  for (const size of [0, 1, 15, 16, 17, 47, 150]) {
    const tree = treeOf(size);
    const back = CompactTree.from(size, tree.bytes());
    assert.equal(toHex(back?.root() ?? utf8('')), toHex(tree.root()));
    for (const leaf of leaves) back?.append(leaf);
    const grown = treeOf(size);
    for (const leaf of leaves) grown.append(leaf);
    assert.equal(toHex(back?.root() ?? utf8('')), toHex(grown.root()));
    // 16, 17: as many nodes for two sizes cannot be told apart by their number alone.
    assert.equal(CompactTree.from(size + 40, tree.bytes()), undefined);
  }
  const bytes = Uint8Array.from(treeOf(47).bytes());
  bytes[2 * 32] = (bytes[2 * 32] ?? 0) ^ 1;
  assert.equal(CompactTree.from(47, bytes), undefined);
});

test('PO1: positions come back exactly, by number, in pages, and after forgetting', () => {
  const steps = fc.array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constant(2 ** 40)), {
    maxLength: 300,
  });
  fc.assert(
    fc.property(steps, fc.nat(320), fc.nat(320), fc.nat(400), (deltas, from, drop, limit) => {
      const list = new PositionList();
      const plain: number[] = [];
      for (const delta of deltas) {
        const index = (plain.at(-1) ?? -1) + delta;
        plain.push(index);
        list.append(index);
      }
      assert.deepEqual(list.page(from, limit), plain.slice(from, from + limit));
      for (const bound of [0, plain[from] ?? 5, (plain[from] ?? 5) + 1, 2 ** 52]) {
        assert.equal(list.countBelow(bound), plain.filter((index) => index < bound).length);
      }
      const dropped = Math.min(drop, plain.length);
      list.forget(dropped);
      assert.equal(list.count, plain.length);
      assert.deepEqual(list.page(0, 1000), plain.slice(dropped));
      assert.equal(list.last, plain.at(-1) ?? -1);
      const next = (plain.at(-1) ?? -1) + 7;
      list.append(next);
      assert.equal(list.at(plain.length), next);
    }),
    { numRuns: 300 },
  );
});
