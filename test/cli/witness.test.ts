import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { generateSigner, openEvidence, parsePolicy, rootKeyWrapper } from '@kintsugi/ledger';
import { cleanEnvironment, startCli, tempFolder } from './harness.ts';
import type { Running } from './harness.ts';
import { ORIGIN } from './offline-ledger.ts';

interface Started {
  readonly url: string;
  readonly vkeys: readonly string[];
}

async function started(witness: Running): Promise<Started> {
  for (let i = 0; i < 1_000; i += 1) {
    const line = witness.out().split('\n')[0] ?? '';
    if (witness.out().includes('\n')) return JSON.parse(line) as Started;
    await sleep(10);
  }
  throw new Error(`the witness did not start: ${witness.err()}`);
}

function startWitnessCli(t: TestContext, dir: string, name: string, logs: string): Running {
  writeFileSync(join(dir, `${name}.logs`), logs);
  const args = ['--dir', join(dir, name), '--name', `${name}.example/w`, '--logs', `${name}.logs`];
  const options = { env: cleanEnvironment(dir), cwd: dir };
  return startCli(t, ['witness', ...args, '--json'], options);
}

test('EVI2. verify --policy holds only with the quorum that really cosigned', async (t) => {
  const dir = tempFolder(t);
  const { signer } = generateSigner(ORIGIN);
  const logs = `log ${signer.vkey}\n`;
  const processes = [
    startWitnessCli(t, dir, 'auditor', logs),
    startWitnessCli(t, dir, 'customer', logs),
  ];
  const [auditor, customer] = await Promise.all(processes.map(started));
  const cosigner = (one: Started | undefined): string => one?.vkeys[0] ?? '';
  const lines = [
    `log ${signer.vkey}`,
    `witness auditor ${cosigner(auditor)} ${auditor?.url}`,
    `witness customer ${cosigner(customer)} ${customer?.url}`,
    'group both 2 auditor customer',
    'quorum both',
  ];
  const policy = `${lines.join('\n')}\n`;
  const reading = parsePolicy(policy);
  assert.equal(reading.kind, 'valid', JSON.stringify(reading));
  const log = join(dir, 'log');
  const evidence = await openEvidence({
    dir: log,
    origin: ORIGIN,
    signer,
    mapKey: Buffer.alloc(32, 7),
    wrapper: rootKeyWrapper(Buffer.alloc(32, 9), 'test'),
    segmentBytes: 1024 * 1024,
    publishEveryMs: 1,
    witnessTimeoutMs: 10_000,
    ...(reading.kind === 'valid' ? { policy: reading.policy } : {}),
  });
  const made = await evidence.record('controller.started', {});
  const index = made.kind === 'durable' ? made.index : 0;
  await evidence.publisher.waitFor(index, 'witnessed', 20_000);
  await evidence.close();
  for (const { child } of processes) child.kill('SIGTERM');
  const ended = await Promise.all(processes.map((one) => one.ended));
  assert.deepEqual(
    ended.map(({ code }) => code),
    [0, 0],
  );
  assert.match(ended[0]?.out ?? '', /"kind":"cosigned"/u);

  writeFileSync(join(dir, 'good.policy'), policy);
  const stranger = generateSigner('stranger.example/w', 'cosigner').signer.vkey;
  const bad = policy.replace(
    'group both 2 auditor customer',
    `witness x ${stranger}\ngroup both 3 auditor customer x`,
  );
  writeFileSync(join(dir, 'bad.policy'), bad);
  const run = (...args: readonly string[]) =>
    startCli(t, args, { env: cleanEnvironment(dir), cwd: dir }).ended;
  const [good, unmet, wrong, shown] = await Promise.all([
    run('ledger', 'verify', '--dir', log, '--policy', 'good.policy'),
    run('ledger', 'verify', '--dir', log, '--policy', 'bad.policy'),
    run('ledger', 'verify', '--dir', log, '--policy', 'auditor.nothing'),
    run('ledger', 'checkpoint', '--dir', log, '--policy', 'good.policy', '--json'),
  ]);
  assert.equal(good.code, 0, good.out + good.err);
  assert.match(good.out, /quorum met for \d+ entries: cosigned by auditor, customer/u);
  assert.equal(unmet.code, 1, unmet.out);
  assert.match(unmet.out, /quorum NOT met: KIN_LEDGER_QUORUM_UNMET/u);
  assert.match(wrong.err, /KIN_FILE_UNREADABLE/u);
  assert.equal(shown.code, 0, shown.out);
  assert.match(shown.out, /auditor\.example/u);
});

test('a witness with a bad list of logs, or without a name, says what to correct', async (t) => {
  const dir = tempFolder(t);
  writeFileSync(join(dir, 'logs'), 'log nonsense\n');
  writeFileSync(join(dir, 'good'), `log ${generateSigner(ORIGIN).signer.vkey}\n`);
  const run = (...args: readonly string[]) =>
    startCli(t, args, { env: cleanEnvironment(dir), cwd: dir }).ended;
  const [list, name] = await Promise.all([
    run('ledger', 'witness', '--dir', join(dir, 'w1'), '--name', 'a.example/w', '--logs', 'logs'),
    run('witness', '--dir', join(dir, 'w2'), '--logs', 'good'),
  ]);
  assert.match(list.err, /error KIN_LEDGER_/u);
  assert.notEqual(list.code, 0);
  assert.match(name.err, /error KIN_LEDGER_OPTION_INVALID: a new witness needs a name/u);
});
