// Where do the vectors beside this file come from? From here, with fixed seeds:
//   node scripts/run.mjs packages/ledger/test/vectors/generate.ts
// A test makes them again and compares. ML-DSA-44 signatures are random, so those that were written
// once are kept in mldsa.json and used again.

import { readFileSync, writeFileSync } from 'node:fs';
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import { typeShape } from '../../src/cosignature.ts';
import { leafHash } from '../../src/merkle.ts';
import { formatTreeHead, signNote, verifyNote } from '../../src/note.ts';
import type { Signer } from '../../src/note.ts';
import { formatProof } from '../../src/proof.ts';
import { signerFromSeed } from '../../src/signer.ts';
import type { SignerKind } from '../../src/signer.ts';
import { bundle } from '../../src/tiles.ts';
import { HashTree } from '../../src/tree.ts';

export interface MerkleCase {
  readonly desc: string;
  readonly kind: 'inclusion' | 'consistency';
  /** Index and size, or the two sizes: decimal, since they may exceed 2^53. */
  readonly numbers: readonly [string, string];
  /** Leaf hash and root, or the two roots. */
  readonly hashes: readonly [string, string];
  readonly proof: readonly string[];
  readonly isValid: boolean;
}

export interface NoteCase {
  readonly desc: string;
  readonly note: string;
  readonly vkeys: readonly string[];
  /** `valid`, or the code of the refusal. */
  readonly expected: string;
}

export interface PolicyCase {
  readonly desc: string;
  readonly policy: string;
  readonly checkpoint: string;
  readonly expected: string;
  readonly cosigned: readonly string[];
}

export interface LogVector {
  readonly vkey: string;
  readonly entries: readonly string[];
  /** Signed, for the sizes 0 to 15. */
  readonly checkpoints: readonly string[];
  /** `tile/0/000.p/15` and `tile/entries/000.p/15`. */
  readonly tile: string;
  readonly bundle: string;
  /** A tlog-proof of each entry under the last checkpoint. */
  readonly proofs: readonly string[];
}

export interface Vectors {
  readonly merkle: readonly MerkleCase[];
  readonly log: LogVector;
  readonly notes: readonly NoteCase[];
  readonly policies: readonly PolicyCase[];
}

export type KeptSignatures = Record<string, string>;

const ORIGIN = 'vectors.example/log';
const TIME = 1_763_596_800n;
const WORDS =
  'alder birch cedar dogwood elm fir ginkgo hazel ilex juniper kapok larch maple oak pine';
const entries = WORDS.split(' ').map((word) => new TextEncoder().encode(word));

function key(name: string, byte: number, kind: SignerKind): Signer {
  return signerFromSeed(name, new Uint8Array(32).fill(byte), kind).signer;
}

function treeOf(size: number): HashTree {
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  for (let at = 0; at < size; at++) tree.append(leafHash(new TextEncoder().encode(`leaf ${at}`)));
  return tree;
}

function flip(hash: string): string {
  const bytes = Uint8Array.from(fromBase64(hash) ?? []);
  bytes[13] = (bytes[13] ?? 0) ^ 0x20;
  return toBase64(bytes);
}

