// Which files do the CLI and the controller leave for each other in the state folder, and what is
// in them? The only place that names them. Everything here is 0600 in a folder that is 0700.
//
//   SF1. A file appears whole or not at all (written beside, then renamed), never readable by
//        others.
//   SF2. A file that others could have written (owner or mode) is refused, not believed.
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { KinError, messageOf } from '../model/errors.ts';

/** Written by `kintsugi up` before it starts init; read by the controller at every start. */
export interface StartFile {
  readonly v: 1;
  /** Absolute path of the manifest. */
  readonly manifest: string;
  /** Overrides of the manifest's ports, when given on the command line. */
  readonly gatewayPort: number | undefined;
  readonly controlPort: number | undefined;
  /** Unix socket between controller, gateways and replicas (kept short: the limit is 107 bytes). */
  readonly socket: string;
}

/** Written by the controller when its API listens; removed when it ends in order. */
export interface RunFile {
  readonly v: 1;
  /** For example `http://127.0.0.1:8081`. */
  readonly controlUrl: string;
  readonly gatewayUrl: string;
  readonly instance: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat where there is one: tells a reused pid apart. */
  readonly pidStart: string | undefined;
  readonly startedAtMs: number;
  readonly manifest: string;
}

/** Written by the controller on the very first start; `up` prints it once and deletes it. */
export interface FirstKeysFile {
  readonly v: 1;
  readonly keys: readonly { readonly tenant: string; readonly id: string; readonly key: string }[];
}

/** Written by a controller that cannot start, so that `up` can say why. Removed by a good start. */
export interface FailedFile {
  readonly v: 1;
  readonly code: string;
  readonly message: string;
  readonly fix: string;
  readonly atMs: number;
}

export interface StatePaths {
  readonly dir: string;
  readonly start: string;
  readonly run: string;
  readonly firstKeys: string;
  readonly failed: string;
  readonly operatorToken: string;
  readonly init: string;
  readonly initPid: string;
  readonly logs: string;
  readonly ledger: string;
  readonly gateway: string;
  readonly socket: string;
}

export function statePaths(dir: string): StatePaths {
  const at = (name: string): string => join(dir, name);
  return {
    dir,
    start: at('start.json'),
    run: at('run.json'),
    firstKeys: at('first-keys.json'),
    failed: at('failed.json'),
    operatorToken: at('operator.token'),
    init: at('init.json'),
    initPid: at('init.pid'),
    logs: at('logs'),
    ledger: at('ledger'),
    gateway: at('gateway'),
    socket: socketPath(dir),
  };
}

/**
 * The path of a unix socket may have 107 bytes (103 on macOS): deep folders get a short stand-in.
 */
function socketPath(dir: string): string {
  const own = join(dir, 'control.sock');
  if (Buffer.byteLength(own) <= 100) return own;
  const mark = createHash('sha256').update(dir).digest('hex').slice(0, 16);
  const uid = process.getuid?.() ?? 0;
  return join(
    process.env['XDG_RUNTIME_DIR'] ?? tmpdir(),
    `kintsugi-${uid}-${mark}`,
    'control.sock',
  );
}

/** Makes the folder (0700) and those that it needs; refuses one that cannot be written. */
export function makeStateFolder(dir: string): void {
  const paths = statePaths(dir);
  try {
    for (const folder of [dir, paths.logs, paths.gateway, dirname(paths.socket)]) {
      makeOwnFolder(folder);
    }
    writeStateFile(join(dir, '.writable'), '');
    rmSync(join(dir, '.writable'));
  } catch (error) {
    if (error instanceof KinError) throw error;
    throw new KinError(
      'KIN_STATE_NOT_WRITABLE',
      `the state folder ${dir} cannot be written: ${messageOf(error)}`,
      'Pass a folder that you may write with --state DIR, or correct its owner and permissions.',
      { cause: error },
    );
  }
}

/** 0700 and ours, or a KinError. */
export function makeOwnFolder(folder: string): void {
  makeFolder(folder);
  assertOwnFolder(folder);
}

