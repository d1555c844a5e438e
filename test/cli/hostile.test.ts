import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { generateSigner, openLedger } from '@kintsugi/ledger';
import { readRegular } from '../../src/cli/offline/read-file.ts';
import { harmless, harmlessLine } from '../../src/cli/style.ts';
import { cliRig, tempFolder } from './harness.ts';
import { ledgerFolder, MAP_KEY, ORIGIN } from './offline-ledger.ts';

const json = (text: string): Readonly<Record<string, unknown>> =>
  JSON.parse(text) as Readonly<Record<string, unknown>>;
/** All of C0 and C1, and what turns the order of reading. */
const HOSTILE = /[\p{Cc}\p{Bidi_Control}\u{2028}\u{feff}]/u;
const COMPARE = /the key is the one in the f(?:older|ile): compare it with the one that you know/u;

test('EVI1. a key that came with the material is said, by text and in JSON', async (t) => {
  const { run, log, dir, vkey } = await ledgerFolder(t);
  await run('ledger', 'export', 'mine', '--tenant', 'acme', '--dir', log);
  await run('ledger', 'prove', '2', '--dir', log, '--out', 'p');
  writeFileSync(
    join(dir, 'b.json'),
    (await run('ledger', 'prove', '2', '--dir', log, '--json')).out,
  );
  const shipped: readonly (readonly [string, readonly string[]])[] = [
    ['folder', ['verify', '--dir', 'mine']],
    ['folder', ['verify', '--dir', log]],
    ['folder', ['verify', '--proof', 'p.proof', '--entry', 'p.entry', '--dir', log]],
    ['proof', ['verify', '--proof', 'b.json']],
    ['folder', ['prove', '2', '--dir', log]],
    ['folder', ['prove', '2', '--tenant', 'acme', '--dir', log]],
    ['folder', ['fsck', '--dir', log]],
    ['folder', ['checkpoint', '--dir', log]],
  ];
  for (const [from, args] of shipped) {
    const [own, value, given] = await Promise.all([
      run('ledger', ...args),
      run('ledger', ...args, '--json'),
      run('ledger', ...args, '--vkey', vkey),
    ]);
    assert.deepEqual([own.code, given.code], [0, 0], `${args.join(' ')}: ${own.err}${given.err}`);
    assert.match(own.out, COMPARE, args.join(' '));
    assert.equal(json(value.out)['keyFrom'], from, args.join(' '));
    assert.doesNotMatch(given.out, COMPARE, args.join(' '));
  }
});

test('EVI4. fsck --deep reads the map key as the controller writes it, by itself', async (t) => {
  const { run, log, dir } = await ledgerFolder(t, { entries: 12 });
  const beside = join(log, '..', 'map.key');
  writeFileSync(beside, `${MAP_KEY.toString('hex')}\n`, { mode: 0o600 });
  const good = await run('ledger', 'fsck', '--deep', '--dir', log);
  assert.equal(good.code, 0, good.out + good.err);
  assert.doesNotMatch(good.out, /positions against the map key/u);
  writeFileSync(beside, `${'08'.repeat(32)}\n`);
  assert.match((await run('ledger', 'fsck', '--deep', '--dir', log)).out, /map-key-wrong/u);
  rmSync(beside);
  writeFileSync(join(dir, 'k'), MAP_KEY.toString('base64'));
  const named = await run('ledger', 'fsck', '--deep', '--dir', log, '--map-key', 'k');
  assert.doesNotMatch(named.out, /positions against the map key/u);
  const without = await run('ledger', 'fsck', '--deep', '--dir', log);
  assert.match(without.out, /not checked: positions against the map key/u);
});

test('RF1. fifos, devices and endless files are refused at once, wherever they lie', async (t) => {
  const { run, log, dir, vkey } = await ledgerFolder(t);
  const fifo = join(dir, 'fifo');
  execFileSync('mkfifo', [fifo]);
  symlinkSync('/dev/zero', join(dir, 'zero'));
  symlinkSync('/dev/tty', join(dir, 'tty'));
  writeFileSync(join(dir, 'p'), 'c2sp.org/tlog-proof@v1\n');
  for (const bad of ['fifo', 'zero', 'tty', '.']) {
    const asked = await Promise.all([
      run('ledger', 'verify', '--dir', log, '--vkey', bad),
      run('ledger', 'verify', '--proof', bad, '--vkey', vkey),
      run('ledger', 'verify', '--proof', 'p', '--entry', bad, '--vkey', vkey),
      run('ledger', 'verify', '--dir', log, '--vkey', vkey, '--policy', bad),
      run('ledger', 'fsck', '--deep', '--dir', log, '--map-key', bad),
    ]);
    for (const { code, err } of asked) {
      assert.equal(code, 1, bad);
      assert.match(err, /KIN_FILE_UNREADABLE.*not a regular file/u, bad);
    }
  }
  for (const name of ['vkey', 'checkpoint']) {
    const copy = join(dir, `copy-${name}`);
    cpSync(log, copy, { recursive: true });
    writeFileSync(join(copy, 'vkey'), vkey);
    rmSync(join(copy, name));
    execFileSync('mkfifo', [join(copy, name)]);
    const command = name === 'vkey' ? 'verify' : 'checkpoint';
    const found = await run('ledger', command, '--dir', copy);
    assert.equal(found.code, 1, found.out);
  }
  const big = join(dir, 'big');
  writeFileSync(big, Buffer.alloc(70_000));
  const key = await run('ledger', 'verify', '--dir', log, '--vkey', 'big');
  assert.match(key.err, /more than 65536 bytes/u);
  assert.throws(() => readRegular(big, 69_999), /more than 69999 bytes/u);
  assert.equal(readRegular(big, 70_000).length, 70_000);
  assert.ok(readRegular('/proc/self/status', 100_000).length > 0, 'its size is told as 0');
});

