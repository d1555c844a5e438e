// `up`: brings up what the manifest says, or applies the difference to what runs. In the
// foreground it shows the live view, and Ctrl-C stops everything cleanly; with --detach it leaves
// all running.
//
//   UP1. A first start that fails leaves nothing running; a later one stops nothing that serves.
//   UP2. API keys are printed once, and their file is gone before anything else is done.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { ControlClient } from '../../api/client.ts';
import type { Status } from '../../api/contract.ts';
import { makeStateFolder, readFirstKeysFile, statePaths } from '../../api/state-folder.ts';
import type { FirstKeysFile } from '../../api/state-folder.ts';
import type { LoadedManifest } from '../../manifest/index.ts';
import {
  isInitAlive,
  isRunning,
  manifestPath,
  registerInstance,
  stateDirOf,
  tryConnect,
} from '../connect.ts';
import type { Connection } from '../connect.ts';
import type { Context, Interruption } from '../context.ts';
import { watchInterruption } from '../context.ts';
import { EXIT } from '../exit.ts';
import { persist } from '../follow.ts';
import { showLive } from '../live.ts';
import { loadFor } from '../manifest.ts';
import { showChanges } from '../show/answers.ts';
import { durationText } from '../text.ts';
import { assertPlatform, assertReady } from '../up/checks.ts';
import { renewStale, writeInitFile } from '../up/init-file.ts';
import { awaitReady, spawnInit, writeFiles } from '../up/start.ts';
import { isAnythingLeft, STOP_TIMES, stopEverything } from '../up/stop.ts';
import { upReport } from '../up/report.ts';

export interface UpOptions {
  readonly detach: boolean;
}

export async function upCommand(
  context: Context,
  manifest: string | undefined,
  options: UpOptions,
): Promise<number> {
  assertPlatform();
  const path = manifestPath(context, manifest);
  const loaded = await loadFor(context, path);
  const stateDir = stateDirOf(context, path);
  makeStateFolder(stateDir);
  const running = runningOn(context, stateDir);
  if (running !== undefined) return applyTo(context, running, path, loaded);
  await assertReady(stateDir, loaded.manifest);
  const interruption = watchInterruption();
  try {
    return await start(context, { stateDir, path, loaded, options, interruption });
  } finally {
    interruption.end();
  }
}

function runningOn(context: Context, stateDir: string): Connection | undefined {
  const connection = tryConnect(context, stateDir);
  if (connection === undefined || !isInitAlive(stateDir)) return undefined;
  return connection;
}

interface Start {
  readonly stateDir: string;
  readonly path: string;
  readonly loaded: LoadedManifest;
  readonly options: UpOptions;
  readonly interruption: Interruption;
}

async function start(context: Context, begin: Start): Promise<number> {
  const { stateDir, path, loaded, options, interruption } = begin;
  const startedAtMs = context.nowMs();
  // A controller that outlived its init is adopted by the new one; it then has the old manifest.
  const orphan = tryConnect(context, stateDir);
  const adopted = orphan !== undefined && isRunning(orphan.run);
  const isFirst = !isAnythingLeft(stateDir);
  writeFiles(context, stateDir, path, loaded.manifest);
  const started = await spawnInit(context, stateDir);
  registerInstance(stateDir);
  let ready;
  try {
    ready = await awaitReady(context, stateDir, started, interruption.signal, progressOf(context));
  } catch (error) {
    // UP1. What served before this call goes on serving.
    if (isFirst) await stop(context, stateDir, interruption);
    throw error;
  }
  if (ready.kind === 'interrupted') return stop(context, stateDir, interruption);
  const { client } = ready;
  if (adopted) await client.applyManifest(sourceOf(path), false);
  const status = adopted ? await client.status() : ready.status;
  report(context, stateDir, status, context.nowMs() - startedAtMs);
  if (options.detach) return EXIT.ok;
  return foreground(context, stateDir, client, interruption);
}

