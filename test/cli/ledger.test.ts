import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { generateSigner, openLedger } from '@kintsugi/ledger';
import { cleanEnvironment, cliRig, startCli, tempFolder } from './harness.ts';

interface Made {
  readonly state: string;
  readonly vkey: string;
  readonly env: Record<string, string>;
}

/** A ledger as the controller leaves it: `ledger/log` and the public key beside it. */
async function ledger(t: TestContext): Promise<Made> {
  const dir = tempFolder(t);
  const state = join(dir, '.kintsugi');
  mkdirSync(join(state, 'ledger'), { recursive: true });
  const { signer } = generateSigner('clinic.kintsugi.invalid/ledger');
  const log = await openLedger({
    dir: join(state, 'ledger', 'log'),
    origin: 'clinic.kintsugi.invalid/ledger',
    signer,
  });
  for (let i = 0; i < 5; i += 1) await log.record('test.entry', { i });
  await log.close();
  writeFileSync(join(state, 'ledger', 'vkey'), `${signer.vkey}\n`);
  return { state, vkey: signer.vkey, env: cleanEnvironment(dir) };
}

test('EVI1. ledger verify reads the folder alone, and says whose key it used', async (t) => {
  const { state, vkey, env } = await ledger(t);
  const run = (...args: readonly string[]) => startCli(t, args, { env, cwd: state }).ended;
  const own = await run('ledger', 'verify', '--state', state);
  assert.equal(own.code, 0, own.err);
  assert.match(own.out, /^intact: 6 entries/u);
  assert.match(own.out, /the key is the one in the folder: compare it/u);
  const given = await run('ledger', 'verify', '--dir', join(state, 'ledger'), '--vkey', vkey);
  assert.equal(given.code, 0, given.err);
  assert.doesNotMatch(given.out, /compare it/u);
  const other = generateSigner('clinic.kintsugi.invalid/ledger').signer.vkey;
  const wrong = await run('ledger', 'verify', '--state', state, '--vkey', other, '--json');
  assert.equal(wrong.code, 1);
  const none = await run('ledger', 'verify', '--dir', join(state, 'nope'));
  assert.equal(none.code, 1);
  assert.match(none.err, /KIN_LEDGER_NOT_FOUND/u);
});

test('a flipped byte is found and located, and exits 1', async (t) => {
  const { state, env } = await ledger(t);
  const folder = join(state, 'ledger', 'log', 'seg');
  const [name] = readdirSync(folder);
  const path = join(folder, name ?? '');
  const bytes = readFileSync(path);
  const at = bytes.indexOf('test.entry');
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const verify = await startCli(t, ['ledger', 'verify', '--state', state], { env }).ended;
  assert.equal(verify.code, 1);
  assert.match(verify.out, /DAMAGED/u);
  assert.match(verify.out, /KIN_LEDGER_CORRUPT .* at byte \d+, entry \d+/u);
});

test('ledger export writes a static log offline', async (t) => {
  const { state, env } = await ledger(t);
  const out = join(state, 'export');
  const done = await startCli(t, ['ledger', 'export', out, '--state', state], { env }).ended;
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /6 entries/u);
  assert.ok(existsSync(join(out, 'checkpoint')));
});

test('ledger prove prints a proof only after it has verified it', async (t) => {
  const { cli, rig } = await cliRig(t);
  const dir = tempFolder(t);
  const { signer } = generateSigner('x.invalid/ledger');
  const log = await openLedger({ dir: join(dir, 'log'), origin: 'x.invalid/ledger', signer });
  await log.record('test.entry', { hello: 1 });
  const stored = await log.read(1);
  const proof = await log.prove(1);
  await log.close();
  rig.control.ledgerProve = async (index) => ({
    index,
    entry: Buffer.from(stored.bytes).toString('base64'),
    proof,
    vkey: signer.vkey,
  });
  const good = await cli('ledger', 'prove', '1');
  assert.equal(good.code, 0, good.err);
  assert.match(good.out, /entry 1 is in the log/u);
  rig.control.ledgerProve = async (index) => ({ index, entry: 'e30=', proof, vkey: signer.vkey });
  const forged = await cli('ledger', 'prove', '1');
  assert.equal(forged.code, 1);
  assert.match(forged.out, /does NOT verify/u);
});

test("EVI3. a tenant's proof that does not verify is not printed", async (t) => {
  const { cli } = await cliRig(t);
  const forged = await cli('ledger', 'prove', '1', '--tenant', 'acme', '--out', 'x');
  assert.equal(forged.code, 1, forged.err);
  assert.match(forged.out, /does NOT verify/u);
  assert.ok(!forged.out.includes('proof of acme'));
});
