// The real command and control plane, a service of a few lines: from the first `up` to `down`.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ownProcesses } from '../../src/cli/up/own.ts';
import { placeStoreIn } from '../store/template.ts';
import { cleanEnvironment, startCli, tempFolder } from './harness.ts';
import type { Running } from './harness.ts';

const linux = { skip: process.platform === 'linux' ? false : 'looks for leftovers in /proc' };

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  return port;
}

interface Project {
  readonly state: string;
  readonly start: (...args: readonly string[]) => Running;
  readonly run: (...args: readonly string[]) => Running['ended'];
}

async function project(t: TestContext): Promise<Project> {
  const dir = tempFolder(t);
  const folder = join(dir, 'shop');
  mkdirSync(folder);
  const [gateway, control] = [await freePort(), await freePort()];
  writeFileSync(
    join(folder, 'kintsugi.yaml'),
    `apiVersion: kintsugi/v1
name: shop
gateway: { port: ${gateway} }
control: { port: ${control} }
services:
  web:
    source: app
    command: [node, server.mjs]
    replicas: 2
    routes: [{ prefix: / }]
tenants:
  acme: { region: eu }
`,
  );
  mkdirSync(join(folder, 'app'));
  writeFileSync(
    join(folder, 'app', 'server.mjs'),
    `import { createServer } from 'node:http';
createServer((_, answer) => answer.end('hello')).listen(process.env.PORT, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
`,
  );
  const env = cleanEnvironment(dir);
  const state = join(folder, '.kintsugi');
  t.after(() => {
    for (const own of ownProcesses(state)) process.kill(own.id.pid, 'SIGKILL');
  });
  const start = (...args: readonly string[]): Running => startCli(t, args, { env, cwd: folder });
  return { state, start, run: (...args) => start(...args).ended };
}

test(
  'UP2. up, call, up again, down: keys are shown once, and nothing stays behind',
  linux,
  async (t) => {
    const { run, state } = await project(t);
    const up = await run('up', '--detach', '--json');
    assert.equal(up.code, 0, up.err);
    const said = JSON.parse(up.out) as {
      readonly gatewayUrl: string;
      readonly keys: readonly { readonly tenant: string; readonly key: string }[];
    };
    assert.deepEqual(
      said.keys.map((key) => key.tenant),
      ['acme'],
    );
    assert.ok(!existsSync(join(state, 'first-keys.json')));
    const authorization = `Bearer ${said.keys[0]?.key}`;
    const answer = await fetch(`${said.gatewayUrl}/x`, { headers: { authorization } });
    assert.equal(await answer.text(), 'hello');
    const status = await run('status');
    assert.equal(status.code, 0, status.err);
    assert.match(status.out, /web +2\/2/u);
    const again = await run('up', '--detach');
    assert.equal(again.code, 0, again.err);
    assert.match(again.out, /runs already.*\nnothing would change/u);
    assert.ok(!again.out.includes('kin_shop_'));
    const down = await run('down');
    assert.equal(down.code, 0, down.err);
    assert.deepEqual(ownProcesses(state), []);
    const verified = await run('ledger', 'verify');
    assert.equal(verified.code, 0, verified.err + verified.out);
  },
);

test('UP1. a first start that fails says why and leaves nothing running', linux, async (t) => {
  const { run, state } = await project(t);
  mkdirSync(state, { mode: 0o700 });
  writeFileSync(join(state, 'store'), 'not a folder');
  const up = await run('up', '--detach');
  assert.notEqual(up.code, 0);
  assert.match(up.err, /^error KIN_\w+: .+/mu);
  assert.match(up.err, /^fix: .+/mu);
  assert.deepEqual(ownProcesses(state), []);
});

test('Ctrl-C in the foreground stops everything cleanly and exits 0', linux, async (t) => {
  const { start, state } = await project(t);
  await placeStoreIn(state);
  const up = start('up');
  for (let i = 0; i < 3_000 && !up.out().includes('shop is healthy'); i += 1) await sleep(20);
  assert.match(up.out(), /shop is healthy/u, up.err());
  assert.ok(ownProcesses(state).length >= 5);
  up.child.kill('SIGINT');
  const ended = await up.ended;
  assert.equal(ended.code, 0, ended.err);
  assert.match(ended.err, /stopped after/u);
  assert.deepEqual(ownProcesses(state), []);
});
