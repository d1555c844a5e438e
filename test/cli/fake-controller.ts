// Stands in for the control plane in tests of `down`: serves the control API over a fake port,
// keeps one replica, and ends it when it is asked to shut everything down.
//   node fake-controller.ts STATE
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startControlApi } from '../../src/api/server.ts';
import { statePaths, writeRunFile } from '../../src/api/state-folder.ts';
import { ensureOperatorToken } from '../../src/api/token.ts';
import { identify } from '../../src/cli/processes.ts';
import { fakeControl } from '../api/fake.ts';
import { bookLog, CLOCK } from '../api/harness.ts';

const stateDir = process.argv[2] ?? '';
const mode = process.env['FAKE_MODE'] ?? 'good';
const trap = mode === 'stubborn' ? "process.on('SIGTERM', () => {});" : '';
const replica = spawn(process.execPath, ['-e', `${trap} setInterval(() => {}, 1000)`], {
  detached: true,
  stdio: 'ignore',
  env: { KINTSUGI_REPLICA: 'records-1', KINTSUGI_SOCKET: statePaths(stateDir).socket },
});
writeFileSync(join(stateDir, 'replica.pid'), String(replica.pid));
const control = fakeControl({
  shutdown: async () => {
    if (mode === 'good') replica.kill('SIGTERM');
  },
});
const api = await startControlApi({
  control,
  token: ensureOperatorToken(stateDir),
  host: '127.0.0.1',
  port: 0,
  version: '0',
  clock: CLOCK,
  ids: { next: () => 'req-1' },
  log: bookLog([]),
});
writeRunFile(stateDir, {
  v: 1,
  controlUrl: api.url,
  gatewayUrl: 'http://127.0.0.1:1',
  instance: 'x',
  pid: process.pid,
  pidStart: identify(process.pid).start,
  startedAtMs: Date.now(),
  manifest: '/srv/kintsugi.yaml',
});
process.on('SIGTERM', () => process.exit(0));
