// An exported log, checked from the signed root down: damage of every kind is found, and its place
// is right.
import assert from 'node:assert/strict';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MemoryFiles, generateSigner, nodeFiles } from '../src/index.ts';
import { parsePolicy } from '../src/policy.ts';
import { verifyStatic } from '../src/static.ts';
import type { StaticOptions, StaticReport } from '../src/static.ts';
import { seededChoice } from './seeded-choice.ts';
import { bitsOf, flipStatic, staticLog, staticVkey } from './static-runs.ts';
import type { StaticLog } from './static-runs.ts';

const check = (log: StaticLog, options: StaticOptions = {}): Promise<StaticReport> =>
  verifyStatic('out', staticVkey, { files: log.files, ...options });

async function without(log: StaticLog, ...paths: string[]): Promise<StaticLog> {
  const files = log.files.copy();
  for (const path of paths) await files.remove(`out/${path}`);
  return { ...log, files };
}

const places = (report: StaticReport): unknown =>
  report.kind === 'intact' ? [] : report.findings.map(({ file, index }) => [file, index]);

test('SV1: exports of many sizes are whole', async () => {
  for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 513, 1_000]) {
    const log = await staticLog(size);
    const report = await check(log, { minimumIndex: 0 });
    assert.equal(report.kind, 'intact', `${size}: ${JSON.stringify(report)}`);
    assert.deepEqual([report.size, report.first], [size, 0]);
    assert.equal(report.bundles, Math.ceil(size / 256));
    assert.equal(report.tiles + report.bundles + 1, log.paths.length);
  }
});

test('SV2: a flipped bit of any file of a small export is found, with file and index', async () => {
  const log = await staticLog(9);
  const tally = await flipStatic(log, () => true);
  assert.deepEqual([...tally.keys()].toSorted(), [
    'checkpoint',
    'entry bundles',
    'tiles of level 0',
  ]);
  let flips = 0;
  for (const [region, one] of tally) {
    assert.equal(one.located, one.flips, `${region}: ${one.missed.slice(0, 3).join('; ')}`);
    flips += one.flips;
  }
  assert.equal(flips, bitsOf(log));
});

test('SV2: the same for full tiles, bundles and the level above, by a seeded choice', async () => {
  const log = await staticLog(700);
  const choice = seededChoice(7, 240 / bitsOf(log));
  const tally = await flipStatic(log, () => choice());
  for (const [region, { flips, located, missed }] of tally) {
    assert.equal(located, flips, `${region}: ${missed.slice(0, 3).join('; ')}`);
  }
  assert.ok((tally.get('tiles of level 0')?.flips ?? 0) > 40);
  assert.ok((tally.get('entry bundles')?.flips ?? 0) > 4);
  // The tile of level 1 has two hashes: all its bits.
  const last = log.paths.filter(({ path }) => path.startsWith('tile/1/'));
  const small = { ...log, paths: last };
  const [[, level1] = []] = await flipStatic(small, () => true);
  assert.ok(level1 !== undefined && level1.flips === 2 * 256 && level1.located === level1.flips);
});

test('SV2: what a third level stands on is found in each of the three', async () => {
  const log = await staticLog(66_000);
  assert.equal((await check(log)).kind, 'intact');
  const chosen = ['tile/0/200', 'tile/entries/017', 'tile/1/000', 'tile/2/000.p/1'];
  const paths = log.paths.filter(({ path }) => chosen.includes(path));
  assert.equal(paths.length, 4);
  const some = { ...log, paths };
  const choice = seededChoice(3, 6 / bitsOf(some));
  const tally = await flipStatic(some, () => choice());
  for (const [region, { flips, located, missed }] of tally) {
    assert.equal(located, flips, `${region}: ${missed.join('; ')}`);
  }
  assert.ok(tally.size >= 1);
});

test('SV1: a file that is missing, cut off or too long is named', async () => {
  const log = await staticLog(700);
  for (const { path } of log.paths) {
    const report = await check(await without(log, path), { minimumIndex: 0 });
    const [finding] = report.kind === 'damaged' ? report.findings : [];
    assert.deepEqual([finding?.file, finding?.reason.slice(0, 7)], [path, 'missing'], path);
  }
  for (const change of [-1, 1]) {
    for (const { path } of log.paths) {
      const files = log.files.copy();
      const bytes = Buffer.from((await files.readWhole(`out/${path}`, 1e9)) ?? []);
      await files.remove(`out/${path}`);
      const file = await files.open(`out/${path}`, 'create');
      await file.write(Buffer.concat([bytes, Buffer.from('x')], bytes.length + change), 0);
      const report = await check({ ...log, files });
      const [finding] = report.kind === 'damaged' ? report.findings : [];
      assert.equal(finding?.file, path, `${path} ${change}`);
    }
  }
});

test('SV2: two damaged files are both named, and neither is believed', async () => {
  const log = await staticLog(700);
  const files = log.files.copy();
  files.corrupt('out/tile/entries/000', (bytes) => (bytes[2] = 0));
  files.corrupt('out/tile/0/001', (bytes) => (bytes[40] = (bytes[40] ?? 0) ^ 1));
  assert.deepEqual(places(await check({ ...log, files })), [
    ['tile/entries/000', 0],
    ['tile/0/001', 257],
  ]);
  // With the hash above wrong as well, nothing says which of the three is right.
  files.corrupt('out/tile/1/000.p/2', (bytes) => (bytes[33] = (bytes[33] ?? 0) ^ 1));
  const report = await check({ ...log, files });
  assert.equal(report.kind === 'damaged' && report.findings[0]?.file, 'tile/1/000.p/2');
});

