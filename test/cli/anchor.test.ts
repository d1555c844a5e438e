import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openAnchorBook } from '../../src/drivers/anchors/book.ts';
import { headOf } from '../../src/drivers/anchors/anchor.ts';
import { openFileAnchor } from '../../src/drivers/anchors/file.ts';
import { ledgerFolder } from './offline-ledger.ts';

test('EVI5. receipts are checked against the log and their medium, offline', async (t) => {
  let checkpoint = '';
  const { run, log, state, dir } = await ledgerFolder(t, {
    afterwards: async (evidence) => {
      checkpoint = evidence.publisher.published() ?? '';
      await evidence.record('controller.started', {});
    },
  });
  const medium = join(dir, 'worm');
  const anchor = openFileAnchor({ kind: 'file', name: 'worm', path: medium }, { nowMs: () => 1 });
  const receipt = await anchor.anchor(headOf(checkpoint));
  const path = join(state, 'ledger', 'anchors.log');
  const book = await openAnchorBook(path);
  await book.append(receipt);
  await book.close();
  const [list, verified, alone, foreign] = await Promise.all([
    run('ledger', 'anchor', '--dir', log),
    run('ledger', 'anchor', 'verify', '--dir', log, '--medium', medium),
    run('ledger', 'anchor', 'verify', '--dir', log),
    ledgerFolder(t).then((other) =>
      other.run('ledger', 'anchor', 'verify', '--dir', other.log, '--book', path, '--json'),
    ),
  ]);
  assert.match(list.out, /worm \(file\)  \d+ entries/u);
  assert.equal(verified.code, 0, verified.out + verified.err);
  assert.match(verified.out, /anchored: /u);
  assert.match(alone.out, /unchecked: pass --medium/u);
  assert.equal(foreign.code, 1);
  assert.match(foreign.out, /not of this log/u);
});

test('EVI5. no receipt at all is not green, and a damaged book is told', async (t) => {
  const { run, log, dir } = await ledgerFolder(t);
  writeFileSync(
    join(dir, 'book'),
    '{"crc":"00000000","receipt":{}}\n{"crc":"00000000","receipt":{}}\n',
  );
  const [none, damaged] = await Promise.all([
    run('ledger', 'anchor', 'verify', '--dir', log),
    run('ledger', 'anchor', 'list', '--dir', log, '--book', 'book'),
  ]);
  assert.equal(none.code, 1);
  assert.match(damaged.err, /KIN_ANCHOR_BOOK_CORRUPT/u);
});

test('EVI6. a deployment that fails does not print the RPC address', async (t) => {
  const { run, dir } = await ledgerFolder(t);
  writeFileSync(join(dir, 'rpc'), 'http://127.0.0.1:1/v3/secret-access-key\n');
  writeFileSync(join(dir, 'key'), `${'11'.repeat(32)}\n`, { mode: 0o600 });
  const args = ['--rpc-url-file', 'rpc', '--chain-id', '10', '--key-file', 'key'];
  const done = await run('ledger', 'anchor', 'deploy', ...args);
  assert.equal(done.code, 69, done.err);
  assert.match(done.err, /KIN_ANCHOR_UNREACHABLE/u);
  assert.ok(!`${done.out}${done.err}`.includes('secret-access-key'));
});
