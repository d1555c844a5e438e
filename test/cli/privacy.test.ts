import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cliRig, ROOT, tempFolder } from './harness.ts';

const BASIS = ['--basis', 'gdpr-17-1-b', '--ref', 'DSR-2026-0117'];

test('PRV1. an erasure without a yes does nothing, and says what it would have done', async (t) => {
  const { cli, rig } = await cliRig(t);
  const asked = await cli('ledger', 'erase', 'acme', 'person-1', ...BASIS);
  assert.equal(asked.code, 4);
  assert.match(asked.err, /KIN_CONFIRMATION_REFUSED: nobody said yes: .*every private field/u);
  assert.match(asked.err, /fix: Pass --yes/u);
  assert.deepEqual(rig.evidence.calls, []);
  const [done, nobody, held, noBasis] = await Promise.all([
    cli('ledger', 'erase', 'acme', 'person-1', ...BASIS, '--yes'),
    cli('ledger', 'erase', 'acme', 'nobody', ...BASIS, '--yes', '--json'),
    cli('ledger', 'erase', 'acme', 'held', ...BASIS, '--yes'),
    cli('ledger', 'erase', 'acme', 'person-1', '--yes', '--ref', 'X'),
  ]);
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /3 fields of 2 records destroyed/u);
  assert.match(nobody.out, /"nothing-held"/u);
  assert.equal(held.code, 4);
  assert.match(held.err, /KIN_LEDGER_HELD/u);
  assert.equal(noBasis.code, 2);
});

test('PRV2. a person on stdin stands in no list of processes, and in no output', async (t) => {
  const { rig, stateDir, env } = await cliRig(t);
  const cli = join(ROOT, 'src', 'cli', 'kintsugi.ts');
  const args = [cli, 'ledger', 'erase', 'acme', '-', ...BASIS, '--yes', '--state', stateDir];
  const child = spawn(process.execPath, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (part: Buffer) => (out += part.toString()));
  child.stderr.on('data', (part: Buffer) => (out += part.toString()));
  child.stdin.end('person-7\n');
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 0, out);
  assert.ok(!out.includes('person-7'));
  assert.deepEqual(
    rig.evidence.calls.map(({ name, tenant }) => [name, tenant]),
    [['erase', 'acme']],
  );
});

test('holds, restrictions, witnesses, anchors, auditors of the running system', async (t) => {
  const { cli, rig } = await cliRig(t);
  const hold = ['--basis', 'litigation', '--ref', 'C-1'];
  const [all, one, restricted, released, lifted, holds] = await Promise.all([
    cli('ledger', 'hold', 'acme', ...hold),
    cli('ledger', 'hold', 'acme', 'person-1', ...hold),
    cli('ledger', 'restrict', 'acme', 'person-1', '--basis', 'gdpr-18-1-a', '--ref', 'C-1'),
    cli('ledger', 'release', 'f00d', '--ref', 'C-2'),
    cli('ledger', 'unrestrict', 'f00d', '--ref', 'C-2'),
    cli('ledger', 'holds'),
  ]);
  assert.match(all.out, /on all of acme/u);
  assert.match(one.out, /on one person of acme/u);
  assert.match(restricted.out, /^restriction f00d/u);
  assert.match(released.out, /hold f00d has ended; entry 8/u);
  assert.match(lifted.out, /restriction f00d has ended; entry 9/u);
  assert.match(holds.out, /hold f00d/u);
  const [witnesses, published, anchors, added] = await Promise.all([
    cli('ledger', 'witnesses'),
    cli('ledger', 'publish'),
    cli('ledger', 'anchor', 'status'),
    cli('ledger', 'auditor', 'add', 'anna', '--expires', '12h', '--json'),
  ]);
  assert.equal(witnesses.code, 1, 'the quorum is not met');
  assert.match(witnesses.out, /customer {2}nothing yet {2}timeout/u);
  assert.match(published.out, /^published: 12 entries/u);
  assert.match(anchors.out, /tsa {2}anchored {2}4 entries/u);
  const { token } = JSON.parse(added.out) as { token: string };
  assert.equal(rig.evidence.auditors.nameOf(token), 'anna');
  const [list, removed, gone, bad] = await Promise.all([
    cli('ledger', 'auditor'),
    cli('ledger', 'auditor', 'add', 'berta', '--expires', 'soon'),
    cli('ledger', 'auditor', 'remove', 'carla'),
    cli('ledger', 'auditor', 'add', 'dora', '--expires', '900d'),
  ]);
  assert.match(list.out, /^anna {2}until /u);
  assert.equal(removed.code, 2);
  assert.equal(gone.code, 1);
  assert.match(gone.err, /KIN_AUDITOR_UNKNOWN/u);
  assert.equal(bad.code, 2);
  assert.equal((await cli('ledger', 'auditor', 'remove', 'anna')).code, 0);
  assert.equal(rig.evidence.auditors.nameOf(token), undefined);
});

test('PRV3. an export of a person goes to stdout, or into a new 0600 file', async (t) => {
  const { cli } = await cliRig(t);
  const out = join(tempFolder(t), 'person.json');
  const ask = ['ledger', 'subject-export', 'acme', 'person-1', '--ref', 'C-1'];
  const shown = await cli(...ask);
  assert.deepEqual(JSON.parse(shown.out), { about: { tenant: 'acme' }, records: [] });
  const kept = await cli(...ask, '--out', out);
  assert.equal(kept.code, 0, kept.err);
  assert.equal(readFileSync(out, 'utf8'), shown.out);
  assert.equal(statSync(out).mode & 0o777, 0o600);
  const again = await cli(...ask, '--out', out);
  assert.match(again.err, /KIN_FILE_UNWRITABLE/u);
  const none = join(tempFolder(t), 'none.json');
  const gone = await cli('ledger', 'subject-export', 'acme', 'gone', '--ref', 'C-1', '--out', none);
  assert.equal(gone.code, 69);
  assert.ok(!existsSync(none));
});
