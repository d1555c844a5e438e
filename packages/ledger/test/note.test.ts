import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { toBase64 } from '../src/bytes.ts';
import { canonicalJson } from '../src/json.ts';
import { leafHash } from '../src/merkle.ts';
import {
  formatTreeHead,
  parseNote,
  parseTreeHead,
  parseVkey,
  signNote,
  verifyNote,
} from '../src/note.ts';
import { formatProof, parseProof } from '../src/proof.ts';
import { generateSigner, loadSigner, signerFromSeed } from '../src/signer.ts';
import { HashTree } from '../src/tree.ts';
import { verifyCheckpoint, verifyProof } from '../src/verify.ts';
import { ORIGIN, bytesOf, otherSigner, signer } from './support.ts';

const TEXT = 'a note\n\nwith an empty line inside\n';
const LINE = signNote('x\n', signer).split('\n\n')[1] ?? '';

test('note N1: the text ends at the last blank line, and nothing malformed is accepted', () => {
  const signed = signNote(TEXT, signer);
  assert.equal(parseNote(signed)?.text, TEXT);
  const bad = [
    '',
    TEXT,
    signed.slice(0, -1),
    `${signed}\n`,
    signed.replace('note', 'no\tte'),
    signed.replace('note', 'no\u0000te'),
    signed.replace('note', 'no\rte'),
    signed.replace('note', 'no\ud800te'),
    signed.replace('\u2014', '-'),
    signed.replace(`\u2014 ${ORIGIN}`, `\u2014  ${ORIGIN}`),
    signed.replace(`\u2014 ${ORIGIN}`, `\u2014 a+b`),
    `${TEXT}\n\u2014 name AAAA\n`,
    `${TEXT}\n\u2014 name not*base64\n`,
  ];
  for (const text of bad) assert.equal(parseNote(text), undefined, JSON.stringify(text));
});

test('note N2: a bad signature of a known key rejects, an unknown key is ignored', () => {
  const signed = signNote(TEXT, signer);
  const stranger = signNote(TEXT, generateSigner('stranger.example').signer);
  const both = `${signed}${stranger.slice(stranger.indexOf('\n\n\u2014') + 2)}`;
  assert.deepEqual(verifyNote(both, [signer.vkey]).kind, 'valid');
  const forged = both.replace('a note', 'a vote');
  assert.equal(verifyNote(forged, [signer.vkey]).kind, 'invalid');
  assert.equal(verifyNote(signed, [otherSigner.vkey]).kind, 'invalid');
  const goodThenBad = `${signed}${LINE}`;
  const verdict = verifyNote(goodThenBad, [signer.vkey]);
  assert.equal(verdict.kind === 'invalid' && verdict.code, 'KIN_LEDGER_SIGNATURE_INVALID');
  assert.equal(verifyNote(signed, ['garbage']).kind, 'invalid');
});

test('note N3: sixteen signatures are accepted, a flood of them is not', () => {
  const signed = signNote(TEXT, signer);
  const line = `\u2014 other.example ${toBase64(new Uint8Array(68).fill(3))}\n`;
  assert.equal(verifyNote(signed + line.repeat(15), [signer.vkey]).kind, 'valid');
  assert.equal(parseNote(signed + line.repeat(64)), undefined);
});

test('a checkpoint body has one spelling: no leading zero, no sign, no extension, 32 bytes', () => {
  const hash = toBase64(leafHash(bytesOf('x')));
  assert.equal(parseTreeHead(`o\n7\n${hash}\n`)?.size, 7n);
  assert.equal(parseTreeHead(`o\n18446744073709551615\n${hash}\n`)?.size, 2n ** 64n - 1n);
  const bad = ['07', '+7', '-7', '0x7', '7 ', '', '18446744073709551616', '1e3', '0'];
  for (const size of bad) assert.equal(parseTreeHead(`o\n${size}\n${hash}\n`), undefined, size);
  assert.equal(parseTreeHead(`o\n7\n${hash}\nextra\n`), undefined);
  assert.equal(parseTreeHead(`\n7\n${hash}\n`), undefined);
  assert.equal(parseTreeHead(`o\n7\n${toBase64(new Uint8Array(31))}\n`), undefined);
  assert.equal(parseTreeHead(`o\n7\n${hash.replace('=', '')}\n`), undefined);
});

test('verify V1: a checkpoint of another origin is refused although the key is trusted', () => {
  const root = leafHash(bytesOf('x'));
  const good = signNote(formatTreeHead(ORIGIN, 1, root), signer);
  assert.equal(verifyCheckpoint(good, signer.vkey).kind, 'valid');
  const foreign = signNote(formatTreeHead('other.example/log', 1, root), signer);
  const verdict = verifyCheckpoint(foreign, signer.vkey);
  assert.equal(verdict.kind === 'invalid' && verdict.code, 'KIN_LEDGER_SIGNATURE_INVALID');
});

test('verify V2: any change of proof, entry or key makes a receipt worthless', async () => {
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  for (let at = 0; at < 9; at++) tree.append(leafHash(bytesOf(`entry ${at}`)));
  const checkpoint = signNote(formatTreeHead(ORIGIN, 9, tree.root()), signer);
  const hashes = await tree.inclusion(5, 9);
  const text = formatProof({ index: 5n, hashes, checkpoint });
  const entry = bytesOf('entry 5');
  const verdict = verifyProof(text, entry, signer.vkey);
  assert.equal(verdict.kind === 'valid' && verdict.index, 5n);
  assert.equal(verifyProof(text, bytesOf('entry 6'), signer.vkey).kind, 'invalid');
  assert.equal(verifyProof(text, entry, otherSigner.vkey).kind, 'invalid');
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.constantFrom('A', '0', '\n', ' ', 'z'), (at, char) => {
      if (text[at] === char) return;
      const changed = text.slice(0, at) + char + text.slice(at + 1);
      const outcome = verifyProof(changed, entry, signer.vkey);
      assert.equal(outcome.kind, 'invalid', JSON.stringify(changed));
    }),
    { numRuns: 400 },
  );
});

