import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { emptyRoot, leafHash, nodeHash } from '@kintsugi/ledger/verify';
import { HashTiles } from '../../src/cli/offline/hash-tiles.ts';
import { tempFolder } from './harness.ts';
import { ledgerFolder } from './offline-ledger.ts';
import { generateSigner } from '@kintsugi/ledger';

const json = (text: string): Readonly<Record<string, unknown>> =>
  JSON.parse(text) as Readonly<Record<string, unknown>>;

/** RFC 6962 §2.1 word by word. */
function naive(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (first === undefined) return emptyRoot();
  if (leaves.length === 1) return first;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(naive(leaves.slice(0, split)), naive(leaves.slice(split)));
}

test('HT1. roots are those of RFC 6962 at every size, and what is gone is said', () => {
  const tree = new HashTiles();
  const leaves: Uint8Array[] = [];
  for (let i = 0; i < 600; i += 1) {
    const leaf = leafHash(Buffer.from(String(i)));
    leaves.push(leaf);
    tree.append(leaf);
  }
  for (const size of [0, 1, 2, 3, 7, 255, 256, 257, 511, 512, 513, 600]) {
    assert.deepEqual(Buffer.from(tree.rootAt(size)), Buffer.from(naive(leaves.slice(0, size))));
  }
  assert.equal(tree.peaks(600).length, 4);
  const pruned = new HashTiles();
  pruned.put(1, 0, tree.rootAt(256));
  pruned.put(0, 1, Buffer.concat(leaves.slice(256, 300)));
  assert.deepEqual(Buffer.from(pruned.rootAt(300)), Buffer.from(naive(leaves.slice(0, 300))));
  assert.equal(pruned.inclusion(299, 300).length, tree.inclusion(299, 300).length);
  assert.throws(() => pruned.inclusion(3, 300), { code: 'KIN_LEDGER_PRUNED' });
});

test('EVI3. prove works from the folder alone, and verify takes what it wrote', async (t) => {
  const { run, log, dir, vkey } = await ledgerFolder(t, { entries: 300 });
  const made = await run('ledger', 'prove', '270', '--dir', log, '--out', 'p');
  assert.equal(made.code, 0, made.err);
  assert.match(made.out, /entry 270 is in the log\n/u);
  const one = ['--proof', 'p.proof', '--entry', 'p.entry', '--vkey', vkey];
  const good = await run('ledger', 'verify', ...one);
  assert.equal(good.code, 0, good.err + good.out);
  assert.match(good.out, /^valid: entry 270 is in clinic/u);
  writeFileSync(
    join(dir, 'bundle.json'),
    (await run('ledger', 'prove', '3', '--dir', log, '--json')).out,
  );
  writeFileSync(join(dir, 'p.entry'), 'something else');
  const other = generateSigner('clinic.kintsugi.invalid/ledger').signer.vkey;
  const [changed, bundle, foreign, missing, past, none] = await Promise.all([
    run('ledger', 'verify', ...one),
    run('ledger', 'verify', '--proof', 'bundle.json'),
    run('ledger', 'verify', '--proof', 'bundle.json', '--vkey', other, '--json'),
    run('ledger', 'verify', '--proof', 'p.proof', '--vkey', vkey),
    run('ledger', 'prove', '9999', '--dir', log),
    run('ledger', 'verify', '--proof', 'nope', '--vkey', vkey),
  ]);
  assert.equal(changed.code, 1);
  assert.match(changed.out, /NOT valid: KIN_LEDGER_PROOF_INVALID/u);
  assert.equal(bundle.code, 0, bundle.out);
  assert.match(bundle.out, /the key is the one in the file/u);
  assert.equal(foreign.code, 1);
  assert.equal(json(foreign.out)['valid'], false);
  assert.equal(missing.code, 2);
  assert.equal(past.code, 1);
  assert.match(past.err, /KIN_LEDGER_RANGE/u);
  assert.match(none.err, /KIN_FILE_UNREADABLE/u);
});

