// Which port has a stateful service? The one that the manifest fixes, or one that was free when it
// was first needed and is kept from then on, because others are configured with it.
import { createServer } from 'node:net';
import type { Manifest } from '../model/manifest.ts';
import type { Store } from '../world/store.ts';

const SETTING = 'service-ports';

export async function servicePorts(
  manifest: Manifest,
  store: Pick<Store, 'setting' | 'putSetting'>,
  epoch: number,
): Promise<ReadonlyMap<string, number>> {
  const kept = readPorts(await store.setting(SETTING));
  const ports = new Map<string, number>();
  let changed = false;
  for (const spec of manifest.services.values()) {
    if (spec.port > 0) {
      ports.set(spec.name, spec.port);
    } else if (spec.kind === 'stateful') {
      const before = kept.get(spec.name);
      const port = before ?? (await freePort());
      changed ||= before === undefined;
      ports.set(spec.name, port);
    }
  }
  if (changed) await store.putSetting(SETTING, Object.fromEntries(ports), epoch);
  return ports;
}

function readPorts(value: unknown): ReadonlyMap<string, number> {
  if (typeof value !== 'object' || value === null) return new Map();
  return new Map(
    Object.entries(value).filter((pair): pair is [string, number] => Number.isInteger(pair[1])),
  );
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
