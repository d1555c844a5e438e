// The SQL store on the embedded database: the contract, and the fears about a folder on a disk:
// two owners, a killed owner, a damaged folder, a commit that never reached the disk.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openStore } from '../../src/store/open.ts';
import { lockFolder } from '../../src/store/owner.ts';
import { ownIdentity } from '../../src/world/real/identity.ts';
import { SILENT } from '../../src/world/real/log.ts';
import type { Store } from '../../src/world/store.ts';
import { storeContract } from '../contract/store.ts';
import { placeStore } from './template.ts';
import * as make from '../contract/store-values.ts';

const WRITER = fileURLToPath(new URL('./programs/writer.ts', import.meta.url));
const isCode = (code: string) => (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === code;
const open = (dir: string): Promise<Store> => openStore({ dir, log: SILENT, keep: make.KEEP_SOME });

const base = fs.mkdtempSync(join(tmpdir(), 'kintsugi-store-'));
/** A closed store, made once and copied: making one takes seconds. */
const template = join(base, 'template');
const children = new Set<ChildProcess>();

before(async () => {
  if (!(await placeStore(template))) await (await open(template)).close();
});
after(() => {
  for (const child of children) child.kill('SIGKILL');
  fs.rmSync(base, { recursive: true, force: true });
});

let copies = 0;
function copyOfTemplate(): string {
  copies += 1;
  const dir = join(base, `copy-${copies}`);
  fs.cpSync(template, dir, { recursive: true });
  return dir;
}

function startWriter(dir: string, ...args: string[]): { child: ChildProcess; said: string[] } {
  const child = spawn(process.execPath, [WRITER, dir, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  const said: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
  return { child, said };
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  for (let waitedMs = 0; !isTrue(); waitedMs += 10) {
    assert.ok(waitedMs < 60_000, `never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  children.delete(child);
}

storeContract('embedded', async () => {
  const dir = copyOfTemplate();
  let store: Store | undefined;
  return {
    async reopen() {
      await store?.close();
      store = await open(dir);
      return store;
    },
    second: () => undefined,
    end: async () => store?.close(),
  };
});

describe('one owner for the folder', () => {
  test('OW1: a second opener is refused, here and in another process', async () => {
    const dir = copyOfTemplate();
    const { child, said } = startWriter(dir, '1');
    await until(() => said.includes('1'), 'the writer has written');
    await assert.rejects(open(dir), (error) => {
      assert.ok(isCode('KIN_STORE_LOCKED')(error));
      assert.match(String(error), new RegExp(`process ${child.pid}\\b`, 'u'));
      return true;
    });
    child.kill('SIGKILL');
    await endOf(child);
    const store = await open(dir);
    await assert.rejects(open(dir), isCode('KIN_STORE_LOCKED'));
    assert.equal(await store.setting('acked'), 1);
    await store.close();
    assert.deepEqual(fs.readdirSync(dir), ['data'], 'no lock file stays behind');
  });

  test('OW1: of many that come at the same moment at most one gets the folder', async () => {
    const dir = fs.mkdtempSync(join(base, 'race-'));
    const answers = await Promise.allSettled(Array.from({ length: 6 }, () => lockFolder(dir)));
    const got = answers.filter((answer) => answer.status === 'fulfilled');
    assert.ok(got.length <= 1);
    for (const answer of got) await answer.value.release();
    await (await lockFolder(dir)).release();
    assert.deepEqual(fs.readdirSync(dir), []);
  });

  test('OW2: the pid of a dead owner that belongs to somebody else now does not lock', async () => {
    const dir = fs.mkdtempSync(join(base, 'stale-'));
    const stale = { ...ownIdentity(), pid: process.pid, startedAt: '1' };
    fs.writeFileSync(join(dir, 'owner-1.json'), JSON.stringify(stale));
    const rebooted = { ...ownIdentity(), boot: 'an earlier one' };
    fs.writeFileSync(join(dir, 'owner-2.json'), JSON.stringify(rebooted));
    const lock = await lockFolder(dir);
    assert.equal(fs.readdirSync(dir).length, 1);
    await lock.release();
  });

  test('OW3: an owner in another container holds the folder while it touches it', async () => {
    const dir = fs.mkdtempSync(join(base, 'elsewhere-'));
    const file = join(dir, 'owner-7.json');
    fs.writeFileSync(file, JSON.stringify({ ...ownIdentity(), pidSpace: 'pid:[1]' }));
    const touch = setInterval(() => fs.utimesSync(file, new Date(), new Date()), 50);
    await assert.rejects(lockFolder(dir), isCode('KIN_STORE_LOCKED'));
    clearInterval(touch);
    await (await lockFolder(dir, 500)).release();
    assert.deepEqual(fs.readdirSync(dir), [], 'silent for long enough, it counts as gone');
  });
});

describe('a folder that was left by a crash', () => {
  test('ST1: killed in the middle of writing, no acknowledged write is lost', async () => {
    const dir = copyOfTemplate();
    for (const enough of [20, 60]) {
      const { child, said } = startWriter(dir);
      await until(() => said.length > enough, 'some writes');
      child.kill('SIGKILL');
      await endOf(child);
      const acked = Number(said.at(-1));
      const store = await open(dir);
      const found = Number(await store.setting('acked'));
      assert.ok(found === acked || found === acked + 1, `${found} of ${acked}`);
      await store.close();
    }
  });

  test('EM2: a first start that was cut short leaves nothing in the way of the next', async () => {
    const dir = fs.mkdtempSync(join(base, 'cut-'));
    fs.cpSync(join(template, 'data'), join(dir, 'data.new'), { recursive: true });
    fs.rmSync(join(dir, 'data.new', 'global'), { recursive: true });
    const store = await open(dir);
    assert.deepEqual(await store.keys(), []);
    await store.close();
    assert.deepEqual(fs.readdirSync(dir), ['data']);
  });

  const damages: readonly (readonly [string, (data: string) => void])[] = [
    ['a control file cut off', (data) => fs.truncateSync(join(data, 'global/pg_control'), 100)],
    ['no write-ahead log', (data) => fs.rmSync(join(data, 'pg_wal'), { recursive: true })],
    ['an older cluster', (data) => fs.writeFileSync(join(data, 'PG_VERSION'), '17\n')],
    ['no version', (data) => fs.rmSync(join(data, 'PG_VERSION'))],
    ['catalogues overwritten', scribble],
  ];
  for (const [name, damage] of damages) {
    test(`EM3: ${name}: KIN_STORE_CORRUPT with a fix, and nothing is deleted`, async () => {
      const dir = copyOfTemplate();
      damage(join(dir, 'data'));
      const tables = join(dir, 'data/base/5');
      const before = fs.readdirSync(tables).filter((file) => /^\d/u.test(file));
      await assert.rejects(open(dir), (error) => {
        assert.ok(isCode('KIN_STORE_CORRUPT')(error), String(error));
        assert.ok(error instanceof Error && 'fix' in error);
        assert.match(String(error.fix), /Nothing was deleted/u);
        return true;
      });
      const left = fs.readdirSync(tables).filter((file) => /^\d/u.test(file));
      assert.deepEqual(left, before);
      assert.deepEqual(fs.readdirSync(dir), ['data'], 'the lock was given back');
    });
  }

  function scribble(data: string): void {
    const folder = join(data, 'base/5');
    for (const name of fs.readdirSync(folder).filter((file) => /^\d+$/u.test(file))) {
      fs.writeFileSync(join(folder, name), 'x'.repeat(8192));
    }
  }

  test('a folder that cannot be written: KIN_STORE_NOT_WRITABLE', async () => {
    const file = join(base, 'a-file');
    fs.writeFileSync(file, '');
    for (const dir of [file, join(file, 'below'), '/proc/kintsugi']) {
      await assert.rejects(open(dir), isCode('KIN_STORE_NOT_WRITABLE'), dir);
    }
  });
});

describe('durability', () => {
  const strace = spawnSync('strace', ['-V']).status === 0;
  const skip = strace ? false : 'strace is not installed';
  test('EM1: each acknowledged commit has been through fdatasync', { skip }, async () => {
    const dir = copyOfTemplate();
    const trace = join(base, 'trace');
    const filter = ['-f', '-qq', '-e', 'trace=fdatasync,fsync,write', '-o', trace];
    const child = spawn('strace', [...filter, process.execPath, WRITER, dir, '25'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.add(child);
    const said: string[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
    await until(() => said.includes('25'), 'all writes acknowledged under strace');
    const rows = (): string[] => fs.readFileSync(trace, 'utf8').split('\n');
    const tells = (row: string): string | undefined => /write\(1, "(\w+)\\n"/u.exec(row)?.[1];
    await until(() => rows().some((row) => tells(row) === '25'), 'the trace is written');
    // The order within the trace is the order in which it happened.
    let syncs = 0;
    let first = 0;
    for (const row of rows()) {
      if (/fdatasync\(/u.test(row)) syncs += 1;
      const told = tells(row);
      if (told === 'open') first = syncs;
      else if (told !== undefined) {
        const atLeast = first + Number(told);
        assert.ok(syncs >= atLeast, `write ${told}: ${syncs} of ${atLeast} syncs`);
      }
    }
    child.kill('SIGTERM');
    const [, writer] = /^(\d+)/u.exec(fs.readFileSync(trace, 'utf8')) ?? [];
    if (writer !== undefined) process.kill(Number(writer), 'SIGKILL');
    await endOf(child);
  });
});
