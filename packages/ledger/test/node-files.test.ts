import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { generateSigner, nodeFiles, openLedger, verifyLedgerDir } from '../src/index.ts';
import type { LedgerOptions } from '../src/index.ts';
import { refusal } from './support.ts';

const WRITER = join(import.meta.dirname, 'writer.ts');
const { signer, secret } = generateSigner('real.example/ledger');

async function folder(context: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'kintsugi-ledger-'));
  context.after(() => rm(dir, { recursive: true, force: true }));
  return join(dir, 'ledger');
}

function options(dir: string): LedgerOptions {
  return { dir, origin: signer.name, signer, segmentBytes: 128 * 1024 };
}

interface Ack {
  readonly index: number;
  readonly n: number;
  readonly size: number;
  readonly root: string;
  readonly pid: number;
}

/** Starts a writer, waits for that many acknowledgements, kills it without warning. */
async function writeAndKill(dir: string, acksMin: number): Promise<Ack[]> {
  const child = spawn(process.execPath, [WRITER], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify({ dir, secret }));
  const acks: Ack[] = [];
  const exited = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, index, n, size, root = ''] = line.split(' ');
    if (word !== 'ack') continue;
    const numbers = { index: Number(index), n: Number(n), size: Number(size) };
    acks.push({ ...numbers, root, pid: child.pid ?? 0 });
    if (acks.length === acksMin) child.kill('SIGKILL');
  }
  await exited;
  return acks;
}

test('kill -9 of a real writer, five times: nothing lost, nothing forks', async (context) => {
  const dir = await folder(context);
  const acks: Ack[] = [];
  for (let round = 0; round < 5; round++) acks.push(...(await writeAndKill(dir, 40 + round * 25)));
  assert.ok(acks.length >= 450);
  const check = await verifyLedgerDir(dir, signer.vkey);
  assert.equal(check.kind, 'intact', JSON.stringify(check));
  const ledger = await openLedger(options(dir));
  for (const { index, n, size, root, pid } of acks) {
    const { decoded } = await ledger.read(index);
    const detail = decoded.type === 'plain' ? decoded.entry.detail : undefined;
    assert.deepEqual(detail, { n, pid });
    assert.equal(await ledger.rootAt(size), root);
  }
  await ledger.close();
});

