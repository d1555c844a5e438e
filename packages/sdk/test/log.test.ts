import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { inspect } from 'node:util';
import { describe, it } from 'node:test';
import { createLogger, readEnvironment, redact } from '../src/index.ts';
import { completeAudit } from '../src/audit.ts';
import { withContext } from '../src/tenant.ts';

const { identity } = readEnvironment({ KINTSUGI_SERVICE: 'records' });

describe('log', () => {
  it('L1 replaces values under sensitive keys, however they are written and at any depth', () => {
    const fields = { a: [{ Authorization: 'x', 'x-api-key': 'y', ok: 1 }], SSN: 3, passWord: {} };
    const mask = '[redacted]';
    assert.deepEqual(redact(fields), {
      a: [{ Authorization: mask, 'x-api-key': mask, ok: 1 }],
      SSN: mask,
      passWord: mask,
    });
  });

  it('L2 masks credentials and social security numbers inside texts and errors', () => {
    const text = 'call 078-05-1120 with Bearer abcdefghijkl at postgres://u:hunter2@h/db';
    const masked = JSON.stringify(redact({ text, error: new Error(text) }));
    for (const secret of ['078-05', 'abcdefghijkl', 'hunter2']) assert.ok(!masked.includes(secret));
    assert.ok(masked.includes('postgres://u:[redacted]@h/db'));
  });

  it('L3 bounds a line, and a cycle does not hang it', () => {
    const lines: string[] = [];
    const logger = createLogger({ identity, write: (line) => lines.push(line) });
    const cycle: Record<string, unknown> = { long: 'x'.repeat(100_000) };
    cycle['self'] = cycle;
    logger.info('cycle', cycle);
    logger.info('many', { list: Array.from({ length: 5_000 }, () => 'y'.repeat(1_000)) });
    for (const line of lines) {
      assert.ok(line.length < 20_000, `${line.length} characters`);
      assert.ok(!line.includes('\n'));
      JSON.parse(line);
    }
    assert.equal(lines.length, 2);
  });

  it('L4 survives that nobody reads its output any more', async () => {
    const sdk = new URL('../src/index.ts', import.meta.url).href;
    const code = `import { createLogger, readEnvironment } from '${sdk}';
      const log = createLogger({ identity: readEnvironment().identity });
      process.once('message', () => {
        for (let i = 0; i < 100; i += 1) log.info('nobody hears this');
        setTimeout(() => { process.send('alive'); process.disconnect(); }, 50);
      });
      process.send('started');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    await once(child, 'message');
    child.stdout?.destroy();
    child.send('go');
    assert.deepEqual(await once(child, 'message'), ['alive', undefined]);
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  it('A1 A2 fills an audit event from the verified request and redacts its details', () => {
    const tenant = { tenant: 'northside', subject: 'key-1', region: 'eu', requestId: 'r-1' };
    const context = { tenant, requestId: 'r-1', traceparent: undefined };
    const event = withContext(context, () =>
      completeAudit({ action: 'a.b', outcome: 'denied', detail: { password: 'x', n: 1 } }, 5),
    );
    assert.deepEqual(event, {
      action: 'a.b',
      outcome: 'denied',
      detail: { password: '[redacted]', n: 1 },
      ...tenant,
      traceparent: undefined,
      atMs: 5,
    });
  });

  it('N1 N2 reads an empty or odd environment, and never prints the assertion key', () => {
    assert.equal(readEnvironment({}).port, 0);
    assert.equal(readEnvironment({ PORT: 'x' }).port, 0);
    assert.equal(readEnvironment({ KINTSUGI_ASSERTION_KEY: 'short' }).assertionKey, undefined);
    const secret = Buffer.alloc(32, 7).toString('base64url');
    const environment = readEnvironment({ KINTSUGI_ASSERTION_KEY: secret });
    assert.notEqual(environment.assertionKey, undefined);
    assert.ok(!`${inspect(environment)}${JSON.stringify(environment)}`.includes(secret));
  });
});
