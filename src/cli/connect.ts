// Where does the instance run that a command is about? From `--state`, KINTSUGI_STATE, the manifest
// named or in this folder, or the one instance that this user runs; then run.json and the token.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { controlClient } from '../api/client.ts';
import type { ControlClient } from '../api/client.ts';
import {
  makeOwnFolder,
  readRunFile,
  readStartFile,
  readStateFile,
  statePaths,
  writeStateFile,
} from '../api/state-folder.ts';
import type { RunFile } from '../api/state-folder.ts';
import { readOperatorToken } from '../api/token.ts';
import { KinError } from '../model/errors.ts';
import type { Context } from './context.ts';
import { isAlive } from './processes.ts';

export const MANIFEST_NAME = 'kintsugi.yaml';

export interface Connection {
  readonly stateDir: string;
  readonly run: RunFile;
  readonly client: ControlClient;
}

export function manifestPath(context: Context, given?: string): string {
  return resolve(context.cwd, given ?? context.globals.manifest ?? MANIFEST_NAME);
}

/** Where the state is kept, whether it runs or not; undefined when nothing says so. */
function namedStateDir(context: Context, manifest?: string): string | undefined {
  const { state, manifest: option } = context.globals;
  const said = state ?? context.env['KINTSUGI_STATE'];
  if (said !== undefined && said !== '') return canonical(resolve(context.cwd, said));
  const path = manifestPath(context, manifest);
  if (manifest === undefined && option === undefined && !existsSync(path)) return undefined;
  return canonical(join(dirname(path), '.kintsugi'));
}

/** One spelling for one folder: marks and sockets are made of it. */
function canonical(path: string): string {
  const rest: string[] = [];
  // Ends at the root at the latest, which exists.
  for (let at = path; ; at = dirname(at)) {
    if (existsSync(at)) return join(realpathSync(at), ...rest);
    rest.unshift(basename(at));
  }
}

/** For `up` and other commands with a manifest: always there. */
export function stateDirOf(context: Context, manifest?: string): string {
  const path = join(dirname(manifestPath(context, manifest)), '.kintsugi');
  return namedStateDir(context, manifest) ?? canonical(path);
}

/** For commands about something that runs (or ran). */
export function findStateDir(context: Context): string {
  const named = namedStateDir(context);
  if (named !== undefined) return named;
  const running = runningInstances();
  const [only] = running;
  if (running.length === 1 && only !== undefined) return only;
  throw new KinError(
    'KIN_NOT_RUNNING',
    running.length === 0
      ? `there is no ${MANIFEST_NAME} here and nothing of yours is running`
      : `there is no ${MANIFEST_NAME} here and ${running.length} instances of yours are running`,
    running.length === 0
      ? 'Start one with "kintsugi up MANIFEST", or say which with --manifest FILE or --state DIR.'
      : `Say which: ${running.map((dir) => `--state ${dir}`).join(' or ')}.`,
  );
}

export function isRunning(run: RunFile): boolean {
  return isAlive({ pid: run.pid, start: run.pidStart });
}

export function connect(context: Context): Connection {
  const stateDir = findStateDir(context);
  const connection = tryConnect(context, stateDir);
  if (connection !== undefined) return connection;
  throw new KinError(
    'KIN_NOT_RUNNING',
    `nothing is running on ${stateDir}`,
    `Start it with "kintsugi up${upArgument(context, stateDir)}".`,
  );
}

function upArgument(context: Context, stateDir: string): string {
  const manifest = readStartFile(stateDir)?.manifest ?? context.globals.manifest;
  return manifest === undefined ? '' : ` ${manifest}`;
}

/**
 * A controller that was just killed has a run.json too: init restarts it, so that counts as
 * running.
 */
export function tryConnect(context: Context, stateDir: string): Connection | undefined {
  if (!existsSync(stateDir)) return undefined;
  const run = readRunFile(stateDir);
  if (run === undefined || (!isRunning(run) && !isInitAlive(stateDir))) return undefined;
  const token = readOperatorToken(stateDir);
  if (token === undefined) return undefined;
  const actor = actorName(context);
  const options = { url: run.controlUrl, token };
  const client = controlClient(actor === undefined ? options : { ...options, actor });
  return { stateDir, run, client };
}

export function isInitAlive(stateDir: string): boolean {
  const text = readStateFile(statePaths(stateDir).initPid)?.trim() ?? '';
  const [pid, ...start] = text.split(' ');
  return isAlive({ pid: Number(pid), start: start.length === 0 ? undefined : start.join(' ') });
}

/** What goes into the record as `operator:NAME`; the token is what proves anything. */
function actorName(context: Context): string | undefined {
  const name = context.env['KINTSUGI_ACTOR'] ?? context.env['SUDO_USER'] ?? context.env['USER'];
  return name !== undefined && /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/u.test(name) ? name : undefined;
}

const INSTANCES_MAX = 64;

function registryDir(): string {
  const uid = process.getuid?.() ?? 0;
  return join(process.env['XDG_RUNTIME_DIR'] ?? tmpdir(), `kintsugi-${uid}-instances`);
}

const registryFile = (stateDir: string): string =>
  join(registryDir(), createHash('sha256').update(stateDir).digest('hex').slice(0, 16));

/** So that `kintsugi status` in any folder finds the only instance. Never a reason to fail. */
export function registerInstance(stateDir: string): void {
  try {
    makeOwnFolder(registryDir());
    writeStateFile(registryFile(stateDir), `${stateDir}\n`);
  } catch {
    // Somebody else's folder under that name, or a read-only /tmp: --state still works.
  }
}

export function unregisterInstance(stateDir: string): void {
  rmSync(registryFile(stateDir), { force: true });
}

export function runningInstances(): string[] {
  try {
    return readdirSync(registryDir())
      .filter((name) => /^[0-9a-f]{16}$/u.test(name))
      .slice(0, INSTANCES_MAX)
      .flatMap((name) => {
        const dir = readStateFile(join(registryDir(), name))?.trim();
        if (dir === undefined || !existsSync(dir)) return [];
        const run = readRunFile(dir);
        return run !== undefined && (isRunning(run) || isInitAlive(dir)) ? [dir] : [];
      });
  } catch {
    return [];
  }
}
