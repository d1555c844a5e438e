// Does `quarantine` say what it does, ask for what is missing, and reach the port?
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fake from '../api/fake.ts';
import { cleanEnvironment, cliRig, startCli, tempFolder } from './harness.ts';

test('a tenant is held, listed and let go', async (t) => {
  const { cli, rig } = await cliRig(t);
  const ten = ['quarantine', 'north-clinic', '--reason', 'crawls us', '--for', '10m'];
  for (const args of [
    [...ten, '--mode', 'throttle', '--rate', '2.5'],
    [...ten, '--mode', 'pin', '--service', 'records', '--replica', 'records-3'],
    ['quarantine', 'north-clinic', '--mode', 'read-only', '--reason', 'x'],
    ['quarantine', 'north-clinic', '--lift'],
  ]) {
    const answer = await cli(...args);
    assert.equal(answer.code, 0, `${args.join(' ')}: ${answer.err}`);
  }
  const order = {
    mode: 'throttle',
    ratePerSecond: 2.5,
    forMs: 600_000,
    reason: 'crawls us',
  };
  assert.deepEqual(JSON.parse(JSON.stringify(rig.control.calls.map((c) => [c.name, ...c.args]))), [
    ['holdTenant', 'north-clinic', order],
    [
      'holdTenant',
      'north-clinic',
      {
        mode: 'pin',
        service: 'records',
        replica: 'records-3',
        forMs: 600_000,
        reason: 'crawls us',
      },
    ],
    ['holdTenant', 'north-clinic', { mode: 'read-only', reason: 'x' }],
    ['releaseTenant', 'north-clinic'],
  ]);
  const none = await cli('quarantine');
  assert.match(none.out, /no tenant is under quarantine/u);
  const hold = {
    mode: 'throttle',
    text: 'throttled to 5/s',
    reason: 'crawls \u001B[31mus',
    actor: 'operator:ann',
    sinceMs: Date.now(),
    untilMs: Date.now() + 300_000,
  } as const;
  rig.control.tenants = async () => [{ ...fake.TENANT, hold }];
  const list = await cli('quarantine', '--list');
  assert.match(
    list.out,
    /^north-clinic {2}throttled to 5\/s for (?:4 m 5\d s|5 m 0 s) more: crawls/mu,
  );
  assert.equal(list.out.includes('\u001B[31mus'), false);
  const tenants = await cli('tenants');
  assert.match(tenants.out, /throttled to 5\/s .*; held back: POST \/import/u);
});

test('what is missing or makes no sense is wrong usage', async (t) => {
  const { cli, rig } = await cliRig(t);
  for (const [args, want] of [
    [[], /--mode is missing/u],
    [['--mode', 'deny'], /--reason is missing/u],
    [['--mode', 'throttle', '--reason', 'x'], /--rate is missing/u],
    [['--mode', 'pin', '--reason', 'x', '--service', 's'], /--service and --replica/u],
    [['--mode', 'burn', '--reason', 'x'], /Allowed choices are deny/u],
    [['--mode', 'throttle', '--reason', 'x', '--rate', '0'], /above 0/u],
    [['--mode', 'deny', '--reason', 'x', '--for', '90d'], /30d at most/u],
  ] as const) {
    const answer = await cli('quarantine', 'north-clinic', ...args);
    assert.equal(answer.code, 2, answer.err);
    assert.match(answer.err, want);
  }
  assert.deepEqual(rig.control.calls, []);
});

test('plan and status print how far the trouble of one tenant reaches', async (t) => {
  const dir = tempFolder(t);
  writeFileSync(join(dir, 'server.js'), '// v1\n');
  const text = [
    'apiVersion: kintsugi/v1',
    'name: shop',
    'services:',
    '  web:',
    '    command: [node, server.js]',
    '    replicas: { min: 6, max: 6 }',
    '    shard: 2',
    '  all:',
    '    command: [node, server.js]',
    '    routes: [{ prefix: /all }]',
    'tenants:',
    '  acme: {}',
    '',
  ];
  writeFileSync(join(dir, 'kintsugi.yaml'), text.join('\n'));
  const env = cleanEnvironment(dir);
  const plan = await startCli(t, ['plan'], { env, cwd: dir }).ended;
  assert.equal(plan.code, 0, plan.err);
  const words =
    'each tenant on 2 of 6: if one breaks its 2, 6.7 % of the others lose all of theirs';
  assert.ok(plan.out.includes(`web: ${words}, 60 % lose one or more`), plan.out);
  assert.doesNotMatch(plan.out, /^all: each/mu);
  const { cli, rig } = await cliRig(t);
  const { services } = fake.status({});
  rig.control.current = fake.status({
    services: services.map((service) => ({ ...service, blast: words })),
  });
  const status = await cli('status');
  assert.ok(status.out.includes(words), status.out);
});
