// Where does the ledger lie that an auditor's command is about, and whose key counts? A folder with
// the log itself, or a static export of one; the key is given, or the one beside it, and said.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseVkey } from '@kintsugi/ledger/verify';
import { statePaths } from '../../api/state-folder.ts';
import { KinError } from '../../model/errors.ts';
import { findStateDir } from '../connect.ts';
import type { Context } from '../context.ts';
import { KEY_BYTES_MAX, NAMED_BYTES_MAX, readRegular } from './read-file.ts';

export interface LedgerPlace {
  readonly dir: string | undefined;
  readonly vkey: string | undefined;
}

export interface FoundLedger {
  readonly dir: string;
  readonly vkey: string;
  readonly keyFrom: 'given' | 'folder';
  /** The folder ships another key than the one that was given. */
  readonly otherKey?: string;
  /** `export`: tiles and a checkpoint; there is nothing of the writer in it. */
  readonly kind: 'log' | 'export';
}

export function findLedger(context: Context, place: LedgerPlace): FoundLedger {
  const folder =
    place.dir === undefined
      ? statePaths(findStateDir(context)).ledger
      : resolve(context.cwd, place.dir);
  const candidates = [
    folder,
    join(folder, 'log'),
    join(folder, 'ledger'),
    join(folder, 'ledger', 'log'),
  ];
  const dir = candidates.find((candidate) => existsSync(join(candidate, 'seg')));
  if (dir !== undefined) return { dir, ...keyOf(context, dir, place.vkey), kind: 'log' };
  if (existsSync(join(folder, 'checkpoint')) && existsSync(join(folder, 'tile'))) {
    return { dir: folder, ...keyOf(context, folder, place.vkey), kind: 'export' };
  }
  throw new KinError(
    'KIN_LEDGER_NOT_FOUND',
    `there is no ledger in ${folder}`,
    'Pass its folder, or that of an export: --dir DIR.',
  );
}

/** Commands that read the log's own files, not an export. */
export function findLogFolder(context: Context, place: LedgerPlace): FoundLedger {
  const found = findLedger(context, place);
  if (found.kind === 'log') return found;
  throw new KinError(
    'KIN_LEDGER_NOT_FOUND',
    `${found.dir} is an export of a ledger, not its folder`,
    'Pass the folder that the log was written to: --dir DIR.',
  );
}

function keyOf(
  context: Context,
  dir: string,
  given: string | undefined,
): Pick<FoundLedger, 'vkey' | 'keyFrom' | 'otherKey'> {
  if (given !== undefined) {
    const named = givenKey(context, given);
    const own = besideIfGood(dir);
    const other = own === undefined || own === named ? {} : { otherKey: own };
    return { vkey: named, keyFrom: 'given', ...other };
  }
  const vkey = ownKey(dir);
  if (vkey !== undefined) return { vkey, keyFrom: 'folder' };
  throw new KinError(
    'KIN_LEDGER_KEY_MISSING',
    `no public key stands beside ${dir}`,
    'Pass the key, or a file with it: --vkey KEY.',
  );
}

/** A key that is none is a mistake of who typed it, and says nothing about the ledger. */
export function givenKey(context: Pick<Context, 'cwd'>, given: string): string {
  const path = resolve(context.cwd, given);
  const isFile = existsSync(path);
  const key = isFile ? keyFile(path) : given.trim();
  if (isVkey(key)) return key;
  throw new KinError(
    'KIN_USAGE',
    isFile
      ? `--vkey: ${path} holds no public key of a log`
      : '--vkey is neither a file nor a public key of a log: a letter of it may be wrong',
    'A key is NAME+HASH+KEY in one line, as `kintsugi ledger checkpoint` shows it.',
  );
}

/** One that the folder itself ships: to be compared, and to be said. */
export function keyBeside(path: string): string {
  const key = keyFile(path);
  if (isVkey(key)) return key;
  throw new KinError(
    'KIN_LEDGER_KEY_MISSING',
    `${path} holds no public key of a log`,
    'Pass the key, or a file with it: --vkey KEY.',
  );
}

