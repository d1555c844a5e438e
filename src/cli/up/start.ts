// How is an instance brought up? Files first, then init, detached from this terminal; then wait
// until everything is ready, or say why it is not.
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import type { ControlClient } from '../../api/client.ts';
import type { Status } from '../../api/contract.ts';
import { isCode } from '../../api/failure.ts';
import { readFailedFile, statePaths, writeStartFile } from '../../api/state-folder.ts';
import type { FailedFile } from '../../api/state-folder.ts';
import { ensureOperatorToken } from '../../api/token.ts';
import { KinError } from '../../model/errors.ts';
import type { Manifest } from '../../model/manifest.ts';
import { isRunning, tryConnect } from '../connect.ts';
import type { Context } from '../context.ts';
import { ownLogs } from '../logs.ts';
import { identify, isAlive } from '../processes.ts';
import type { ProcessId } from '../processes.ts';
import { initStatus, program, writeInitFile } from './init-file.ts';
import { partEnvironment } from './own.ts';

const READY_MS = 180_000;
/**
 * An incident of before, or a start that heals itself, is no reason to say "up" with half of it
 * up.
 */
const GRACE_MS = 20_000;
const POLL_MS = 100;
const TAIL_BYTES = 4_096;
const TAIL_LINES = 15;
/** Deaths of one part in a row after which waiting longer is no use. */
const DEATHS_MAX = 5;

export interface Started {
  readonly init: ProcessId;
  readonly startedAtMs: number;
}

export function writeFiles(
  context: Context,
  stateDir: string,
  manifestPath: string,
  manifest: Manifest,
): void {
  const { gatewayPort, controlPort } = context.globals;
  ensureOperatorToken(stateDir);
  writeStartFile(stateDir, {
    v: 1,
    manifest: manifestPath,
    gatewayPort,
    controlPort,
    socket: statePaths(stateDir).socket,
  });
  writeInitFile(context, stateDir, manifest);
}

/** Its own session: the terminal's Ctrl-C and hang-up reach the CLI alone. */
export function spawnInit(context: Context, stateDir: string): Promise<Started> {
  const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW } = constants;
  const flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW;
  const log = openSync(join(stateDir, 'init.log'), flags, 0o600);
  const startedAtMs = context.nowMs();
  try {
    const init = program(join('init', 'init'));
    const child = spawn(process.execPath, [init, statePaths(stateDir).init], {
      cwd: stateDir,
      detached: true,
      stdio: ['ignore', log, log],
      env: { PATH: context.env['PATH'] ?? '', ...partEnvironment(stateDir, 'init') },
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('spawn', () => {
        child.unref();
        resolve({ init: identify(child.pid ?? 0), startedAtMs });
      });
    });
  } finally {
    closeSync(log);
  }
}

export type Ready =
  | { readonly kind: 'ready'; readonly client: ControlClient; readonly status: Status }
  | { readonly kind: 'interrupted' };

/** Follows until everything is ready; throws the reason when it will not be. */
export async function awaitReady(
  context: Context,
  stateDir: string,
  started: Started,
  signal: AbortSignal,
  progress: (waitingFor: readonly string[]) => void,
): Promise<Ready> {
  const untilMs = started.startedAtMs + READY_MS;
  let waitingFor: readonly string[] = ['the control plane'];
  let graceUntilMs: number | undefined;
  while (!signal.aborted) {
    progress(waitingFor);
    const answer = await look(context, stateDir);
    if (answer !== undefined) {
      const { overall } = answer.status;
      const missing = await missingOf(answer.status);
      const isPast = graceUntilMs !== undefined && context.nowMs() > graceUntilMs;
      if (overall.kind !== 'starting' && (missing.length === 0 || isPast)) {
        await assertNoneDead(answer.client, answer.status);
        return { kind: 'ready', ...answer };
      }
      // A person is asked already: waiting longer brings nothing.
      if (overall.kind === 'degraded') await assertNoneGivenUp(answer, started.startedAtMs);
      if (overall.kind !== 'starting') graceUntilMs ??= context.nowMs() + GRACE_MS;
      waitingFor = overall.kind === 'starting' ? overall.waitingFor : missing;
    }
    assertHopeful(stateDir, started);
    if (context.nowMs() > untilMs) {
      throw endedError(stateDir, `not ready after ${READY_MS / 1000} s: ${waitingFor.join(', ')}`);
    }
    await context.sleep(POLL_MS, signal);
  }
  return { kind: 'interrupted' };
}

