// What must hold for everything that carries tables to gateways, real or simulated?
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { asReplicaId } from '../../src/model/ids.ts';
import type { RoutingTable } from '../../src/model/routing.ts';
import type { Gateways } from '../../src/world/gateways.ts';

export interface GatewaysUnderTest {
  /** Exactly one gateway is connected. */
  readonly gateways: Gateways;
  /** A table that fits; its version is in force, or lower. */
  readonly table: RoutingTable;
  /** The table that the gateway judges requests with. */
  inForce(): RoutingTable | undefined;
  close(): Promise<void>;
}

export function gatewaysContract(name: string, open: () => Promise<GatewaysUnderTest>): void {
  const opened = async (use: (parts: GatewaysUnderTest) => Promise<void>): Promise<void> => {
    const parts = await open();
    try {
      await use(parts);
    } finally {
      await parts.close();
    }
  };

  describe(`gateways: ${name}`, () => {
    test('G1: what a push says is applied is in force, whole; an older table never is', () =>
      opened(async ({ gateways, table, inForce }) => {
        const version = table.version + 1;
        const services = table.services.slice(0, 1);
        const answer = await gateways.push({ ...table, version, services }, 5_000);
        assert.deepEqual(answer, { kind: 'applied', workers: 1 });
        assert.equal(inForce()?.version, version);
        assert.deepEqual(
          inForce()?.services.map((s) => s.name),
          services.map((s) => s.name),
        );
        await gateways.push({ ...table, version: version - 1, services: [] }, 50);
        assert.equal(inForce()?.version, version);
        assert.equal(inForce()?.services.length, services.length);
      }));

    test('G1: of several pushes at once the newest is in force in the end', () =>
      opened(async ({ gateways, table, inForce }) => {
        const versions = [1, 2, 3].map((more) => table.version + more);
        const pushes = versions.map((version) => gateways.push({ ...table, version }, 5_000));
        for (const answer of await Promise.all(pushes)) assert.equal(answer.kind, 'applied');
        assert.equal(inForce()?.version, versions.at(-1));
      }));

    test('a pushed table is not changed, and may be pushed again with another part', () =>
      opened(async ({ gateways, table, inForce }) => {
        const pushed = structuredClone(table);
        await gateways.push({ ...pushed, version: table.version + 1 }, 5_000);
        assert.deepEqual(pushed, structuredClone(table));
        const [first] = pushed.services;
        assert.ok(first);
        const services = pushed.services.with(0, { ...first, slowMs: first.slowMs + 7 });
        await gateways.push({ ...pushed, version: table.version + 2, services }, 5_000);
        assert.equal(inForce()?.services[0]?.slowMs, first.slowMs + 7);
        assert.equal(inForce()?.tenants.length, table.tenants.length);
      }));

    test('who is connected has a name; what is unknown has nothing inside', () =>
      opened(async ({ gateways }) => {
        assert.equal(gateways.connected().length, 1);
        const replica = asReplicaId('nobody-99');
        assert.deepEqual(gateways.inFlight(replica), { replica, count: 0, oldestMs: 0 });
        gateways.forgive([replica]);
        gateways.forgive([]);
        gateways.onSignal(() => assert.fail('nobody listens any more'))();
      }));
  });
}