function keyFile(path: string): string {
  try {
    return readRegular(path, KEY_BYTES_MAX).toString('utf8').trim();
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** The hash in it is over name and key, so that one wrong letter is found. */
const isVkey = (text: string): boolean => parseVkey(text) !== undefined;

/** `proof`: out of the file with the proof; `running`: of the control plane that was asked. */
export type KeyFrom = FoundLedger['keyFrom'] | 'proof' | 'running';

const KEY_PLACES: Readonly<Record<Exclude<KeyFrom, 'given'>, string>> = {
  folder: 'in the folder',
  proof: 'in the file',
  running: 'that the running system names',
};

/** EVI1: a key that came with what it verifies proves nothing until somebody compares it. */
export function keyLines(
  { paint }: Context,
  keyFrom: KeyFrom,
  otherKey?: string,
): readonly string[] {
  if (otherKey !== undefined) {
    const other = `another key lies in the folder than the one that you gave: ${otherKey}`;
    return [`${other}; one of the two is not of this log`];
  }
  if (keyFrom === 'given') return [];
  const place = KEY_PLACES[keyFrom];
  return [paint.dim(`the key is the one ${place}: compare it with the one that you know`)];
}

/** It is only compared: what is no key is not there. */
function besideIfGood(dir: string): string | undefined {
  try {
    return ownKey(dir);
  } catch {
    return undefined;
  }
}

function ownKey(dir: string): string | undefined {
  for (const path of [join(dir, '..', 'vkey'), join(dir, 'vkey')]) {
    if (existsSync(path)) return keyBeside(path);
  }
  try {
    const text = readRegular(join(dir, 'log.json'), KEY_BYTES_MAX).toString('utf8');
    const log: unknown = JSON.parse(text);
    const isLog = typeof log === 'object' && log !== null && 'vkey' in log;
    return isLog && typeof log.vkey === 'string' && isVkey(log.vkey) ? log.vkey : undefined;
  } catch {
    return undefined;
  }
}

/** The secret key of the map, when this user may read it: an audit then computes each position. */
export function mapKeyOf(
  context: Context,
  { dir }: FoundLedger,
  given: string | undefined,
): Uint8Array | undefined {
  const paths =
    given === undefined
      ? [join(dir, 'map.key'), join(dir, '..', 'map.key')]
      : [resolve(context.cwd, given)];
  for (const path of paths) {
    let bytes: Buffer;
    try {
      bytes = readRegular(path, KEY_BYTES_MAX);
    } catch (error) {
      if (given === undefined) continue;
      throw unreadable(path, error);
    }
    const key = mapKeyIn(bytes);
    if (key !== undefined) return key;
    if (given !== undefined) throw unreadable(path, new Error('it holds no 32 bytes'));
  }
  return undefined;
}

const MAP_KEY_BYTES = 32;

/** As the controller writes it (64 hex digits), as base64, or as the bytes themselves. */
function mapKeyIn(bytes: Buffer): Uint8Array | undefined {
  if (bytes.length === MAP_KEY_BYTES) return bytes;
  const text = bytes.toString('latin1').trim();
  if (/^[0-9a-f]{64}$/iu.test(text)) return Buffer.from(text, 'hex');
  const key = Buffer.from(text, 'base64');
  return key.length === MAP_KEY_BYTES ? key : undefined;
}

/** A proof, an entry, a policy, a list: small files that a person names. */
export function readNamed(
  context: Pick<Context, 'cwd'>,
  name: string,
  most = NAMED_BYTES_MAX,
): Buffer {
  const path = resolve(context.cwd, name);
  try {
    return readRegular(path, most);
  } catch (error) {
    throw unreadable(path, error);
  }
}

export const readNamedText = (context: Pick<Context, 'cwd'>, name: string): string =>
  readNamed(context, name).toString('utf8');

export function unreadable(path: string, error: unknown): KinError {
  return new KinError(
    'KIN_FILE_UNREADABLE',
    `${path} cannot be read: ${whyOf(error)}`,
    'Check the path and its permissions.',
  );
}

export function unwritable(path: string, error: unknown): KinError {
  return new KinError(
    'KIN_FILE_UNWRITABLE',
    `${path} cannot be written: ${whyOf(error)}`,
    'Name a new file in a folder that you may write to; nothing is overwritten.',
  );
}

function whyOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  return code ?? (error instanceof Error ? error.message : String(error));
}
