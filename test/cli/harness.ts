// Runs the real command against a control API over a fake port: in a process of its own where that
// process is what is looked at (signals, exit status, pipes), else inside this one, which spares
// the start of a process for each of hundreds of calls.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  makeStateFolder,
  statePaths,
  writeRunFile,
  writeStateFile,
} from '../../src/api/state-folder.ts';
import { quietSleep } from '../../src/cli/context.ts';
import type { Context, Globals } from '../../src/cli/context.ts';
import { EXIT, failureOf } from '../../src/cli/exit.ts';
import { identify } from '../../src/cli/processes.ts';
import { buildProgram, isUsageError, usageError } from '../../src/cli/program.ts';
import { paintFor } from '../../src/cli/style.ts';
import { VERSION } from '../../src/cli/version.ts';
import { rig } from '../api/harness.ts';
import type { Rig } from '../api/harness.ts';

export const ROOT = join(import.meta.dirname, '..', '..');
const CLI = join(ROOT, 'src', 'cli', 'kintsugi.ts');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export function tempFolder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'kin-cli-'));
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}

/** Nothing of the developer's own instances or settings is seen. */
export function cleanEnvironment(dir: string): Record<string, string> {
  const runtime = join(dir, 'runtime');
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  return {
    PATH: process.env['PATH'] ?? '',
    HOME: dir,
    XDG_RUNTIME_DIR: runtime,
    USER: 'alice',
    // As `bin/kintsugi.mjs` sets it: halves each start.
    NODE_COMPILE_CACHE: join(ROOT, 'node_modules', '.cache', 'compile'),
  };
}

export interface Running {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  readonly ended: Promise<Ended>;
}

export function startCli(t: TestContext, args: readonly string[], options: RunOptions): Running {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const text = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.out += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.err += chunk));
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, ...text }));
  });
  return { child, out: () => text.out, err: () => text.err, ended };
}

/** As `startCli` with the output in pipes, and `src/cli/kintsugi.ts` inside this process. */
export async function callCli(args: readonly string[], options: RunOptions): Promise<Ended> {
  const { env = {}, cwd = ROOT } = options;
  const text = { out: '', err: '' };
  const paint = paintFor(false, env);
  const term = {
    out: (more: string) => void (text.out += more),
    err: (more: string) => void (text.err += more),
    isTty: false,
    columns: () => 100,
    rows: () => 10_000,
  };
  const context = (globals: Globals): Context => ({
    ...{ term, paint, globals, env, cwd },
    ...{ nowMs: () => Date.now(), sleep: quietSleep },
  });
  let code: number = EXIT.ok;
  try {
    const program = buildProgram(VERSION, context, (exitCode) => (code = exitCode));
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    const told = isUsageError(error) ? usageError(error) : error;
    if (told === undefined) return { code: EXIT.ok, signal: null, ...text };
    const failure = failureOf(told, args.includes('--json'), paint);
    text.err += failure.text;
    code = failure.exitCode;
  }
  return { code, signal: null, ...text };
}

export interface CliRig {
  readonly rig: Rig;
  readonly stateDir: string;
  readonly env: Readonly<Record<string, string>>;
  /** Inside this process. */
  readonly cli: (...args: readonly string[]) => Promise<Ended>;
  readonly start: (...args: readonly string[]) => Running;
}

/** An instance as the CLI finds it: this very process is the controller, and init as well. */
export async function cliRig(t: TestContext): Promise<CliRig> {
  const made = await rig(t);
  const dir = tempFolder(t);
  const stateDir = join(dir, '.kintsugi');
  makeStateFolder(stateDir);
  const own = identify(process.pid);
  writeRunFile(stateDir, {
    v: 1,
    controlUrl: made.api.url,
    gatewayUrl: 'http://127.0.0.1:8080',
    instance: 'ctl-01',
    pid: process.pid,
    pidStart: own.start,
    startedAtMs: Date.now(),
    manifest: '/srv/clinic/kintsugi.yaml',
  });
  writeStateFile(statePaths(stateDir).operatorToken, `${made.token}\n`);
  writeStateFile(statePaths(stateDir).initPid, `${process.pid} ${own.start ?? ''}\n`);
  const env = cleanEnvironment(dir);
  const start = (...args: readonly string[]): Running =>
    startCli(t, [...args, '--state', stateDir], { env, cwd: dir });
  const cli = (...args: readonly string[]): Promise<Ended> =>
    callCli([...args, '--state', stateDir], { env, cwd: dir });
  return { rig: made, stateDir, env, start, cli };
}
