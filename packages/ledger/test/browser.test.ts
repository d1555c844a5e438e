// The verifier of a web page is built as it is for a browser, and then run with nothing of Node's
// but what a browser has too.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runInNewContext } from 'node:vm';
import { buildBrowser } from '../../../scripts/ledger/browser.ts';
import * as browserCrypto from '../src/browser/crypto.ts';
import * as unbundled from '../src/browser/index.ts';
import { sha256 } from '../src/browser/sha256.ts';
import { toHex } from '../src/bytes.ts';
import { checkSignature } from '../src/crypto.ts';
import { leafHash, nodeHash } from '../src/merkle.ts';
import { formatTreeHead, signNote } from '../src/note.ts';
import { formatProof } from '../src/proof.ts';
import { signerFromSeed } from '../src/signer.ts';
import { ORIGIN, bytesOf, otherSigner, signer } from './support.ts';
import { Model, trust } from './tenants/model.ts';

type Verifier = typeof unbundled;

const out = mkdtempSync(join(tmpdir(), 'kintsugi-browser-'));
after(() => rmSync(out, { recursive: true, force: true }));
const bundle = await buildBrowser(out);

const seed = new Uint8Array(32).fill(3);
const witness = signerFromSeed('w.example', seed, 'cosigner').signer;
const mldsa = signerFromSeed('pq.example', seed, 'ml-dsa-44').signer;
const logMldsa = signerFromSeed(ORIGIN, seed, 'ml-dsa-44').signer;
const entry = bytesOf('entry 1');
const leaves = [bytesOf('entry 0'), entry].map(leafHash);
const [left = leafHash(entry), right = leafHash(entry)] = leaves;
const text = formatTreeHead(ORIGIN, 2, nodeHash(left, right));
const at = { timestampS: 1_700_000_000n };
const policy = (quorum: string): string =>
  `log ${signer.vkey}\nwitness a ${witness.vkey}\nwitness b ${mldsa.vkey}\n` +
  `group both all a b\nquorum ${quorum}\n`;

function proofWith(checkpoint: string): string {
  return formatProof({ index: 1n, hashes: [left], checkpoint });
}

/** Everything that must hold in any runtime that knows Ed25519. */
async function verifies(verifier: Verifier): Promise<void> {
  const proof = proofWith(signNote(text, signer));
  const good = await verifier.verifyProof(proof, entry, signer.vkey);
  assert.equal(good.kind, 'valid');
  const forgedLeaf = await verifier.verifyProof(proof, bytesOf('entry 2'), signer.vkey);
  assert.equal(forgedLeaf.kind === 'invalid' && forgedLeaf.code, 'KIN_LEDGER_PROOF_INVALID');
  const forgedRoot = proof.replace(text, formatTreeHead(ORIGIN, 2, nodeHash(right, left)));
  const refused = await verifier.verifyProof(forgedRoot, entry, signer.vkey);
  assert.equal(refused.kind === 'invalid' && refused.code, 'KIN_LEDGER_SIGNATURE_INVALID');
  const wrongKey = await verifier.verifyProof(proof, entry, otherSigner.vkey);
  assert.equal(wrongKey.kind, 'invalid');
  const cosigned = proofWith(signNote(text, [signer, witness], at));
  const under = await verifier.verifyProofUnderPolicy(cosigned, entry, policy('a'));
  assert.equal(under.kind, 'valid');
  const bad = proofWith(signNote(text, [signer, witness], at)).replace(/.\n$/, 'A\n');
  const known = await verifier.verifyProofUnderPolicy(bad, entry, policy('a'));
  assert.equal(known.kind, 'invalid');
  assert.equal((await verifier.verifyCheckpoint('junk', signer.vkey)).kind, 'invalid');
  const evidence = { before: signNote(text, signer), after: signNote(text, signer), proof: [] };
  assert.equal((await verifier.verifyConsistency(evidence, signer.vkey)).kind, 'valid');
}

