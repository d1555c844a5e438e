// Kintsugi as a contender: a real installation in a folder of its own, through the same commands
// and the same API that users have. Two services: `alpha` without a spare, `beta` with one.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { controlClient } from '../../src/api/client.ts';
import type { ControlClient } from '../../src/api/client.ts';
import type { ServiceSummary, Status, StoryEvent } from '../../src/api/contract.ts';
import { readRunFile } from '../../src/api/state-folder.ts';
import { readOperatorToken } from '../../src/api/token.ts';
import { ownProcesses } from '../../src/cli/up/own.ts';
import type { App } from './app.ts';
import { nowMs, sleep, until, wallOffsetMs } from './clock.ts';
import type { Contender, Moment } from './contender.ts';
import type { Door, Load } from './load.ts';
import { atEnd, freePorts, isAlive, makeFolder, owned, signal } from './processes.ts';

const root = dirname(dirname(import.meta.dirname));
const UP_MAX_MS = 90_000;
const SETTLE_MS = 90_000;

export const SERVICES = ['alpha', 'beta'] as const;
export type ServiceName = (typeof SERVICES)[number];

export interface Kintsugi {
  readonly client: ControlClient;
  readonly stateDir: string;
  /** Folders to deploy from. */
  readonly good: string;
  readonly bad: string;
  door(service: ServiceName): Door;
  contender(service: ServiceName, name: string): Contender;
  /** Waits until everything is as wanted and no run is open. */
  settle(): Promise<Status>;
  controllerPid(): number | undefined;
  /** Pids of controller, gateways and init, by name. */
  parts(): ReadonlyMap<string, number>;
  story(sinceSeq: number): Promise<readonly StoryEvent[]>;
  close(): Promise<void>;
}

interface Ready {
  readonly gatewayUrl: string;
  readonly controlUrl: string;
  readonly keys: readonly { readonly key: string }[];
}

export async function openKintsugi(app: App): Promise<Kintsugi> {
  const folder = makeFolder();
  const stateDir = join(folder, 'state');
  const manifest = join(folder, 'kintsugi.yaml');
  mkdirSync(join(folder, 'app'));
  for (const name of ['good', 'bad'] as const) {
    cpSync(app[name], join(folder, name), { recursive: true });
  }
  const [gatewayPort = 0, controlPort = 0] = await freePorts(2);
  writeFileSync(manifest, manifestText(gatewayPort, controlPort, app.cache));
  const run = (...args: string[]): Promise<string> => kintsugi([...args, '--state', stateDir]);
  const close = atEnd(async () => {
    await run('down').catch(() => undefined);
    for (const { id } of ownProcesses(stateDir)) signal(id.pid, 'SIGKILL');
    await until(5_000, () => ownProcesses(stateDir).length === 0);
  });
  const ready = JSON.parse(await run('up', manifest, '--detach', '--json')) as Ready;
  const key = ready.keys[0]?.key;
  const token = readOperatorToken(stateDir);
  if (key === undefined || token === undefined) throw new Error('no API key after the start');
  const client = controlClient({ url: ready.controlUrl, token, actor: 'bench', timeoutMs: 5_000 });
  const gateway = new URL(ready.gatewayUrl);
  const door = (service: ServiceName): Door => ({
    host: gateway.hostname,
    port: Number(gateway.port),
    path: `/${service}/x`,
    headers: { authorization: `Bearer ${key}` },
  });
  const self: Kintsugi = {
    client,
    stateDir,
    good: join(folder, 'good'),
    bad: join(folder, 'bad'),
    door,
    contender: (service, name) => contender(self, service, name),
    settle: () => settle(client),
    controllerPid: () => readRunFile(stateDir)?.pid,
    parts: () =>
      new Map(
        ownProcesses(stateDir)
          .filter((own) => own.kind === 'part')
          .map((own) => [own.part, own.id.pid]),
      ),
    story: (sinceSeq) => client.story(sinceSeq, 500),
    close,
  };
  return self;
}

/** The hourly limit is raised, because this bench breaks more in a minute than a bad year does. */
function manifestText(gatewayPort: number, controlPort: number, cache: string): string {
  const service = (name: string, spares: number): string => `
  ${name}:
    command: [node, service.ts]
    source: good
    env: { NODE_COMPILE_CACHE: ${JSON.stringify(cache)} }
    replicas: { min: 3, max: 6, spares: ${spares} }
    readiness: { http: /readyz, interval: 500ms, timeout: 500ms }
    liveness: { http: /healthz, interval: 500ms, timeout: 500ms, failures: 2 }
    routes: [{ prefix: /${name} }]`;
  return `apiVersion: kintsugi/v1
name: bench
gateway: { port: ${gatewayPort}, workers: 2 }
control: { port: ${controlPort} }
services:${service('alpha', 0)}${service('beta', 1)}
tenants:
  bench:
    quotas: { rate: 5000/s, burst: 10000, concurrency: 4000 }
healing:
  budget: { maxUnavailable: 1, maxConcurrent: 2, maxPerHour: 1000 }
`;
}

