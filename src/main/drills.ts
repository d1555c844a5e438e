// What can be broken on purpose here, and how? Signals for any service, fault switches for those
// that have them (the clinic example), the database and its policies; always through something
// that we run, never in production.
//
//   DR1. Production (KINTSUGI_PRODUCTION=1) has no drills.
//   DR2. A drill hits what it names and nothing else; it is told in the story before it happens.
import { createRequire } from 'node:module';
import type { DrillAnswer, DrillSpec } from '../api/contract.ts';
import type { Actor } from '../api/port.ts';
import { resolveText } from '../manifest/index.ts';
import { KinError } from '../model/errors.ts';
import type { RunningReplica } from '../world/runtime.ts';
import type { Controller } from './parts.ts';

const HTTP_DRILLS: Readonly<Record<string, string>> = {
  busy: 'busy?ms=60000',
  errors: 'errors?rate=1',
  slow: 'slow?ms=2000',
  leak: 'leak?mbPerSecond=20',
  exit: 'exit?code=1',
  'probe-lie': 'probe-lie?paths=/readyz,/healthz',
  off: 'off',
};

const SPECS: readonly DrillSpec[] = [
  {
    name: 'kill',
    does: 'SIGKILL to a replica',
    targets: 'replica',
    example: 'kill records-2',
    expect: 'a warm spare or a new replica takes its place',
  },
  {
    name: 'hang',
    does: 'SIGSTOP to a replica',
    targets: 'replica',
    example: 'hang records-2',
    expect: 'ejected within a second, then replaced',
  },
  {
    name: 'busy',
    does: 'a busy loop in a replica',
    targets: 'replica',
    example: 'busy records-2',
    expect: 'ejected within a second, then replaced',
  },
  {
    name: 'errors',
    does: 'a replica answers 500',
    targets: 'replica',
    example: 'errors records-2',
    expect: 'ejected, then replaced after a drain',
  },
  {
    name: 'slow',
    does: 'a replica takes 2 s for each answer',
    targets: 'replica',
    example: 'slow records-2',
    expect: 'shed, drained, replaced; never killed',
  },
  {
    name: 'leak',
    does: 'a replica leaks 20 MB/s',
    targets: 'replica',
    example: 'leak records-2',
    expect: 'recycled before it reaches its limit',
  },
  {
    name: 'exit',
    does: 'a replica exits with code 1',
    targets: 'replica',
    example: 'exit records-2',
    expect: 'replaced',
  },
  {
    name: 'probe-lie',
    does: 'every replica of a service fails its probes',
    targets: 'service',
    example: 'probe-lie records',
    expect: 'nothing is killed, a person is asked',
  },
  {
    name: 'poison',
    does: 'a tenant sends a request that crashes what serves it',
    targets: 'tenant',
    example: 'poison northside',
    expect: 'that route of that tenant is held back, the others are unharmed',
  },
  {
    name: 'stop',
    does: 'SIGTERM to a replica that nobody asked to end',
    targets: 'replica',
    example: 'stop database-1',
    expect: 'it is replaced; its users are left alone',
  },
  {
    name: 'rls-off',
    does: 'row-level security is switched off on a table',
    targets: 'control',
    example: 'rls-off patients',
    expect: 'found, switched on again, proved',
  },
  {
    name: 'controller-kill',
    does: 'SIGKILL to the controller',
    targets: 'controller',
    example: 'controller-kill controller',
    expect: 'replicas and gateways go on; the next controller adopts them',
  },
  {
    name: 'off',
    does: 'every fault switch of a replica off',
    targets: 'replica',
    example: 'off records-2',
    expect: 'nothing',
  },
];

export function isProduction(controller: Pick<Controller, 'env'>): boolean {
  return controller.env['KINTSUGI_PRODUCTION'] === '1';
}

export function drillList(controller: Controller): readonly DrillSpec[] {
  return isProduction(controller) ? [] : SPECS;
}

export async function drill(
  controller: Controller,
  name: string,
  target: string,
  actor: Actor,
): Promise<DrillAnswer> {
  if (isProduction(controller)) {
    throw new KinError(
      'KIN_DRILL_REFUSED',
      'this instance says that it is production',
      'Drill on a copy of it: start that without KINTSUGI_PRODUCTION.',
    );
  }
  const spec = SPECS.find((s) => s.name === name);
  if (spec === undefined) {
    throw new KinError('KIN_DRILL_UNKNOWN', `no drill ${name}`, 'See `kintsugi drill`.');
  }
  const { recorder } = controller.loop.state;
  recorder.tell({
    entry: 'operator.access',
    kind: 'drill',
    text: `${actor.name} drills ${name} on ${target}`,
    data: { name, target, actor: actor.name },
  });
  // The record comes first: after some drills there is nobody left to write it.
  await recorder.settled();
  const did = await act(controller, name, target);
  return { name, target, atMs: controller.world.clock.nowMs(), did };
}

