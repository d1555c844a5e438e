// What must hold for every input, however damaged? One target per parser: it makes a case, tries
// it, and says whether it was accepted. A broken promise is thrown as an Error with the input.

import { fromBase64, parseDecimal, toBase64 } from '../../packages/ledger/src/bytes.ts';
import { signedParts, subtreeMessage } from '../../packages/ledger/src/cosignature.ts';
import { checkConsistency, checkInclusion, leafHash } from '../../packages/ledger/src/merkle.ts';
import {
  MLDSA44_TYPE,
  addSignatures,
  formatTreeHead,
  formatVkey,
  parseCheckpointBody,
  parseNote,
  parseTreeHead,
  parseVkey,
  signNote,
  verifyNote,
} from '../../packages/ledger/src/note.ts';
import { formatPolicy, parsePolicy } from '../../packages/ledger/src/policy.ts';
import { formatProof, parseProof } from '../../packages/ledger/src/proof.ts';
import { loadSigner, signerFromSeed } from '../../packages/ledger/src/signer.ts';
import { isLedgerError } from '../../packages/ledger/src/errors.ts';
import {
  bundle,
  formatTilePath,
  parseBundle,
  parseTilePath,
} from '../../packages/ledger/src/tiles.ts';
import { HashTree } from '../../packages/ledger/src/tree.ts';
import {
  verifyCheckpointUnderPolicy,
  verifyProof,
  verifyProofUnderPolicy,
} from '../../packages/ledger/src/verify.ts';
import { readVectors } from '../../packages/ledger/test/vectors/generate.ts';
import { mutate, mutateBytes, pick, randomBytes } from './mutate.ts';
import type { Chance } from './mutate.ts';

export interface Target {
  readonly name: string;
  /** How often it is drawn, against the others: signatures cost a hundred times a parser. */
  readonly weight: number;
  readonly run: (chance: Chance) => 'accepted' | 'refused';
}

const ORIGIN = 'fuzz.example/log';
const TREE_SIZE = 1000;
const seed = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const log = signerFromSeed(ORIGIN, seed(1));
const witness = signerFromSeed('w.example', seed(2), 'cosigner');
const mldsa = signerFromSeed('pq.example', seed(3), 'ml-dsa-44');
const stranger = signerFromSeed('stranger.example', seed(4));
const at = { timestampS: 1_763_596_800n };

const tree = new HashTree(() => Promise.reject(new Error('not needed')));
const entryAt = (index: number): Uint8Array => new TextEncoder().encode(`entry ${index}`);
for (let index = 0; index < TREE_SIZE; index++) tree.append(leafHash(entryAt(index)));

const TEXT = formatTreeHead(ORIGIN, TREE_SIZE, tree.root());
const ENTRY = 777;
const path = await tree.inclusion(ENTRY, TREE_SIZE);
const [all] = readVectors().notes;
if (all === undefined) throw new Error('the vectors hold no note');
const notes = [
  signNote('a note\n\nwith an empty line\n', log.signer),
  signNote(TEXT, log.signer),
  signNote(TEXT, [log.signer, witness.signer, stranger.signer], at),
  // ML-DSA-44 signs with chance, so F1 needs a signature that was made once.
  all.note,
];
const vkeys = [log, witness, mldsa].map(({ signer }) => signer.vkey);
const [, plain = '', cosigned = ''] = notes;
const proofs = [plain, cosigned].flatMap((checkpoint) => {
  const proof = { index: BigInt(ENTRY), hashes: path, checkpoint };
  return [formatProof(proof), formatProof({ ...proof, extra: entryAt(1) })];
});
const POLICY =
  `# whom we trust\nlog ${vkeys[0]} https://log.example/\nwitness a ${vkeys[1]}\n` +
  `\twitness b ${vkeys[2]} https://b.example/\ngroup one any a\n\ngroup two 2 one b\nquorum one\n`;
