#!/usr/bin/env node
// The `kintsugi` command: reads the arguments, runs one command, and turns whatever happens into
// an exit status and one clear message.
import { processContext } from './context.ts';
import type { Globals } from './context.ts';
import { EXIT, failureOf } from './exit.ts';
import { buildProgram, isUsageError, usageError } from './program.ts';
import { paintFor } from './style.ts';
import { VERSION } from './version.ts';

async function main(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  const wantsJson = argv.includes('--json');
  const program = buildProgram(
    VERSION,
    (globals: Globals) => processContext(globals),
    (code) => {
      exitCode = code;
    },
  );
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    const told = isUsageError(error) ? usageError(error) : error;
    if (told === undefined) return EXIT.ok;
    const failure = failureOf(told, wantsJson, paintFor(process.stderr.isTTY, process.env));
    process.stderr.write(failure.text);
    return failure.exitCode;
  }
}

// `kintsugi logs | head`: the reader has enough, which is no failure of ours.
process.stdout.on('error', (error) => {
  process.exit('code' in error && error.code === 'EPIPE' ? EXIT.ok : EXIT.failed);
});

process.exitCode = await main(process.argv.slice(2));
