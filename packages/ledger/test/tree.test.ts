// The tree that every group is appended to, against RFC 6962 computed plainly.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex, utf8 } from '../src/bytes.ts';
import { emptyRoot, leafHash, nodeHash } from '../src/merkle.ts';
import { HashTree, hashLeaf } from '../src/tree.ts';

const never = (): Promise<never> => Promise.reject(new Error('not needed'));
const leafOf = (text: string): Uint8Array => hashLeaf(utf8(text));

/** Roots of all sizes, from the complete subtrees on the right edge. */
class PlainTree {
  readonly #peaks: { readonly leaves: number; readonly hash: Uint8Array }[] = [];

  append(leaf: Uint8Array): void {
    let node = { leaves: 1, hash: leaf };
    for (let last = this.#peaks.at(-1); last?.leaves === node.leaves; last = this.#peaks.at(-1)) {
      this.#peaks.pop();
      node = { leaves: 2 * node.leaves, hash: nodeHash(last.hash, node.hash) };
    }
    this.#peaks.push(node);
  }

  root(): string {
    const [last, ...rest] = this.#peaks.toReversed();
    if (last === undefined) return toHex(emptyRoot());
    return toHex(rest.reduce((hash, peak) => nodeHash(peak.hash, hash), last.hash));
  }
}

test('a leaf is hashed as RFC 6962 says, at every length that an entry has', () => {
  for (const length of [0, 1, 31, 64, 65_535]) {
    const entry = new Uint8Array(length).fill(length % 251);
    assert.equal(toHex(hashLeaf(entry)), toHex(leafHash(entry)));
  }
});

test('T1: roots are right across tiles and levels, also after entries that did not stay', () => {
  const tree = new HashTree(never);
  const plain = new PlainTree();
  for (let size = 0; size < 1600; size++) {
    const before = tree.size;
    // What a failed write leaves behind, up to beyond the end of a tile.
    for (let lost = 0; lost < (size % 97 === 0 ? 300 : 0); lost++) tree.append(leafOf(`x${lost}`));
    tree.truncate(before);
    tree.append(leafOf(`${size}`));
    plain.append(leafOf(`${size}`));
    assert.equal(toHex(tree.root()), plain.root(), `size ${size + 1}`);
  }
});

test('a tree that was restored from its prefix goes on as the one that it came from', async () => {
  for (const first of [0, 1, 255, 256, 257, 511, 512, 700]) {
    const whole = new HashTree(never);
    for (let at = 0; at < first; at++) whole.append(leafOf(`${at}`));
    const restored = new HashTree(never);
    restored.restore(await whole.prefix(first));
    for (let at = first; at < 1100; at++) {
      whole.append(leafOf(`${at}`));
      restored.append(leafOf(`${at}`));
    }
    assert.equal(toHex(restored.root()), toHex(whole.root()), `from ${first}`);
  }
});
