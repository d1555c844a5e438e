// Who may use the control API? The holder of the operator token: a file that only the user who runs
// Kintsugi can read. Possession of the file is the identity.
//
//   TK1. Tokens are compared in constant time, whatever their lengths.
//   TK2. The token file is made once, 0600, and never read when others could have touched it.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { KinError } from '../model/errors.ts';
import { readStateFile, statePaths, writeStateFile } from './state-folder.ts';

const TOKEN = /^kin_op_[A-Za-z0-9_-]{43}$/u;

export const isOperatorToken = (text: string): boolean => TOKEN.test(text);

export function newOperatorToken(): string {
  return `kin_op_${randomBytes(32).toString('base64url')}`;
}

/** Both sides are hashed first: equal lengths for the compare, and nothing learned from them. */
export function sameToken(given: string, wanted: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(wanted));
}

/** Undefined when there is none yet. */
export function readOperatorToken(stateDir: string): string | undefined {
  const path = statePaths(stateDir).operatorToken;
  const token = readStateFile(path)?.trim();
  if (token === undefined || isOperatorToken(token)) return token;
  throw new KinError(
    'KIN_STATE_FILE_INVALID',
    `${path} does not hold an operator token`,
    'Stop Kintsugi, delete the file and start it again: it makes a new one.',
  );
}

/** The controller's first act with its state folder; `up` may do it as well. */
export function ensureOperatorToken(stateDir: string): string {
  const found = readOperatorToken(stateDir);
  if (found !== undefined) return found;
  const token = newOperatorToken();
  writeStateFile(statePaths(stateDir).operatorToken, `${token}\n`);
  return token;
}
