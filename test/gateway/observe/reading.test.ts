import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ownLogs } from '../../../src/cli/logs.ts';

test('`kintsugi logs access` shows what each worker writes now, not what was rotated away', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kin-logs-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'logs'));
  const names = ['access-gateway-1.ndjson', 'access-gateway-1.1.ndjson', 'access-gateway-2.ndjson'];
  for (const name of [...names, 'gateway-1.log']) {
    writeFileSync(join(folder, 'logs', name), `${name}\n`);
  }
  const shown = (target: string): string[] => ownLogs(folder, target, 100).map(({ text }) => text);
  assert.deepEqual(shown('access'), ['access-gateway-1.ndjson\n', 'access-gateway-2.ndjson\n']);
  assert.deepEqual(shown('access-gateway-2'), ['access-gateway-2.ndjson\n']);
  assert.deepEqual(shown('gateway'), ['gateway-1.log\n']);
});
