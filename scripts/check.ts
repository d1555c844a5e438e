// `npm run check`: what CI checks beside the tests, in seconds: types, lint, format, tidiness.
//   npm run check                  everything
//   npm run check -- types lint    only these
// Each check prints one line, and what it found when it found something. The last line is
// `N passed, N failed`, and the exit status says the same.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot as root } from './test/run-file.ts';

interface Check {
  readonly name: string;
  readonly command: readonly string[];
  /** Why the check cannot be made on this machine. */
  readonly skip?: string;
}

const OUTPUT_CHARS_MAX = 24_000;
const LIMIT_MS = 240_000;
const FOLDERS = ['src', 'packages', 'test', 'scripts', 'bin', 'bench', 'examples'].filter((name) =>
  existsSync(join(root, name)),
);
const script = (name: string): string => join(root, 'node_modules', name);

const checks: readonly Check[] = [
  { name: 'types', command: [script('typescript/bin/tsc'), '-p', 'tsconfig.json'] },
  {
    name: 'lint',
    command: [script('oxlint/bin/oxlint'), '--type-aware', '--deny-warnings', ...FOLDERS],
    ...platformSkip(),
  },
  {
    name: 'format',
    command: [script('oxfmt/bin/oxfmt'), '--check', ...FOLDERS],
    ...platformSkip(),
  },
  { name: 'tidy', command: [join(root, 'scripts/test.ts'), 'test/tidy.test.ts'] },
];

/** The registry that the lock was made from offers the linter's binaries for Linux only. */
function platformSkip(): { readonly skip?: string } {
  if (process.platform === 'linux') return {};
  return { skip: `the linter is not locked for ${process.platform}` };
}

async function main(): Promise<number> {
  const wanted = process.argv.slice(2);
  const unknown = wanted.filter((name) => !checks.some((check) => check.name === name));
  if (unknown.length > 0) {
    print(
      `unknown check ${unknown.join(', ')}; there are ${checks.map(({ name }) => name).join(', ')}`,
    );
    return 64;
  }
  const counts = { passed: 0, failed: 0, skipped: 0 };
  // One after the other: each of them uses every core by itself.
  for (const check of checks) {
    if (wanted.length > 0 && !wanted.includes(check.name)) continue;
    counts[await make(check)]++;
  }
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
  print(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
  return counts.failed > 0 || counts.passed === 0 ? 1 : 0;
}

async function make(check: Check): Promise<'passed' | 'failed' | 'skipped'> {
  const name = check.name.padEnd(7);
  if (check.skip !== undefined) {
    print(`- ${name} skipped: ${check.skip}`);
    return 'skipped';
  }
  const startedAtMs = performance.now();
  const { isOk, output } = await run(check.command);
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  print(`${isOk ? '✓' : '✗'} ${name} ${seconds} s`);
  if (!isOk) print(output.trim().replaceAll(/^/gm, '    '));
  return isOk ? 'passed' : 'failed';
}

interface Ran {
  readonly isOk: boolean;
  readonly output: string;
}

function run(command: readonly string[]): Promise<Ran> {
  const { promise, resolve } = Promise.withResolvers<Ran>();
  const { FORCE_COLOR: _colour, ...env } = process.env;
  const child = spawn(process.execPath, [...command], {
    cwd: root,
    env: { ...env, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    if (output.length < OUTPUT_CHARS_MAX) output += chunk.toString('utf8');
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.on('error', (error) => resolve({ isOk: false, output: error.message }));
  child.on('close', (status, signal) => {
    const end = signal === null ? '' : `\nended by ${signal} after ${LIMIT_MS / 1000} s`;
    resolve({ isOk: status === 0, output: output.slice(0, OUTPUT_CHARS_MAX) + end });
  });
  return promise;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main();
