// Full events: canonical JSON, four salted and encrypted fields, the tree of one of 1000 tenants.
import { SUBJECTS, eventOf } from './content.ts';
import { openEventLog } from './events.ts';
import type { EventLog } from './events.ts';
import { TENANTS } from './job.ts';
import type { JobOf, Measured, Passed } from './job.ts';
import { drive, passed } from './pace.ts';

/** So many at once while the tenants' logs and their people's keys are made. */
const BEGINNERS = 256;

export async function runEvents({ dir, pace }: JobOf<'events'>): Promise<Measured> {
  const log = await openEventLog(dir);
  // Every tenant and person once: logs and keys are made in years, not in the time that counts.
  const firsts = TENANTS * SUBJECTS;
  let next = 0;
  const begin = async (): Promise<void> => {
    while (next < firsts) await log.write(eventOf(next++));
  };
  await Promise.all(Array.from({ length: BEGINNERS }, begin));
  const measured = await drive({
    pace,
    write: async (n) => {
      await log.write(eventOf(firsts + n));
      return 1;
    },
  });
  if (log.tenants() !== TENANTS) throw new Error(`${log.tenants()} tenants, not ${TENANTS}`);
  const entryBytes = await log.entryBytes();
  await log.close();
  return { ...measured, entryBytes };
}

/** From the call to the moment at which it takes entries. */
export async function runOpenEvents({ dir }: JobOf<'openEvents'>): Promise<Passed> {
  let opened: EventLog | undefined;
  const result = await passed(async () => {
    opened = await openEventLog(dir);
    const { size, root } = opened.head();
    return { entries: size, root };
  });
  await opened?.close();
  return result;
}
