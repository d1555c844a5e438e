// How does a plan happen? As a durable run: the intent is in the ledger and the journal before
// anything else, each step is written before and after it is done, and what failed is undone.
//
//   EX1. Nothing is done before the intent is durable in the ledger and the run in the store.
//   EX2. A resumed run begins at its first step without a result; steps look before they act.
//   EX3. After a commit point (`set-release`) there is no undo: what is left is done as far as it
//        goes, and what failed is said.
//   EX4. A stale epoch ends the run here without another act: the new owner has it now.
//   EX6. A step that only waits, or whose act is itself one durable write, is not written before
//        it; what only waits is written after the act that follows it. Each write before an act
//        delays a heal.
//   EX5. The intent gets exactly one outcome, also when the run is refused or stuck.
import { runId } from '../../model/ids.ts';
import type { IncidentId, RunId } from '../../model/ids.ts';
import { messageOf } from '../../model/errors.ts';
import { planEssence } from '../../model/plan.ts';
import type { Plan, Step } from '../../model/plan.ts';
import type { Receipt } from '../../model/receipt.ts';
import type { Outcome, Run, RunState, StepRecord } from '../../model/run.ts';
import type { ActPorts, StepAnswer, StepContext } from './ports.ts';
import { perform } from './perform.ts';

export interface Executor {
  /** Begins, or says that the target is held by another run. */
  begin(plan: Plan): Promise<Begun>;
  /** Goes on with a run, new or found after a restart, to its end. */
  finish(run: Run, receipt: Receipt): Promise<Outcome>;
}

export type Begun =
  | { readonly kind: 'begun'; readonly run: Run; readonly receipt: Receipt }
  | { readonly kind: 'busy'; readonly by: RunId };

export interface ExecutorPorts extends ActPorts {
  readonly digest: (essence: unknown) => string;
  /** From `record`: makes the intent durable and the receipt with it. */
  readonly intend: (run: Run) => Promise<{ readonly receipt: Receipt; readonly index: number }>;
  readonly conclude: (run: Run, result: 'succeeded' | 'failed') => Promise<void>;
  /** Waits for a person; resolves with the decision, or `expired` at the deadline. */
  readonly approval: (run: Run) => Promise<'approved' | 'denied' | 'expired'>;
  readonly told: (run: Run, text: string, data: unknown) => void;
}

export function createExecutor(ports: ExecutorPorts): Executor {
  return {
    begin: (plan) => begin(ports, plan),
    finish: (run, receipt) => finish(ports, run, receipt),
  };
}

async function begin(ports: ExecutorPorts, plan: Plan): Promise<Begun> {
  const { world } = ports;
  const incident: IncidentId | undefined =
    plan.origin.kind === 'heal' ? plan.origin.incident : undefined;
  const run: Run = {
    id: runId(world.ids.next('run')),
    plan,
    planDigest: ports.digest(planEssence(plan)),
    state: plan.approval.kind === 'needed' ? 'waiting' : 'running',
    incident,
    intentIndex: undefined,
    startedAtWallMs: world.clock.nowMs(),
    endedAtWallMs: undefined,
    steps: [intended('do:0', world.clock.nowMs())],
    failure: undefined,
  };
  // Both must be durable before the first act; they do not wait for each other (EX1).
  const [answer, intent] = await Promise.allSettled([
    world.store.beginRun(run, ports.epoch),
    ports.intend(run),
  ]);
  if (answer.status === 'rejected') {
    // A fenced owner writes nothing more: its successor closes what it left open.
    if (intent.status === 'fulfilled' && !isFenced(answer.reason)) {
      const intended = { ...run, intentIndex: intent.value.index };
      await ports.conclude({ ...intended, failure: messageOf(answer.reason) }, 'failed');
    }
    throw answer.reason;
  }
  if (intent.status === 'rejected') {
    if (answer.value.kind === 'begun') await abandon(ports, run, messageOf(intent.reason));
    throw intent.reason;
  }
  const { index, receipt } = intent.value;
  const begun: Run = { ...run, intentIndex: index };
  if (answer.value.kind === 'busy') {
    await ports.conclude({ ...begun, failure: `target held by ${answer.value.run}` }, 'failed');
    return { kind: 'busy', by: answer.value.run };
  }
  await ports.crashPoint('begun');
  return { kind: 'begun', run: begun, receipt };
}

