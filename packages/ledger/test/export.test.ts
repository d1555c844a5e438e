import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryFiles, exportStatic, verifyCheckpoint } from '../src/index.ts';
import { toBase64, toHex } from '../src/bytes.ts';
import { tileNumber } from '../src/tiles.ts';
import { HashTree, hashLeaf } from '../src/tree.ts';
import { bytesOf, open, refusal, signer, smallLedger } from './support.ts';

test('paths of tiles are grouped by three digits, as tlog-tiles wants them', () => {
  const cases = [0, 5, 255, 999, 1000, 1_234_067];
  assert.deepEqual(cases.map(tileNumber), [
    '000',
    '005',
    '255',
    '999',
    'x001/000',
    'x001/x234/067',
  ]);
});

test('the exported tree holds every entry and hash, and its root is the signed one', async () => {
  const files = new MemoryFiles();
  const ledger = await open(files);
  for (let group = 0; group < 6; group++) {
    await Promise.all(Array.from({ length: 100 }, (_, at) => ledger.append(bytesOf(`e${at}`))));
  }
  const checkpoint = await ledger.exportStatic('out');
  assert.equal(checkpoint.text, ledger.checkpoint().text);
  assert.equal(checkpoint.size, 601);
  const tree = new HashTree(() => Promise.reject(new Error('not needed')));
  const hashes: Uint8Array[] = [];
  for (const name of ['000', '001', '002.p/89']) {
    const bundle = (await files.readWhole(`out/tile/entries/${name}`, 1e9)) ?? new Uint8Array(0);
    for (const entry of split(bundle)) {
      tree.append(hashLeaf(entry));
      hashes.push(hashLeaf(entry));
    }
  }
  assert.equal(toBase64(tree.root()), checkpoint.root);
  const level0: string[] = [];
  for (const name of ['000', '001', '002.p/89']) {
    level0.push(toHex((await files.readWhole(`out/tile/0/${name}`, 1e9)) ?? new Uint8Array(0)));
  }
  assert.equal(level0.join(''), hashes.map(toHex).join(''));
  const level1 = await files.readWhole('out/tile/1/000.p/2', 1e9);
  assert.equal(level1?.length, 64);
  const text = Buffer.from((await files.readWhole('out/checkpoint', 1e6)) ?? []).toString();
  assert.equal(verifyCheckpoint(text, signer.vkey).kind, 'valid');
  await ledger.close();
});

function* split(bundle: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bundle.length;) {
    const length = (bundle[at] ?? 0) * 256 + (bundle[at + 1] ?? 0);
    yield bundle.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
}

test('export T2: a folder is exported without opening it, into an empty place only', async () => {
  const files = await smallLedger(3);
  const { size } = await exportStatic('ledger', 'out', signer.vkey, { files });
  assert.equal(size, 4);
  const again = exportStatic('ledger', 'out', signer.vkey, { files });
  assert.equal((await refusal(again)).code, 'KIN_LEDGER_OPTION_INVALID');
  files.corrupt('ledger/seg/0000000000000000-0.wal', (bytes) => bytes.fill(0, 4096, 4100));
  const damaged = await refusal(exportStatic('ledger', 'two', signer.vkey, { files }));
  assert.deepEqual([damaged.code, damaged.place?.index], ['KIN_LEDGER_CORRUPT', 1]);
  assert.equal(await files.readWhole('two/checkpoint', 1e6), undefined);
});
