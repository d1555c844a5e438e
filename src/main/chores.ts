// What is done beside the loop, now and then? The ledger's high-water mark, the store's
// housekeeping, and a look at our own use of the processor.
//
//   EO1. A time in which the ledger took nothing leaves a mark outside of it, and an entry in it
//        as soon as it takes entries again.
import { collectOrphansOf } from '@kintsugi/ledger';
import { messageOf } from '../model/errors.ts';
import { retainAsSaid } from './retention.ts';
import { watchDown } from './dependencies.ts';
import { refreshJwks, refreshWhenWanted } from './jwks.ts';
import type { Controller } from './parts.ts';

const OUTAGE = 'ledger.outage';
const CHORES = {
  highWaterMs: 2_000,
  tidyMs: 300_000,
  jwksMs: 300_000,
  retentionMs: 3_600_000,
} as const;

export interface Chores {
  /** Stops them; the last entries are in the mark when it resolves. */
  end(): Promise<void>;
}

/** EO1. Kept in the store, because the ledger can no longer say it. */
async function markOutage({ world, log, lease }: Controller): Promise<void> {
  const { kind } = log.stats().state;
  if (kind !== 'failed') return;
  const known = await world.store.setting(OUTAGE).catch(() => null);
  if (known !== undefined && known !== null) return;
  const mark = { sinceMs: world.clock.nowMs() };
  await world.store.putSetting(OUTAGE, mark, lease.epoch).catch(() => undefined);
}

/** EO1, after a start: what could not be written in between is said, with its times. */
export async function tellOutage({ world, lease }: Controller): Promise<void> {
  const mark = await world.store.setting(OUTAGE);
  if (typeof mark !== 'object' || mark === null || !('sinceMs' in mark)) return;
  await world.ledger.record('evidence.outage', {
    sinceMs: mark.sinceMs,
    untilMs: world.clock.nowMs(),
    text: 'the ledger took nothing in between: access events of that time are missing',
  });
  await world.store.putSetting(OUTAGE, null, lease.epoch);
}

/** The high-water mark of the ledger, kept outside of it, and the store's housekeeping. */
export function startChores(controller: Controller): Chores {
  const { world, log, lease } = controller;
  let lastSize = -1;
  const remember = async (): Promise<void> => {
    await markOutage(controller);
    if (log.size === lastSize) return;
    const { size, root } = log.checkpoint();
    try {
      await world.store.putSetting('ledger.high-water', { size, root }, lease.epoch);
      lastSize = size;
    } catch (error) {
      world.log.warn('high-water', { error: messageOf(error) });
    }
  };
  let usage = process.cpuUsage();
  const mark = setInterval(() => {
    const { user, system } = process.cpuUsage(usage);
    usage = process.cpuUsage();
    controller.cpu = (user + system) / (CHORES.highWaterMs * 1_000);
    void remember();
  }, CHORES.highWaterMs);
  const tidy = setInterval(() => {
    world.store
      .tidy(world.clock.nowMs(), lease.epoch)
      .catch((error: unknown) => world.log.warn('tidy', { error: messageOf(error) }));
  }, CHORES.tidyMs);
  const keep = setInterval(() => {
    retainAsSaid(controller.evidence, controller.settings.manifest.ledger, world.clock.nowMs())
      .then(() => collectOrphansOf(controller.evidence))
      .catch((error: unknown) => world.log.warn('retention', { error: messageOf(error) }));
  }, CHORES.retentionMs);
  const jwks = setInterval(() => void refreshJwks(controller), CHORES.jwksMs);
  const unwanted = refreshWhenWanted(controller);
  const unwatched = watchDown(controller);
  return {
    async end() {
      unwanted();
      unwatched();
      clearInterval(jwks);
      clearInterval(keep);
      clearInterval(mark);
      clearInterval(tidy);
      // Without this, a ledger folder of before the last seconds would pass for the present one.
      await remember();
    },
  };
}