test('lock K1: a live owner keeps its folder, a dead one loses it', async (context) => {
  const dir = await folder(context);
  const ledger = await openLedger(options(dir));
  assert.equal((await refusal(openLedger(options(dir)))).code, 'KIN_LEDGER_LOCKED');
  await ledger.close();
  const names = (await readdir(dir)).filter((name) => name.startsWith('lock'));
  assert.deepEqual(names, []);
  // The same pid, but started at another time: the pid was reused.
  const boot = existsSync('/proc/sys/kernel/random/boot_id')
    ? (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
    : '';
  const stale = [
    JSON.stringify({ pid: process.pid, start: '1', boot }),
    JSON.stringify({ pid: process.pid, start: '', boot: 'an earlier boot' }),
    '',
    'torn by a power cut',
  ];
  for (const text of stale) {
    await writeFile(join(dir, 'lock.41'), text);
    const again = await openLedger(options(dir));
    assert.ok((await readdir(dir)).includes('lock.42'));
    await again.close();
  }
});

test('lock K1: of many who try at the same moment exactly one gets the folder', async (context) => {
  const dir = await folder(context);
  await (await openLedger(options(dir))).close();
  await writeFile(join(dir, 'lock.7'), 'stale');
  const files = nodeFiles();
  const tries = await Promise.allSettled(Array.from({ length: 12 }, () => files.lock(dir)));
  const won = tries.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  assert.equal(won.length, 1);
  for (const lock of won) await lock.release();
});

test('files are readable by their owner alone, a planted link is refused', async (context) => {
  const dir = await folder(context);
  const ledger = await openLedger(options(dir));
  await ledger.record('a', 1);
  await ledger.close();
  for (const name of await readdir(dir, { recursive: true })) {
    const { mode } = await stat(join(dir, name));
    assert.equal(mode & 0o077, 0, name);
  }
  await rm(join(dir, 'log.json'));
  await symlink('/etc/hostname', join(dir, 'log.json'));
  assert.equal((await refusal(openLedger(options(dir)))).code, 'KIN_LEDGER_IO');
  await writeFile(join(dir, 'plain'), '');
  assert.equal((await refusal(openLedger(options(join(dir, 'plain'))))).code, 'KIN_LEDGER_IO');
});

test('a pipe or a folder in place of a file is refused instead of waited for', async (context) => {
  const dir = await folder(context);
  await (await openLedger(options(dir))).close();
  for (const name of ['log.json', 'checkpoint', 'base.bin', 'outage.json', 'lock.9']) {
    const path = join(dir, name);
    await rename(path, `${path}.kept`).catch(() => undefined);
    for (const plant of [() => execFileSync('mkfifo', [path]), () => mkdir(path)]) {
      await plant();
      const { code, place } = await refusal(openLedger(options(dir)));
      assert.deepEqual([code, place?.file], ['KIN_LEDGER_CORRUPT', name]);
      await rm(path, { recursive: true });
    }
    await rename(`${path}.kept`, path).catch(() => undefined);
  }
  const segment = join(dir, 'seg/0000000000000000-0.wal');
  await rename(segment, `${segment}.kept`);
  execFileSync('mkfifo', [segment]);
  assert.equal((await refusal(openLedger(options(dir)))).code, 'KIN_LEDGER_CORRUPT');
  await rm(segment);
  await symlink('/dev/zero', segment);
  assert.equal((await refusal(openLedger(options(dir)))).code, 'KIN_LEDGER_IO');
  await rm(segment);
  await rename(`${segment}.kept`, segment);
  await (await openLedger(options(dir))).close();
});

test('a folder that others may write in, or a linked one inside, is refused', async (context) => {
  const dir = await folder(context);
  await (await openLedger(options(dir))).close();
  for (const path of [dir, join(dir, 'seg')]) {
    await chmod(path, 0o1777);
    const error = await refusal(openLedger(options(dir)));
    assert.equal(error.code, 'KIN_LEDGER_UNSAFE_MODE');
    assert.ok(error.message.includes('1777'), error.message);
    assert.match(error.fix, /chmod/);
    // A group that the process is in was given to it on purpose.
    await chmod(path, 0o770);
    await (await openLedger(options(dir))).close();
    // Only root can give a folder to a group that it is not in.
    if (process.getuid?.() === 0) {
      await chown(path, 0, 54_321);
      assert.equal((await refusal(openLedger(options(dir)))).code, 'KIN_LEDGER_UNSAFE_MODE');
    }
    await chmod(path, 0o700);
  }
  await rename(join(dir, 'seg'), join(dir, '..', 'elsewhere'));
  await symlink('../elsewhere', join(dir, 'seg'));
  const { code, place } = await refusal(openLedger(options(dir)));
  assert.deepEqual([code, place?.file], ['KIN_LEDGER_CORRUPT', 'seg']);
  await rm(join(dir, 'seg'));
  await rename(join(dir, '..', 'elsewhere'), join(dir, 'seg'));
  const link = join(dir, '..', 'named-by-the-caller');
  await symlink(dir, link);
  await (await openLedger(options(link))).close();
});

test('a draft of the lock that was left or planted is not written through', async (context) => {
  const dir = await folder(context);
  await (await openLedger(options(dir))).close();
  const victim = join(dir, '..', 'victim');
  await writeFile(victim, 'untouched');
  for (let at = 0; at < 200; at++)
    await symlink(victim, join(dir, `lock-draft.${process.pid}.${at}`));
  await (await openLedger(options(dir))).close();
  assert.equal(await readFile(victim, 'utf8'), 'untouched');
});

test('damage in a real file is located, a torn tail is dropped', async (context) => {
  const dir = await folder(context);
  const ledger = await openLedger(options(dir));
  for (let at = 0; at < 5; at++) await ledger.record('a', { at });
  await ledger.close();
  const segment = join(dir, 'seg/0000000000000000-0.wal');
  const whole = await readFile(segment);
  const damaged = Buffer.from(whole);
  damaged[4096 * 3 + 90] = (damaged[4096 * 3 + 90] ?? 0) ^ 8;
  await writeFile(segment, damaged);
  const { code, place } = await refusal(openLedger(options(dir)));
  assert.deepEqual([code, place?.offset, place?.index], ['KIN_LEDGER_CORRUPT', 12_288, 3]);
  const torn = Buffer.from(whole);
  whole.copy(torn, 4096 * 6 + 512, 512, 1024);
  torn.fill(0x55, 4096 * 6 + 512, 4096 * 6 + 700);
  await writeFile(segment, torn);
  const again = await openLedger(options(dir));
  assert.equal(again.stats().recovery.kind, 'tail-dropped');
  assert.equal(again.size, 7);
  await again.close();
  await appendFile(join(dir, 'checkpoint'), 'x');
  assert.equal((await refusal(openLedger(options(dir)))).code, 'KIN_LEDGER_CORRUPT');
});

test('the check beside a running writer reports no false damage', async (context) => {
  const dir = await folder(context);
  const ledger = await openLedger(options(dir));
  let isChecking = true;
  const writer = async (): Promise<void> => {
    while (isChecking) await ledger.record('a', 'x'.repeat(5000));
  };
  const writers = [writer(), writer(), writer()];
  for (let round = 0; round < 8; round++) {
    const report = await verifyLedgerDir(dir, signer.vkey);
    assert.equal(report.kind, 'intact', JSON.stringify(report));
  }
  isChecking = false;
  await Promise.all(writers);
  await ledger.close();
});
