import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import {
  makeStateFolder,
  readRunFile,
  readStartFile,
  statePaths,
  writeRunFile,
  writeStartFile,
} from '../../src/api/state-folder.ts';
import type { RunFile } from '../../src/api/state-folder.ts';
import { ensureOperatorToken, isOperatorToken, readOperatorToken } from '../../src/api/token.ts';

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'kin-state-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const RUN: RunFile = {
  v: 1,
  controlUrl: 'http://127.0.0.1:8081',
  gatewayUrl: 'http://127.0.0.1:8080',
  instance: 'ctl-1',
  pid: 1,
  pidStart: '77',
  startedAtMs: 5,
  manifest: '/srv/kintsugi.yaml',
};

test('SF1. files are 0600 in a 0700 folder, and nothing half-written stays', (t) => {
  const dir = join(folder(t), 'deep', '.kintsugi');
  makeStateFolder(dir);
  makeStateFolder(dir);
  assert.equal(readRunFile(dir), undefined);
  writeRunFile(dir, RUN);
  assert.deepEqual(readRunFile(dir), RUN);
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  assert.equal(statSync(statePaths(dir).run).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(dir).toSorted(), ['gateway', 'logs', 'run.json']);
});

test('SF1. a start file keeps what was not given as not given', (t) => {
  const dir = folder(t);
  const start = {
    v: 1,
    manifest: '/a.yaml',
    gatewayPort: undefined,
    controlPort: 9,
    socket: '/s',
  } as const;
  writeStartFile(dir, start);
  assert.equal(readStartFile(dir)?.gatewayPort, undefined);
  assert.equal(readStartFile(dir)?.controlPort, 9);
});

test('SF2. a file that others may write, a link, or a damaged one is refused', (t) => {
  const dir = folder(t);
  const path = statePaths(dir).run;
  writeRunFile(dir, RUN);
  chmodSync(path, 0o644);
  assert.throws(() => readRunFile(dir), { code: 'KIN_STATE_FILE_INVALID' });
  rmSync(path);
  writeFileSync(join(dir, 'elsewhere'), JSON.stringify(RUN), { mode: 0o600 });
  symlinkSync(join(dir, 'elsewhere'), path);
  assert.throws(() => readRunFile(dir), { code: 'KIN_STATE_FILE_INVALID' });
  rmSync(path);
  for (const text of ['{', '[]', '{"v":2}', '{"v":1}', 'null', '']) {
    writeFileSync(path, text, { mode: 0o600 });
    assert.throws(() => readRunFile(dir), { code: 'KIN_STATE_FILE_INVALID' }, text);
  }
});

test('a folder that cannot be made is KIN_STATE_NOT_WRITABLE', (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, 'file'), '');
  assert.throws(() => makeStateFolder(join(dir, 'file', 'state')), {
    code: 'KIN_STATE_NOT_WRITABLE',
  });
  assert.throws(() => makeStateFolder('/proc/kintsugi'), { code: 'KIN_STATE_NOT_WRITABLE' });
});

test('the socket path stays short however deep the state folder is', () => {
  const deep = `/srv/${'very-deep/'.repeat(20)}.kintsugi`;
  assert.ok(Buffer.byteLength(statePaths(deep).socket) <= 100);
  assert.notEqual(statePaths(deep).socket, statePaths(`${deep}2`).socket);
  assert.equal(statePaths('/srv/a').socket, '/srv/a/control.sock');
});

test('TK2. the operator token is made once, 0600, and refused when others could read it', (t) => {
  const dir = folder(t);
  assert.equal(readOperatorToken(dir), undefined);
  const token = ensureOperatorToken(dir);
  assert.ok(isOperatorToken(token));
  assert.equal(ensureOperatorToken(dir), token);
  const path = statePaths(dir).operatorToken;
  assert.equal(statSync(path).mode & 0o777, 0o600);
  chmodSync(path, 0o640);
  assert.throws(() => readOperatorToken(dir), { code: 'KIN_STATE_FILE_INVALID' });
  chmodSync(path, 0o600);
  writeFileSync(path, 'guess-me');
  assert.throws(() => ensureOperatorToken(dir), { code: 'KIN_STATE_FILE_INVALID' });
});