async function act(controller: Controller, name: string, target: string): Promise<string> {
  switch (name) {
    case 'kill':
      return signal(running(controller, target), 'SIGKILL');
    case 'hang':
      return signal(running(controller, target), 'SIGSTOP');
    case 'stop':
      return signal(running(controller, target), 'SIGTERM');
    case 'controller-kill':
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), 100);
      return `SIGKILL to the controller (pid ${process.pid}) in 100 ms`;
    case 'rls-off':
      return await switchRlsOff(controller, target);
    case 'poison':
      return await poison(controller, target);
    default:
      return await fault(controller, name, target);
  }
}

function running(controller: Controller, target: string): RunningReplica {
  const found = controller.world.runtime.list().find((r) => r.id === target);
  if (found !== undefined) return found;
  throw new KinError(
    'KIN_TARGET_UNKNOWN',
    `no replica ${target} is running`,
    'Name one that `kintsugi status` shows.',
  );
}

function signal(replica: RunningReplica, name: NodeJS.Signals): string {
  process.kill(replica.pid, name);
  return `${name} to ${replica.id} (pid ${replica.pid})`;
}

/** On one replica, or on every replica of a service. */
async function fault(controller: Controller, name: string, target: string): Promise<string> {
  const path = HTTP_DRILLS[name];
  if (path === undefined) throw new Error(`unreachable: drill ${name}`);
  const all = controller.world.runtime.list().filter((r) => r.service === target);
  const hit = all.length > 0 ? all : [running(controller, target)];
  await Promise.all(
    hit.map(async ({ endpoint }) => {
      const url = `http://${endpoint.host}:${endpoint.port}/__drill/${path}`;
      const answer = await fetch(url, { method: 'POST', signal: AbortSignal.timeout(2_000) });
      await answer.body?.cancel();
      if (answer.ok) return;
      throw new KinError(
        'KIN_DRILL_UNAVAILABLE',
        `the fault switches of ${target} are off`,
        'Start with CLINIC_DRILLS=1 in the environment of `kintsugi up`.',
      );
    }),
  );
  return `${name} on ${hit.map((r) => r.id).join(', ')}`;
}

interface SqlClient {
  connect(): Promise<unknown>;
  query(text: string): Promise<unknown>;
  end(): Promise<void>;
}

async function switchRlsOff(controller: Controller, table: string): Promise<string> {
  const { settings, stateDir, env } = controller;
  const check = settings.manifest.compliance.checks.find(
    (c) => c.kind === 'rls-enforced' && (c.tables.length === 0 || c.tables.includes(table)),
  );
  const dependency =
    check === undefined ? undefined : settings.manifest.dependencies.get(check.dependency);
  if (check === undefined || dependency?.adminUrl === undefined || !/^[a-z_]{1,60}$/u.test(table)) {
    throw new KinError(
      'KIN_TARGET_UNKNOWN',
      `no check watches a table ${table}`,
      'Name a table of a rls-enforced check in the manifest.',
    );
  }
  const connectionString = resolveText(
    dependency.adminUrl,
    { name: settings.manifest.name },
    { env, secrets: settings.secrets, ports: settings.ports, stateDir },
  );
  const pg = createRequire(import.meta.url)('pg') as {
    readonly Client: new (options: { readonly connectionString: string }) => SqlClient;
  };
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    await client.query(`alter table "${check.schema}"."${table}" disable row level security`);
  } finally {
    await client.end();
  }
  return `row-level security is off on ${check.schema}.${table}`;
}

/** With a key of that tenant that lives only for the drill. */
async function poison(controller: Controller, tenant: string): Promise<string> {
  const { keys, loop, settings } = controller;
  const made = await keys.create(tenant);
  try {
    await loop.state.book.publish();
    const { host, port } = settings.manifest.gateway;
    const statuses: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      const answer = await fetch(`http://${host}:${port}/records/patients?poison=1`, {
        headers: { authorization: `Bearer ${made.key}` },
        signal: AbortSignal.timeout(5_000),
      });
      await answer.body?.cancel();
      statuses.push(answer.status);
    }
    return `${statuses.length} poisoned requests of ${tenant}, answered ${statuses.join(', ')}`;
  } finally {
    await keys.revoke(made.id);
    await loop.state.book.publish();
  }
}
