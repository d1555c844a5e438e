// What does a manifest change when it takes hold? Rollouts of changed sources, removals of what it
// no longer names, and the record of what it brought.
import type { StartFile } from '../api/state-folder.ts';
import { messageOf } from '../model/errors.ts';
import type { Settled } from './desired.ts';
import type { Controller } from './parts.ts';

export function overrides(start: StartFile): Record<string, number> {
  return {
    ...(start.gatewayPort === undefined ? {} : { 'gateway.port': start.gatewayPort }),
    ...(start.controlPort === undefined ? {} : { 'control.port': start.controlPort }),
  };
}

/** Rollouts of changed sources and removals, as changes of the manifest's author. */
export function beginChanges(controller: Controller, settled: Settled): void {
  const { loop, world, lease } = controller;
  for (const { service, release } of settled.rollouts) {
    loop.change({ kind: 'deploy', service, release: release.id }, 'manifest');
  }
  for (const service of settled.leavers) loop.change({ kind: 'remove', service }, 'manifest');
  world.store.putSetting('sources', settled.sources, lease.epoch).catch((error: unknown) => {
    world.log.error('sources not remembered', { error: messageOf(error) });
  });
}

/** What this start made: releases of new sources, and the first keys of tenants. */
export function announceNew(
  controller: Controller,
  settled: Settled,
  keyed: readonly string[],
): void {
  const { recorder } = controller.loop.state;
  for (const { id, service, digest } of settled.change.releases ?? []) {
    recorder.tell({
      entry: 'release.created',
      kind: 'release.created',
      service,
      text: `${service}: release ${id} from ${digest}`,
      data: { release: id, digest, actor: 'manifest' },
    });
  }
  for (const tenant of keyed) {
    recorder.tell({
      entry: 'tenant.key-created',
      kind: 'tenant.key-created',
      text: `${tenant}: its first key`,
      data: { tenant, actor: 'manifest' },
    });
  }
}