test('OT1. RL1. an auditor proves a tenant its entry without the map key', async (t) => {
  const { run, log, vkey } = await ledgerFolder(t, { entries: 40 });
  const made = await run('ledger', 'prove', '2', '--tenant', 'acme', '--dir', log, '--out', 'a');
  assert.equal(made.code, 0, made.err);
  const one = ['--proof', 'a.proof', '--entry', 'a.entry', '--vkey', vkey];
  const [good, other, unknown, past, list] = await Promise.all([
    run('ledger', 'verify', ...one),
    run('ledger', 'verify', ...one, '--tenant', 'globex'),
    run('ledger', 'prove', '0', '--tenant', 'nobody', '--dir', log),
    run('ledger', 'prove', '999', '--tenant', 'acme', '--dir', log),
    run('ledger', 'tenants', '--dir', log, '--json'),
  ]);
  assert.equal(good.code, 0, good.out);
  assert.match(good.out, /^valid: entry 2 is in the log of acme, of \d+ entries/u);
  assert.equal(other.code, 1);
  assert.match(other.out, /other-tenant/u);
  assert.match(unknown.err, /KIN_LEDGER_TENANT_UNKNOWN/u);
  assert.equal(unknown.code, 1);
  assert.match(past.err, /KIN_LEDGER_NO_PROOF/u);
  assert.equal(past.code, 69);
  const rows = JSON.parse(list.out) as { tenant: string; size: number }[];
  assert.deepEqual(rows.map(({ tenant }) => tenant).toSorted(), ['acme', 'globex']);
});

test('RL1. an export proves and verifies like the folder, a changed one does not', async (t) => {
  const { run, state, dir } = await ledgerFolder(t, { entries: 300 });
  const out = await run('ledger', 'export', 'out', '--state', state);
  assert.equal(out.code, 0, out.err);
  const vkey = ['--vkey', join(state, 'ledger', 'vkey')];
  const [whole, entry, tenant] = await Promise.all([
    run('ledger', 'verify', '--dir', 'out', ...vkey),
    run('ledger', 'prove', '299', '--dir', 'out', ...vkey),
    run('ledger', 'prove', '1', '--tenant', 'globex', '--dir', 'out', ...vkey),
  ]);
  assert.deepEqual([whole.code, entry.code, tenant.code], [0, 0, 0], whole.err + tenant.err);
  const path = join(dir, 'out', 'tile', 'entries', '000');
  const bytes = readFileSync(path);
  const at = bytes.indexOf('test.entry');
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const bad = await run('ledger', 'verify', '--dir', 'out', ...vkey);
  assert.equal(bad.code, 1);
  assert.match(bad.out, /do not give the signed root/u);
});

test("a tenant's export is complete, and says so when an entry is left out", async (t) => {
  const { run, log, dir } = await ledgerFolder(t, { entries: 600 });
  const made = await run('ledger', 'export', 'mine', '--tenant', 'acme', '--dir', log);
  assert.equal(made.code, 0, made.err);
  const text = readFileSync(join(dir, 'mine', 'head.proof'), 'utf8');
  assert.ok(!text.includes('globex'));
  const good = await run('ledger', 'verify', '--dir', 'mine');
  assert.equal(good.code, 0, good.out + good.err);
  assert.match(good.out, /^complete: all 401 entries of acme are here/u);
  const again = await run('ledger', 'export', 'mine', '--tenant', 'acme', '--dir', log);
  assert.match(again.err, /is not empty/u);
  rmSync(join(dir, 'mine', 'tile', 'entries', '001.p'), { recursive: true });
  const less = await run('ledger', 'verify', '--dir', 'mine', '--json');
  assert.equal(less.code, 1);
  assert.match(String(json(less.out)['says']), /entries-missing/u);
});