async function foreground(
  context: Context,
  stateDir: string,
  client: ControlClient,
  interruption: Interruption,
): Promise<number> {
  const end = await showLive(context, {
    client,
    signal: interruption.signal,
    footer: 'Ctrl-C stops everything (twice: at once)',
    isGone: () => tryConnect(context, stateDir) === undefined && !isInitAlive(stateDir),
  });
  if (end === 'gone') {
    context.term.err('everything was stopped by another command\n');
    return EXIT.ok;
  }
  return stop(context, stateDir, interruption);
}

async function stop(
  context: Context,
  stateDir: string,
  interruption: Interruption,
): Promise<number> {
  const force = new AbortController();
  interruption.onForce(() => force.abort());
  const beganAtMs = context.nowMs();
  context.term.err('stopping everything …\n');
  const forced = await stopEverything(context, stateDir, {
    ...STOP_TIMES,
    force: force.signal,
    say: (text) => context.term.err(`${text}\n`),
  });
  context.term.err(`stopped after ${durationText(context.nowMs() - beganAtMs)}\n`);
  return forced === 0 || force.signal.aborted ? EXIT.ok : EXIT.failed;
}

/** Says what is waited for whenever that changes; nothing else, so that logs stay short. */
function progressOf(context: Context): (waitingFor: readonly string[]) => void {
  let said = '';
  return (waitingFor) => {
    const text = waitingFor.join(', ');
    if (text === said || context.globals.json) return;
    said = text;
    context.term.out(`${context.paint.dim(`waiting for ${text} …`)}\n`);
  };
}

/** UP2. */
function takeFirstKeys(stateDir: string): FirstKeysFile['keys'] {
  const file = readFirstKeysFile(stateDir);
  rmSync(statePaths(stateDir).firstKeys, { force: true });
  return file?.keys ?? [];
}

function report(context: Context, stateDir: string, status: Status, tookMs: number): void {
  const keys = takeFirstKeys(stateDir);
  const controlUrl = tryConnect(context, stateDir)?.run.controlUrl ?? '';
  if (context.globals.json) {
    const { url } = status.gateway;
    const value = { gatewayUrl: url, controlUrl, stateDir, keys, tookMs };
    context.term.out(`${JSON.stringify(value)}\n`);
    return;
  }
  const { cwd } = context;
  const command = commandWord(context.env);
  const lines = upReport({ status, controlUrl, stateDir, keys, tookMs, cwd, command }, context);
  context.term.out(`${lines.join('\n')}\n`);
}

/** In a clone the command is not on the PATH; npx finds it there. */
function commandWord(env: Context['env']): string {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.some((folder) => existsSync(join(folder, 'kintsugi')))
    ? 'kintsugi'
    : 'npx kintsugi';
}

const sourceOf = (path: string): { path: string; text: string } => ({
  path,
  text: readFileSync(path, 'utf8'),
});

/** Something runs here already: only the difference is applied, and shown before. */
async function applyTo(
  context: Context,
  { client, stateDir, run }: Connection,
  path: string,
  loaded: LoadedManifest,
): Promise<number> {
  const source = sourceOf(path);
  const plan = await persist(context, () => client.applyManifest(source, true));
  const say = (text: string): void => {
    if (!context.globals.json) context.term.out(`${text}\n`);
  };
  say(`${loaded.manifest.name} runs already (controller pid ${run.pid})`);
  say(showChanges(plan.changes, context.paint).join('\n'));
  if (plan.changes.length === 0) {
    if (context.globals.json) context.term.out(`${JSON.stringify({ ...plan, dryRun: false })}\n`);
    return EXIT.ok;
  }
  const done = await client.applyManifest(source, false);
  // Init, too, has to know: another number of gateways, another port.
  writeInitFile(context, stateDir, loaded.manifest);
  const touches = (what: string): boolean => plan.changes.some((change) => change.what === what);
  const gateway = touches('gateway');
  const control = touches('control');
  if (gateway || control) {
    await renewStale(context, stateDir, (child) =>
      child.name === 'controller' ? control : gateway && child.isStale,
    );
  }
  if (context.globals.json) context.term.out(`${JSON.stringify(done)}\n`);
  else say('applied');
  return EXIT.ok;
}
