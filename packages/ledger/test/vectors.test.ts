// The published vectors of other people's logs. They lie outside this repository; a clone without
// them says so and still proves conformance with the generated ones in merkle.test.ts.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { toBase64, toHex } from '../src/bytes.ts';
import { checkConsistency, checkInclusion } from '../src/merkle.ts';
import { HashTree, hashLeaf } from '../src/tree.ts';
import { verifyCheckpoint } from '../src/verify.ts';

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