/** A valid case, and every way in which it must not be valid any more. */
function mutations(good: MerkleCase): MerkleCase[] {
  const { numbers, hashes, proof } = good;
  const [a, b] = numbers;
  const [first, second] = hashes;
  const bad = (desc: string, change: Partial<MerkleCase>): MerkleCase => ({
    ...good,
    desc: `${good.desc}, ${desc}`,
    isValid: false,
    ...change,
  });
  const plus = (text: string, by: bigint): string => String(BigInt(text) + by);
  const short = toBase64((fromBase64(first) ?? new Uint8Array(32)).subarray(1));
  const out = [
    good,
    bad('first number one larger', { numbers: [plus(a, 1n), b] }),
    bad('first number beyond the second', { numbers: [plus(b, 1n), b] }),
    bad('first number plus 2^64', { numbers: [plus(a, 2n ** 64n), plus(b, 2n ** 64n)] }),
    bad('second number doubled and more', { numbers: [a, plus(b, BigInt(b) + 1n)] }),
    bad('first hash changed', { hashes: [flip(first), second] }),
    bad('second hash changed', { hashes: [first, flip(second)] }),
    bad('hashes swapped', { hashes: [second, first] }),
    bad('first hash cut', { hashes: [short, second] }),
    bad('a hash too many at the end', { proof: [...proof, second] }),
    bad('a hash too many in front', { proof: [first, ...proof] }),
    bad('a proof of 70 hashes', { proof: Array.from({ length: 70 }, () => first) }),
  ];
  if (proof.length === 0) return out;
  const last = proof.length - 1;
  const at = proof.length >> 1;
  out.push(
    bad('no proof', { proof: [] }),
    bad('without the first hash', { proof: proof.slice(1) }),
    bad('without the last hash', { proof: proof.slice(0, last) }),
    bad('a hash of the proof changed', { proof: proof.with(at, flip(proof[at] ?? '')) }),
    bad('a hash of the proof cut', { proof: proof.with(last, short) }),
  );
  if (last > 0) out.push(bad('proof backwards', { proof: proof.toReversed() }));
  return out;
}

async function merkleCases(): Promise<MerkleCase[]> {
  const cases: MerkleCase[] = [];
  for (const [index, size] of [
    [0, 2],
    [2, 3],
    [5, 7],
    [7, 8],
    [31, 33],
  ] as const) {
    const tree = treeOf(size);
    const proof = (await tree.inclusion(index, size)).map(toBase64);
    const leaf = toBase64(await tree.leaf(index));
    const good: MerkleCase = {
      desc: `inclusion ${index} of ${size}`,
      kind: 'inclusion',
      numbers: [String(index), String(size)],
      hashes: [leaf, toBase64(tree.root())],
      proof,
      isValid: true,
    };
    cases.push(...mutations(good));
  }
  for (const [before, after] of [
    [1, 2],
    [2, 3],
    [4, 7],
    [6, 8],
    [21, 33],
  ] as const) {
    const tree = treeOf(after);
    const good: MerkleCase = {
      desc: `consistency ${before} to ${after}`,
      kind: 'consistency',
      numbers: [String(before), String(after)],
      hashes: [toBase64(treeOf(before).root()), toBase64(tree.root())],
      proof: (await tree.consistency(before, after)).map(toBase64),
      isValid: true,
    };
    cases.push(...mutations(good));
  }
  const root = toBase64(treeOf(0).root());
  const empty = { kind: 'consistency', hashes: [root, root], proof: [], isValid: false } as const;
  for (const size of ['0', '1', '5']) {
    cases.push({ ...empty, desc: `consistency from zero to ${size}`, numbers: ['0', size] });
  }
  const none = { kind: 'inclusion', hashes: [root, root], proof: [], isValid: false } as const;
  cases.push({ ...none, desc: 'inclusion in an empty tree', numbers: ['0', '0'] });
  return cases;
}

async function logVector(signer: Signer): Promise<LogVector> {
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  const checkpoints = [signNote(formatTreeHead(ORIGIN, 0, tree.root()), signer)];
  for (const entry of entries) {
    tree.append(leafHash(entry));
    checkpoints.push(signNote(formatTreeHead(ORIGIN, tree.size, tree.root()), signer));
  }
  const checkpoint = checkpoints.at(-1) ?? '';
  const proofs: string[] = [];
  for (let at = 0; at < entries.length; at++) {
    const hashes = await tree.inclusion(at, entries.length);
    proofs.push(formatProof({ index: BigInt(at), hashes, checkpoint }));
  }
  return {
    vkey: signer.vkey,
    entries: WORDS.split(' '),
    checkpoints,
    tile: toBase64(Buffer.concat(entries.map(leafHash))),
    bundle: toBase64(bundle(entries)),
    proofs,
  };
}