/** A run without an intent did nothing and must not hold its target (EX1). */
async function abandon(ports: ExecutorPorts, run: Run, why: string): Promise<void> {
  if (run.state === 'waiting') {
    await move(ports, run, 'refused', why);
    return;
  }
  await move(ports, await move(ports, run, 'undoing', why), 'undone', why);
}

async function finish(ports: ExecutorPorts, run: Run, receipt: Receipt): Promise<Outcome> {
  let now = run;
  if (now.state === 'waiting') {
    const decision = await ports.approval(now);
    if (decision !== 'approved') return endRefused(ports, now, decision);
    now = await move(ports, now, 'running');
  }
  const context: Context = {
    ports,
    receipt,
    deadlineAtMs: ports.world.clock.monotonicMs() + now.plan.deadlineMs,
    next: undefined,
    proved: new Set(),
  };
  if (now.state === 'running') {
    const forward = await doSteps(now, context);
    now = forward.run;
    if (forward.failure === undefined) {
      now = await move(ports, now, 'done');
      await ports.conclude(now, 'succeeded');
      return { kind: 'done', run: now };
    }
    now = await move(ports, now, 'undoing', forward.failure);
  }
  return undo(now, context);
}

interface Context extends StepContext {
  readonly ports: ExecutorPorts;
}

interface Forward {
  readonly run: Run;
  readonly failure: string | undefined;
}

async function doSteps(run: Run, context: Context): Promise<Forward> {
  const { ports } = context;
  let now = run;
  let committed = false;
  const owed: StepRecord[] = [];
  for (const [index, { step }] of run.plan.steps.entries()) {
    const key = `do:${index}`;
    const before = now.steps.find((s) => s.key === key);
    if (before?.state !== 'done') {
      const late = ports.world.clock.monotonicMs() > context.deadlineAtMs;
      const result =
        late && !committed
          ? {
              run: now,
              answer: { kind: 'failed', detail: 'the run is past its deadline' } as const,
            }
          : await doStep(now, key, step, { ...context, next: stepAfter(run, index) }, owed);
      now = result.run;
      // EX3: past the commit point a failure is noted and the rest goes on.
      if (result.answer.kind === 'failed' && !committed) {
        await settle(run, owed, ports);
        return { run: now, failure: `${step.kind}: ${result.answer.detail}` };
      }
    }
    if (step.kind === 'set-release') committed = true;
  }
  await settle(run, owed, ports);
  return { run: now, failure: undefined };
}

const stepAfter = (run: Run, index: number): Step | undefined => run.plan.steps[index + 1]?.step;

/** Writes what is owed, oldest first. */
async function settle(run: Run, owed: StepRecord[], ports: ExecutorPorts): Promise<void> {
  for (let late = owed.shift(); late !== undefined; late = owed.shift()) {
    await ports.world.store.putStep(run.id, late, ports.epoch);
  }
}

function intended(key: string, atWallMs: number): StepRecord {
  return { key, state: 'intended', detail: '', atWallMs, tookMs: undefined };
}

/** Its act is one write of the book, told to the gateways: a resumed run looks and tells again. */
const WRITES_ITSELF: ReadonlySet<Step['kind']> = new Set(['route']);

/** They change nothing outside: repeating one after a crash is harmless. */
const WAITS: ReadonlySet<Step['kind']> = new Set([
  'await-ready',
  'await-dependency',
  'watch',
  'prove-control',
]);

