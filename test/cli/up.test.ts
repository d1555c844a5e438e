import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { parseConfig } from '../../src/init/config.ts';
import { loadManifest } from '../../src/manifest/index.ts';
import { unitText } from '../../src/cli/commands/unit.ts';
import { askPort } from '../../src/cli/processes.ts';
import { assertPlatform } from '../../src/cli/up/checks.ts';
import { initChildren } from '../../src/cli/up/init-file.ts';
import { statePaths } from '../../src/api/state-folder.ts';
import { cleanEnvironment, cliRig, startCli, tempFolder } from './harness.ts';

const MANIFEST = `apiVersion: kintsugi/v1
name: shop
gateway: { port: 0, workers: 2 }
control: { port: 0 }
services:
  web:
    command: [node, server.mjs]
    routes: [{ prefix: / }]
`;

interface Project {
  readonly dir: string;
  readonly env: Record<string, string>;
  readonly run: (...args: readonly string[]) => ReturnType<typeof startCli>['ended'];
}

function project(t: TestContext, manifest: string = MANIFEST): Project {
  const dir = tempFolder(t);
  const folder = join(dir, 'shop');
  mkdirSync(folder);
  writeFileSync(join(folder, 'kintsugi.yaml'), manifest);
  writeFileSync(join(folder, 'server.mjs'), '');
  const env = cleanEnvironment(dir);
  return {
    dir: folder,
    env,
    run: (...args) => startCli(t, args, { env, cwd: folder }).ended,
  };
}

test('validate works offline: 0 for a good manifest, 78 and the place for a bad one', async (t) => {
  const good = project(t);
  const valid = await good.run('validate');
  assert.equal(valid.code, 0, valid.err);
  assert.match(
    valid.out,
    /^valid: .*kintsugi\.yaml \(1 service, 0 dependencies, \d+ tenants?, 0 che/u,
  );
  const bad = project(t, MANIFEST.replace('command:', 'comand:'));
  const [text, json, none] = await Promise.all([
    bad.run('validate'),
    bad.run('validate', '--json'),
    bad.run('validate', 'nope.yaml'),
  ]);
  assert.equal(text.code, 78);
  assert.match(text.err, /^error KIN_MANIFEST_\w+: /u);
  assert.match(text.err, /kintsugi\.yaml:\d+:\d+ /u);
  assert.match(text.err, /did you mean command\?/u);
  assert.equal(json.code, 78);
  const told = JSON.parse(json.out) as { valid: boolean; problems: { line: number }[] };
  assert.equal(told.valid, false);
  assert.ok((told.problems[0]?.line ?? 0) > 0);
  assert.equal(none.code, 78);
});

test('plan works offline and says that all of it would be started', async (t) => {
  const { run } = project(t);
  const plan = await run('plan');
  assert.equal(plan.code, 0, plan.err);
  assert.match(plan.out, /nothing runs/u);
  assert.match(plan.out, /\+ service web/u);
  const json = JSON.parse((await run('plan', '--json')).out) as { running: boolean };
  assert.equal(json.running, false);
});

test('plan against what runs asks the control plane without changing anything', async (t) => {
  const { cli, rig, stateDir } = await cliRig(t);
  const path = join(stateDir, '..', 'kintsugi.yaml');
  writeFileSync(path, MANIFEST);
  writeFileSync(join(stateDir, '..', 'server.mjs'), '');
  const plan = await cli('plan');
  assert.equal(plan.code, 0, plan.err);
  assert.match(plan.out, /~ {2}service {2}records {2}replicas 2 → 3/u);
  assert.deepEqual(rig.control.calls.at(-1)?.args, [{ path, text: MANIFEST }, true]);
});

test('up on a running system shows the difference and applies exactly that', async (t) => {
  const { cli, rig, stateDir } = await cliRig(t);
  const path = join(stateDir, '..', 'kintsugi.yaml');
  writeFileSync(path, MANIFEST);
  writeFileSync(join(stateDir, '..', 'server.mjs'), '');
  const up = await cli('up');
  assert.equal(up.code, 0, up.err);
  assert.match(up.out, /runs already/u);
  assert.match(up.out, /replicas 2 → 3/u);
  assert.match(up.out, /applied\n$/u);
  assert.deepEqual(
    rig.control.calls.map((call) => call.args[1]),
    [true, false],
  );
  assert.equal(statSync(join(stateDir, 'init.json')).mode & 0o777, 0o600);
});

test('a taken port is refused with its taker and the option that helps', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const { run, dir } = project(t);
  const [gateway, control] = await Promise.all([
    run('up', '--detach', '--gateway-port', String(port)),
    run('up', '--detach', '--control-port', String(port), '--state', join(dir, 'other')),
  ]);
  assert.equal(gateway.code, 78);
  assert.match(
    gateway.err,
    new RegExp(`KIN_PORT_TAKEN: port ${port} for the gateway is taken`, 'u'),
  );
  if (process.platform === 'linux') {
    assert.match(gateway.err, new RegExp(`taken by pid ${process.pid} \\(node`, 'u'));
  }
  assert.match(gateway.err, /fix: .*--gateway-port PORT/u);
  assert.equal(control.code, 78);
  assert.match(control.err, /control API.*\nfix: .*--control-port PORT/u);
  const answer = await askPort('192.0.2.1', 8080);
  assert.equal(answer.kind, 'unusable');
});