test('proof R1: what parses is byte-identical to its own formatting', () => {
  const checkpoint = signNote(formatTreeHead(ORIGIN, 1, leafHash(bytesOf('x'))), signer);
  const whole = formatProof({ index: 0n, hashes: [], checkpoint, extra: bytesOf('hello') });
  assert.equal(parseProof(whole)?.extra?.length, 5);
  const head = 'c2sp.org/tlog-proof@v1\n';
  const bad = [
    '',
    head,
    `${head}\nindex 1\n\n${checkpoint}`,
    `${head}index 01\n\n${checkpoint}`,
    `${head}index 1\nextra AAAA\n\n${checkpoint}`,
    `${head}extra AAA\nindex 1\n\n${checkpoint}`,
    `${head}index 1\nAAAA\n\n${checkpoint}`,
    whole.replace('v1', 'v2'),
  ];
  for (const text of bad) assert.equal(parseProof(text), undefined, JSON.stringify(text));
  const mutation = fc.tuple(fc.nat(whole.length), fc.string({ maxLength: 4 }), fc.nat(5));
  fc.assert(
    fc.property(fc.array(mutation, { maxLength: 4 }), (edits) => {
      let text = whole;
      for (const [at, insert, cut] of edits)
        text = text.slice(0, at) + insert + text.slice(at + cut);
      const parsed = parseProof(text);
      if (parsed !== undefined) assert.equal(formatProof(parsed), text);
    }),
    { numRuns: 500 },
  );
});

test('keys survive text and PEM, and a damaged or foreign key is refused', () => {
  const { signer: fresh, secret } = generateSigner('a.example/log');
  const message = bytesOf('m');
  assert.deepEqual(loadSigner(secret).sign(message), fresh.sign(message));
  assert.equal(loadSigner(`${secret}\n`).vkey, fresh.vkey);
  assert.equal(parseVkey(fresh.vkey)?.name, 'a.example/log');
  assert.equal(parseVkey(fresh.vkey.replace('a.', 'b.')), undefined);
  assert.equal(parseVkey(`${fresh.vkey}A`), undefined);
  assert.throws(() => loadSigner(secret.replace('a.', 'b.')), { code: 'KIN_LEDGER_KEY_INVALID' });
  assert.throws(() => loadSigner('nonsense'), { code: 'KIN_LEDGER_KEY_INVALID' });
  assert.throws(() => generateSigner('has space'), { code: 'KIN_LEDGER_KEY_INVALID' });
  assert.throws(() => loadSigner('-----BEGIN X-----', 'a'), { code: 'KIN_LEDGER_KEY_INVALID' });
  const seed = Buffer.alloc(32, 5);
  const prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
  const body = Buffer.concat([prefix, seed]).toString('base64');
  const pem = `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`;
  assert.equal(loadSigner(pem, 'p.example').vkey, signerFromSeed('p.example', seed).signer.vkey);
});

test('the sample verifier key of the specification family has the id that its name says', () => {
  const vkey = 'example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx';
  assert.equal(parseVkey(vkey)?.keyId, '33d7b496');
});

test('json J1: one value has one text; what has none is refused', () => {
  const value = { b: [1, -0, 1e21, 0.1], a: { é: null, z: 'q"\\\n', A: true }, gone: undefined };
  const text = '{"a":{"A":true,"z":"q\\"\\\\\\n","é":null},"b":[1,0,1e+21,0.1]}';
  assert.equal(canonicalJson(value), text);
  const bad = [Number.NaN, Infinity, 1n, new Date(0), '\ud800', { ['\udfff']: 1 }, () => 1];
  for (const item of bad) {
    assert.throws(() => canonicalJson([item]), { code: 'KIN_LEDGER_ENTRY_INVALID' });
  }
  const loop: unknown[] = [];
  loop.push(loop);
  assert.throws(() => canonicalJson(loop), { code: 'KIN_LEDGER_ENTRY_INVALID' });
  fc.assert(
    fc.property(fc.jsonValue(), (json) => {
      const once = canonicalJson(json);
      assert.equal(canonicalJson(JSON.parse(once)), once);
    }),
  );
});

test('no text whatsoever makes the verifier throw or accept', () => {
  const piece = fc.constantFrom('\n', '\n\n', ' ', '\u2014 ', ORIGIN, 'index 0', '=', 'AAAA', '0');
  const junk = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('')),
  );
  fc.assert(
    fc.property(junk, fc.uint8Array({ maxLength: 40 }), (text, entry) => {
      const proof = `c2sp.org/tlog-proof@v1\n${text}`;
      assert.equal(verifyProof(proof, entry, signer.vkey).kind, 'invalid');
      assert.equal(verifyProof(text, entry, text).kind, 'invalid');
      assert.equal(verifyCheckpoint(text, signer.vkey).kind, 'invalid');
      assert.equal(parseVkey(text), undefined);
    }),
    { numRuns: 2000 },
  );
});

test('the verifier reaches no file system, no network and no Node module but crypto', () => {
  const seen = new Set<string>();
  const modules = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const source = readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8');
    for (const [, target = ''] of source.matchAll(/from ['"]([^'"]+)['"]/g)) {
      if (target.startsWith('./')) visit(target.slice(2));
      else modules.add(`${file}: ${target}`);
    }
  };
  visit('verify.ts');
  assert.ok(seen.size >= 6);
  assert.deepEqual([...modules], ['crypto.ts: node:crypto']);
});