/** The signer, giving the same signature as last time where it gives one by chance. */
function repeating(signer: Signer, kept: KeptSignatures): Signer {
  if (typeShape(signer.type)?.algorithm !== 'ml-dsa-44') return signer;
  return {
    ...signer,
    sign: (text, timestampS) => {
      const place = `${signer.name} ${toBase64(leafHash(text))} ${timestampS ?? 0n}`;
      const earlier = fromBase64(kept[place] ?? '');
      if (earlier !== undefined && earlier.length > 0) return earlier;
      const fresh = signer.sign(text, timestampS);
      kept[place] = toBase64(fresh);
      return fresh;
    },
  };
}

interface Keys {
  readonly log: Signer;
  readonly logMldsa: Signer;
  readonly w1: Signer;
  readonly w2: Signer;
  readonly w3: Signer;
  readonly stranger: Signer;
}

function noteCases(keys: Keys): NoteCase[] {
  const text = formatTreeHead(ORIGIN, 15, leafHash(new Uint8Array(0)));
  const at = { timestampS: TIME };
  const { log, logMldsa, w1, w2, stranger } = keys;
  const all = signNote(text, [log, logMldsa, w1, w2, stranger], at);
  const every = [log, logMldsa, w1, w2].map(({ vkey }) => vkey);
  const bad = 'KIN_LEDGER_SIGNATURE_INVALID';
  const malformed = 'KIN_LEDGER_NOTE_INVALID';
  const lineOf = (note: string, line: number): string =>
    `${note.slice(text.length + 1).split('\n')[line]}\n`;
  const other = signNote(text.replace('\n15\n', '\n16\n'), [log, logMldsa, w1, w2], at);
  const one = signNote(text, log);
  return [
    { desc: 'signed by all keys and a stranger', note: all, vkeys: every, expected: 'valid' },
    ...every.map((vkey, line) => ({
      desc: `one known key of type ${[1, 6, 4, 6][line]}`,
      note: all,
      vkeys: [vkey],
      expected: 'valid',
    })),
    ...every.map((_, line) => ({
      desc: `the signature of line ${line} belongs to another size`,
      note: one + lineOf(other, line),
      vkeys: every,
      expected: bad,
    })),
    { desc: 'only a stranger signed', note: signNote(text, stranger), vkeys: every, expected: bad },
    {
      desc: 'a bad line of a stranger',
      note: `${one}\u2014 x AAAAAAAA\n`,
      vkeys: every,
      expected: 'valid',
    },
    {
      desc: 'the last newline is missing',
      note: one.slice(0, -1),
      vkeys: every,
      expected: malformed,
    },
    {
      desc: 'a carriage return',
      note: one.replace('\n', '\r\n'),
      vkeys: every,
      expected: malformed,
    },
    {
      desc: 'a hyphen for the dash',
      note: one.replace('\u2014', '-'),
      vkeys: every,
      expected: malformed,
    },
    { desc: 'unpadded base64', note: one.replace(/=\n$/, '\n'), vkeys: every, expected: malformed },
    { desc: 'an empty line at the end', note: `${one}\n`, vkeys: every, expected: malformed },
    {
      desc: 'a key with a damaged id',
      note: one,
      vkeys: [log.vkey.replace(log.keyId, '00000000')],
      expected: 'KIN_LEDGER_KEY_INVALID',
    },
  ];
}