/** Not `recursive: true`: under /proc that never comes back (ENOENT for ever). */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  const parent = dirname(folder);
  if (parent !== folder) makeFolder(parent);
  mkdirSync(folder, { mode: 0o700 });
}

function assertOwnFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const { uid } = fstatSync(fd);
    if (process.getuid !== undefined && uid !== process.getuid()) {
      throw new KinError(
        'KIN_STATE_NOT_WRITABLE',
        `the state folder ${folder} belongs to another user (uid ${uid})`,
        'Run as that user, or pass a folder of your own with --state DIR.',
      );
    }
  } finally {
    closeSync(fd);
  }
  chmodSync(folder, 0o700);
}

/** Keys lie in such files: a power cut must not take back what was named. */
function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** SF1. */
export function writeStateFile(path: string, text: string): void {
  const beside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    writeFileSync(beside, text, { mode: 0o600, flag: 'wx', flush: true });
    renameSync(beside, path);
    syncFolder(dirname(path));
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}

/** SF2. Undefined when there is none. At most 1 MiB is read. */
export function readStateFile(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw unreadable(path, messageOf(error), error);
  }
  try {
    const { uid, mode, size } = fstatSync(fd);
    const own = process.getuid?.() ?? uid;
    if (uid !== own && uid !== 0) throw unreadable(path, `it belongs to uid ${uid}`);
    if ((mode & 0o077) !== 0) {
      throw unreadable(path, `others may read or write it (mode ${(mode & 0o777).toString(8)})`);
    }
    if (size > 1_048_576) throw unreadable(path, `it has ${size} bytes`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

export const writeStartFile = (dir: string, file: StartFile): void =>
  writeJson(statePaths(dir).start, file);
export const writeRunFile = (dir: string, file: RunFile): void =>
  writeJson(statePaths(dir).run, file);
export const writeFirstKeysFile = (dir: string, file: FirstKeysFile): void =>
  writeJson(statePaths(dir).firstKeys, file);
export const writeFailedFile = (dir: string, file: FailedFile): void =>
  writeJson(statePaths(dir).failed, file);

export const readStartFile = (dir: string): StartFile | undefined =>
  readJson(statePaths(dir).start, (value): value is StartFile =>
    isVersion1(value, { manifest: 'string', socket: 'string' }),
  );
export const readRunFile = (dir: string): RunFile | undefined =>
  readJson(statePaths(dir).run, (value): value is RunFile =>
    isVersion1(value, { controlUrl: 'string', gatewayUrl: 'string', pid: 'number' }),
  );
export const readFirstKeysFile = (dir: string): FirstKeysFile | undefined =>
  readJson(statePaths(dir).firstKeys, (value): value is FirstKeysFile =>
    isVersion1(value, { keys: 'object' }),
  );
export const readFailedFile = (dir: string): FailedFile | undefined =>
  readJson(statePaths(dir).failed, (value): value is FailedFile =>
    isVersion1(value, { code: 'string', message: 'string', fix: 'string' }),
  );

function writeJson(path: string, value: unknown): void {
  writeStateFile(path, `${JSON.stringify(value, undefined, 2)}\n`);
}

function readJson<T>(path: string, isFile: (value: unknown) => value is T): T | undefined {
  const text = readStateFile(path);
  if (text === undefined) return undefined;
  const value = parsed(path, text);
  if (isFile(value)) return value;
  throw unreadable(path, 'it is not a file of this version');
}

/** Enough to tell a damaged file from a good one; these files have one writer, ourselves. */
function isVersion1(value: unknown, needs: Readonly<Record<string, string>>): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const found = value as Readonly<Record<string, unknown>>;
  return (
    found['v'] === 1 && Object.entries(needs).every(([key, type]) => typeof found[key] === type)
  );
}

function parsed(path: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw unreadable(path, messageOf(error), error);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function unreadable(path: string, why: string, cause?: unknown): KinError {
  return new KinError(
    'KIN_STATE_FILE_INVALID',
    `${path} cannot be used: ${why}`,
    'Correct its owner and mode (chmod 600), or stop everything, delete the file and start again.',
    cause === undefined ? undefined : { cause },
  );
}
