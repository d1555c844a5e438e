import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { KinError } from '../../src/model/errors.ts';
import { newText } from '../../src/cli/commands/logs.ts';
import * as fake from '../api/fake.ts';
import { cleanEnvironment, cliRig, startCli, tempFolder } from './harness.ts';

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000; i += 1) {
    if (holds()) return;
    await sleep(10);
  }
  throw new Error(`did not happen: ${what}`);
}

test('PG1. wrong usage exits 2, names the likely word, and help exits 0', async (t) => {
  const dir = tempFolder(t);
  const env = cleanEnvironment(dir);
  const run = (...args: readonly string[]) => startCli(t, args, { env, cwd: dir }).ended;
  const [unknown, missing, badNumber, badOption, help, json] = await Promise.all([
    run('sttus'),
    run('scale', 'records'),
    run('scale', 'records', 'two'),
    run('status', '--nope'),
    run('--help'),
    run('sttus', '--json'),
  ]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.err, /^error KIN_USAGE: unknown command 'sttus' \(Did you mean status\?\)/u);
  assert.match(unknown.err, /^fix: /mu);
  assert.equal(unknown.out, '');
  assert.deepEqual([missing.code, badNumber.code, badOption.code], [2, 2, 2]);
  assert.equal(help.code, 0);
  const words = [
    'init up down status top logs incidents explain deploy rollback scale approve drill audit',
    'ledger tenants validate plan unit runs releases pause resume witness',
  ];
  for (const word of words.join(' ').split(' ')) {
    assert.match(help.out, new RegExp(`^  ${word}\\b`, 'mu'), word);
  }
  assert.match(help.out, /Exit status: 0 done/u);
  const told = JSON.parse(json.err) as { error: { code: string } };
  assert.equal(told.error.code, 'KIN_USAGE');
});

test('nothing running exits 3 and says how to start', async (t) => {
  const dir = tempFolder(t);
  const env = cleanEnvironment(dir);
  const [none, named] = await Promise.all([
    startCli(t, ['status'], { env, cwd: dir }).ended,
    startCli(t, ['status', '--state', join(dir, 'x')], { env, cwd: dir }).ended,
  ]);
  assert.equal(none.code, 3);
  assert.match(none.err, /error KIN_NOT_RUNNING: there is no kintsugi\.yaml here/u);
  assert.match(none.err, /fix: .*kintsugi up/u);
  assert.equal(named.code, 3);
});

test('status prints the table, and with --json exactly the view', async (t) => {
  const { cli, rig } = await cliRig(t);
  const text = await cli('status');
  assert.equal(text.code, 0, text.err);
  assert.match(text.out, /^clinic · healing 1 incident/u);
  assert.ok(!text.out.includes('\u{1b}'), 'no colour into a pipe');
  const json = await cli('status', '--json');
  assert.deepEqual(JSON.parse(json.out), JSON.parse(JSON.stringify(fake.status())));
  rig.control.current = fake.status({ overall: { kind: 'degraded', reasons: ['ask'] } });
  assert.equal((await cli('status')).code, 1);
});

test('every reading command answers text and one JSON value', async (t) => {
  const { cli } = await cliRig(t);
  const commands = [
    ['incidents'],
    ['incidents', '--open'],
    ['explain', 'inc-01'],
    ['explain'],
    ['runs'],
    ['releases', 'records'],
    ['approve'],
    ['tenants'],
    ['tenants', 'list'],
    ['ledger'],
    ['ledger', 'head'],
    ['ledger', 'entries'],
    ['ledger', 'tenants'],
    ['ledger', 'holds'],
    ['ledger', 'publish'],
    ['ledger', 'auditor'],
    ['ledger', 'anchor', 'status'],
    ['drill'],
    ['drill', 'kill'],
    ['audit'],
    ['logs', 'records-1'],
  ];
  await Promise.all(
    commands.map(async (command) => {
      const text = await cli(...command);
      assert.equal(text.code, 0, `${command.join(' ')}: ${text.err}`);
      assert.notEqual(text.out, '');
      const json = await cli(...command, '--json');
      assert.doesNotThrow(() => JSON.parse(json.out), command.join(' '));
      assert.equal(json.out.trim().split('\n').length, 1);
    }),
  );
});

test('an unknown incident exits 1 with its code', async (t) => {
  const { cli } = await cliRig(t);
  const answer = await cli('explain', 'inc-99');
  assert.equal(answer.code, 1);
  assert.match(answer.err, /error KIN_API_NOT_FOUND: there is no incident "inc-99"/u);
});

test('EX1. each class of failure has its exit status', async (t) => {
  const { start, rig } = await cliRig(t);
  const cases = [
    ['KIN_DRILL_REFUSED', 4],
    ['KIN_STORE_FENCED', 69],
    ['KIN_MANIFEST_INVALID', 78],
    ['KIN_SERVICE_UNKNOWN', 1],
  ] as const;
  for (const [code, exit] of cases) {
    rig.control.failWith = new KinError(code, 'what happened', 'what to do');
    const answer = await start('pause', 'records').ended;
    assert.equal(answer.code, exit, code);
    assert.equal(answer.err, `error ${code}: what happened\nfix: what to do\n`);
  }
  rig.control.failWith = new Error('secret');
  const bug = await start('pause').ended;
  assert.equal(bug.code, 1);
  assert.match(bug.err, /KIN_API_INTERNAL/u);
});

