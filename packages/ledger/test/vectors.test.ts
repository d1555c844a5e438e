// Vectors: our own, in ./vectors, and the published ones of other people's logs. Those lie outside
// this repository; a clone without them says so and still proves conformance with its own.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fromBase64, toBase64, toHex } from '../src/bytes.ts';
import { checkConsistency, checkInclusion, nodeHash } from '../src/merkle.ts';
import type { ProofVerdict } from '../src/merkle.ts';
import { verifyNote } from '../src/note.ts';
import { parseBundle } from '../src/tiles.ts';
import { HashTree, hashLeaf } from '../src/tree.ts';
import { verifyCheckpoint, verifyCheckpointUnderPolicy, verifyProof } from '../src/verify.ts';
import { makeVectors, readKept, readVectors } from './vectors/generate.ts';
import type { MerkleCase } from './vectors/generate.ts';

const VKEY = 'example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx';

const found = findVectors();
const skip =
  found === undefined
    ? 'no vectors: set KINTSUGI_VECTORS, or put them at ../shared/ledger-vectors'
    : false;
if (skip !== false) console.log(`# ledger vectors skipped: ${skip}`);
const root = found ?? '';

function findVectors(): string | undefined {
  const here = dirname(fileURLToPath(import.meta.url));
  const nearby = join(here, '../../../../shared/ledger-vectors');
  const places = [process.env['KINTSUGI_VECTORS'], nearby];
  return places.find((place) => place !== undefined && existsSync(join(place, 'merkle')));
}

function* jsonFiles(dir: string): Generator<string> {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) yield* jsonFiles(path);
    else if (name.endsWith('.json')) yield path;
  }
}

interface Vector {
  readonly number: (name: string) => bigint;
  readonly bytes: (name: string) => Uint8Array;
  readonly proof: readonly Uint8Array[];
  readonly wantErr: boolean;
}

function readVector(path: string): Vector {
  const text = readFileSync(path, 'utf8');
  // Integers go over 2^53: read them as text before a double can round them.
  const quoted = text.replaceAll(/("(?:leafIdx|treeSize|size1|size2)"\s*:\s*)(\d+)/g, '$1"$2"');
  const value: Record<string, unknown> = JSON.parse(quoted);
  const decode = (item: unknown): Uint8Array =>
    Buffer.from(typeof item === 'string' ? item : '', 'base64');
  const bytes = (name: string): Uint8Array => decode(value[name]);
  const list: unknown[] = Array.isArray(value['proof']) ? value['proof'] : [];
  return {
    number: (name) => BigInt(String(value[name])),
    bytes,
    proof: list.map(decode),
    wantErr: value['wantErr'] === true,
  };
}

test('every published inclusion proof gets the published answer', { skip }, () => {
  let count = 0;
  for (const path of jsonFiles(join(root, 'merkle/inclusion'))) {
    const vector = readVector(path);
    const verdict = checkInclusion({
      index: vector.number('leafIdx'),
      size: vector.number('treeSize'),
      leaf: vector.bytes('leafHash'),
      root: vector.bytes('root'),
      proof: vector.proof,
    });
    assert.equal(verdict.kind === 'invalid', vector.wantErr, path);
    count += 1;
  }
  assert.equal(count, 98);
});

test('every published consistency proof gets the published answer', { skip }, () => {
  let count = 0;
  for (const path of jsonFiles(join(root, 'merkle/consistency'))) {
    const vector = readVector(path);
    const verdict = checkConsistency({
      size1: vector.number('size1'),
      size2: vector.number('size2'),
      root1: vector.bytes('root1'),
      root2: vector.bytes('root2'),
      proof: vector.proof,
    });
    assert.equal(verdict.kind === 'invalid', vector.wantErr, path);
    count += 1;
  }
  assert.equal(count, 98);
});

test(
  'the checkpoints, tiles and bundles of the sample log come out byte for byte',
  { skip },
  () => {
    const names =
      'one two three four five six seven eit nain ten ileven twelf threeten fourten fivten';
    const entries = names.split(' ').map((name) => Buffer.from(name));
    const tree = new HashTree(() => Promise.reject(new Error('not needed')));
    const leaves: Uint8Array[] = [];
    const bundle: Buffer[] = [];
    for (let size = 0; size <= entries.length; size++) {
      const verdict = verifyCheckpoint(
        readFileSync(join(root, `tessera-log/checkpoint.${size}`), 'utf8'),
        VKEY,
      );
      assert.equal(verdict.kind, 'valid');
      assert.equal(verdict.kind === 'valid' && verdict.head.root, toBase64(tree.root()));
      if (size > 0) {
        const tile = readFileSync(join(root, `tessera-log/tile/0/000.p/${size}`));
        assert.equal(toHex(Buffer.concat(leaves)), toHex(tile));
        const file = readFileSync(join(root, `tessera-log/tile/entries/000.p/${size}`));
        assert.equal(toHex(Buffer.concat(bundle)), toHex(file));
      }
      const entry = entries[size];
      if (entry === undefined) break;
      leaves.push(hashLeaf(entry));
      bundle.push(Buffer.from([0, entry.length]), entry);
      tree.append(hashLeaf(entry));
    }
  },
);

