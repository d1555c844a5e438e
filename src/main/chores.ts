// What is done beside the loop, now and then? The ledger's high-water mark, the store's
// housekeeping, and a look at our own use of the processor.
import { messageOf } from '../model/errors.ts';
import type { Controller } from './parts.ts';

const CHORES = { highWaterMs: 2_000, tidyMs: 300_000 } as const;

export interface Chores {
  /** Stops them; the last entries are in the mark when it resolves. */
  end(): Promise<void>;
}

/** The high-water mark of the ledger, kept outside of it, and the store's housekeeping. */
export function startChores(controller: Controller): Chores {
  const { world, log, lease } = controller;
  let lastSize = -1;
  const remember = async (): Promise<void> => {
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
  return {
    async end() {
      clearInterval(mark);
      clearInterval(tidy);
      // Without this, a ledger folder of before the last seconds would pass for the present one.
      await remember();
    },
  };
}
