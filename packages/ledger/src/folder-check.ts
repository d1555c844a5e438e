// May others write where the ledger lies? Whoever can add a name to the folder can put another
// segment or lock there, so it is refused at the start rather than found out by a check later.

import { lstat, stat } from 'node:fs/promises';
import { LedgerError } from './errors.ts';

const OTHERS_WRITE = 0o002;
const GROUP_WRITES = 0o020;

export async function checkFolder(path: string, which: 'top' | 'inner'): Promise<void> {
  if (which === 'inner' && (await lstat(path)).isSymbolicLink()) {
    const file = path.slice(path.lastIndexOf('/') + 1);
    throw new LedgerError('KIN_LEDGER_CORRUPT', `${path} is a symbolic link`, {
      place: { file, offset: 0, index: 0 },
    });
  }
  const { mode, gid } = await stat(path);
  const who = whoElseWrites(mode, gid);
  if (who === undefined) return;
  const shown = (mode & 0o7777).toString(8).padStart(4, '0');
  const message = `${path} has the mode ${shown}: ${who} may write there`;
  throw new LedgerError('KIN_LEDGER_UNSAFE_MODE', message);
}

/** A group of ours was given to us on purpose, as the volumes of containers are. */
function whoElseWrites(mode: number, gid: number): string | undefined {
  const { getgid, getgroups } = process;
  if (getgid === undefined || getgroups === undefined) return undefined;
  if ((mode & OTHERS_WRITE) !== 0) return 'every user';
  if ((mode & GROUP_WRITES) === 0) return undefined;
  return getgid() === gid || getgroups().includes(gid) ? undefined : `the group ${gid}`;
}
