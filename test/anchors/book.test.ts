// Is a receipt that we were promised still there after a crash, and does damage show?
import assert from 'node:assert/strict';
import { appendFile, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  type AnchorReceipt,
  checkHead,
  doubtAbout,
  type FileReceipt,
  headOf,
  receiptBase,
} from '../../src/drivers/anchors/anchor.ts';
import { openAnchorBook, parseBook, readReceipt } from '../../src/drivers/anchors/book.ts';
import { makeHead, temporaryFolder } from './stage.ts';

const receiptOf = (size: number, anchor = 'a'): FileReceipt => ({
  kind: 'file',
  ...receiptBase(anchor, makeHead(size), 1_700_000_000_000 + size),
  layout: 'append',
});
const codeIs = (code: string, says?: RegExp) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, code, String(error));
  if (says !== undefined) assert.match(String(error), says);
  return true;
};

describe('anchors.log', () => {
  test('AB1 what was appended is there after a new open, newest first, by anchor', async (t) => {
    const path = join(await temporaryFolder(t), 'anchors.log');
    const book = await openAnchorBook(path);
    await Promise.all([1, 2, 3].map((size) => book.append(receiptOf(size))));
    await book.append(receiptOf(9, 'b'));
    await book.close();
    const again = await openAnchorBook(path);
    assert.deepEqual(
      again.receipts('a', 2).map(({ size }) => size),
      [3, 2],
    );
    assert.deepEqual(again.newest('b'), receiptOf(9, 'b'));
    assert.equal(again.newest('c'), undefined);
    await again.close();
    for (const line of (await readFile(path, 'utf8')).trimEnd().split('\n')) JSON.parse(line);
  });

  test('a later receipt of the same size replaces the promise', async (t) => {
    const path = join(await temporaryFolder(t), 'anchors.log');
    const book = await openAnchorBook(path);
    const base = { kind: 'opentimestamps', ...receiptBase('o', makeHead(4), 1) } as const;
    await book.append({ ...base, proof: 'AA==', state: 'pending' });
    await book.append({ ...base, proof: 'AQ==', state: 'attested' });
    assert.deepEqual(
      book.receipts('o', 10).map((one) => one.kind === 'opentimestamps' && one.state),
      ['attested'],
    );
    await book.close();
  });

  test('AB1 a tail torn at any byte is dropped, told and written over', async (t) => {
    const path = join(await temporaryFolder(t), 'anchors.log');
    const book = await openAnchorBook(path);
    await book.append(receiptOf(1));
    const kept = (await readFile(path)).length;
    await book.append(receiptOf(2));
    await book.close();
    const whole = await readFile(path);
    for (let length = kept; length < whole.length; length += 7) {
      await writeFile(path, whole.subarray(0, length));
      const torn = await openAnchorBook(path);
      assert.equal(torn.droppedBytes, length - kept);
      assert.equal(torn.newest('a')?.size, 1);
      await torn.append(receiptOf(3));
      await torn.close();
      const after = await openAnchorBook(path);
      assert.equal(after.newest('a')?.size, 3);
      await after.close();
      await truncate(path, 0);
    }
  });

  test('AB2 a flipped bit before the last line is found and located', async (t) => {
    const path = join(await temporaryFolder(t), 'anchors.log');
    const book = await openAnchorBook(path);
    for (const size of [1, 2, 3]) await book.append(receiptOf(size));
    await book.close();
    const whole = await readFile(path);
    const second = whole.indexOf(0x0a) + 1;
    const third = whole.indexOf(0x0a, second) + 1;
    for (let bit = second * 8; bit < third * 8; bit += 1) {
      const flipped = Buffer.from(whole);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.throws(
        () => parseBook(flipped),
        codeIs('KIN_ANCHOR_BOOK_CORRUPT', /line 2 of/),
        `bit ${bit - second * 8}`,
      );
    }
    const changed = Buffer.from(whole);
    changed[second + 40] = 0x21;
    await writeFile(path, changed);
    await assert.rejects(openAnchorBook(path), codeIs('KIN_ANCHOR_BOOK_CORRUPT', /line 2 of/));
    assert.deepEqual(await readFile(path), changed, 'nothing is repaired by opening');
  });

  test('AB2 a flipped bit in the last line is damage too, no torn tail', async (t) => {
    const path = join(await temporaryFolder(t), 'anchors.log');
    const book = await openAnchorBook(path);
    for (const size of [1, 2]) await book.append(receiptOf(size));
    await book.close();
    const whole = await readFile(path);
    const last = whole.indexOf(0x0a) + 1;
    for (let bit = last * 8; bit < whole.length * 8; bit += 1) {
      const flipped = Buffer.from(whole);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.throws(() => parseBook(flipped), codeIs('KIN_ANCHOR_BOOK_CORRUPT', /line 2 of/));
    }
    const blank = Buffer.concat([Buffer.alloc(64), Buffer.from('}\n')]);
    const unwritten = Buffer.concat([whole.subarray(0, last), blank]);
    assert.equal(parseBook(unwritten).goodBytes, last, 'blocks that were never written');
  });

  test('AB3 a closed book takes no more, an oversized receipt changes nothing', async (t) => {
    const path = join(await temporaryFolder(t), 'anchors.log');
    const book = await openAnchorBook(path);
    const huge: AnchorReceipt = { ...receiptOf(1), checkpoint: 'x'.repeat(2 ** 20) };
    await assert.rejects(book.append(huge), codeIs('KIN_ANCHOR_IO', /limit/));
    await book.append(receiptOf(2));
    await book.close();
    await assert.rejects(book.append(receiptOf(3)), codeIs('KIN_ANCHOR_IO'));
    const again = await openAnchorBook(path);
    assert.equal(again.newest('a')?.size, 2);
    await again.close();
  });

  test('a link, a folder and a foreign line are refused', async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, 'real'), '');
    await symlink(join(folder, 'real'), join(folder, 'link'));
    await assert.rejects(openAnchorBook(join(folder, 'link')), codeIs('KIN_ANCHOR_IO'));
    await assert.rejects(openAnchorBook(folder), codeIs('KIN_ANCHOR_IO'));
    await appendFile(join(folder, 'real'), 'hello\nhello\n');
    await assert.rejects(
      openAnchorBook(join(folder, 'real')),
      codeIs('KIN_ANCHOR_BOOK_CORRUPT', /line 1/),
    );
  });
});

