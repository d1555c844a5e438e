// How is each fault of a scenario done to real processes? Signals to pids that the status names,
// the clinic's fault switches on a replica's own port, requests and deploys as users send them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import type { Fault } from '../scenarios/language.ts';
import { run } from './commands.ts';
import type { Ran } from './commands.ts';
import { CLINIC } from './manifest.ts';
import { replicasOf } from './system.ts';
import type { System } from './system.ts';

export interface Effect {
  /** In the story, this says that the fault was noticed. */
  readonly noticed: (kind: string, text: string, service: string | undefined) => boolean;
  /** What a command of the user answered, when there is one. */
  readonly answer?: Promise<Ran>;
}

/** Whatever names it: a controller that is killed may take the line that was told first with it. */
const opened =
  (word: string): Effect['noticed'] =>
  (kind, text) =>
    NOTICED.has(kind) && text.includes(word);

const NOTICED: ReadonlySet<string> = new Set([
  ...['incident.opened', 'incident.updated', 'incident.closed'],
  ...['run.begun', 'run.resumed', 'run.done'],
]);

/** `real` translates the scenario's replica names into those of the present. */
export async function doFault(
  system: System,
  fault: Fault,
  real: (replica: string) => string,
): Promise<Effect | undefined> {
  switch (fault.kind) {
    case 'nothing':
      return undefined;
    case 'kill':
      return signal(system, real(fault.replica), 'SIGKILL');
    case 'hang':
      return signal(system, real(fault.replica), 'SIGSTOP');
    case 'busy':
      return flip(system, real(fault.replica), 'busy?ms=60000');
    case 'errors':
      return flip(system, real(fault.replica), `errors?rate=${fault.share}`);
    case 'slow':
      return flip(system, real(fault.replica), `slow?ms=${fault.ms}`);
    case 'leak':
      return flip(system, real(fault.replica), `leak?mbPerSecond=${fault.mibPerSecond}`);
    case 'deploy':
      return deploy(system, fault.service, fault.release);
    case 'stop-dependency': {
      const status = await system.status();
      const provider = status.dependencies.find(({ name }) => name === fault.dependency)?.service;
      const [replica] = replicasOf(status, provider ?? '');
      await signal(system, replica?.id ?? `of ${provider}`, 'SIGTERM');
      return { noticed: opened(fault.dependency) };
    }
    case 'poison':
      return poison(system, fault);
    case 'probe-lie':
    case 'probe-truth':
      return probes(system, fault);
    case 'rls-off':
      await asOwner(system, `alter table ${fault.table} disable row level security`);
      return { noticed: opened('rls-enforced') };
    case 'kill-controller': {
      const { instance } = await system.status();
      process.kill(instance.pid, 'SIGKILL');
      return { noticed: (kind) => kind === 'controller.started' };
    }
  }
}

async function placeOf(system: System, id: string): Promise<{ pid: number; port: number }> {
  const status = await system.status();
  const found = status.services.flatMap(({ replicas }) => replicas).find((r) => r.id === id);
  if (found?.pid === undefined || found.port === undefined) throw new Error(`no replica ${id}`);
  return { pid: found.pid, port: found.port };
}

async function signal(system: System, id: string, name: NodeJS.Signals): Promise<Effect> {
  const { pid } = await placeOf(system, id);
  process.kill(pid, name);
  return { noticed: opened(id) };
}

async function flip(system: System, id: string, drill: string): Promise<Effect> {
  await switchOn((await placeOf(system, id)).port, drill);
  return { noticed: opened(id) };
}

/** One of the clinic's fault switches, on a replica's own port. */
export async function switchOn(port: number, drill: string): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/__drill/${drill}`, {
    method: 'POST',
    signal: AbortSignal.timeout(5_000),
  });
  if (!answer.ok) throw new Error(`drill ${drill} on port ${port}: ${answer.status}`);
  await answer.body?.cancel();
}

/** Ends every fault that is still switched on, whatever became of its scenario. */
export async function clearFaults(system: System): Promise<void> {
  const status = await system.status();
  const all = status.services.filter(({ kind }) => kind === 'stateless');
  const ports = all.flatMap(({ replicas }) => replicas.map(({ port }) => port ?? 0));
  const clear = async (port: number): Promise<void> => {
    await switchOn(port, 'off');
    // `off` disarms the poison too, which is armed in every replica from its start.
    await switchOn(port, 'poison');
  };
  await Promise.all(ports.map((port) => clear(port).catch(() => undefined)));
}

async function probes(
  system: System,
  fault: Extract<Fault, { kind: 'probe-lie' | 'probe-truth' }>,
): Promise<Effect> {
  const lie = fault.kind === 'probe-lie';
  const drill = lie ? 'probe-lie?paths=/readyz,/healthz' : 'probe-lie?paths=/nowhere';
  const all = replicasOf(await system.status(), fault.service);
  await Promise.all(all.map(({ port }) => switchOn(port ?? 0, drill)));
  const wanted = lie ? 'incident.opened' : 'incident.closed';
  return { noticed: (kind, text) => kind === wanted && text.includes(fault.service) };
}

const releaseOf = (system: System, service: string, kind: string): string =>
  join(system.base, `release-${service}-${kind}`);

/** What takes long and is no part of the fault itself: the making of a release. */
export async function prepare(system: System, fault: Fault): Promise<void> {
  if (fault.kind !== 'deploy') return;
  const { service, release } = fault;
  const script = join(CLINIC, 'drills/make-release.ts');
  const out = releaseOf(system, service, release);
  const { code, err } = await run(script, [
    ...['--service', service, '--kind', release, '--out', out],
  ]);
  if (code !== 0) throw new Error(`make-release exits ${code}: ${err}`);
}

async function deploy(system: System, service: string, kind: string): Promise<Effect> {
  return {
    answer: system.cli('deploy', service, '--release', releaseOf(system, service, kind)),
    noticed: (event, _text, of) => of === service && event === 'run.begun',
  };
}

const POISON_REQUESTS = 4;

/** A client that does not give up; not idempotent, so that every death is a request of its own. */
async function poison(system: System, fault: Extract<Fault, { kind: 'poison' }>): Promise<Effect> {
  for (let i = 0; i < POISON_REQUESTS; i += 1) {
    const answer = await fetch(`${system.gatewayUrl}${fault.route}`, {
      method: fault.method,
      headers: {
        authorization: `Bearer ${system.keys.get(fault.tenant) ?? ''}`,
        'content-type': 'application/json',
      },
      body: '{"poison":true}',
      signal: AbortSignal.timeout(10_000),
    });
    await answer.body?.cancel();
  }
  return { noticed: opened(fault.tenant) };
}

/** As an administrator by hand would, beside the control plane. */
export async function asOwner(
  system: System,
  sql: string,
): Promise<readonly Record<string, unknown>[]> {
  const status = await system.status();
  const port = replicasOf(status, 'database')[0]?.port ?? 0;
  const password = readFileSync(join(system.stateDir, 'secrets', 'db-owner'), 'utf8').trim();
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: 'clinic_owner',
    password,
    database: 'clinic',
  });
  await client.connect();
  try {
    return (await client.query(sql)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}