const own = readVectors();

test('our own vectors come out of their generator again, with nothing signed anew', async () => {
  const kept = readKept();
  const made = await makeVectors(kept);
  assert.deepEqual(JSON.parse(JSON.stringify(made)), own);
  assert.deepEqual(kept, readKept());
});

function judge({
  kind,
  numbers: [a, b],
  hashes: [first, second],
  proof,
}: MerkleCase): ProofVerdict {
  const decode = (text: string): Uint8Array => fromBase64(text) ?? assert.fail(text);
  const hashes = proof.map(decode);
  return kind === 'inclusion'
    ? checkInclusion({
        index: BigInt(a),
        size: BigInt(b),
        leaf: decode(first),
        root: decode(second),
        proof: hashes,
      })
    : checkConsistency({
        size1: BigInt(a),
        size2: BigInt(b),
        root1: decode(first),
        root2: decode(second),
        proof: hashes,
      });
}

test('merkle M3: our own proofs are valid, and each of their mutations is not', () => {
  let valid = 0;
  for (const vector of own.merkle) {
    const verdict = judge(vector);
    assert.equal(verdict.kind === 'valid', vector.isValid, vector.desc);
    if (vector.isValid) valid += 1;
  }
  assert.equal(valid, 10);
  assert.ok(own.merkle.length > 170);
  const root = new Uint8Array(31);
  const cut = { size1: 5n, size2: 6n, root1: root, root2: root, proof: [root] };
  assert.deepEqual(checkConsistency(cut), { kind: 'invalid', reason: 'hash-length' });
  const vast = { ...cut, size1: 2n ** 64n, size2: 2n ** 64n };
  assert.deepEqual(checkConsistency(vast), { kind: 'invalid', reason: 'sizes-out-of-order' });
  // Right in every other way: the last leaf beside a left half of 2^64 entries.
  const leaf = hashLeaf(root);
  const far = { index: 2n ** 64n, size: 2n ** 64n + 1n, leaf, proof: [leaf] };
  const verdict = checkInclusion({ ...far, root: nodeHash(leaf, leaf) });
  assert.deepEqual(verdict, { kind: 'invalid', reason: 'index-out-of-range' });
});

test('our own log has fifteen checkpoints, a tile, a bundle and a proof of every entry', () => {
  const { vkey, entries, checkpoints, proofs } = own.log;
  const bytes = entries.map((word) => Buffer.from(word));
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  for (const [size, text] of checkpoints.entries()) {
    const verdict = verifyCheckpoint(text, vkey);
    assert.equal(verdict.kind === 'valid' && verdict.head.root, toBase64(tree.root()));
    const next = bytes[size];
    if (next !== undefined) tree.append(hashLeaf(next));
  }
  assert.equal(tree.size, 15);
  const bundled = parseBundle(fromBase64(own.log.bundle) ?? new Uint8Array(0)) ?? [];
  assert.deepEqual(
    bundled.map((entry) => Buffer.from(entry).toString()),
    entries,
  );
  assert.equal(toBase64(Buffer.concat(bundled.map(hashLeaf))), own.log.tile);
  for (const [at, proof] of proofs.entries()) {
    const entry = bytes[at] ?? new Uint8Array(0);
    assert.equal(verifyProof(proof, entry, vkey).kind, 'valid');
    const other = bytes[(at + 1) % 15] ?? new Uint8Array(0);
    assert.equal(verifyProof(proof, other, vkey).kind, 'invalid');
  }
});

test('our own notes and policies get the verdicts that are written beside them', () => {
  for (const { desc, note, vkeys, expected } of own.notes) {
    const verdict = verifyNote(note, vkeys);
    assert.equal(verdict.kind === 'valid' ? 'valid' : verdict.code, expected, desc);
  }
  for (const { desc, policy, checkpoint, expected, cosigned } of own.policies) {
    const verdict = verifyCheckpointUnderPolicy(checkpoint, policy);
    assert.equal(verdict.kind === 'valid' ? 'valid' : verdict.code, expected, desc);
    const found = 'cosigned' in verdict ? verdict.cosigned : [];
    assert.deepEqual(
      found.map(({ name }) => name),
      cosigned,
      desc,
    );
  }
});