test('a state folder that cannot be written is refused before anything is started', async (t) => {
  const { run, dir } = project(t);
  writeFileSync(join(dir, 'file'), '');
  const answer = await run('up', '--detach', '--state', join(dir, 'file', 'state'));
  assert.equal(answer.code, 78);
  assert.match(answer.err, /KIN_STATE_NOT_WRITABLE.*\nfix: .*--state DIR/u);
});

test('an unsupported platform is refused with what to use instead', () => {
  assert.throws(() => assertPlatform('win32'), {
    code: 'KIN_PLATFORM_UNSUPPORTED',
    fix: /WSL 2/u,
  });
  assert.doesNotThrow(() => assertPlatform('linux'));
  assert.doesNotThrow(() => assertPlatform('darwin'));
});

test('init takes what up writes; gateways get no secret of the environment', async (t) => {
  const { dir } = project(t);
  const { manifest } = await loadManifest(join(dir, 'kintsugi.yaml'), { env: process.env });
  const env = {
    PATH: '/bin',
    HOME: '/home/x',
    DATABASE_URL: 'postgres://secret',
    npm_config_x: '1',
    KINTSUGI_PART: 'cli',
  };
  const state = join(dir, '.kintsugi');
  const children = initChildren(env, state, manifest);
  const parsed = parseConfig({ children });
  assert.equal(parsed.kind, 'config');
  assert.deepEqual(
    children.map((child) => child.name),
    ['controller', 'gateway-1', 'gateway-2'],
  );
  const [controller, gateway] = children;
  assert.ok(controller && gateway);
  assert.equal(controller.env['DATABASE_URL'], 'postgres://secret');
  assert.equal(controller.env['npm_config_x'], undefined);
  assert.equal(controller.env['KINTSUGI_PART'], 'controller');
  assert.deepEqual(controller.argv.slice(2), ['controller', '--state', state]);
  assert.deepEqual(Object.keys(gateway.env).toSorted(), [
    'HOME',
    'KINTSUGI_GATEWAY_HOST',
    'KINTSUGI_GATEWAY_PORT',
    'KINTSUGI_GATEWAY_SOCKET',
    'KINTSUGI_GATEWAY_STATE',
    'KINTSUGI_GATEWAY_WORKER',
    'KINTSUGI_GATEWAY_WORKERS',
    'KINTSUGI_PART',
    'KINTSUGI_PART_STATE',
    'PATH',
  ]);
  assert.equal(gateway.env['KINTSUGI_GATEWAY_SOCKET'], statePaths(state).socket);
  for (const child of children) {
    const program = child.argv.slice(1).find((word) => !word.startsWith('--'));
    assert.ok(program !== undefined);
    assert.ok(existsSync(program), program);
  }
});

test('init writes a manifest once, and says what is still to be corrected', async (t) => {
  const dir = tempFolder(t);
  const env = cleanEnvironment(dir);
  writeFileSync(
    join(dir, 'package.json'),
    JSON.stringify({ name: 'shop', scripts: { start: 'node server.js' } }),
  );
  writeFileSync(join(dir, 'server.js'), 'server.listen(process.env.PORT)');
  const run = (...args: readonly string[]) => startCli(t, args, { env, cwd: dir }).ended;
  const made = await run('init');
  assert.equal(made.code, 0, made.err);
  assert.match(made.out, /wrote .*kintsugi\.yaml/u);
  assert.match(readFileSync(join(dir, 'kintsugi.yaml'), 'utf8'), /name: shop/u);
  const valid = await run('validate');
  assert.equal(valid.code, 0, valid.err);
  const again = await run('init');
  assert.equal(again.code, 78);
  assert.match(again.err, /KIN_MANIFEST_EXISTS.*\nfix: .*--force/u);
  const printed = await run('init', '--print');
  assert.equal(printed.code, 0);
  assert.match(printed.out, /name: shop/u);
});

test('a systemd unit, as it is printed', () => {
  const text = unitText({
    node: '/opt/k/node',
    cli: '/opt/k/kintsugi.js',
    manifest: '/my shop/100%/k.yaml',
    stateDir: '/var/k',
    user: 'shop',
  });
  assert.equal(
    text,
    `[Unit]
Description=Kintsugi control plane for /my shop/100%%/k.yaml
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
User=shop
WorkingDirectory=/my shop/100%%
ExecStart=/opt/k/node /opt/k/kintsugi.js up "/my shop/100%%/k.yaml" --state /var/k --detach
ExecReload=/opt/k/node /opt/k/kintsugi.js up "/my shop/100%%/k.yaml" --state /var/k --detach
ExecStop=/opt/k/node /opt/k/kintsugi.js down --state /var/k
Delegate=yes
TimeoutStartSec=200
TimeoutStopSec=180
UMask=0077
NoNewPrivileges=yes
PrivateTmp=no
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`,
  );
  const evil = { node: 'n', cli: 'c', stateDir: 's', user: 'u', manifest: '/a\nExecStart=/bin/sh' };
  assert.throws(() => unitText(evil), { code: 'KIN_USAGE' });
});

test('a folder of another user’s is not taken as state', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can make a folder of another user');
  const { run, dir } = project(t);
  const state = join(dir, 'theirs');
  mkdirSync(state);
  chmodSync(state, 0o777);
  const { chownSync } = await import('node:fs');
  chownSync(state, 12_345, 12_345);
  const answer = await run('up', '--detach', '--state', state);
  assert.equal(answer.code, 78);
  assert.match(answer.err, /KIN_STATE_NOT_WRITABLE.*belongs to another user/u);
});
