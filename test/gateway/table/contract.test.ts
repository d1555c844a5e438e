// Do the real hub, with a gateway's link behind it, and the simulated data plane keep one contract?
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openHub } from '../../../src/drivers/gateways/hub.ts';
import { openLink } from '../../../src/gateway/link.ts';
import type { RoutingTable } from '../../../src/model/routing.ts';
import { gatewaysContract } from '../../contract/gateways.ts';
import { Simulation } from '../../sim/simulation.ts';
import { LOG, until } from '../rig.ts';
import { EMPTY, PEPPER, service, tenants } from './tables.ts';

gatewaysContract('the hub and a link', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kin-contract-'));
  const socketPath = join(folder, 'run', 'c.sock');
  const monotonicMs = (): number => performance.now();
  const hub = await openHub({ socketPath, pepper: PEPPER, log: LOG, monotonicMs });
  let inForce: RoutingTable | undefined;
  const link = openLink({
    socketPath,
    worker: 'g1',
    random: () => 0.5,
    version: () => inForce?.version ?? 0,
    onTable: (table) => {
      inForce = table;
      return table.version;
    },
    onForgive: () => undefined,
    onDeath: () => undefined,
    takeCells: () => [],
    inFlight: () => [],
    ejections: () => [],
    warn: (text) => assert.fail(text),
  });
  await until('joined', () => hub.connected().length === 1);
  return {
    gateways: hub,
    table: { ...EMPTY, tenants: tenants(700), services: [service('web'), service('api')] },
    inForce: () => inForce,
    async close() {
      await link.close();
      await hub.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});

gatewaysContract('the simulation', async () => {
  const sim = new Simulation({ seed: 3 });
  sim.boot();
  await sim.run(10_000);
  const gateways = sim.loop?.state.ports.world.gateways;
  const table = sim.plane.table();
  assert.ok(gateways !== undefined && table !== undefined);
  return { gateways, table, inForce: () => sim.plane.table(), close: async () => undefined };
});