/** Without the long key, so that edits meet the structure as often as a key. */
const SHORT_POLICY =
  `log ${vkeys[0]}\n\nwitness a ${vkeys[1]} \u00e9\n# a comment\n` +
  'group one all a\nquorum one\n';
const heads = [TEXT, `${TEXT}an extension\n`, formatTreeHead('o', 2n ** 64n - 1n, seed(5))];
const paths = ['checkpoint', 'tile/0/000', 'tile/8/x001/x234/067', 'tile/entries/x001/000.p/255'];
const texts = [...notes, ...vkeys, ...proofs, POLICY, ...heads, ...paths];

function expect(isTrue: boolean, promise: string, input: unknown): void {
  if (isTrue) return;
  const text = input instanceof Uint8Array ? toBase64(input) : JSON.stringify(input);
  throw new Error(`${promise}: ${text}`);
}

/** R1 for a text format: what is accepted is its own formatting, letter by letter. */
export function roundTrip<T>(
  name: string,
  weight: number,
  corpus: readonly string[],
  parse: (text: string) => T | undefined,
  format: (value: T) => string,
): Target {
  return {
    name,
    weight,
    run: (chance) => {
      const input = mutate(chance, pick(chance, corpus), texts);
      const value = parse(input);
      if (value === undefined) return 'refused';
      expect(format(value) === input, `${name} accepted a second spelling`, input);
      return 'accepted';
    },
  };
}

const noteText: Target = roundTrip('note', 14, notes, parseNote, ({ text, signatures }) => {
  const lines = signatures.map(({ name, keyId, signature }) => {
    const bytes = Buffer.concat([Buffer.from(keyId, 'hex'), signature]);
    return `\u2014 ${name} ${toBase64(bytes)}\n`;
  });
  return `${text}\n${lines.join('')}`;
});

const vkey: Target = roundTrip('vkey', 10, vkeys, parseVkey, ({ name, publicKey, type }) =>
  formatVkey(name, publicKey, type),
);
const proofText: Target = roundTrip('proof', 14, proofs, parseProof, formatProof);
const treeHead: Target = roundTrip('tree head', 10, heads, parseTreeHead, (head) =>
  formatTreeHead(head.origin, head.size, fromBase64(head.root) ?? new Uint8Array(0)),
);
const body: Target = roundTrip('checkpoint body', 8, heads, parseCheckpointBody, (read) =>
  [read.origin, read.size, read.root, ...read.extensions, ''].join('\n'),
);
const tilePath: Target = roundTrip('tile path', 10, paths, parseTilePath, formatTilePath);
const base64: Target = roundTrip('base64', 10, ['', 'QQ==', 'QUI=', 'QUJD'], fromBase64, toBase64);
const decimal: Target = roundTrip(
  'decimal',
  8,
  ['0', '7', '1000', '18446744073709551615', '9007199254740993'],
  parseDecimal,
  String,
);

const policyText: Target = {
  name: 'policy',
  weight: 10,
  run: (chance) => {
    const honest = pick(chance, [POLICY, SHORT_POLICY, SHORT_POLICY]);
    const input = mutate(chance, honest, texts);
    const source = chance.next(4) === 0 ? mutateBytes(chance, Buffer.from(input)) : input;
    const reading = parsePolicy(source);
    if (reading.kind === 'invalid') {
      expect(reading.reason.length > 0, 'a refusal without a reason', input);
      return 'refused';
    }
    const once = formatPolicy(reading.policy);
    const again = parsePolicy(once);
    const isSame = again.kind === 'valid' && formatPolicy(again.policy) === once;
    // Octets that are no UTF-8 have no text that reads the same again.
    expect(isSame || typeof source !== 'string', 'a policy does not survive its own text', input);
    return 'accepted';
  },
};

const entryBundle: Target = {
  name: 'bundle',
  weight: 6,
  run: (chance) => {
    const input = mutateBytes(chance, bundle([entryAt(1), entryAt(22), new Uint8Array(0)]));
    const entries = parseBundle(input);
    if (entries === undefined) return 'refused';
    const isSame = Buffer.compare(bundle(entries), input) === 0;
    expect(isSame, 'a bundle has a second spelling', input);
    return 'accepted';
  },
};

