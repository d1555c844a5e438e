// How is a replica ended, and what happens when it ends by itself? Both meet in `leaderEnded`: kill
// the rest of the group, write the tombstone, tell it once, sweep up.
import { messageOf } from '../../model/errors.ts';
import type { Exit } from '../../model/replica.ts';
import type { StopAnswer } from '../../world/runtime.ts';
import { endAll, killGroup, leaderGone, signalLeader } from './ending.ts';
import { signalTo } from './machine.ts';
import { KILL_WAIT_MS, recordOf, type Live, type Ward } from './ward.ts';

const REMOVE_POLL_MS = 10;
/** What stays then is removed by the next start's tidying. */
const REMOVE_ROUNDS_MAX = 50;

export function stopReplica(ward: Ward, live: Live, termMs: number): Promise<StopAnswer> {
  // A second stop joins the first; one that may not wait makes the first hurry.
  if (live.stop !== undefined && termMs <= 0) live.hurry.abort();
  live.stop ??= endReplica(ward, live, termMs).finally(() => {
    live.stop = undefined;
  });
  return live.stop;
}

async function endReplica(ward: Ward, live: Live, termMs: number): Promise<StopAnswer> {
  if (termMs > 0 && signalLeader(ward.machine, live, 'SIGTERM'))
    await endedWithin(ward, live, termMs);
  const isForced = ward.live.has(live.id);
  if (isForced) {
    live.isForced = true;
    killGroup(ward.machine, live);
    for (const pid of live.cage?.pids() ?? []) signalTo(pid, 'SIGKILL');
    const isGone = await endedWithin(ward, live, KILL_WAIT_MS);
    if (!isGone) {
      const detail = `pid ${live.pid} did not go ${KILL_WAIT_MS} ms after SIGKILL`;
      return { kind: 'failed', detail: `${detail}: it hangs in the kernel` };
    }
  }
  const exit = await live.ended.promise;
  const left = (await ward.sweeps.get(live.id)) ?? [];
  if (left.length > 0)
    return { kind: 'failed', detail: `processes ${left.join(', ')} of its group did not go` };
  return { kind: 'stopped', exit, forced: isForced };
}

/** True when its end was seen in time. Leaves no timer or listener behind. */
async function endedWithin(ward: Ward, live: Live, ms: number): Promise<boolean> {
  const patience = new AbortController();
  const hurry = (): void => patience.abort();
  if (!live.isForced) live.hurry.signal.addEventListener('abort', hurry, { once: true });
  const wait = ward.clock.sleep(ms, patience.signal).catch(() => undefined);
  const over = wait.then(() => patience.abort());
  // Nobody tells us of the end of a process that is not our child: look often while we wait for it.
  const polled = !live.isTold
    ? leaderGone(ward.machine, live, ward.clock, patience.signal).then(() => lookAt(ward, live))
    : over;
  await Promise.race([live.ended.promise, Promise.all([over, polled])]);
  patience.abort();
  live.hurry.signal.removeEventListener('abort', hurry);
  return !ward.live.has(live.id);
}

/** For adopted replicas: notices the end of the leader. */
export function lookAt(ward: Ward, live: Live): void {
  if (!ward.live.has(live.id) || live.isTold) return;
  const facts = ward.machine.facts(live.pid);
  if (facts?.state === 'alive' && facts.start === live.start) return;
  leaderEnded(
    ward,
    live,
    live.isForced ? { kind: 'signal', signal: 'SIGKILL' } : { kind: 'unknown' },
  );
}

/** PD9. The first call counts. RT4: the rest of the group goes with its leader. */
export function leaderEnded(ward: Ward, live: Live, seen: Exit): void {
  if (ward.live.get(live.id) !== live) return;
  killGroup(ward.machine, live);
  const exit = causeOf(live, seen);
  ward.live.delete(live.id);
  ward.records.remember(live.id, exit);
  ward.sweeps.set(live.id, sweep(ward, live, exit));
  live.ended.resolve(exit);
  ward.emit({ kind: 'exited', replica: live.id, exit });
}

/** Without its tombstone, after a crash here, the next controller finds it dead all the same. */
function bury(ward: Ward, live: Live, exit: Exit): void {
  try {
    ward.records.write(recordOf(ward, live, { kind: 'ended', exit }));
  } catch (error) {
    // A full disk must not hide a death.
    ward.log.error('tombstone not written', { replica: live.id, reason: messageOf(error) });
  }
}

/** The kernel ends by SIGKILL; a shell as leader tells of its child's SIGKILL by code 137. */
function causeOf(live: Live, seen: Exit): Exit {
  const isKill =
    seen.kind === 'unknown' ||
    (seen.kind === 'signal' && seen.signal === 'SIGKILL') ||
    (seen.kind === 'code' && seen.code === 137);
  const kills = (live.cage?.memoryKills() ?? 0) - live.killsBefore;
  return isKill && kills > 0 && !live.isForced ? { kind: 'memory' } : seen;
}

async function sweep(ward: Ward, live: Live, exit: Exit): Promise<readonly number[]> {
  try {
    // After those who wait for the event: tombstone and scan cost some milliseconds of a heal.
    await new Promise((done) => setImmediate(done));
    bury(ward, live, exit);
    const left = await endAll(ward.machine, live, ward.owner, ward.clock, KILL_WAIT_MS);
    if (left.length > 0) ward.log.error('processes did not go', { replica: live.id, pids: left });
    else await removeCage(ward, live);
    return left;
  } finally {
    ward.ports.release(live.port);
    ward.sweeps.delete(live.id);
  }
}

/** The kernel calls a group busy until a dead process in it has been waited for by its parent. */
export async function removeCage(ward: Ward, live: Pick<Live, 'cage'>): Promise<void> {
  for (let round = 0; round < REMOVE_ROUNDS_MAX; round += 1) {
    if (live.cage?.remove() !== false) return;
    await ward.clock.sleep(REMOVE_POLL_MS);
  }
}
