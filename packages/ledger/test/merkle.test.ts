import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromBase64, toBase64, toHex } from '../src/bytes.ts';
import { checkConsistency, checkInclusion, emptyRoot, leafHash, nodeHash } from '../src/merkle.ts';
import { HashTree, hashLeaf } from '../src/tree.ts';
import { bytesOf } from './support.ts';

// The leaf inputs and roots of the Certificate Transparency reference tree.
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657'];
const LAST = '606162636465666768696a6b6c6d6e6f';
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

const noLoad = (): Promise<never> => Promise.reject(new Error('nothing may be reloaded here'));

/** RFC 6962 §2.1 word by word. */
function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (first === undefined) return emptyRoot();
  if (leaves.length === 1) return first;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(naiveRoot(leaves.slice(0, split)), naiveRoot(leaves.slice(split)));
}

function entryAt(at: number): Uint8Array {
  return bytesOf(`entry ${at}`);
}

function treeOf(size: number): HashTree {
  const tree = new HashTree(noLoad);
  for (let at = 0; at < size; at++) tree.append(hashLeaf(entryAt(at)));
  return tree;
}

test('the roots of the reference tree are those that the whole world computes', () => {
  const tree = new HashTree(noLoad);
  const inputs = [...LEAVES, LAST].map((hex) => Buffer.from(hex, 'hex'));
  assert.equal(toHex(tree.root()), ROOTS[0]);
  for (const [at, input] of inputs.entries()) {
    assert.deepEqual(Buffer.from(leafHash(input)), Buffer.from(hashLeaf(input)));
    tree.append(leafHash(input));
    assert.equal(toHex(tree.root()), ROOTS[at + 1]);
  }
});

test('every inclusion and consistency proof of every size up to 70 verifies', async () => {
  const leaves = Array.from({ length: 70 }, (_, at) => leafHash(entryAt(at)));
  const tree = treeOf(70);
  for (let size = 1; size <= 70; size++) {
    const root = await tree.rootAt(size);
    assert.deepEqual(Buffer.from(root), Buffer.from(naiveRoot(leaves.slice(0, size))));
    for (let index = 0; index < size; index++) {
      const proof = await tree.inclusion(index, size);
      const leaf = leaves[index] ?? emptyRoot();
      const claim = { index: BigInt(index), size: BigInt(size), leaf, root, proof };
      assert.deepEqual(checkInclusion(claim), { kind: 'valid' });
    }
    for (let before = 1; before <= size; before++) {
      const proof = await tree.consistency(before, size);
      const verdict = checkConsistency({
        size1: BigInt(before),
        size2: BigInt(size),
        root1: naiveRoot(leaves.slice(0, before)),
        root2: root,
        proof,
      });
      assert.deepEqual(verdict, { kind: 'valid' });
    }
  }
});

test('merkle M1: a proof with a hash too many, too few or changed is refused', async () => {
  const tree = treeOf(40);
  const root = tree.root();
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 39 }), fc.nat(), async (index, pick) => {
      const proof = await tree.inclusion(index, 40);
      const leaf = leafHash(entryAt(index));
      const claim = { index: BigInt(index), size: 40n, leaf, root };
      const at = pick % proof.length;
      const changed = proof.map((hash, position) => (position === at ? leafHash(hash) : hash));
      for (const bad of [proof.slice(1), proof.slice(0, -1), [...proof, root], changed]) {
        assert.equal(checkInclusion({ ...claim, proof: bad }).kind, 'invalid');
      }
      assert.equal(checkInclusion({ ...claim, index: 40n, proof }).kind, 'invalid');
      const long = proof.map((hash) => Uint8Array.from([...hash, 0]));
      assert.equal(checkInclusion({ ...claim, proof: long }).kind, 'invalid');
    }),
    { numRuns: 60 },
  );
});

test('merkle M2: consistency from size zero proves nothing and is refused', () => {
  const root = emptyRoot();
  for (const size2 of [0n, 1n, 5n]) {
    const verdict = checkConsistency({ size1: 0n, size2, root1: root, root2: root, proof: [] });
    assert.deepEqual(verdict, { kind: 'invalid', reason: 'size-zero' });
  }
});

test('sizes beyond 2^53 are handled exactly, without rounding', () => {
  const leaf = leafHash(bytesOf('x'));
  const proof = Array.from({ length: 63 }, () => leaf);
  const claim = { index: 2n ** 63n - 2n, size: 2n ** 63n, leaf, root: leaf, proof };
  assert.deepEqual(checkInclusion(claim), { kind: 'invalid', reason: 'root-mismatch' });
  const wider = checkInclusion({ ...claim, size: 2n ** 63n + 1n });
  assert.deepEqual(wider, { kind: 'invalid', reason: 'proof-too-short' });
});

test('tree T1: entries that never became durable leave no trace in later roots', async () => {
  const tree = treeOf(300);
  for (let at = 0; at < 400; at++) tree.append(hashLeaf(bytesOf(`lost ${at}`)));
  tree.truncate(300);
  for (let at = 300; at < 700; at++) tree.append(hashLeaf(entryAt(at)));
  assert.equal(toBase64(tree.root()), toBase64(treeOf(700).root()));
  assert.equal(toBase64(await tree.rootAt(517)), toBase64(treeOf(517).root()));
});

test('proofs of entries whose tiles were evicted are rebuilt from the log', async () => {
  const size = 300 * 256 + 17;
  let loads = 0;
  const tree = new HashTree(async (from, count) => {
    loads += 1;
    return Array.from({ length: count }, (_, at) => entryAt(from + at));
  });
  for (let at = 0; at < size; at++) tree.append(hashLeaf(entryAt(at)));
  const root = tree.root();
  for (const index of [0, 255, 256, 1000, 30_000, size - 1]) {
    const proof = await tree.inclusion(index, size);
    const claim = { index: BigInt(index), size: BigInt(size), root, proof };
    assert.equal(checkInclusion({ ...claim, leaf: leafHash(entryAt(index)) }).kind, 'valid');
  }
  const root1 = await tree.rootAt(1001);
  const proof = await tree.consistency(1001, size);
  const verdict = checkConsistency({
    size1: 1001n,
    size2: BigInt(size),
    root1,
    root2: root,
    proof,
  });
  assert.equal(verdict.kind, 'valid');
  assert.ok(loads > 0 && loads < 6, `reloaded ${loads} tiles`);
});

test('bytes B1: base64 has one spelling; every other one is refused', () => {
  for (const bad of ['QQ', 'QQ=', 'QR==', 'Q Q=', 'QQ==\n', 'QQ==QQ==', '-_==', '====']) {
    assert.equal(fromBase64(bad), undefined, bad);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
      const text = toBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString('base64'));
      assert.deepEqual(fromBase64(text), bytes);
    }),
  );
});
