// Does the verifier answer as the published and the generated vectors say? Counts instead of the
// assertions of packages/ledger/test/vectors.test.ts, which judge the same files.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fromBase64, toBase64 } from '../../packages/ledger/src/bytes.ts';
import { checkConsistency, checkInclusion } from '../../packages/ledger/src/merkle.ts';
import { verifyNote } from '../../packages/ledger/src/note.ts';
import { HashTree, hashLeaf } from '../../packages/ledger/src/tree.ts';
import {
  verifyCheckpoint,
  verifyCheckpointUnderPolicy,
  verifyProof,
} from '../../packages/ledger/src/verify.ts';
import { readVectors } from '../../packages/ledger/test/vectors/generate.ts';
import type { MerkleCase } from '../../packages/ledger/test/vectors/generate.ts';

export interface VectorCount {
  readonly name: string;
  readonly right: number;
  readonly all: number;
}

const SAMPLE_VKEY =
  'example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx';
const SAMPLE_WORDS =
  'one two three four five six seven eit nain ten ileven twelf threeten fourten fivten';

/** Undefined where they are not on this machine: they lie beside the repository. */
export function publishedFolder(): string | undefined {
  const nearby = join(dirname(dirname(dirname(import.meta.dirname))), 'shared', 'ledger-vectors');
  const places = [process.env['KINTSUGI_VECTORS'], nearby];
  return places.find((place) => place !== undefined && existsSync(join(place, 'merkle')));
}

export function countPublished(folder: string): readonly VectorCount[] {
  const merkle = (kind: MerkleCase['kind']): VectorCount => {
    const files = jsonFiles(join(folder, 'merkle', kind));
    return counted(`published ${kind} proofs`, files, (path) => isAsPublished(kind, path));
  };
  return [merkle('inclusion'), merkle('consistency'), countSampleLog(folder)];
}

function counted<T>(
  name: string,
  cases: readonly T[],
  isRight: (one: T, at: number) => boolean,
): VectorCount {
  return { name, right: cases.filter(isRight).length, all: cases.length };
}

function jsonFiles(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith('.json')).map((name) => join(folder, name));
}

function isAsPublished(kind: MerkleCase['kind'], path: string): boolean {
  // Integers go over 2^53: read as text before a double can round them.
  const quoted = readFileSync(path, 'utf8').replaceAll(
    /("(?:leafIdx|treeSize|size1|size2)"\s*:\s*)(\d+)/g,
    '$1"$2"',
  );
  const value = JSON.parse(quoted) as Readonly<Record<string, unknown>>;
  const decode = (item: unknown): Uint8Array =>
    Buffer.from(typeof item === 'string' ? item : '', 'base64');
  const bytes = (name: string): Uint8Array => decode(value[name]);
  const number = (name: string): bigint => BigInt(String(value[name]));
  const list: readonly unknown[] = Array.isArray(value['proof']) ? value['proof'] : [];
  const proof = list.map(decode);
  const verdict =
    kind === 'inclusion'
      ? checkInclusion({
          index: number('leafIdx'),
          size: number('treeSize'),
          leaf: bytes('leafHash'),
          root: bytes('root'),
          proof,
        })
      : checkConsistency({
          size1: number('size1'),
          size2: number('size2'),
          root1: bytes('root1'),
          root2: bytes('root2'),
          proof,
        });
  return (verdict.kind === 'invalid') === (value['wantErr'] === true);
}

/** Each size of the sample log: the signature holds, and the root is the one that we compute. */
function countSampleLog(folder: string): VectorCount {
  const roots = rootsOf(SAMPLE_WORDS.split(' '));
  return counted('published checkpoints, sizes 0 to 15', roots, (root, size) => {
    const path = join(folder, 'tessera-log', `checkpoint.${size}`);
    const verdict = verifyCheckpoint(readFileSync(path, 'utf8'), SAMPLE_VKEY);
    return verdict.kind === 'valid' && verdict.head.root === root;
  });
}

function rootsOf(words: readonly string[]): string[] {
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  const roots = [toBase64(tree.root())];
  for (const word of words) {
    tree.append(hashLeaf(Buffer.from(word)));
    roots.push(toBase64(tree.root()));
  }
  return roots;
}

export function countGenerated(): readonly VectorCount[] {
  const { merkle, log, notes, policies } = readVectors();
  const roots = rootsOf(log.entries);
  return [
    counted('generated Merkle proofs and mutations', merkle, isAsGenerated),
    counted('generated checkpoints', log.checkpoints, (text, size) => {
      const verdict = verifyCheckpoint(text, log.vkey);
      return verdict.kind === 'valid' && verdict.head.root === roots[size];
    }),
    counted('generated tlog-proofs', log.proofs, (proof, at) => {
      const entry = Buffer.from(log.entries[at] ?? '');
      const other = Buffer.from(log.entries[(at + 1) % log.entries.length] ?? '');
      const isValid = verifyProof(proof, entry, log.vkey).kind === 'valid';
      return isValid && verifyProof(proof, other, log.vkey).kind === 'invalid';
    }),
    counted('generated notes', notes, ({ note, vkeys, expected }) => {
      const verdict = verifyNote(note, vkeys);
      return (verdict.kind === 'valid' ? 'valid' : verdict.code) === expected;
    }),
    counted('generated policies', policies, ({ policy, checkpoint, expected }) => {
      const verdict = verifyCheckpointUnderPolicy(checkpoint, policy);
      return (verdict.kind === 'valid' ? 'valid' : verdict.code) === expected;
    }),
  ];
}

function isAsGenerated({ kind, numbers: [a, b], hashes, proof, isValid }: MerkleCase): boolean {
  const decode = (text: string): Uint8Array => fromBase64(text) ?? new Uint8Array(0);
  const [first, second] = [decode(hashes[0]), decode(hashes[1])];
  const path = proof.map(decode);
  const verdict =
    kind === 'inclusion'
      ? checkInclusion({
          index: BigInt(a),
          size: BigInt(b),
          leaf: first,
          root: second,
          proof: path,
        })
      : checkConsistency({
          size1: BigInt(a),
          size2: BigInt(b),
          root1: first,
          root2: second,
          proof: path,
        });
  return (verdict.kind === 'valid') === isValid;
}