test('deploy says first whether it could come back, and exits as the run ends', async (t) => {
  const { cli, rig, stateDir } = await cliRig(t);
  const path = join(stateDir, '..', 'build');
  mkdirSync(path);
  const good = await cli('deploy', 'records', '--release', path);
  assert.equal(good.code, 0, good.err);
  const said = good.out.split('\n');
  assert.match(said[0] ?? '', /^rollback after this deploy: possible, to r1-4f2a9c$/u);
  assert.match(good.out, /✓ start records-4/u);
  assert.match(good.out, /records runs r2-aaaaaa: done in 1\.2 s/u);
  assert.deepEqual(rig.control.calls.at(-1)?.args, ['records', path]);
  assert.equal(rig.control.calls.at(-1)?.actor?.name, 'operator:alice');

  const undone = { ...fake.RUN_STORY.run, state: 'undone' as const, failure: 'too many errors' };
  rig.control.run = async () => ({ ...fake.RUN_STORY, run: undone });
  const bad = await cli('deploy', 'records', '--release', path, '--json');
  assert.equal(bad.code, 1);
  assert.equal((JSON.parse(bad.out) as { run: { state: string } }).run.state, 'undone');
  const text = await cli('rollback', 'records');
  assert.equal(text.code, 1);
  assert.match(text.out, /records: undone in 1\.2 s: too many errors/u);

  const missing = await cli('deploy', 'records', '--release', join(path, 'nope'));
  assert.equal(missing.code, 1);
  assert.match(missing.err, /KIN_RELEASE_NOT_FOUND/u);
  assert.equal((await cli('deploy', 'records')).code, 2);
});

test('scale, approve, deny, pause, resume and keys reach the port', async (t) => {
  const { cli, rig } = await cliRig(t);
  for (const args of [
    ['scale', 'records', '3'],
    ['scale', 'records', '4', '--no-follow'],
    ['approve', 'apr-01'],
    ['approve', 'apr-01', '--deny'],
    ['pause'],
    ['resume', 'records'],
    ['tenants', 'key', 'create', 'north-clinic'],
    ['tenants', 'key', 'revoke', 'k1'],
  ]) {
    const answer = await cli(...args);
    assert.equal(answer.code, 0, `${args.join(' ')}: ${answer.err}`);
  }
  assert.deepEqual(
    rig.control.calls.map((call) => [call.name, ...call.args]),
    [
      ['scale', 'records', 3],
      ['scale', 'records', 4],
      ['decideApproval', 'apr-01', 'approve'],
      ['decideApproval', 'apr-01', 'deny'],
      ['pause', undefined],
      ['resume', 'records'],
      ['createKey', 'north-clinic'],
      ['revokeKey', 'k1'],
    ],
  );
});

test('DR1. a drill is followed until what it broke is healed', async (t) => {
  const { start, rig } = await cliRig(t);
  const now = Date.now();
  const open = { ...fake.INCIDENT, openedAtMs: now + 500 };
  let incidents = [open];
  rig.control.drill = async (name, target) => ({ name, target, atMs: now, did: 'sent SIGKILL' });
  rig.control.incidents = async () => incidents;
  rig.control.current = fake.status({ runs: [], storySeq: 3 });
  const drill = start('drill', 'kill', 'records-2');
  await until('injected', () => drill.out().includes('sent SIGKILL'));
  rig.control.tell({ ...fake.storyEvent(4, 'records-2 is gone'), atMs: now + 400 });
  await until('told', () => drill.out().includes('records-2 is gone'));
  const healed = fake.STORY.incident.state;
  incidents = [{ ...open, state: healed, healedAtMs: now + 1_700 }];
  const ended = await drill.ended;
  assert.equal(ended.code, 0, ended.err);
  assert.match(ended.out, /\+400 ms +records-2 is gone/u);
  assert.match(ended.out, /healed in 1\.2 s: records-2 is hung {2}\(kintsugi explain inc-01\)/u);
});

test('DR1. a drill that nobody noticed exits 1, an unknown one names others', async (t) => {
  const { cli, rig } = await cliRig(t);
  rig.control.incidents = async () => [];
  const unnoticed = await cli('drill', 'kill', 'records-2', '--limit', '1');
  assert.equal(unnoticed.code, 1);
  assert.match(unnoticed.out, /nothing was noticed/u);
  const unknown = await cli('drill', 'nuke');
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /KIN_DRILL_UNKNOWN.*\nfix: Use one of kill\./u);
});