test('EVI4. fsck --deep looks at every file, and tells which is damaged and where', async (t) => {
  const { run, log, dir } = await ledgerFolder(t, { entries: 12 });
  const key = join(dir, 'map.key');
  writeFileSync(key, Buffer.alloc(32, 7));
  const wrongKey = join(dir, 'wrong.key');
  writeFileSync(wrongKey, Buffer.alloc(32, 8));
  const [plain, deep, wrong] = await Promise.all([
    run('ledger', 'fsck', '--dir', log),
    run('ledger', 'fsck', '--deep', '--dir', log, '--map-key', key),
    run('ledger', 'fsck', '--deep', '--dir', log, '--map-key', wrongKey),
  ]);
  assert.deepEqual([plain.code, deep.code, wrong.code], [0, 0, 1], deep.out + deep.err + plain.err);
  assert.match(deep.out, /^whole/u);
  assert.match(deep.out, /tenants' logs checked: 2/u);
  assert.match(deep.out, /frames in payload checked: [1-9]/u);
  assert.match(deep.out, /lines of checkpoints\.log checked: [1-9]/u);
  assert.match(wrong.out, /map-key-wrong/u);
  const damaged: [string, RegExp][] = [
    ['payload', /KIN_LEDGER_CORRUPT payload\/\S+\.pay at byte \d+: /u],
    ['checkpoints.log', /KIN_LEDGER_\w+ checkpoints\.log.*: /u],
  ];
  for (const [part, says] of damaged) {
    const copy = join(dir, `copy-${part}`);
    cpSync(log, copy, { recursive: true });
    cpSync(join(log, '..', 'vkey'), join(copy, 'vkey'));
    const at = join(copy, part);
    const [name = ''] = statSync(at).isDirectory() ? readdirSync(at) : [];
    const path = name === '' ? at : join(at, name);
    const bytes = readFileSync(path);
    // In the first line, or in the head of the first frame, with something good behind it.
    const offset = part === 'payload' ? 4096 + 44 : 60;
    bytes[offset] = (bytes[offset] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const found = await run('ledger', 'fsck', '--deep', '--dir', copy);
    assert.equal(found.code, 1, `${part}: ${found.out}${found.err}`);
    assert.match(found.out, says);
    assert.equal((await run('ledger', 'fsck', '--dir', copy)).code, 0, 'only --deep looks there');
  }
  for (const gone of ['payload', 'keys', 'keys/marks.json']) {
    const copy = join(dir, `without-${gone.replace('/', '-')}`);
    cpSync(log, copy, { recursive: true });
    cpSync(join(log, '..', 'vkey'), join(copy, 'vkey'));
    rmSync(join(copy, gone), { recursive: true });
    const found = await run('ledger', 'fsck', '--deep', '--dir', copy);
    assert.equal(found.code, 1, `${gone}: ${found.out}${found.err}`);
  }
});

test('EVI4. a rolled back copy contradicts its own checkpoints.log', async (t) => {
  const older = join(tempFolder(t), 'older');
  const { run, log, vkey } = await ledgerFolder(t, {
    afterwards: async (evidence, dir) => {
      cpSync(dir, older, { recursive: true });
      await evidence.record('controller.started', {});
      await evidence.publisher.publish({ now: true });
    },
  });
  cpSync(join(log, 'checkpoints.log'), join(older, 'checkpoints.log'));
  const args = ['--deep', '--dir', older, '--vkey', vkey, '--json'];
  const found = await run('ledger', 'fsck', ...args);
  assert.equal(found.code, 1, found.out);
  assert.match(found.out, /KIN_LEDGER_ROLLED_BACK/u);
  assert.doesNotMatch(found.out, /KIN_LEDGER_CORRUPT/u);
  const foreign = await ledgerFolder(t, { entries: 30 });
  cpSync(join(foreign.log, 'checkpoints.log'), join(older, 'checkpoints.log'));
  const other = await run('ledger', 'fsck', ...args);
  assert.match(other.out, /KIN_LEDGER_SIGNATURE_INVALID/u);
});

test('checkpoint shows the newest published one with who signed it', async (t) => {
  const { run, log, vkey } = await ledgerFolder(t);
  const [text, value, other] = await Promise.all([
    run('ledger', 'checkpoint', '--dir', log),
    run('ledger', 'checkpoint', '--dir', log, '--json'),
    run('ledger', 'checkpoint', '--dir', log, '--vkey', generateSigner('x.invalid').signer.vkey),
  ]);
  assert.equal(text.code, 0, text.err);
  assert.match(text.out, /^signed by the log/u);
  assert.equal(json(value.out)['vkey'], vkey);
  assert.equal(json(value.out)['from'], 'checkpoint');
  assert.equal(other.code, 1);
  assert.ok(existsSync(join(log, 'checkpoint')));
});

test('a pruned log says that its beginnings are gone, and proves what it keeps', async (t) => {
  const { run, log } = await ledgerFolder(t, {
    entries: 3_000,
    segmentBytes: 64 * 1024,
    afterwards: async (evidence) => {
      for (const tenant of ['acme', 'globex']) {
        await evidence.retain(tenant, 2_000, { code: 'retention-schedule', ref: 'R-1' });
      }
      const report = await evidence.core.prune({ first: 1_500, basis: 'retention' });
      assert.equal(report.kind, 'pruned', JSON.stringify(report));
    },
  });
  const [whole, late, early, tenant, deep] = await Promise.all([
    run('ledger', 'verify', '--dir', log),
    run('ledger', 'prove', '2900', '--dir', log),
    run('ledger', 'prove', '3', '--dir', log),
    run('ledger', 'prove', '3', '--tenant', 'acme', '--dir', log),
    run('ledger', 'fsck', '--deep', '--dir', log),
  ]);
  assert.equal(whole.code, 0, whole.out + whole.err);
  assert.equal(late.code, 0, late.err);
  assert.match(early.err, /KIN_LEDGER_PRUNED/u);
  assert.match(tenant.err, /KIN_LEDGER_PRUNED/u);
  assert.equal(deep.code, 0, deep.out + deep.err);
  assert.match(deep.out, /not checked: tenants: retention removed the entries below/u);
});
