import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { concat, toBase64, toHex } from '../src/bytes.ts';
import { COSIGNATURE_TYPE, cosignedText, signedParts, subtreeMessage } from '../src/cosignature.ts';
import { leafHash } from '../src/merkle.ts';
import {
  addSignatures,
  formatTreeHead,
  parseCheckpointBody,
  parseNote,
  parseVkey,
  signNote,
  signatureLine,
  verifyNote,
  verifyNoteWith,
} from '../src/note.ts';
import { generateSigner, loadSigner, signerFromSeed } from '../src/signer.ts';
import type { SignerKind } from '../src/signer.ts';
import { verifyCheckpoint } from '../src/verify.ts';
import { ORIGIN, bytesOf, signer } from './support.ts';

const TIME = 1_679_315_147n;
const ROOT = leafHash(bytesOf('x'));
const TEXT = formatTreeHead(ORIGIN, 20_852_163, ROOT);
const seed = new Uint8Array(32).fill(9);
const cosigner = signerFromSeed('witness.example/w1', seed, 'cosigner').signer;
const mldsa = signerFromSeed('witness.example/w2', seed, 'ml-dsa-44').signer;
const logMldsa = signerFromSeed(ORIGIN, seed, 'ml-dsa-44').signer;

test('the examples of the specifications are parsed, and their own key verifies them', () => {
  const vkey = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
  const note =
    'This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfX' +
    'ppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n';
  assert.equal(verifyNote(note, [vkey]).kind, 'valid');
  assert.equal(verifyNote(note.replace('example m', 'Example m'), [vkey]).kind, 'invalid');
  const poem =
    'Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n' +
    '\u00e8 subito sera.\n' +
    '\n\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJ' +
    'KONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n';
  assert.equal(parseNote(poem)?.text.split('\n').length, 5);
  const cosigned =
    'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n' +
    '\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7' +
    'u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZM' +
    'HwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n';
  const [log, witness] = parseNote(cosigned)?.signatures ?? [];
  assert.equal(log?.keyId, '033de0ae');
  const text = parseNote(cosigned)?.text ?? '';
  const bytes = witness?.signature ?? new Uint8Array(0);
  const parts = signedParts(COSIGNATURE_TYPE, witness?.name ?? '', text, bytes);
  assert.equal(parts?.timestampS, TIME);
  const message = new TextDecoder().decode(parts?.message);
  assert.equal(message, `cosignature/v1\ntime 1679315147\n${text}`);
});

test('keys of each type sign, verify and survive their secret text', () => {
  for (const kind of ['ed25519', 'cosigner', 'ml-dsa-44'] satisfies SignerKind[]) {
    const { signer: fresh, secret } = generateSigner(ORIGIN, kind);
    assert.deepEqual(loadSigner(secret, ORIGIN, kind).vkey, fresh.vkey);
    assert.equal(parseVkey(fresh.vkey)?.keyId, fresh.keyId);
    const note = signNote(TEXT, loadSigner(secret), { timestampS: TIME });
    const verdict = verifyNote(note, [fresh.vkey]);
    assert.equal(verdict.kind, 'valid', kind);
    const time = verdict.kind === 'valid' ? verdict.good[0]?.timestampS : 0n;
    assert.equal(time, kind === 'ed25519' ? undefined : TIME);
    const wrong = kind === 'ed25519' ? 'cosigner' : 'ed25519';
    assert.throws(() => loadSigner(secret, ORIGIN, wrong), { code: 'KIN_LEDGER_KEY_INVALID' });
    assert.throws(() => loadSigner(secret.slice(0, -8)), { code: 'KIN_LEDGER_KEY_INVALID' });
  }
  const pem = generateKeyPairSync('ml-dsa-44').privateKey.export({ format: 'pem', type: 'pkcs8' });
  assert.equal(loadSigner(pem, ORIGIN, 'ml-dsa-44').publicKey.length, 1312);
  assert.throws(() => loadSigner(pem, ORIGIN), { code: 'KIN_LEDGER_KEY_INVALID' });
});

test('one key text damaged anywhere is no key: type, id, length and name are bound', () => {
  for (const { vkey, name } of [signer, cosigner, mldsa]) {
    const [, id = '', encoded = ''] = /\+([0-9a-f]{8})\+(.*)$/.exec(vkey) ?? [];
    const bytes = Buffer.from(encoded, 'base64');
    const retyped = Buffer.concat([Buffer.of(2), bytes.subarray(1)]).toString('base64');
    const shorter = bytes.subarray(0, -1).toString('base64');
    const bad = [`${name}+${id}+${retyped}`, `${name}+${id}+${shorter}`, `x${vkey}`, `${vkey} `];
    for (const text of bad) assert.equal(parseVkey(text), undefined);
  }
  assert.equal(parseVkey(`a+00000000+${'A'.repeat(5000)}`), undefined);
});