/** The same, as soon as its own starts have failed so often that a person is asked. */
async function assertNoneGivenUp(
  { client, status }: { readonly client: ControlClient; readonly status: Status },
  sinceMs: number,
): Promise<void> {
  const given = new Set(
    status.incidents.flatMap(({ state, subject, openedAtMs }) =>
      state.kind === 'escalated' && subject.kind === 'service' && openedAtMs >= sinceMs
        ? [subject.service]
        : [],
    ),
  );
  const services = status.services.filter(({ name }) => [...given].some((g) => g === name));
  await assertNoneDead(client, { ...status, services });
}

/** A service of which nothing runs is not "up": its own last words say why. */
async function assertNoneDead(client: ControlClient, status: Status): Promise<void> {
  const dead = status.services.find((service) => service.ready === 0 && service.wanted > 0);
  if (dead === undefined) return;
  const parts = await client.logs(dead.name, TAIL_BYTES).catch(() => []);
  const end = parts.flatMap(({ text }) => text.trimEnd().split('\n')).slice(-TAIL_LINES);
  const shown = end.join('').trim() === '' ? '' : `\nthe end of its log:\n${end.join('\n')}`;
  throw new KinError(
    'KIN_START_FAILED',
    `no replica of ${dead.name} comes up${shown}`,
    `Correct what it says, then run \`kintsugi up\` again; see \`kintsugi logs ${dead.name}\`.`,
  );
}

/** What a user would miss right now, whatever the control plane thinks of it. */
async function missingOf(status: Status): Promise<readonly string[]> {
  const { services, gateway } = status;
  const missing = services
    .filter((service) => service.ready < service.wanted)
    .map((service) => `${service.name} ${service.ready}/${service.wanted}`);
  const { length } = gateway.workers;
  if (length < gateway.workersWanted) missing.push(`gateway ${length}/${gateway.workersWanted}`);
  if (missing.length > 0 || (await gatewayServes(gateway.url, gateway.workersWanted)))
    return missing;
  return ['the gateway'];
}

/** Any answer but "no table yet" will do; workers share the port, so it is asked more than once. */
async function gatewayServes(url: string, workers: number): Promise<boolean> {
  for (let i = 0; i < Math.min(16, workers * 2); i += 1) {
    try {
      const signal = AbortSignal.timeout(2_000);
      const answer = await fetch(url, { headers: { connection: 'close' }, signal });
      const text = await answer.text();
      if (answer.status === 503 && text.includes('"no-table"')) return false;
    } catch {
      return false;
    }
  }
  return true;
}

async function look(
  context: Context,
  stateDir: string,
): Promise<{ readonly client: ControlClient; readonly status: Status } | undefined> {
  const connection = tryConnect(context, stateDir);
  // A run.json of an earlier life names a process that is no more.
  if (connection === undefined || !isRunning(connection.run)) return undefined;
  try {
    return { client: connection.client, status: await connection.client.status() };
  } catch {
    return undefined;
  }
}

/** Throws as soon as it is known that it will not become ready. */
function assertHopeful(stateDir: string, started: Started): void {
  const failed = readFailedFile(stateDir);
  if (failed !== undefined && failed.atMs >= started.startedAtMs) throw failedError(failed);
  if (!isAlive(started.init)) throw endedError(stateDir, 'init ended');
  const dying = initStatus(stateDir).find(
    (child) => child.restarts >= DEATHS_MAX && (child.lastEnd?.atMs ?? 0) >= started.startedAtMs,
  );
  if (dying === undefined) return;
  const how = dying.lastEnd?.how ?? 'ended';
  throw endedError(stateDir, `${dying.name} does not stay up (${how})`, dying.name);
}

function failedError(failed: FailedFile): KinError {
  const code = isCode(failed.code) ? failed.code : 'KIN_START_FAILED';
  return new KinError(code, failed.message, failed.fix);
}

function endedError(stateDir: string, why: string, culprit?: string): KinError {
  const parts = [culprit ?? 'controller', 'init', 'gateway'].flatMap((name) => {
    try {
      return ownLogs(stateDir, name, TAIL_BYTES);
    } catch {
      return [];
    }
  });
  const part = parts.find(({ text }) => text.trim() !== '');
  const end = part?.text.trimEnd().split('\n').slice(-TAIL_LINES).join('\n') ?? '';
  const shown = part === undefined ? '' : `\nthe end of the log of ${part.source}:\n${end}`;
  return new KinError(
    'KIN_START_FAILED',
    `${why}${shown}`.trimEnd(),
    `Read the logs in ${statePaths(stateDir).logs}.`,
  );
}
