// What does init keep up, and what does it see? The file that `up` writes for it, the status that
// it writes back, and the two ways to make a change take hold: SIGHUP, and ending what is
// outdated.
import { mkdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { readStateFile, statePaths, writeStateFile } from '../../api/state-folder.ts';
import type { Manifest } from '../../model/manifest.ts';
import type { Context } from '../context.ts';
import { isAlive } from '../processes.ts';
import type { ProcessId } from '../processes.ts';
import { partEnvironment } from './own.ts';

/**
 * Thousands of idle connections are held in 20 MB less; and what is so small is collected sooner by
 * one thread than by several that wait for each other's time (p99 at 2 000 requests/s: 1.4 against
 * 10.9 ms on one core).
 */
const GATEWAY_FLAGS = ['--max-semi-space-size=2', '--single-threaded-gc'];

/** One entry of `<state>/init.json`, as `src/init/config.ts` reads it. */
export interface InitChild {
  readonly name: string;
  readonly argv: readonly string[];
  /** Complete. */
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
}

/** What is used here of `<state>/init-status.json` (`src/init/status.ts`). */
export interface InitChildStatus {
  readonly name: string;
  readonly state: 'running' | 'waiting' | 'stopping' | 'stopped';
  readonly pid: number | null;
  readonly start: string | null;
  readonly restarts: number;
  readonly lastEnd: { readonly how: string; readonly atMs: number } | null;
  readonly isStale: boolean;
}

/** Source in a clone, built JavaScript in an installed package: beside this file either way. */
export function program(name: string): string {
  return join(import.meta.dirname, '..', '..', `${name}${extname(import.meta.filename)}`);
}

export function writeInitFile(context: Context, stateDir: string, manifest: Manifest): void {
  const children = initChildren(context.env, stateDir, manifest);
  mkdirSync(statePaths(stateDir).logs, { recursive: true, mode: 0o700 });
  writeStateFile(statePaths(stateDir).init, `${JSON.stringify({ children }, undefined, 2)}\n`);
}

type Variables = Readonly<Record<string, string | undefined>>;

export function initChildren(
  env: Variables,
  stateDir: string,
  manifest: Manifest,
): readonly InitChild[] {
  const paths = statePaths(stateDir);
  const { host, port, workers, tls, proxyProtocol } = manifest.gateway;
  const node = process.execPath;
  const child = (
    name: string,
    args: readonly string[],
    own: Readonly<Record<string, string>>,
  ): InitChild => ({
    name,
    argv: [node, ...args],
    env: { ...own, ...partEnvironment(stateDir, name) },
    logFile: join(paths.logs, `${name}.log`),
  });
  const controller = [program('main'), 'controller', '--state', stateDir];
  return [
    // The controller resolves `${env:…}` and secrets of the manifest: it needs all of it.
    child('controller', controller, everything(env)),
    ...Array.from({ length: workers }, (_, i) =>
      child(`gateway-${i + 1}`, [...GATEWAY_FLAGS, program(join('gateway', 'worker'))], {
        ...plain(env),
        KINTSUGI_GATEWAY_HOST: host,
        KINTSUGI_GATEWAY_PORT: String(port),
        KINTSUGI_GATEWAY_SOCKET: paths.socket,
        KINTSUGI_GATEWAY_STATE: paths.gateway,
        KINTSUGI_GATEWAY_WORKER: `gateway-${i + 1}`,
        KINTSUGI_GATEWAY_WORKERS: String(workers),
        ...(tls === undefined ? {} : { KINTSUGI_GATEWAY_TLS: JSON.stringify(tls) }),
        ...(proxyProtocol === undefined
          ? {}
          : { KINTSUGI_GATEWAY_PROXY_FROM: proxyProtocol.from.join(',') }),
      }),
    ),
  ];
}

/** What npm adds to the environment of its scripts says nothing about the user's services. */
function everything(env: Variables): Record<string, string> {
  return pick(env, (name) => !name.startsWith('npm_') && !name.startsWith('KINTSUGI_PART'));
}

/** Gateways hold no secret that they do not need: only what a program needs to run at all. */
function plain(env: Variables): Record<string, string> {
  const needed = /^(?:PATH|HOME|TMPDIR|TZ|LANG|LC_\w+|NODE_COMPILE_CACHE|NODE_EXTRA_CA_CERTS)$/u;
  return pick(env, (name) => needed.test(name));
}

function pick(env: Variables, wanted: (name: string) => boolean): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      value !== undefined && wanted(name) ? [[name, value] as const] : [],
    ),
  );
}

export function initStatus(stateDir: string): readonly InitChildStatus[] {
  try {
    const text = readStateFile(join(stateDir, 'init-status.json'));
    const status: unknown = text === undefined ? undefined : JSON.parse(text);
    const isStatus = typeof status === 'object' && status !== null && 'children' in status;
    return isStatus && Array.isArray(status.children)
      ? (status.children as readonly InitChildStatus[])
      : [];
  } catch {
    return [];
  }
}

export function initId(stateDir: string): ProcessId | undefined {
  const text = readStateFile(statePaths(stateDir).initPid)?.trim() ?? '';
  const [pid = '', ...start] = text.split(' ');
  const id = { pid: Number(pid), start: start.length === 0 ? undefined : start.join(' ') };
  return isAlive(id) ? id : undefined;
}

const RENEW_MS = 30_000;

/** Ends outdated children one after the other; init starts each again by its new configuration. */
export async function renewStale(
  context: Context,
  stateDir: string,
  isOutdated: (child: InitChildStatus) => boolean,
): Promise<void> {
  const init = initId(stateDir);
  if (init === undefined) return;
  process.kill(init.pid, 'SIGHUP');
  await context.sleep(500);
  for (const child of initStatus(stateDir).filter((c) => isOutdated(c) && c.pid !== null)) {
    const id = { pid: child.pid ?? 0, start: child.start ?? undefined };
    if (isAlive(id)) process.kill(id.pid, 'SIGTERM');
    const untilMs = context.nowMs() + RENEW_MS;
    const renewed = (): boolean =>
      initStatus(stateDir).some(
        (c) => c.name === child.name && c.state === 'running' && c.pid !== child.pid,
      );
    while (!renewed() && context.nowMs() < untilMs) await context.sleep(100);
  }
}
