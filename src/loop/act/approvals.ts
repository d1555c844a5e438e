// How does a person decide? A run that needs it waits; the answer comes through the API, and the
// deadline answers for somebody who does not: nothing is done.
//
//   AP1. Exactly one answer counts: the first. Later ones are told what was decided.
//   AP2. The wait survives a restart: the question is in the store, asked again under its old id.
import { KinError, messageOf } from '../../model/errors.ts';
import { approvalId } from '../../model/ids.ts';
import type { ApprovalId } from '../../model/ids.ts';
import type { Approval, Run } from '../../model/run.ts';
import type { World } from '../../world/world.ts';

export interface Approvals {
  ask(run: Run, stop: AbortSignal): Promise<'approved' | 'denied' | 'expired'>;
  /** Questions that wait for a person. */
  pending(): readonly Approval[];
  decide(id: ApprovalId, answer: 'approved' | 'denied', by: string): Promise<Approval>;
}

export interface ApprovalPorts {
  readonly world: Pick<World, 'clock' | 'store' | 'log'>;
  readonly epoch: number;
  readonly nudge: () => void;
  readonly told: (text: string, run: string, incident: string | undefined) => void;
}

type Waiting = Map<
  ApprovalId,
  { readonly approval: Approval; readonly answer: (answer: 'approved' | 'denied') => void }
>;

export function createApprovals(ports: ApprovalPorts): Approvals {
  const waiting: Waiting = new Map();
  const closing = new Set<ApprovalId>();
  const { clock, store } = ports.world;

  async function ask(run: Run, stop: AbortSignal): Promise<'approved' | 'denied' | 'expired'> {
    const approval = await question(ports, run);
    if (approval.state.kind !== 'pending') return approval.state.kind;
    ports.told(`asks a person: ${approval.summary} (${approval.id})`, run.id, run.incident);
    const alarm = new AbortController();
    const answered = new Promise<'approved' | 'denied'>((resolve) => {
      waiting.set(approval.id, { approval, answer: resolve });
    });
    const late = clock
      .sleep(Math.max(0, approval.deadlineAtMs - clock.nowMs()), alarm.signal)
      .then(() => 'expired' as const);
    const stopped = new Promise<never>((_, reject) => {
      stop.addEventListener('abort', () => reject(new Error('stopped')), { once: true });
    });
    try {
      const first = await Promise.race([answered, late, stopped]);
      // AP1: an answer that is being written came before the deadline.
      const answer = first === 'expired' && closing.has(approval.id) ? await answered : first;
      if (answer === 'expired') {
        closing.add(approval.id);
        const expired: Approval = {
          ...approval,
          state: { kind: 'expired', atMs: clock.nowMs() },
        };
        await store.putApproval(expired, ports.epoch);
        ports.told(`nobody answered ${approval.id} in time: nothing is done`, run.id, run.incident);
      }
      return answer;
    } finally {
      waiting.delete(approval.id);
      alarm.abort();
      late.catch((error: unknown) => ports.world.log.debug(messageOf(error)));
    }
  }
  return {
    ask,
    pending: () => [...waiting.values()].map(({ approval }) => approval),
    decide: (id, answer, by) => decideOn(ports, { waiting, closing }, id, answer, by),
  };
}

async function decideOn(
  ports: ApprovalPorts,
  { waiting, closing }: { readonly waiting: Waiting; readonly closing: Set<ApprovalId> },
  id: ApprovalId,
  answer: 'approved' | 'denied',
  by: string,
): Promise<Approval> {
  const { clock, store } = ports.world;
  const before = await store.approval(id);
  if (before === undefined) {
    throw new KinError('KIN_APPROVAL_UNKNOWN', `no approval ${id}`, 'See `kintsugi approve`.');
  }
  if (before.state.kind !== 'pending' || closing.has(id)) {
    throw new KinError(
      'KIN_APPROVAL_CLOSED',
      `${id} is already ${before.state.kind === 'pending' ? 'decided' : before.state.kind}`,
      'The first answer counts; see `kintsugi explain`.',
    );
  }
  const atMs = clock.nowMs();
  if (atMs > before.deadlineAtMs) {
    throw new KinError(
      'KIN_APPROVAL_CLOSED',
      `the deadline of ${id} has passed`,
      'Nothing was done; a new plan asks again.',
    );
  }
  const decided: Approval = { ...before, state: { kind: answer, by, atMs } };
  closing.add(id);
  try {
    await store.putApproval(decided, ports.epoch);
  } catch (error) {
    closing.delete(id);
    throw error;
  }
  ports.told(`${by} ${answer} ${id}`, before.run, undefined);
  waiting.get(id)?.answer(answer);
  ports.nudge();
  return decided;
}

/** One question a run: found again after a restart (AP2). */
async function question(ports: ApprovalPorts, run: Run): Promise<Approval> {
  const id = approvalId(`apr_${run.id.slice(4)}`);
  const before = await ports.world.store.approval(id);
  if (before !== undefined) return before;
  const need = run.plan.approval;
  const approval: Approval = {
    id,
    run: run.id,
    summary: run.plan.summary,
    why: need.kind === 'needed' ? need.why : '',
    deadlineAtMs: ports.world.clock.nowMs() + (need.kind === 'needed' ? need.deadlineMs : 0),
    state: { kind: 'pending' },
  };
  await ports.world.store.putApproval(approval, ports.epoch);
  return approval;
}
