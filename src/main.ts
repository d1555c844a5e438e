// The control plane's own process: `main.ts controller --state DIR`. Started by init; a person uses
// the `kintsugi` command instead.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { rmSync } from 'node:fs';
import { statePaths, writeFailedFile } from './api/state-folder.ts';
import { runController } from './main/controller.ts';
import { KinError, messageOf } from './model/errors.ts';

const EXIT = { configuration: 78, unavailable: 69, bug: 70 } as const;
/** Waiting may help with these; a changed configuration helps with all other coded errors. */
const UNAVAILABLE = new Set([
  'KIN_STORE_LOCKED',
  'KIN_LEDGER_LOCKED',
  'KIN_PORT_TAKEN',
  'KIN_LEADER_EXISTS',
  'KIN_STORE_FENCED',
  'KIN_STORE_UNREACHABLE',
]);

const { values, positionals } = parseArgs({
  options: { state: { type: 'string' } },
  allowPositionals: true,
});
if (positionals[0] !== 'controller' || values.state === undefined) {
  process.stderr.write('usage: main.ts controller --state DIR\n');
  process.exit(EXIT.configuration);
}
const stateDir = resolve(values.state);
const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());

try {
  await runController(stateDir, stop.signal);
  rmSync(statePaths(stateDir).run, { force: true });
  process.exit(0);
} catch (error) {
  process.exit(report(error));
}

function report(error: unknown): number {
  const code = codeOf(error);
  const fix =
    error instanceof Error && 'fix' in error && typeof error.fix === 'string'
      ? error.fix
      : 'This is a bug: see the log, and report it.';
  process.stderr.write(`error ${code}: ${messageOf(error)}\nfix: ${fix}\n`);
  if (code === 'KIN_BUG' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  try {
    writeFailedFile(stateDir, {
      v: 1,
      code,
      message: messageOf(error),
      fix,
      atMs: Date.now(),
    });
  } catch {
    // The state folder itself may be what is wrong; stderr has it all.
  }
  if (code === 'KIN_BUG') return EXIT.bug;
  return UNAVAILABLE.has(code) ? EXIT.unavailable : EXIT.configuration;
}

function codeOf(error: unknown): string {
  if (error instanceof KinError) return error.code;
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && code.startsWith('KIN_') ? code : 'KIN_BUG';
}