function policyCases(keys: Keys): PolicyCase[] {
  const { log, logMldsa, w1, w2, w3, stranger } = keys;
  const text = formatTreeHead(ORIGIN, 15, leafHash(new Uint8Array(0)));
  const sign = (...signers: readonly Signer[]): string =>
    signNote(text, signers, { timestampS: TIME });
  const trust =
    `log ${log.vkey}\nlog ${logMldsa.vkey}\n` +
    `witness one ${w1.vkey}\nwitness two ${w2.vkey}\nwitness three ${w3.vkey}\n`;
  const two = `${trust}group two-of-three 2 one two three\nquorum two-of-three\n`;
  const nested = `${trust}group pair any one two\ngroup both all pair three\nquorum both\n`;
  const unmet = 'KIN_LEDGER_QUORUM_UNMET';
  const invalid = 'KIN_LEDGER_POLICY_INVALID';
  const table: readonly (readonly [string, string, string, string, readonly string[]])[] = [
    ['two of three', two, sign(log, w1, w2), 'valid', ['one', 'two']],
    [
      'all, by the second key of the log',
      two,
      sign(logMldsa, w1, w2, w3),
      'valid',
      ['one', 'two', 'three'],
    ],
    ['one of three', two, sign(log, w2), unmet, ['two']],
    ['the same witness twice', two, sign(log, w1, w1), unmet, ['one']],
    ['no log', two, sign(w1, w2, w3), 'KIN_LEDGER_SIGNATURE_INVALID', []],
    ['a stranger instead', two, sign(log, w1, stranger), unmet, ['one']],
    ['nested groups met', nested, sign(log, w2, w3), 'valid', ['two', 'three']],
    ['nested groups unmet', nested, sign(log, w1, w2), unmet, ['one', 'two']],
    ['no quorum needed', `${trust}quorum none\n`, sign(log), 'valid', []],
    ['no quorum line', trust, sign(log), invalid, []],
    ['an unknown member', `${trust}group g any four\nquorum g\n`, sign(log), invalid, []],
    ['a member of two groups', `${nested}group x any one\n`, sign(log), invalid, []],
    [
      'a threshold above the members',
      `${trust}group g 4 one two three\nquorum g\n`,
      sign(log),
      invalid,
      [],
    ],
    [
      'the key of a log as witness',
      `${trust}witness w ${stranger.vkey}\nquorum w\n`,
      sign(log),
      invalid,
      [],
    ],
  ];
  return table.map(([desc, policy, checkpoint, expected, cosigned]) => ({
    desc,
    policy,
    checkpoint,
    expected,
    cosigned,
  }));
}

/** Fills `kept` with the signatures that it had to make anew. */
export async function makeVectors(kept: KeptSignatures): Promise<Vectors> {
  const keys: Keys = {
    log: key(ORIGIN, 1, 'ed25519'),
    logMldsa: repeating(key(ORIGIN, 2, 'ml-dsa-44'), kept),
    w1: key('witness-1.example', 3, 'cosigner'),
    w2: repeating(key('witness-2.example', 4, 'ml-dsa-44'), kept),
    w3: key('witness-3.example', 5, 'cosigner'),
    stranger: key('stranger.example', 6, 'ed25519'),
  };
  return {
    merkle: await merkleCases(),
    log: await logVector(keys.log),
    notes: noteCases(keys),
    policies: policyCases(keys),
  };
}

const FILES = ['merkle', 'log', 'notes', 'policies'] as const;

export function readVectors(): Vectors {
  const [merkle, log, notes, policies] = FILES.map((name) => read(name));
  return { merkle, log, notes, policies } as Vectors;
}

export function readKept(): KeptSignatures {
  return read('mldsa') as KeptSignatures;
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`./${name}.json`, import.meta.url), 'utf8'));
}

if (import.meta.main) {
  const kept: KeptSignatures = {};
  try {
    Object.assign(kept, readKept());
  } catch {
    console.log('no kept signatures: making new ones');
  }
  const vectors: Vectors = await makeVectors(kept);
  const write = (name: string, value: unknown): void =>
    writeFileSync(
      new URL(`./${name}.json`, import.meta.url),
      `${JSON.stringify(value, null, 2)}\n`,
    );
  for (const name of FILES) write(name, vectors[name]);
  write('mldsa', kept);
  const wrong = vectors.notes.filter(({ note, vkeys, expected }) => {
    const verdict = verifyNote(note, vkeys);
    return (verdict.kind === 'valid' ? 'valid' : verdict.code) !== expected;
  });
  console.log(
    ...[vectors.merkle.length, 'proofs', vectors.notes.length, 'notes'],
    ...[vectors.policies.length, 'policies'],
  );
  if (wrong.length > 0)
    console.log(
      'not as expected:',
      wrong.map(({ desc }) => desc),
    );
}
