// What exactly is started? The order for a replica: its release's command in its release's folder,
// with the environment resolved at this moment. Secrets pass through here and are kept nowhere.
import { join } from 'node:path';
import type { Manifest } from '../model/manifest.ts';
import type { Release } from '../model/release.ts';
import type { Replica } from '../model/replica.ts';
import { assert } from '../model/errors.ts';
import { resolveCommand, resolveEnv } from '../manifest/index.ts';
import type { ReplicaOrder } from '../world/runtime.ts';
import { assertionKey } from './table.ts';

export interface OrderInputs {
  readonly manifest: Manifest;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly secrets: ReadonlyMap<string, string>;
  /** Ports of services that others refer to. */
  readonly ports: ReadonlyMap<string, number>;
  readonly stateDir: string;
  readonly nodeDir: string;
  readonly instance: string;
  readonly socket: string;
  readonly assertionRoot: string;
}

export function buildOrder(replica: Replica, release: Release, inputs: OrderInputs): ReplicaOrder {
  const now = inputs.manifest.services.get(replica.service);
  assert(now !== undefined, `${replica.service} is in the manifest`);
  // The release's own command and environment: going back goes back to those as well.
  const spec = { ...now, command: release.command, env: new Map(Object.entries(release.env)) };
  const names = { name: inputs.manifest.name };
  return {
    id: replica.id,
    service: replica.service,
    release: release.id,
    cwd: join(release.dir, release.cwd),
    command: resolveCommand(spec, names, inputs),
    env: {
      ...resolveEnv(spec, names, inputs),
      KINTSUGI_INSTANCE: inputs.instance,
      KINTSUGI_REPLICA: replica.id,
      KINTSUGI_SERVICE: replica.service,
      KINTSUGI_RELEASE: release.id,
      KINTSUGI_REGION: replica.region,
      KINTSUGI_SOCKET: inputs.socket,
      KINTSUGI_ASSERTION_KEY: assertionKey(inputs.assertionRoot, replica.service),
    },
    port: now.kind === 'stateful' ? (inputs.ports.get(replica.service) ?? now.port) : now.port,
    memoryBytes: now.resources.memoryBytes,
    cpuCores: now.resources.cpuCores,
    logBytes: now.resources.logBytes,
  };
}