test('cosignature C1: only the exact length and a time of 63 bits are read', () => {
  for (const key of [cosigner, mldsa]) {
    const whole = key.sign(bytesOf(TEXT), TIME);
    assert.equal(signedParts(key.type, key.name, TEXT, whole)?.timestampS, TIME);
    assert.equal(signedParts(key.type, key.name, TEXT, whole.subarray(1)), undefined);
    assert.equal(signedParts(key.type, key.name, TEXT, concat(whole, whole)), undefined);
    const late = Uint8Array.from(whole);
    late[0] = 0x80;
    assert.equal(signedParts(key.type, key.name, TEXT, late), undefined);
    assert.equal(signedParts(9, key.name, TEXT, whole), undefined);
    assert.throws(() => key.sign(bytesOf(TEXT), 2n ** 63n), { code: 'KIN_LEDGER_NOTE_INVALID' });
    assert.throws(() => key.sign(bytesOf(TEXT), -1n), { code: 'KIN_LEDGER_NOTE_INVALID' });
    assert.throws(() => key.sign(bytesOf('no checkpoint\n'), 1n), {
      code: 'KIN_LEDGER_NOTE_INVALID',
    });
  }
  assert.throws(() => cosigner.sign(bytesOf(TEXT)), { code: 'KIN_LEDGER_OPTION_INVALID' });
});

test('cosignature C2: the message of type 0x06 is the structure of the specification', () => {
  const subtree = { name: 'w', timestampS: 5n, origin: 'o/1', start: 0n, end: 258n, hash: ROOT };
  const label = '737562747265652f76310a00';
  const expected = `${label}0177${'0000000000000005'}036f2f31${'0000000000000000'}0000000000000102`;
  const message = subtreeMessage(subtree);
  assert.equal(toHex(message ?? new Uint8Array(0)), expected + toHex(ROOT));
  assert.equal(subtreeMessage({ ...subtree, start: 4n }), undefined, 'a time and a start');
  assert.notEqual(subtreeMessage({ ...subtree, start: 4n, timestampS: 0n }), undefined);
  const bad = [
    { name: '' },
    { name: 'n'.repeat(256) },
    { name: '\u00e9'.repeat(128) },
    { origin: '' },
    { origin: 'o'.repeat(256) },
    { hash: ROOT.subarray(1) },
    { end: 2n ** 64n },
    { start: 300n, timestampS: 0n },
    { timestampS: 2n ** 63n },
  ];
  for (const change of bad) assert.equal(subtreeMessage({ ...subtree, ...change }), undefined);
  assert.equal(cosignedText(6, 'w', formatTreeHead('o'.repeat(256), 1, ROOT), 0n), undefined);
});

test('a changed time, name, origin, size or root makes a cosignature bad', () => {
  for (const key of [cosigner, mldsa]) {
    const note = signNote(TEXT, [signer, key], { timestampS: TIME });
    const both = [signer.vkey, key.vkey];
    assert.equal(verifyNote(note, both).kind, 'valid');
    const { signature = new Uint8Array(0) } = parseNote(note)?.signatures[1] ?? {};
    const later = Uint8Array.from(signature);
    later[7] = (later[7] ?? 0) ^ 1;
    const id = Buffer.from(key.keyId, 'hex');
    const line = `\u2014 ${key.name} ${toBase64(concat(id, later))}\n`;
    const changed = signNote(TEXT, signer) + line;
    const verdict = verifyNote(changed, both);
    assert.equal(verdict.kind === 'invalid' && verdict.code, 'KIN_LEDGER_SIGNATURE_INVALID');
    for (const text of [TEXT.replace('2085', '2086'), TEXT.replace(ORIGIN, `${ORIGIN}/x`)]) {
      assert.equal(verifyNote(note.replace(TEXT, text), [key.vkey]).kind, 'invalid');
    }
  }
  // The older format does not bind the name: the reason why its keys are never shared.
  const twin = signerFromSeed('witness.example/w3', seed, 'ml-dsa-44').signer;
  const { signature = new Uint8Array(0) } = parseNote(signNote(TEXT, mldsa))?.signatures[0] ?? {};
  const stolen = toBase64(concat(Buffer.from(twin.keyId, 'hex'), signature));
  const note = `${TEXT}\n\u2014 ${twin.name} ${stolen}\n`;
  assert.equal(verifyNote(note, [twin.vkey]).kind, 'invalid');
});