async function doStep(
  run: Run,
  key: string,
  step: Step,
  context: Context,
  owed: StepRecord[],
): Promise<{ readonly run: Run; readonly answer: StepAnswer }> {
  const { ports } = context;
  const { clock, store } = ports.world;
  const before = run.steps.find((s) => s.key === key);
  const begun = before?.state === 'intended' ? before : intended(key, clock.nowMs());
  // EX6. The first intent stands in the run itself.
  const isWrittenFirst = !WAITS.has(step.kind) && !WRITES_ITSELF.has(step.kind);
  if (begun !== before && isWrittenFirst) await store.putStep(run.id, begun, ports.epoch);
  await ports.crashPoint(`${key}:intended`);
  const actsAtWallMs = clock.nowMs();
  const startedAtMs = clock.monotonicMs();
  const answer = await attempt(step, context);
  await ports.crashPoint(`${key}:acted`);
  const record: StepRecord = {
    ...begun,
    atWallMs: actsAtWallMs,
    state: answer.kind,
    detail: answer.detail.slice(0, 500),
    tookMs: Math.round(clock.monotonicMs() - startedAtMs),
  };
  owed.push(record);
  if (!WAITS.has(step.kind)) await settle(run, owed, ports);
  await ports.crashPoint(`${key}:written`);
  const next = { ...run, steps: [...run.steps.filter((s) => s.key !== key), record] };
  ports.told(next, `${step.kind}: ${record.detail}`, { step, ...record });
  return { run: next, answer };
}

async function attempt(step: Step, context: StepContext): Promise<StepAnswer> {
  try {
    return await perform(step, context);
  } catch (error) {
    // A stale epoch or a stopped controller must not look like a failed step (EX4).
    if (context.ports.stop.aborted || isFenced(error)) throw error;
    return { kind: 'failed', detail: messageOf(error) };
  }
}

export function isFenced(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'KIN_STORE_FENCED';
}

async function undo(run: Run, context: Context): Promise<Outcome> {
  const { ports } = context;
  const owed: StepRecord[] = [];
  let now = run;
  let trouble: string | undefined;
  const last = run.plan.steps.length - 1;
  for (let index = last; index >= 0; index -= 1) {
    const happened = now.steps.some((s) => s.key === `do:${index}`);
    const steps = run.plan.steps[index]?.undo ?? [];
    if (!happened) continue;
    for (const [n, step] of steps.entries()) {
      const key = `undo:${index}.${n}`;
      if (now.steps.some((s) => s.key === key && s.state === 'done')) continue;
      const { run: next, answer } = await doStep(now, key, step, context, owed);
      now = next;
      if (answer.kind === 'failed') trouble = `${step.kind}: ${answer.detail}`;
    }
  }
  await settle(now, owed, ports);
  now = await move(ports, now, trouble === undefined ? 'undone' : 'stuck', trouble);
  await ports.conclude(now, 'failed');
  const reason = run.failure ?? 'failed';
  return trouble === undefined
    ? { kind: 'undone', run: now, reason }
    : { kind: 'stuck', run: now, reason: `${reason}; undo failed: ${trouble}` };
}

async function endRefused(
  ports: ExecutorPorts,
  run: Run,
  reason: 'denied' | 'expired',
): Promise<Outcome> {
  const now = await move(ports, run, 'refused', `approval ${reason}`);
  await ports.conclude(now, 'failed');
  return { kind: 'refused', run: now, reason };
}

async function move(
  ports: ExecutorPorts,
  run: Run,
  state: RunState,
  failure?: string,
): Promise<Run> {
  const final = state !== 'running' && state !== 'undoing';
  const endedAtWallMs = final ? ports.world.clock.nowMs() : undefined;
  await ports.world.store.setRun(
    run.id,
    {
      state,
      ...(failure === undefined ? {} : { failure }),
      ...(run.intentIndex === undefined ? {} : { intentIndex: run.intentIndex }),
      ...(endedAtWallMs === undefined ? {} : { endedAtWallMs }),
    },
    ports.epoch,
  );
  await ports.crashPoint(`state:${state}`);
  return { ...run, state, endedAtWallMs, failure: failure ?? run.failure };
}