/** As a classic script in a context of its own: what is not passed in does not exist there. */
function inContext(subtle: unknown): Verifier {
  const names = /export\{([^}]*)\};?\s*$/.exec(bundle.text);
  const body = bundle.text.slice(0, names?.index);
  const pairs = (names?.[1] ?? '').split(',').map((pair) => {
    const [local = '', exported = local] = pair.split(' as ');
    return `${exported}:${local}`;
  });
  assert.ok(pairs.length > 10);
  const given = { crypto: { subtle }, TextEncoder, TextDecoder, atob, btoa, Uint8Array };
  return runInNewContext(`${body};({${pairs.join()}})`, given) as Verifier;
}

test('the bundle is one file under 30 000 bytes, without any import and without Node', () => {
  assert.ok(bundle.bytes < 30_000, `${bundle.bytes} bytes`);
  assert.ok(bundle.gzipBytes < 12_000, `${bundle.gzipBytes} bytes gzipped`);
  // Not `doesNotMatch`: a failure would print the whole bundle.
  const foreign = /node:|\bimport[\s({"']|\brequire\(|\bBuffer\b|\bprocess\./.exec(bundle.text);
  assert.equal(foreign?.[0], undefined);
});

test('the bundle verifies a proof and refuses a forged leaf, root and cosignature', async () => {
  const imported = (await import(bundle.file)) as Verifier;
  await verifies(imported);
  await verifies(unbundled);
  await verifies(inContext(globalThis.crypto.subtle));
});

test('a tenant verifies its proof and its whole log in the browser, and no other one', async () => {
  const model = new Model();
  model.sayKey();
  for (const tenant of ['acme', 'other', 'acme', 'acme']) model.add(tenant, 'something');
  model.epoch();
  const proof = await model.proof('acme', { kind: 'entry', index: 1 });
  const whole = await model.proof('acme', { kind: 'head' });
  const own = model.entriesOf('acme');
  const mine = own[1] ?? entry;
  const options = { trust, tenant: 'acme' };
  const imported = (await import(bundle.file)) as Verifier;
  for (const verifier of [imported, unbundled, inContext(globalThis.crypto.subtle)]) {
    const good = await verifier.verifyTenantProof(proof, mine, options);
    assert.equal(good.kind, 'valid', good.kind === 'invalid' ? good.detail : '');
    assert.equal(
      (await verifier.verifyTenantProof(proof, own[2] ?? entry, options)).kind,
      'invalid',
    );
    const foreign = { ...options, tenant: 'other' };
    assert.equal((await verifier.verifyTenantProof(proof, mine, foreign)).kind, 'invalid');
    const untrusted = { ...options, trust: { vkey: otherSigner.vkey } };
    assert.equal((await verifier.verifyTenantHead(whole, untrusted)).kind, 'invalid');
    // The entries can be read once only, as from a network.
    const all = await verifier.verifyTenantComplete(own.values(), whole, options);
    assert.equal(all.kind === 'valid' && all.count, own.length);
    const short = await verifier.verifyTenantComplete(own.slice(0, -1).values(), whole, options);
    assert.equal(short.kind, 'invalid');
  }
});

test('note N4: where ML-DSA-44 is missing, its signatures are named and never count', async () => {
  const { subtle } = globalThis.crypto;
  const older = {
    verify: subtle.verify.bind(subtle),
    importKey: (...args: Parameters<SubtleCrypto['importKey']>) => {
      const [, , algorithm] = args;
      const name = typeof algorithm === 'object' ? algorithm.name : algorithm;
      if (name === 'Ed25519') return subtle.importKey(...args);
      return Promise.reject(new DOMException('unknown', 'NotSupportedError'));
    },
  };
  const verifier = inContext(older);
  await verifies(verifier);
  const both = proofWith(signNote(text, [signer, witness, mldsa], at));
  const one = await verifier.verifyProofUnderPolicy(both, entry, policy('a'));
  assert.deepEqual(one.kind === 'valid' && [...one.unchecked], ['b']);
  const two = await verifier.verifyProofUnderPolicy(both, entry, policy('both'));
  assert.ok(two.kind === 'invalid' && two.code === 'KIN_LEDGER_QUORUM_UNMET');
  assert.match(two.reason, /not checked here: b$/);
  const only = await verifier.verifyCheckpoint(signNote(text, logMldsa), logMldsa.vkey);
  assert.equal(only.kind === 'invalid' && only.code, 'KIN_LEDGER_SIGNATURE_UNCHECKED');
  const forged = signNote(text, logMldsa).replace(/.{8}\n$/, 'AAAAAAA=\n');
  assert.equal((await verifier.verifyCheckpoint(forged, logMldsa.vkey)).kind, 'invalid');
});

test('where ML-DSA-44 is there, good is good and forged is forged', async (context) => {
  const verifier = inContext(globalThis.crypto.subtle);
  const note = signNote(text, logMldsa);
  const verdict = await verifier.verifyCheckpoint(note, logMldsa.vkey);
  if (verdict.kind === 'invalid' && verdict.code === 'KIN_LEDGER_SIGNATURE_UNCHECKED') {
    context.skip('this runtime has no ML-DSA-44 in WebCrypto');
    return;
  }
  assert.equal(verdict.kind, 'valid');
  const forged = await verifier.verifyCheckpoint(note.replace('\n2\n', '\n3\n'), logMldsa.vkey);
  assert.equal(forged.kind === 'invalid' && forged.code, 'KIN_LEDGER_SIGNATURE_INVALID');
});

test('crypto W1: without an answer nothing is good, and without `subtle` never', async () => {
  const signature = signer.sign(entry);
  const ask = (): string =>
    browserCrypto.checkSignature('ed25519', signer.publicKey, entry, signature);
  assert.equal(ask(), 'unchecked');
  const runs: string[] = [];
  const answer = await browserCrypto.settle(() => {
    runs.push(ask());
    return runs.at(-1);
  });
  assert.deepEqual([answer, runs], ['good', ['unchecked', 'good']]);
  assert.equal(ask(), 'unchecked', 'an answer does not outlive its run');
  const noPoint = new Uint8Array(32).fill(0xff);
  const bad = await browserCrypto.settle(() =>
    browserCrypto.checkSignature('ed25519', noPoint, entry, signature),
  );
  assert.equal(bad, 'bad');
  assert.equal(checkSignature('ed25519', noPoint, entry, signature), 'bad');
  const insecure = await inContext(undefined).verifyCheckpoint(signNote(text, signer), signer.vkey);
  assert.equal(insecure.kind === 'invalid' && insecure.code, 'KIN_LEDGER_SIGNATURE_UNCHECKED');
  await assert.rejects(
    browserCrypto.settle(() => {
      throw new Error('a bug of the verifier');
    }),
    /a bug/,
  );
  let turn = 0;
  const endless = browserCrypto.settle(() => {
    for (let at = 0; at < 1500; at++) {
      const message = bytesOf(`${turn} ${at}`);
      browserCrypto.checkSignature('ed25519', noPoint, message, signature);
    }
    turn += 1;
  });
  await assert.rejects(endless, { code: 'KIN_LEDGER_OVERLOADED' });
});

test('the hash of the browser is that of Node, on 12 000 inputs of all lengths', () => {
  const sizes = Array.from({ length: 12_000 }, (_, at) => (at < 300 ? at : (at * 7919) % 1100));
  const pool = randomBytes(16_384);
  for (const [at, size] of sizes.entries()) {
    const from = (at * 31) % (pool.length - size);
    const input = pool.subarray(from, from + size);
    const expected = createHash('sha256').update(input).digest('hex');
    if (toHex(sha256(input)) !== expected) assert.fail(`${size} bytes from ${from}`);
  }
  const large = new Uint8Array(1_000_003).fill(0xa5);
  assert.equal(toHex(sha256(large)), createHash('sha256').update(large).digest('hex'));
});
