// As whom does PostgreSQL run, and where may that user read and write? PostgreSQL refuses to be
// root. A container or a server often is, so root hands over to an unprivileged user.
//
// U1. As root: the user `postgres`, else `nobody`. Otherwise: the user that we are.
// U2. If that user cannot reach the data folder (a repository below a 0700 folder), the data moves
//     to a folder of its own below /var/tmp, whose name follows from the wanted path.
// U3. A folder that we did not make as expected (symlink, other owner, open mode) is refused: in
//     a place that everybody may write to, somebody else could have made it.
import { createHash } from 'node:crypto';
import { chownSync, lstatSync, mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Refusal } from './refusal.ts';

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Whether processes must be started under another uid than ours. */
  readonly switched: boolean;
}

export interface Home {
  /** Folder for everything of this database, 0700 and owned by the account. */
  readonly path: string;
  /** Why it is not the wanted folder, if it is not. */
  readonly moved: string | undefined;
}

export function chooseAccount(): Account {
  const uid = process.geteuid?.() ?? 0;
  const gid = process.getegid?.() ?? 0;
  if (uid !== 0) return { name: `uid ${uid}`, uid, gid, switched: false };
  for (const name of ['postgres', 'nobody']) {
    const entry = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .find((fields) => fields[0] === name);
    const [userId, groupId] = [Number(entry?.[2]), Number(entry?.[3])];
    if (userId > 0 && groupId > 0) return { name, uid: userId, gid: groupId, switched: true };
  }
  throw new Refusal(
    'PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`.',
    'Start Kintsugi as an ordinary user, or create one: useradd --system postgres',
  );
}

export function prepareHome(wanted: string, account: Account, shared = '/var/tmp'): Home {
  const path = resolve(wanted);
  if (!account.switched) return { path: makePrivate(path, account), moved: undefined };
  mkdirSync(dirname(path), { recursive: true });
  const parent = realpathSync(dirname(path));
  if (canTraverse(parent, account)) {
    return { path: makePrivate(join(parent, basename(path)), account), moved: undefined };
  }
  const digest = createHash('sha256').update(path).digest('hex').slice(0, 12);
  const instead = join(shared, `kintsugi-${account.uid}-${digest}`);
  const moved = `user ${account.name} cannot reach ${path}`;
  return { path: makePrivate(instead, account), moved };
}

/** Makes the folder, or checks that it is the one that we would have made (U3). */
function makePrivate(path: string, account: Account): string {
  mkdirSync(dirname(path), { recursive: true });
  let made = true;
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (Reflect.get(error as object, 'code') !== 'EEXIST') {
      throw new Refusal(
        `The data folder ${path} cannot be made.`,
        'Make its parent writable, or set CLINIC_DATA to another folder.',
        { cause: error },
      );
    }
    made = false;
  }
  if (made && account.switched) chownSync(path, account.uid, account.gid);
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === account.uid && (found.mode & 0o077) === 0) return path;
  throw new Refusal(
    `${path} is not a private folder (mode 0700) of ${account.name}.`,
    `Look what it is; if it is yours: chown ${account.uid} and chmod 700 it, or remove it.`,
  );
}

/** May the account pass through every folder down to this one? */
export function canTraverse(path: string, account: Account): boolean {
  const real = realpathSync(path);
  const bits = accessBits(real, account);
  const parent = dirname(real);
  return (bits & 1) !== 0 && (parent === real || canTraverse(parent, account));
}

/** May the account read, or for a folder list and enter, this path itself? */
export function canRead(path: string, account: Account): boolean {
  const needed = statSync(path).isDirectory() ? 5 : 4;
  return (accessBits(path, account) & needed) === needed;
}

/** rwx of the account as three bits, by the classic owner, group, others rule. */
function accessBits(path: string, account: Account): number {
  const { uid, gid, mode } = statSync(path);
  if (uid === account.uid) return (mode >> 6) & 7;
  return gid === account.gid ? (mode >> 3) & 7 : mode & 7;
}