test('DR1. a drill of the controller is over when the next one acts', async (t) => {
  const { start, rig } = await cliRig(t);
  const drills = rig.control.drills();
  const [kill] = drills;
  assert.ok(kill);
  rig.control.drills = () => [{ ...kill, name: 'controller-kill', targets: 'controller' }];
  rig.control.drill = async (name, target) => {
    const atMs = Date.now();
    const next = { ...fake.status().instance, pid: 77, startedAtMs: atMs + 1 };
    setTimeout(() => {
      rig.control.current = fake.status({ instance: { ...next, mode: 'observing' } });
      setTimeout(() => {
        rig.control.current = fake.status({ instance: next });
      }, 300);
    }, 300);
    return { name, target, atMs, did: 'sent SIGKILL' };
  };
  const ended = await start('drill', 'controller-kill', 'controller').ended;
  assert.equal(ended.code, 0, ended.err);
  assert.match(ended.out, /another controller acts after .*, pid 77/u);
});

test('audit exits 1 unless everything was evaluated and holds', async (t) => {
  const { cli, rig } = await cliRig(t);
  assert.equal((await cli('audit')).code, 0);
  for (const verdict of ['violated', 'incomplete'] as const) {
    rig.control.audit = async () => ({ ...fake.AUDIT, verdict });
    assert.equal((await cli('audit')).code, 1, verdict);
  }
});

test('top piped tells lines with their time, and leaves with Ctrl-C', async (t) => {
  const { start, rig } = await cliRig(t);
  const top = start('top');
  await until('begun', () => /Z {2}clinic is healing 1 incident\n/u.test(top.out()));
  rig.control.tell(fake.storyEvent(4, 'records-2 was replaced'));
  await until('told', () => top.out().includes('records-2 was replaced'));
  rig.control.current = fake.status({ overall: { kind: 'healthy' } });
  await until('healthy', () => top.out().includes('clinic is healthy'));
  top.child.kill('SIGINT');
  const ended = await top.ended;
  assert.equal(ended.code, 0, ended.err);
  assert.ok(!ended.out.includes('\u{1b}'));
});

test('top --json prints one value a line', async (t) => {
  const { start } = await cliRig(t);
  const top = start('top', '--json');
  await until('begun', () => top.out().includes('\n'));
  top.child.kill('SIGINT');
  const { out } = await top.ended;
  for (const line of out.trim().split('\n')) {
    assert.ok(['status', 'story', 'closed'].includes((JSON.parse(line) as { kind: string }).kind));
  }
});

test('a reader that has enough (| head) is no failure', async (t) => {
  const { start, rig } = await cliRig(t);
  rig.control.logs = async () => [{ source: 'x', text: 'line\n'.repeat(100_000) }];
  const logs = start('logs', 'records-1');
  logs.child.stdout?.destroy();
  assert.equal((await logs.ended).code, 0);
});

test('logs -f prints only what is new, and our own logs need no control plane', async (t) => {
  const { start, cli, rig, stateDir } = await cliRig(t);
  let text = 'one\n';
  rig.control.logs = async (source) => [{ source, text }];
  const logs = start('logs', 'records-1', '-f');
  await until('first', () => logs.out() === 'one\n');
  text = 'one\ntwo\u{1b}[2J\n';
  await until('second', () => logs.out().includes('two'));
  assert.equal(logs.out(), 'one\ntwo\\x1b[2J\n');
  logs.child.kill('SIGINT');
  await logs.ended;
  writeFileSync(join(stateDir, 'logs', 'controller.log'), 'boot\n');
  writeFileSync(join(stateDir, 'logs', 'gateway-1.log'), 'g1\n');
  writeFileSync(join(stateDir, 'logs', 'gateway-2.log'), 'g2\n');
  await rig.api.close();
  assert.equal((await cli('logs')).out, 'boot\n');
  assert.equal((await cli('logs', 'gateway')).out, 'gateway-1 | g1\ngateway-2 | g2\n');
  const none = await cli('logs', 'init');
  assert.match(none.err, /KIN_LOG_NOT_FOUND/u);
});

test('what is new in a log is found, whether it grew, was cut or was replaced', () => {
  assert.equal(newText('', 'a\n'), 'a\n');
  assert.equal(newText('a\n', 'a\nb\n'), 'b\n');
  assert.equal(newText('a\nb\n', 'b\nc\n'), 'b\nc\n');
  const old = 'x'.repeat(600);
  assert.equal(newText(`1${old}`, `${old}new`), 'new');
});

test('an API that answers nothing exits 69', async (t) => {
  const { cli, rig } = await cliRig(t);
  await rig.api.close();
  const answer = await cli('status');
  assert.equal(answer.code, 69);
  assert.match(answer.err, /KIN_API_UNREACHABLE/u);
});

test('a state folder whose files others could write is not believed', async (t) => {
  const { cli, stateDir } = await cliRig(t);
  const { chmodSync } = await import('node:fs');
  chmodSync(join(stateDir, 'operator.token'), 0o644);
  const answer = await cli('status');
  assert.equal(answer.code, 78);
  assert.match(answer.err, /KIN_STATE_FILE_INVALID/u);
});
