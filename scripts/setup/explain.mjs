// What does a failed npm run mean for the person in front of it? npm's output is kept and its
// first lines are shown; the code and the fix come from the error codes that it prints.

import { SetupProblem } from '../../bin/pinned-node.mjs';

const LINES_MAX = 12;

const KNOWN = [
  {
    code: 'KIN_SETUP_OFFLINE',
    pattern: /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|network request to/,
    cause: 'the npm registry could not be reached',
    fix:
      'connect to the network once (nothing is fetched after the install), or point npm at a ' +
      'registry or proxy that this machine reaches (npm config set registry URL, or proxy URL)',
  },
  {
    code: 'KIN_SETUP_DISK_FULL',
    pattern: /ENOSPC|EDQUOT/,
    cause: 'the disk or the quota is full',
    fix: 'free about 1 GB, then try again',
  },
  {
    code: 'KIN_SETUP_NOT_WRITABLE',
    pattern: /EACCES|EPERM|EROFS/,
    cause: 'npm may not write where it has to',
    fix:
      'give the folder to the user who runs this (sudo chown -R "$(id -un)" .), or clone it into ' +
      'a folder of your own',
  },
  {
    code: 'KIN_SETUP_INTEGRITY',
    pattern: /EINTEGRITY/,
    cause: 'a downloaded package is not the one that package-lock.json names',
    fix:
      'clear the cache (npm cache clean --force) and try again; if it stays, the registry or a ' +
      'proxy changes packages: do not use it',
  },
  {
    code: 'KIN_SETUP_LOCKFILE',
    pattern: /can only install packages when your package\.json and package-lock\.json/,
    cause: 'package.json and package-lock.json do not fit together',
    fix:
      'restore both (git checkout -- package.json package-lock.json), or run "npm install" ' +
      'after a change of yours',
  },
];

/** npm's cache (not the project's folder) is what could not be written. */
export const npmRanOutOfCache = (output) =>
  /_cacache|cache folder contains root-owned|\.npm\b/.test(output) &&
  /EACCES|EPERM|EROFS|ENOENT/.test(output);

export function explainNpm(root, { status, output }) {
  const lines = output
    .trim()
    .split('\n')
    .filter((line) => !/complete log of this run|^npm error\s*$/.test(line));
  const said = lines
    .slice(0, LINES_MAX)
    .map((line) => `    ${line}`)
    .join('\n');
  if (status === 'SIGINT' || status === 'SIGTERM')
    return new SetupProblem(
      'KIN_SETUP_INTERRUPTED',
      'the install was interrupted.',
      'run the command again',
    );
  const known = KNOWN.find(({ pattern }) => pattern.test(output));
  const cause = known?.cause ?? `npm ended with ${status}`;
  return new SetupProblem(
    known?.code ?? 'KIN_SETUP_INSTALL',
    `${cause}.${said === '' ? '' : ` npm said:\n${said}`}`,
    known?.fix ?? `run "npm ci --ignore-scripts" in ${root} to see the whole output`,
  );
}