describe('receipts and heads', () => {
  test('AN2 a receipt proves origin, size and root by its own text', () => {
    const receipt = receiptOf(5);
    assert.equal(doubtAbout(receipt, makeHead(5)), undefined);
    const cosigned = { ...receipt, checkpoint: `${receipt.checkpoint}\u2014 w AAAA\n` };
    assert.equal(doubtAbout(cosigned, makeHead(5)), undefined, 'other signatures, same head');
    const reasonOf = (one: AnchorReceipt): string | undefined => {
      const verdict = doubtAbout(one, makeHead(5));
      return verdict?.kind === 'invalid' ? verdict.reason : verdict?.kind;
    };
    assert.equal(reasonOf({ ...receipt, size: 6 }), 'receipt-inconsistent');
    assert.equal(reasonOf({ ...receipt, checkpoint: 'x' }), 'receipt-inconsistent');
    assert.equal(reasonOf(receiptOf(6)), 'other-head');
    const elsewhere = makeHead(5, undefined, 'other.example/log');
    assert.equal(reasonOf({ ...receipt, checkpoint: elsewhere.checkpointText }), 'other-head');
  });

  test('texts that are no checkpoint and heads that differ from theirs are refused', () => {
    const { checkpointText, root } = makeHead(5);
    for (const text of [
      '',
      'origin only',
      `o\n05\n${root}\n\n\u2014 o AAAA\n`,
      `o\n9007199254740993\n${root}\n\n\u2014 o AAAA\n`,
      `o\n5\n${root.slice(1)}\n\n\u2014 o AAAA\n`,
      `o\n5\n${root.slice(0, 42)}/=\n\n\u2014 o AAAA\n`,
      `o\n5\n${root}\n`,
      `${checkpointText}${'x'.repeat(70_000)}`,
    ])
      assert.throws(() => headOf(text), codeIs('KIN_ANCHOR_HEAD'), text.slice(0, 40));
    assert.throws(() => checkHead({ ...makeHead(5), size: 6 }), codeIs('KIN_ANCHOR_HEAD'));
  });

  test('receipts from outside are checked member by member', () => {
    const good = receiptOf(5);
    assert.deepEqual(readReceipt(JSON.parse(JSON.stringify(good))), good);
    for (const bad of [
      null,
      [],
      { ...good, v: 2 },
      { ...good, kind: 'paper' },
      { ...good, size: -1 },
      { ...good, size: 1.5 },
      { ...good, layout: 'x' },
      { ...good, kind: 'evm' },
      { ...good, kind: 'rfc3161', response: 7 },
    ])
      assert.throws(() => readReceipt(bad), codeIs('KIN_ANCHOR_RECEIPT'), JSON.stringify(bad));
  });
});
