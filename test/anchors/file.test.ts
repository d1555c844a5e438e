// Does the simplest anchor notice a roll-back, a fork, an edit, and survive a torn tail?
import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openFileAnchor } from '../../src/drivers/anchors/file.ts';
import { openAnchor } from '../../src/drivers/anchors/open.ts';
import { clock, linesLog, makeHead, ORIGIN, rootOf, temporaryFolder } from './stage.ts';

const codeIs = (code: string, says?: RegExp) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, code, String(error));
  if (says !== undefined) assert.match(String(error), says);
  return true;
};

describe('the file anchor', () => {
  for (const layout of ['append', 'objects'] as const) {
    const place = async (folder: string): Promise<string> => {
      const path = join(folder, 'worm');
      if (layout === 'objects') await mkdir(path);
      return path;
    };

    test(`AF1 ${layout}: heads are kept, remembered over a new open, and verified`, async (t) => {
      const path = await place(await temporaryFolder(t));
      const open = () => openFileAnchor({ kind: 'file', name: 'worm', path, layout }, clock);
      assert.equal(await open().highWater(ORIGIN), undefined);
      const anchor = open();
      await Promise.all([1, 5, 70].map((size) => anchor.anchor(makeHead(size))));
      const receipt = await anchor.anchor(makeHead(100));
      assert.equal((await open().verify(receipt, makeHead(100))).kind, 'anchored');
      assert.deepEqual(await open().highWater(ORIGIN), { size: 100, root: rootOf(100) });
      assert.equal((await anchor.anchor(makeHead(100))).size, 100, 'again is nothing new');
      await assert.rejects(anchor.anchor(makeHead(99)), codeIs('KIN_ANCHOR_ROLLED_BACK'));
      await assert.rejects(open().anchor(makeHead(100, rootOf('x'))), codeIs('KIN_ANCHOR_FORK'));
      const other = makeHead(3, rootOf(3), 'other.example/log');
      await anchor.anchor(other);
      assert.deepEqual(await open().highWater(other.origin), { size: 3, root: rootOf(3) });
    });

    test(`${layout}: a receipt for what the medium does not hold is invalid`, async (t) => {
      const path = await place(await temporaryFolder(t));
      const anchor = openFileAnchor({ kind: 'file', name: 'worm', path, layout }, clock);
      const receipt = await anchor.anchor(makeHead(5));
      await rm(path, { recursive: true });
      if (layout === 'objects') await mkdir(path);
      const empty = openFileAnchor({ kind: 'file', name: 'worm', path, layout }, clock);
      const verdict = await empty.verify(receipt, makeHead(5));
      assert.equal(verdict.kind === 'invalid' && verdict.reason, 'not-in-medium');
      await empty.anchor(makeHead(5, rootOf('x')));
      const fork = await empty.verify(receipt, makeHead(5));
      assert.equal(fork.kind === 'invalid' && fork.reason, 'other-content');
    });
  }

  test('AF2 append: a torn tail hinders nothing, an edited line stops everything', async (t) => {
    const path = join(await temporaryFolder(t), 'worm');
    const open = () => openFileAnchor({ kind: 'file', name: 'worm', path }, clock);
    await open().anchor(makeHead(1));
    const kept = await readFile(path);
    await open().anchor(makeHead(2));
    const whole = await readFile(path);
    for (let length = kept.length + 1; length < whole.length - 1; length += 1) {
      await writeFile(path, whole.subarray(0, length), { mode: 0o644 }).catch(async () => {
        await rm(path);
        await writeFile(path, whole.subarray(0, length));
      });
      const mark = await open().highWater(ORIGIN);
      assert.equal(mark?.size, 1, `cut at ${length - kept.length}`);
    }
    await open().anchor(makeHead(4));
    assert.equal((await open().highWater(ORIGIN))?.size, 4);
    const edited = (await readFile(path, 'utf8')).replace(rootOf(1).slice(0, 8), 'AAAAAAAA');
    await writeFile(path, edited);
    await assert.rejects(
      open().anchor(makeHead(9)),
      codeIs('KIN_ANCHOR_BOOK_CORRUPT', /line 1 of/),
    );
  });

  test('AF2 objects: an unfinished object is not counted, a renamed one is damage', async (t) => {
    const folder = await temporaryFolder(t);
    const spec = { kind: 'file', name: 'worm', path: folder, layout: 'objects' } as const;
    await openFileAnchor(spec, clock).anchor(makeHead(1));
    const [name = ''] = await readdir(folder);
    const text = await readFile(join(folder, name), 'utf8');
    await writeFile(join(folder, name.replace('1-', '8-')), text.slice(0, 30));
    assert.equal((await openFileAnchor(spec, clock).highWater(ORIGIN))?.size, 1);
    await writeFile(join(folder, name.replace('1-', '9-')), text);
    await assert.rejects(
      openFileAnchor(spec, clock).highWater(ORIGIN),
      codeIs('KIN_ANCHOR_BOOK_CORRUPT'),
    );
  });

  test('AF3 lines that disagree with each other are named', async (t) => {
    const path = join(await temporaryFolder(t), 'worm');
    const one = openFileAnchor({ kind: 'file', name: 'worm', path }, clock);
    await one.anchor(makeHead(5));
    const other = join(await temporaryFolder(t), 'worm');
    await openFileAnchor({ kind: 'file', name: 'worm', path: other }, clock).anchor(makeHead(2));
    await rm(path).then(async () => {
      const first = await readFile(other);
      await writeFile(path, first);
    });
    await one.anchor(makeHead(5));
    await appendFile(path, await readFile(other)).catch(() => assert.fail('append'));
    await assert.rejects(
      one.highWater(ORIGIN),
      codeIs('KIN_ANCHOR_BOOK_CORRUPT', /line 3 \(size 2 after 5\)/),
    );
  });

  test('a relative path and a missing folder are typed errors', async (t) => {
    assert.throws(
      () => openFileAnchor({ kind: 'file', name: 'worm', path: 'x' }, clock),
      codeIs('KIN_ANCHOR_CONFIG'),
    );
    const path = join(await temporaryFolder(t), 'no', 'worm');
    const anchor = openFileAnchor({ kind: 'file', name: 'worm', path }, clock);
    await assert.rejects(anchor.anchor(makeHead(1)), codeIs('KIN_ANCHOR_IO', /ENOENT/));
  });

  test('each kind of the manifest opens; a bad name or file does not', async (t) => {
    const folder = await temporaryFolder(t);
    const world = { clock, log: linesLog() };
    const contract = `0x${'1'.repeat(40)}`;
    const owner = `0x${'2'.repeat(40)}`;
    const opened = await Promise.all([
      openAnchor({ kind: 'file', name: 'a', path: join(folder, 'a') }, world),
      openAnchor(
        { kind: 'opentimestamps', name: 'b', calendars: ['https://calendar.example'] },
        world,
      ),
      openAnchor(
        { kind: 'evm', name: 'c', rpcUrl: 'https://node.example', chainId: 1, contract, owner },
        world,
      ),
    ]);
    assert.deepEqual(
      opened.map(({ name }) => name),
      ['a', 'b', 'c'],
    );
    await assert.rejects(
      openAnchor({ kind: 'file', name: 'A b', path: '/x' }, world),
      codeIs('KIN_ANCHOR_CONFIG'),
    );
    const certificatesFile = join(folder, 'none.pem');
    await assert.rejects(
      openAnchor(
        { kind: 'rfc3161', name: 'd', url: 'http://tsa.example', certificatesFile },
        world,
      ),
      codeIs('KIN_ANCHOR_CONFIG', /ENOENT/),
    );
  });
});