function otherHash(chance: Chance, hash: Uint8Array): Uint8Array {
  const out = Uint8Array.from(hash);
  const place = chance.next(out.length);
  out[place] = (out[place] ?? 0) ^ (1 + chance.next(255));
  return out;
}

/** Always another proof than the one that was given. */
function otherProof(chance: Chance, proof: readonly Uint8Array[]): readonly Uint8Array[] {
  const place = chance.next(proof.length);
  const hash = proof[place] ?? seed(0);
  switch (chance.next(5)) {
    case 0:
      return proof.with(place, otherHash(chance, hash));
    case 1:
      return proof.toSpliced(place, 1);
    case 2:
      return proof.toSpliced(place, 0, seed(chance.next(256)));
    case 3:
      return proof.with(place, hash.subarray(chance.next(31) + 1));
    default:
      return [...proof, ...Array.from({ length: 1 + chance.next(70) }, () => hash)];
  }
}

const [inclusions, consistencies] = await honestClaims();

async function honestClaims() {
  const one = [];
  const two = [];
  for (const size of [2, 3, 7, 8, 255, 256, 257, 700, 1000]) {
    for (const index of [0, size >> 1, size - 1]) {
      const proof = await tree.inclusion(index, size);
      const leaf = await tree.leaf(index);
      const root = await tree.rootAt(size);
      one.push({ index: BigInt(index), size: BigInt(size), leaf, root, proof });
      const before = Math.max(1, index);
      const [root1, root2] = [await tree.rootAt(before), root];
      const steps = await tree.consistency(before, size);
      two.push({ size1: BigInt(before), size2: BigInt(size), root1, root2, proof: steps });
    }
  }
  return [one, two] as const;
}

const inclusion: Target = {
  name: 'inclusion',
  weight: 10,
  run: (chance) => {
    const good = pick(chance, inclusions);
    const { size, leaf, root, proof } = good;
    // A proof does not bind the size (the signed checkpoint does), so it is never changed alone.
    const bad = [
      { proof: otherProof(chance, proof) },
      { leaf: otherHash(chance, leaf) },
      { root: otherHash(chance, root) },
      { index: (good.index + 1n + BigInt(chance.next(Number(size) - 1))) % size },
      { index: size + BigInt(chance.next(1000)) },
      { leaf: root, root: leaf },
      { size: 2n ** 64n + BigInt(chance.next(1000)) },
    ];
    if (chance.next(16) === 0) {
      expect(checkInclusion(good).kind === 'valid', 'a valid inclusion was refused', size);
      return 'accepted';
    }
    const claim = { ...good, ...pick(chance, bad) };
    const told = [String(claim.index), String(size), claim.proof.map(toBase64)];
    expect(checkInclusion(claim).kind === 'invalid', 'a changed inclusion was accepted', told);
    return 'refused';
  },
};

const consistency: Target = {
  name: 'consistency',
  weight: 10,
  run: (chance) => {
    const good = pick(chance, consistencies);
    const { size1, size2, root1, root2, proof } = good;
    const bad = [
      { proof: otherProof(chance, proof) },
      { root1: otherHash(chance, root1) },
      { root2: otherHash(chance, root2) },
      { root1: root2, root2: root1 },
      { size1: size2, size2: size1 },
      { size1: 0n },
      { size2: 2n ** 64n + BigInt(chance.next(1000)) },
    ];
    if (chance.next(16) === 0) {
      expect(checkConsistency(good).kind === 'valid', 'a valid consistency was refused', size2);
      return 'accepted';
    }
    const claim = { ...good, ...pick(chance, bad) };
    const told = [String(claim.size1), String(claim.size2), claim.proof.map(toBase64)];
    expect(checkConsistency(claim).kind === 'invalid', 'a changed consistency was accepted', told);
    return 'refused';
  },
};