test('a log signs with Ed25519 and ML-DSA-44 at once, and each key alone verifies', () => {
  const note = signNote(TEXT, [signer, logMldsa]);
  assert.equal(verifyCheckpoint(note, signer.vkey).kind, 'valid');
  assert.equal(verifyCheckpoint(note, logMldsa.vkey).kind, 'valid');
  const verdict = verifyNote(note, [signer.vkey, logMldsa.vkey]);
  assert.deepEqual(verdict.kind === 'valid' && verdict.signedBy, [ORIGIN]);
  assert.equal(verdict.kind === 'valid' && verdict.good.length, 2);
  // A bad second signature is not hidden by a good first one once its key is known.
  const forged = note.slice(0, -5) + (note.at(-5) === 'A' ? 'B' : 'A') + note.slice(-4);
  assert.equal(verifyCheckpoint(forged, signer.vkey).kind, 'valid');
  assert.equal(verifyNote(forged, [signer.vkey, logMldsa.vkey]).kind, 'invalid');
  const witness = signNote(TEXT, cosigner, { timestampS: 1n });
  const refused = verifyCheckpoint(witness, cosigner.vkey);
  assert.equal(refused.kind === 'invalid' && refused.code, 'KIN_LEDGER_KEY_INVALID');
});

test('sixteen ML-DSA signatures fit into a note; no signer and too many are refused', () => {
  const sixteen = Array.from({ length: 16 }, (_, at) => {
    const own = Uint8Array.from(seed, (byte) => byte + at);
    return signerFromSeed(`w${at}.example`, own, 'ml-dsa-44').signer;
  });
  const vkeys = sixteen.map(({ vkey }) => vkey);
  const verdict = verifyNote(signNote(TEXT, sixteen, { timestampS: TIME }), vkeys);
  assert.equal(verdict.kind === 'valid' && verdict.good.length, 16);
  for (const count of [0, 65]) {
    const many = Array.from({ length: count }, () => signer);
    assert.throws(() => signNote(TEXT, many), { code: 'KIN_LEDGER_OPTION_INVALID' });
  }
  assert.throws(() => signNote('no end', signer), { code: 'KIN_LEDGER_NOTE_INVALID' });
});

test('one key may be given twice; two keys behind one name and id are refused', () => {
  const note = signNote(TEXT, signer);
  assert.equal(verifyNote(note, [signer.vkey, signer.vkey]).kind, 'valid');
  // An id has 32 bits, so such a pair can be made; which of the two is meant would be chance.
  const twin = { ...signer, publicKey: cosigner.publicKey };
  for (const keys of [
    [signer, twin],
    [twin, signer],
  ]) {
    const verdict = verifyNoteWith(note, keys);
    assert.equal(verdict.kind === 'invalid' && verdict.code, 'KIN_LEDGER_KEY_INVALID');
  }
});

test('cosignatures are added behind what is there, once, and only when well formed', () => {
  const note = signNote(TEXT, signer);
  const line = signatureLine(TEXT, cosigner, { timestampS: TIME });
  const cosigned = addSignatures(note, line) ?? '';
  assert.equal(cosigned, note + line);
  assert.equal(addSignatures(cosigned, line), cosigned);
  for (const bad of ['', 'x\n', line.slice(0, -1), `\n${line}`, `${line}\n`, '\u2014 a b\n']) {
    assert.equal(addSignatures(note, bad), undefined, JSON.stringify(bad));
  }
  assert.equal(addSignatures('no note', line), undefined);
  const other = Array.from({ length: 64 }, (_, at) => `\u2014 w${at} AAAAAAAA\n`).join('');
  assert.equal(addSignatures(note, other), undefined);
});

test('extension lines are allowed in foreign checkpoints and refused in our own', () => {
  const extended = `${TEXT}an extension\n`;
  assert.deepEqual(parseCheckpointBody(extended)?.extensions, ['an extension']);
  const note = signNote(extended, signer);
  assert.equal(verifyCheckpoint(note, signer.vkey).kind, 'invalid');
  const cosigned = signNote(extended, cosigner, { timestampS: 1n });
  assert.equal(verifyNote(cosigned, [cosigner.vkey]).kind, 'valid');
  const changed = cosigned.replace('an ext', 'my ext');
  assert.equal(verifyNote(changed, [cosigner.vkey]).kind, 'invalid');
  // What the specification says of ML-DSA-44, and why a verdict gives the head and not the text.
  const unbound = signNote(extended, logMldsa).replace('an ext', 'my ext');
  assert.equal(verifyNote(unbound, [logMldsa.vkey]).kind, 'valid');
  assert.equal(verifyCheckpoint(unbound, logMldsa.vkey).kind, 'invalid');
  assert.equal(parseCheckpointBody(`${TEXT}\nx\n`), undefined, 'an empty extension line');
  assert.equal(parseCheckpointBody(`${TEXT}${'x\n'.repeat(65)}`), undefined);
});
