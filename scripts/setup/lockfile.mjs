// Which packages of package-lock.json does this machine need, and which of them are not there?
// npm records what it installed in node_modules/.package-lock.json; a package counts as present
// when that record and the lock agree on it and its folder exists.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SetupProblem } from '../../bin/pinned-node.mjs';

export function readLock(path) {
  let text;
  try {
    text = readFileSync(path, 'utf8');
    const { packages } = JSON.parse(text);
    const locked = Object.values(packages).filter((entry) => entry.integrity !== undefined);
    const count = locked.filter(fitsHere).length;
    return { text, packages, count };
  } catch (error) {
    throw new SetupProblem(
      'KIN_SETUP_LOCKFILE',
      `${path} cannot be read (${error.code ?? error.message}).`,
      'restore the file: git checkout -- package-lock.json',
    );
  }
}

/** The names of locked packages that this machine needs and that are missing or different. */
export function lackingPackages(root, lock) {
  const installed = readInstalled(root);
  return Object.entries(lock.packages)
    .filter(([path, wanted]) =>
      path.startsWith('node_modules/') || path.includes('/node_modules/')
        ? !isPresent(root, path, wanted, installed[path])
        : false,
    )
    .map(([path]) => path.replace(/^.*node_modules\//, ''));
}

function readInstalled(root) {
  try {
    return JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8'))
      .packages;
  } catch {
    return {};
  }
}

function isPresent(root, path, wanted, found) {
  if (wanted.link === true) return existsSync(join(root, path, 'package.json'));
  if (!fitsHere(wanted)) return true;
  if (found === undefined) return wanted.peer === true && wanted.optional === true;
  // Entries of other platforms' lint binaries carry no hash where the registry had none to give.
  const sameHash = wanted.integrity === undefined || found.integrity === wanted.integrity;
  const same = found.version === wanted.version && sameHash;
  return same && existsSync(join(root, path, 'package.json'));
}

/** Whether `os`, `cpu` and `libc` of a lock entry name this machine; only optional ones may not. */
function fitsHere(entry) {
  if (entry.optional !== true && entry.devOptional !== true) return true;
  return (
    names(entry.os, process.platform) && names(entry.cpu, process.arch) && names(entry.libc, libc())
  );
}

function names(field, here) {
  if (field === undefined || here === undefined) return true;
  const list = [field].flat();
  if (list.includes(`!${here}`)) return false;
  const wanted = list.filter((item) => !item.startsWith('!'));
  return wanted.length === 0 || wanted.includes('any') || wanted.includes(here);
}

let knownLibc;
/** `glibc` or `musl` on Linux; undefined elsewhere. */
export function libc() {
  if (process.platform !== 'linux') return undefined;
  if (knownLibc === undefined) {
    // The report looks network interfaces up unless told not to, which can take seconds.
    process.report.excludeNetwork = true;
    knownLibc =
      process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
  }
  return knownLibc;
}
