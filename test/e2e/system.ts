// How does a whole system live for a test? The real command brings up real processes on free ports
// in folders of its own; at the end all of it is gone, whatever happened in between.
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { controlClient } from '../../src/api/client.ts';
import type { ControlClient } from '../../src/api/client.ts';
import type { ReplicaSummary, Status } from '../../src/api/contract.ts';
import { ownProcesses } from '../../src/cli/up/own.ts';
import { signalProcess } from '../../src/cli/processes.ts';
import { readOperatorToken } from '../../src/api/token.ts';
import { placeStoreIn } from '../store/template.ts';
import { kintsugi } from './commands.ts';
import type { Ran } from './commands.ts';
import { writeManifest } from './manifest.ts';
import { Story } from './story.ts';

export interface System {
  readonly base: string;
  readonly stateDir: string;
  readonly gatewayUrl: string;
  readonly controlUrl: string;
  readonly keys: ReadonlyMap<string, string>;
  readonly client: ControlClient;
  readonly story: Story;
  readonly tookMs: number;
  readonly cli: (...args: string[]) => Promise<Ran>;
  /** Like `client.status`, but waits for the next controller when there is none at the moment. */
  readonly status: () => Promise<Status>;
  readonly down: () => Promise<Ran>;
  readonly close: () => Promise<void>;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = 30_000,
): Promise<T> {
  const deadlineMs = performance.now() + limitMs;
  let last = '';
  while (performance.now() < deadlineMs) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      last = '';
    } catch (error) {
      last = `: ${String(error)}`;
    }
    await sleep(50);
  }
  throw new Error(`waited in vain: ${what}${last}`);
}

export async function startSystem(): Promise<System> {
  const base = mkdtempSync(join(tmpdir(), 'kintsugi-e2e-'));
  chmodSync(base, 0o711);
  const stateDir = join(base, 'state');
  const story = new Story();
  const cli = (...args: string[]): Promise<Ran> =>
    kintsugi(['--state', stateDir, ...args], { CLINIC_DRILLS: '1' });
  const close = async (): Promise<void> => {
    await story.close();
    const ended = await cli('down');
    endRest(stateDir);
    if (ended.code !== 0 && ended.code !== 3) process.stderr.write(ended.err);
    // For a look at logs and state afterwards.
    if (process.env['KINTSUGI_E2E_KEEP'] === '1') return;
    rmSync(base, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await placeStoreIn(stateDir);
    const [gatewayPort, controlPort] = await Promise.all([freePort(), freePort()]);
    const up = await cli(
      ...['--gateway-port', String(gatewayPort), '--control-port', String(controlPort)],
      ...['--json', 'up', writeManifest(base), '--detach'],
    );
    if (up.code !== 0) throw new Error(`up exits ${up.code}: ${up.err}${up.out}`);
    const answer = JSON.parse(up.out) as {
      readonly gatewayUrl: string;
      readonly controlUrl: string;
      readonly keys: readonly { readonly tenant: string; readonly key: string }[];
      readonly tookMs: number;
    };
    const token = readOperatorToken(stateDir) ?? '';
    const client = controlClient({ url: answer.controlUrl, token, actor: 'e2e' });
    story.follow(client);
    return {
      base,
      stateDir,
      gatewayUrl: answer.gatewayUrl,
      controlUrl: answer.controlUrl,
      keys: new Map(answer.keys.map(({ tenant, key }) => [tenant, key])),
      client,
      story,
      tookMs: answer.tookMs,
      cli,
      status: () => until('a controller that answers', () => client.status()),
      down: () => cli('down'),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The last resort, by pid and start time; only what carries the mark of this state folder. */
function endRest(stateDir: string): void {
  for (const own of ownProcesses(stateDir)) {
    process.stderr.write(`left by down: ${own.part} (pid ${own.id.pid})\n`);
    signalProcess(own.id, 'SIGKILL');
  }
}

export function replicasOf(status: Status, service: string): readonly ReplicaSummary[] {
  return status.services.find(({ name }) => name === service)?.replicas ?? [];
}

export const pidsOf = (status: Status): ReadonlyMap<string, number | undefined> =>
  new Map(status.services.flatMap(({ replicas }) => replicas.map((r) => [r.id, r.pid] as const)));

/** State of a process as the kernel says it, or undefined when it is gone. */
function processState(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[0];
  } catch {
    return undefined;
  }
}

/** A zombie that its parent has not looked at yet is over as well. */
export const isOver = (pid: number): boolean => (processState(pid) ?? 'Z') === 'Z';

/** Why it is not calm yet, or undefined: all stands, nothing is open, every control holds. */
export function unrest(status: Status): string | undefined {
  const { overall, incidents, runs, services, controls, dependencies, gateway } = status;
  if (incidents.length > 0) return `incident: ${incidents[0]?.title} (${incidents[0]?.now})`;
  if (runs.length > 0) return `run: ${runs[0]?.summary}`;
  for (const { name, ready, wanted, replicas } of services) {
    if (ready !== wanted) return `${name}: ${ready} of ${wanted}`;
    const odd = replicas.find((r) => r.phase !== 'ready' || r.ejected !== undefined);
    if (odd !== undefined) return `${odd.id} is ${odd.phase}, ${odd.ejected?.reason ?? ''}`;
  }
  const records = services.find(({ name }) => name === 'records');
  if (records?.spares !== 1) return `records has ${records?.spares} spares`;
  const control = controls.find(({ verdict }) => verdict !== 'satisfied');
  if (control !== undefined) return `${control.id} is ${control.verdict}`;
  const down = dependencies.find(({ state }) => state !== 'up');
  if (down !== undefined) return `${down.name} is ${down.state}`;
  if (gateway.workers.length !== gateway.workersWanted) return 'a gateway is missing';
  return overall.kind === 'healthy' ? undefined : `overall ${overall.kind}`;
}

export async function calm(system: System, limitMs = 40_000): Promise<Status> {
  let why: string | undefined = '';
  try {
    return await until(
      'calm',
      async () => {
        const status = await system.client.status();
        why = unrest(status);
        return why === undefined ? status : undefined;
      },
      limitMs,
    );
  } catch {
    throw new Error(`no calm: ${why}`);
  }
}