test('SV1: a consistent forgery of all files does not lead to the signed root', async () => {
  const [log, other] = [await staticLog(300), await staticLog(301)];
  const files = other.files.copy();
  await files.remove('out/checkpoint');
  const file = await files.open('out/checkpoint', 'create');
  await file.write((await log.files.readWhole('out/checkpoint', 1e6)) ?? new Uint8Array(0), 0);
  const report = await check({ ...other, files });
  assert.equal(report.kind, 'damaged');
});

test('SV1: a pruned export says where it begins, and is whole from there', async () => {
  const log = await staticLog(1_500, 700);
  const report = await check(log);
  assert.equal(report.kind, 'intact', JSON.stringify(report));
  assert.ok(report.first >= 256 && report.first % 256 === 0, `${report.first}`);
  assert.deepEqual(places(await check(log, { minimumIndex: 0 })), [['tile/entries/000', 0]]);
  assert.equal((await check(log, { minimumIndex: report.first })).kind, 'intact');
  const choice = seededChoice(5, 300 / bitsOf(log));
  for (const { path, bytes } of log.paths) {
    for (let byte = 0; byte < bytes; byte++) {
      if (!choice()) continue;
      const files = log.files.copy();
      files.corrupt(`out/${path}`, (content) => (content[byte] = (content[byte] ?? 0) ^ 4));
      const found = await check({ ...log, files });
      assert.equal(found.kind === 'damaged' && found.findings[0]?.file, path, `${path} ${byte}`);
    }
  }
  // One bundle less at the beginning would go unseen without a minimum that is known.
  const next = `tile/entries/${String(report.first / 256).padStart(3, '0')}`;
  const missing = await check(await without(log, next), { minimumIndex: report.first });
  assert.equal(missing.kind, 'damaged');
});

test('a hash of pruned entries with nothing to compare it to is named', async () => {
  const log = await staticLog(1_500, 700);
  const files = log.files.copy();
  files.corrupt('out/tile/1/000.p/5', (bytes) => (bytes[3] = (bytes[3] ?? 0) ^ 1));
  assert.deepEqual(places(await check({ ...log, files })), [['tile/1/000.p/5', 0]]);
});

test('in a folder: old partial files are compared, others are only listed', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'kin-static-'));
  try {
    const log = await staticLog(300);
    for (const { path } of log.paths) {
      mkdirSync(join(dir, path, '..'), { recursive: true });
      writeFileSync(join(dir, path), (await log.files.readWhole(`out/${path}`, 1e9)) ?? '');
    }
    const part = (path: string, bytes: Buffer): void => {
      mkdirSync(join(dir, path, '..'), { recursive: true });
      writeFileSync(join(dir, path), bytes);
    };
    const tile = readFileSync(join(dir, 'tile/0/000'));
    part('tile/0/000.p/7', tile.subarray(0, 7 * 32));
    part('tile/entries/001.p/3', bundleStart(readFileSync(join(dir, 'tile/entries/001.p/44')), 3));
    writeFileSync(join(dir, 'tile/README'), 'hello');
    const report = await verifyStatic(`${dir}/`, staticVkey, { files: nodeFiles() });
    assert.equal(report.kind, 'intact', JSON.stringify(report));
    assert.deepEqual(report.unknown, ['tile/README']);
    tile[2 * 32] = (tile[2 * 32] ?? 0) ^ 1;
    part('tile/0/000.p/7', tile.subarray(0, 7 * 32));
    assert.deepEqual(places(await verifyStatic(dir, staticVkey)), [['tile/0/000.p/7', 2]]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

function bundleStart(bytes: Buffer, count: number): Buffer {
  let end = 0;
  for (let at = 0; at < count; at++) end += 2 + bytes.readUInt16BE(end);
  return bytes.subarray(0, end);
}

test('trust: a key or a policy; another key or an unmet quorum is refused', async () => {
  const log = await staticLog(5);
  const { files } = log;
  const reading = parsePolicy(`log ${staticVkey}\nquorum none\n`);
  assert.ok(reading.kind === 'valid');
  assert.equal((await verifyStatic('out', reading.policy, { files })).kind, 'intact');
  assert.equal(
    (await verifyStatic('out', `log ${staticVkey}\nquorum none\n`, { files })).kind,
    'intact',
  );
  const { vkey } = generateSigner('flip.example/static').signer;
  const stranger = await verifyStatic('out', vkey, { files });
  assert.equal(stranger.kind === 'damaged' && stranger.findings[0]?.file, 'checkpoint');
  const witness = generateSigner('w1.example', 'cosigner').signer.vkey;
  const policy = `log ${staticVkey}\nwitness w1 ${witness}\nquorum w1\n`;
  const unmet = await verifyStatic('out', policy, { files });
  assert.ok(unmet.kind === 'damaged');
  assert.equal(unmet.findings[0]?.code, 'KIN_LEDGER_QUORUM_UNMET');
  assert.deepEqual(places(await check(await without(log, 'checkpoint'))), [['checkpoint', 0]]);
  assert.deepEqual(places(await check({ ...log, files: new MemoryFiles() })), [['checkpoint', 0]]);
});
