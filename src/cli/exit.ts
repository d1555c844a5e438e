// What does the exit status of `kintsugi` say? Six numbers, the same for every command; scripts
// rely on them (docs/reference/cli.md).
//
//   EX1. A KinError is printed with its code and its fix, and never with a stack.
import { asKinError, exitCodeOf } from '../api/failure.ts';
import { messageOf } from '../model/errors.ts';
import { harmless } from './style.ts';
import type { Paint } from './style.ts';

export const EXIT = {
  ok: 0,
  /** It was done and the answer is no: rolled back, violated, unknown name. */
  failed: 1,
  usage: 2,
  notRunning: 3,
  refused: 4,
  unavailable: 69,
  configuration: 78,
} as const;

export interface Failure {
  readonly text: string;
  readonly exitCode: number;
}

export function failureOf(error: unknown, json: boolean, paint: Paint): Failure {
  const known = asKinError(error);
  if (known === undefined) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
    const text = json
      ? JSON.stringify({ error: { code: 'KIN_BUG', message: messageOf(error), fix: REPORT } })
      : `${paint.red('error KIN_BUG')}: ${stack}\nfix: ${REPORT}`;
    return { text: `${text}\n`, exitCode: EXIT.failed };
  }
  const { code, message, fix } = known;
  const text = json
    ? JSON.stringify({ error: { code, message, fix } })
    : `${paint.red(`error ${code}`)}: ${harmless(message)}\n${paint.dim('fix:')} ${harmless(fix)}`;
  return { text: `${text}\n`, exitCode: exitCodeOf(code) };
}

const REPORT = 'This is a bug of Kintsugi: please report it with this text.';