const message: Target = {
  name: 'cosignature',
  weight: 6,
  run: (chance) => {
    const type = pick(chance, [1, 4, 6, 2, 255]);
    const honest = chance.next(2) === 0 ? witness.signer.sign(Buffer.from(TEXT), 5n) : seed(9);
    const bytes = chance.next(2) === 0 ? mutateBytes(chance, honest) : randomBytes(chance, 100);
    const parts = signedParts(type, 'w.example', mutate(chance, TEXT, heads), bytes);
    const time = BigInt(chance.next(2 ** 31)) << BigInt(chance.next(40));
    const range = { start: BigInt(chance.next(9)), end: BigInt(chance.next(2 ** 31)) };
    const names = { name: mutate(chance, 'w', paths), origin: mutate(chance, 'o', paths) };
    const built = subtreeMessage({ ...names, ...range, timestampS: time, hash: seed(1) });
    const isBound = built === undefined || range.start === 0n || time === 0n;
    expect(isBound, 'a subtree with a start and a time', [String(time), String(range.start)]);
    return parts === undefined ? 'refused' : 'accepted';
  },
};

/** A verdict `valid` is only ever about what was really signed. */
const signedNote: Target = {
  name: 'verify note',
  weight: 1,
  run: (chance) => {
    const honest = pick(chance, notes);
    const input = mutate(chance, honest, notes);
    const verdict = verifyNote(input, [...vkeys, ...all.vkeys]);
    const lines = input.slice(input.lastIndexOf('\n\n') + 2);
    const more = addSignatures(plain, lines);
    expect(more === undefined || parseNote(more) !== undefined, 'lines broke a note', lines);
    if (verdict.kind === 'invalid') return 'refused';
    // ML-DSA-44 covers origin, size and root, and by its specification no line behind them.
    const isPartial = verdict.good.every(({ key }) => key.type === MLDSA44_TYPE);
    const { text } = verdict.note;
    const signed = isPartial ? `${text.split('\n', 3).join('\n')}\n` : text;
    const isSigned = notes.some((note) => note.startsWith(`${signed}\n`));
    expect(isSigned, 'a text that nobody signed', input);
    return 'accepted';
  },
};

const provenEntry: Target = {
  name: 'verify proof',
  weight: 1,
  run: (chance) => {
    const input = mutate(chance, pick(chance, proofs), texts);
    const entry = chance.next(8) === 0 ? mutateBytes(chance, entryAt(ENTRY)) : entryAt(ENTRY);
    const verdict = verifyProof(input, entry, vkeys[0] ?? '');
    const policy = chance.next(4) === 0 ? mutate(chance, POLICY, texts) : POLICY;
    const under = verifyProofUnderPolicy(input, entry, policy);
    verifyCheckpointUnderPolicy(input, policy, [mutate(chance, vkeys[0] ?? '', vkeys)]);
    const isHonest = Buffer.compare(entry, entryAt(ENTRY)) === 0;
    for (const found of [verdict, under]) {
      if (found.kind === 'invalid') continue;
      const isRight = isHonest && found.index === BigInt(ENTRY) && found.head.size === 1000n;
      expect(isRight, 'a proof of something else', input);
    }
    return verdict.kind === 'valid' ? 'accepted' : 'refused';
  },
};

const secretKey: Target = {
  name: 'secret key',
  weight: 1,
  run: (chance) => {
    const { secret, signer } = pick(chance, [log, witness, mldsa]);
    const input = mutate(chance, secret, vkeys);
    try {
      const loaded = loadSigner(input);
      expect(loaded.vkey === signer.vkey, 'a damaged secret gave another key', '(not shown)');
      return 'accepted';
    } catch (cause) {
      if (isLedgerError(cause)) return 'refused';
      throw cause;
    }
  },
};

export const targets: readonly Target[] = [
  ...[noteText, vkey, proofText, treeHead, body, tilePath, base64, decimal, policyText],
  ...[entryBundle, inclusion, consistency, message, signedNote, provenEntry, secretKey],
];