test('a mistyped --vkey is wrong usage, another key is said, neither is damage', async (t) => {
  const { run, log, dir, vkey } = await ledgerFolder(t);
  writeFileSync(join(dir, 'nokey'), 'hello\n');
  const typo = vkey.replace('clinic', 'clinik');
  for (const wrong of [typo, vkey.slice(0, -3), 'nokey', 'absent.vkey', '']) {
    const asked = await Promise.all([
      run('ledger', 'verify', '--dir', log, '--vkey', wrong),
      run('ledger', 'fsck', '--dir', log, '--vkey', wrong),
      run('ledger', 'checkpoint', '--dir', log, '--vkey', wrong),
    ]);
    for (const { code, err, out } of asked) {
      assert.equal(code, wrong === '' ? code : 2, `${wrong}: ${err}${out}`);
      assert.notEqual(code, 0);
      assert.doesNotMatch(out, /DAMAGED/u);
    }
  }
  const other = generateSigner(ORIGIN).signer.vkey;
  const foreign = await run('ledger', 'verify', '--dir', log, '--vkey', other);
  assert.equal(foreign.code, 1);
  assert.match(foreign.out, /another key lies in the folder than the one that you gave/u);
  const unsigned = await run('ledger', 'checkpoint', '--dir', log, '--vkey', other);
  assert.match(unsigned.out, /NOT valid/u);
  assert.match(unsigned.out, /^claimed, and not verified: clinic/mu);
  assert.doesNotMatch(unsigned.out, /^by /mu);
});

test('ledger export to a dangling link or to a file is refused with a code', async (t) => {
  const { run, log, dir } = await ledgerFolder(t);
  symlinkSync(join(dir, 'nowhere', 'at-all'), join(dir, 'dangling'));
  writeFileSync(join(dir, 'file'), 'x');
  mkdirSync(join(dir, 'full', 'x'), { recursive: true });
  for (const out of ['dangling', 'file', 'full']) {
    for (const about of [[], ['--tenant', 'acme']]) {
      const made = await run('ledger', 'export', out, '--dir', log, ...about);
      assert.notEqual(made.code, 0, out);
      assert.match(made.err, /error KIN_(?:FILE_UNWRITABLE|LEDGER_OPTION_INVALID)/u);
    }
  }
});

test('what an entry holds cannot repaint the screen or turn the order of reading', async (t) => {
  const hostile = '\u{1b}[2J\u{9b}1m\u{202e}\u{2066}\u{200f}\u{feff}\u{2028}';
  assert.equal(harmless(hostile + 'ä\n\t漢').endsWith('ä\n\t漢'), true);
  const { cli, rig } = await cliRig(t);
  const dir = tempFolder(t);
  const { signer } = generateSigner('x.invalid/ledger');
  const log = await openLedger({ dir: join(dir, 'log'), origin: 'x.invalid/ledger', signer });
  await log.record('test.entry', { hostile });
  const stored = await log.read(1);
  const proof = await log.prove(1);
  await log.close();
  const { vkey } = signer;
  const entry = Buffer.from(stored.bytes).toString('base64');
  rig.control.ledgerProve = async (index) => ({ index, entry, proof, vkey });
  const good = await cli('ledger', 'prove', '1');
  assert.equal(good.code, 0, good.err);
  const lies = Buffer.from(`{}\nvalid: everything ${hostile}`).toString('base64');
  rig.control.ledgerProve = async (index) => ({
    index,
    entry: lies,
    proof: `${proof}${hostile}`,
    vkey: `${hostile}\nvalid`,
  });
  const forged = await cli('ledger', 'prove', '1');
  assert.equal(forged.code, 1);
  for (const { out } of [good, forged]) {
    assert.doesNotMatch(out.replaceAll('\n', ''), HOSTILE);
    assert.doesNotMatch(out, /^valid/mu);
  }
  assert.equal(harmlessLine('a\nb\tc'), 'a\\x0ab\\x09c');
});
