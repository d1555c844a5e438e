// Where does the ledger lie that an auditor's command is about, and whose key counts? A folder with
// the log itself, or a static export of one; the key is given, or the one beside it, and said.
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { statePaths } from '../../api/state-folder.ts';
import { KinError } from '../../model/errors.ts';
import { findStateDir } from '../connect.ts';
import type { Context } from '../context.ts';

export interface LedgerPlace {
  readonly dir: string | undefined;
  readonly vkey: string | undefined;
}

export interface FoundLedger {
  readonly dir: string;
  readonly vkey: string;
  readonly keyFrom: 'given' | 'folder';
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
): Pick<FoundLedger, 'vkey' | 'keyFrom'> {
  if (given !== undefined) return { vkey: givenKey(context, given), keyFrom: 'given' };
  const vkey = ownKey(dir);
  if (vkey !== undefined) return { vkey, keyFrom: 'folder' };
  throw new KinError(
    'KIN_LEDGER_KEY_MISSING',
    `no public key stands beside ${dir}`,
    'Pass the key, or a file with it: --vkey KEY.',
  );
}

export function givenKey(context: Context, given: string): string {
  const path = resolve(context.cwd, given);
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : given;
}

function ownKey(dir: string): string | undefined {
  for (const path of [join(dir, '..', 'vkey'), join(dir, 'vkey')]) {
    if (existsSync(path)) return readFileSync(path, 'utf8').trim();
  }
  try {
    const log: unknown = JSON.parse(readFileSync(join(dir, 'log.json'), 'utf8'));
    const isLog = typeof log === 'object' && log !== null && 'vkey' in log;
    return isLog && typeof log.vkey === 'string' ? log.vkey : undefined;
  } catch {
    return undefined;
  }
}

const MAP_KEY_BYTES = 32;

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
      bytes = readFileSync(path);
    } catch (error) {
      if (given === undefined) continue;
      throw unreadable(path, error);
    }
    const text = bytes.toString('latin1').trim();
    const key = bytes.length === MAP_KEY_BYTES ? bytes : Buffer.from(text, 'base64');
    if (key.length === MAP_KEY_BYTES) return key;
    if (given !== undefined) throw unreadable(path, new Error('it holds no 32 bytes'));
  }
  return undefined;
}

const FILE_BYTES_MAX = 8 * 1024 * 1024;

/** A proof, an entry, a policy, a list: small files that a person names. */
export function readNamed(context: Pick<Context, 'cwd'>, name: string): Buffer {
  const path = resolve(context.cwd, name);
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    const { size } = fstatSync(file);
    if (size > FILE_BYTES_MAX) throw new Error(`it has more than ${FILE_BYTES_MAX} bytes`);
    const bytes = Buffer.alloc(size);
    const read = readSync(file, bytes, 0, size, 0);
    return bytes.subarray(0, read);
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    if (file !== undefined) closeSync(file);
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