export async function kintsugi(args: readonly string[]): Promise<string> {
  const child = owned(
    spawn(process.execPath, [join(root, 'bin', 'kintsugi.mjs'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: UP_MAX_MS,
    }),
  );
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`kintsugi ${args[0] ?? ''} ended with ${code}: ${out}${err}`);
  return out;
}

async function settle(client: ControlClient): Promise<Status> {
  const endMs = nowMs() + SETTLE_MS;
  let why = 'the control API did not answer';
  while (nowMs() < endMs) {
    const status = await client.status().catch(() => undefined);
    if (status !== undefined) {
      const waiting = waitingFor(status);
      if (waiting === undefined) return status;
      why = waiting;
    }
    await sleep(100);
  }
  throw new Error(`Kintsugi does not settle within ${SETTLE_MS / 1000} s: ${why}`);
}

function waitingFor(status: Status): string | undefined {
  const service = status.services.find((s) => !isWhole(s));
  if (service !== undefined) {
    const { name, ready, wanted, spares } = service;
    return `${name} has ${ready} of ${wanted} replicas and ${spares} spares`;
  }
  const run = status.runs[0];
  return run === undefined ? undefined : `the run "${run.summary}" is ${run.state}`;
}

const wantedSpares = (service: ServiceSummary): number => (service.name === 'beta' ? 1 : 0);

export function isWhole(service: ServiceSummary): boolean {
  const routed = service.replicas.filter((r) => r.role === 'active' && r.available);
  const spares = service.replicas.filter((r) => r.role === 'spare' && r.phase === 'ready');
  const extra = service.replicas.length - routed.length - spares.length;
  return routed.length === 3 && spares.length === wantedSpares(service) && extra === 0;
}

function contender(self: Kintsugi, service: ServiceName, name: string): Contender {
  let seq = 0;
  return {
    name,
    door: self.door(service),
    async settle(load: Load) {
      const status = await self.settle();
      seq = status.storySeq;
      const view = status.services.find((s) => s.name === service);
      const pids = (view?.replicas ?? []).filter((r) => r.role === 'active').map((r) => r.pid);
      // The three that are routed serve, and nobody else does any more.
      const fine = await until(20_000, () => {
        const serving = load.serving(700);
        return serving.length === 3 && serving.every((pid) => pids.includes(pid));
      });
      if (!fine) throw new Error(`${service}: ${load.serving().join()} serve, not ${pids.join()}`);
      await sleep(300);
    },
    timeline: (faultMs) => timelineSince(self, service, seq, faultMs),
    close: async () => undefined,
  };
}

/** Story events and beginnings of steps, ms since the fault. */
export async function timelineSince(
  self: Kintsugi,
  service: ServiceName,
  seq: number,
  faultMs: number,
  /** For medians over rounds; a single round is told as it was. */
  name: (text: string) => string = plain,
): Promise<readonly Moment[]> {
  const offsetMs = wallOffsetMs();
  const since = (wallMs: number): number => wallMs - offsetMs - faultMs;
  const events = await self.story(seq);
  const moments: Moment[] = events
    .filter((e) => e.service === undefined || e.service === service)
    .map((e) => ({ what: `${e.kind}: ${name(e.text)}`, afterMs: since(e.atMs) }));
  const runs = [...new Set(events.flatMap((e) => (e.run === undefined ? [] : [e.run])))];
  for (const id of runs.slice(0, 10)) {
    const story = await self.client.run(id).catch(() => undefined);
    if (story === undefined || story.run.service !== service) continue;
    for (const { text, record } of story.steps) {
      if (record === undefined) continue;
      moments.push({ what: `step begins: ${name(text)}`, afterMs: since(record.atWallMs) });
    }
  }
  // What ends the round before this one may be told after its pause.
  const own = moments.filter((moment) => moment.afterMs >= 0);
  return own.toSorted((a, b) => a.afterMs - b.afterMs);
}

export const asIs = (text: string): string => text.slice(0, 140);

/** Ids and numbers differ from round to round. */
function plain(text: string): string {
  return text
    .replaceAll(/\b(?:alpha|beta)-\d+\b/gu, 'REPLICA')
    .replaceAll(/\d+/gu, 'N')
    .slice(0, 90);
}

/** Of the replicas of both services, pid by replica id. */
export function pidsOf(status: Status): ReadonlyMap<string, number> {
  const all = status.services.flatMap((service) => service.replicas);
  return new Map(all.flatMap((r) => (r.pid === undefined ? [] : [[r.id, r.pid] as const])));
}

export const aliveOf = (pids: Iterable<number>): number[] => [...pids].filter(isAlive);
