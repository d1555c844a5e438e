// How does everything get written down? Facts go to the ledger (for ever) and to the story (for the
// live view and `explain`), in the order in which they happened.
//
//   RE1. Intents are awaited: they are the condition of acting. All else is written behind, in
//        order, a moment later, so that an act does not wait for the disk twice. What was told
//        before an intent goes to the ledger with it, in front of it.
//   RE2. At most `limit` facts wait; past it the oldest are dropped and counted in the log: the
//        ledger does not see them.
//   RE3. A ledger that fails stops actions (`intend` rejects), not the watching.
//   RE4. Each intent gets its one outcome in the end: late when the ledger was away, from the next
//        start when this controller died first.
import type { EntryKind, StoryEvent } from '../../model/entry.ts';
import type { Incident } from '../../model/incident.ts';
import type { Plan, Refusal } from '../../model/plan.ts';
import { planEssence } from '../../model/plan.ts';
import { mintReceipt } from '../../model/receipt.ts';
import type { Receipt } from '../../model/receipt.ts';
import { runId } from '../../model/ids.ts';
import type { RunId } from '../../model/ids.ts';
import type { Run, Verdict } from '../../model/run.ts';
import { messageOf } from '../../model/errors.ts';
import type { IntentTerms, OpenIntent, Written } from '../../world/ledger.ts';
import type { World } from '../../world/world.ts';

export interface Fact {
  /** Undefined: only a line of the story. */
  readonly entry: EntryKind | undefined;
  readonly kind: string;
  readonly text: string;
  readonly data: unknown;
  readonly incident?: string;
  readonly run?: string;
  readonly service?: string;
}

export interface Recorder {
  tell(fact: Fact): void;
  intend(run: Run): Promise<{ readonly receipt: Receipt; readonly index: number }>;
  conclude(run: Run, result: 'succeeded' | 'failed'): Promise<void>;
  onStory(listener: (event: StoryEvent) => void): () => void;
  /** Resolves when everything told so far is written. */
  settled(): Promise<void>;
}

export interface RecordPorts {
  readonly world: Pick<World, 'clock' | 'ledger' | 'store' | 'log'>;
  readonly epoch: number;
  readonly limit?: number;
  /** Playbooks whose intents witnesses must have seen before they act. */
  readonly mustBeWitnessed?: (playbook: string) => boolean;
}

/** Undoing has no deadline of its own; this long after the run's an outcome is overdue. */
const OUTCOME_GRACE_MS = 300_000;

const HOLD = 'hold:';

/** A tenant that is held to less, or a route of it, is that tenant's business. */
function tenantOf(plan: Plan): string | undefined {
  for (const { step } of plan.steps) {
    if (step.kind === 'quarantine') return step.rule.tenant;
    if (step.kind === 'hold-tenant') return step.hold.tenant;
    if (step.kind === 'release-tenant') return step.id.slice(HOLD.length);
  }
  return undefined;
}

function termsOf(plan: Plan, isWitnessed: boolean): IntentTerms {
  const waitMs = plan.approval.kind === 'needed' ? plan.approval.deadlineMs : 0;
  return {
    deadlineMs: waitMs + plan.deadlineMs + OUTCOME_GRACE_MS,
    level: isWitnessed ? 'witnessed' : 'durable',
    tenant: tenantOf(plan),
  };
}

/** How long facts gather before they are written: at most this much of a story a crash may lose. */
const GATHER_MS = 20;
/** As many go in front of an intent; with more of them waiting the ledger is behind anyway. */
const AHEAD_MAX = 64;

interface Waiting {
  readonly fact: Fact;
  readonly atMs: number;
  /** Under way to the ledger already. */
  written: Promise<Written | undefined> | undefined;
}

export function createRecorder(ports: RecordPorts): Recorder {
  const { clock } = ports.world;
  const listeners = new Set<(event: StoryEvent) => void>();
  const waiting: Waiting[] = [];
  const limit = ports.limit ?? 5_000;
  let dropped = 0;
  let hurry = new AbortController();
  let writing: Promise<void> | undefined;

  async function drainQueue(): Promise<void> {
    await clock.sleep(GATHER_MS, hurry.signal).catch(() => undefined);
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      try {
        await write(ports, next, listeners);
      } catch (error) {
        ports.world.log.error('a fact could not be written', {
          kind: next.fact.kind,
          error: messageOf(error),
        });
      }
    }
    writing = undefined;
  }

  function tell(fact: Fact): void {
    if (waiting.length >= limit) {
      waiting.shift();
      dropped += 1;
      if (dropped % 1_000 === 1) ports.world.log.warn('facts dropped', { dropped });
    }
    waiting.push({ fact, atMs: clock.nowMs(), written: undefined });
    writing ??= drainQueue();
  }
  return {
    tell,
    intend: (run) => intend(ports, waiting, run),
    async conclude(run, result) {
      const index = run.intentIndex;
      if (index === undefined) return;
      const close = (): Promise<void> => closeIntent(ports, index, result, outcomeOf(run));
      try {
        await close();
      } catch (error) {
        ports.world.log.warn('an outcome waits for the ledger', {
          run: run.id,
          error: messageOf(error),
        });
        void persist(ports, close);
      }
    },
    onStory(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async settled() {
      while (writing !== undefined) {
        hurry.abort();
        await writing;
      }
      hurry = new AbortController();
    },
  };
}

/** RE1: what waits is sent ahead, in one go with the intent. */
async function intend(
  ports: RecordPorts,
  waiting: readonly Waiting[],
  run: Run,
): Promise<{ readonly receipt: Receipt; readonly index: number }> {
  if (waiting.length <= AHEAD_MAX) {
    for (const each of waiting) void send(ports, each);
  }
  const written = await ports.world.ledger.intent(
    run.plan.target,
    {
      run: run.id,
      digest: run.planDigest,
      plan: planEssence(run.plan),
      summary: run.plan.summary,
    },
    termsOf(run.plan, ports.mustBeWitnessed?.(run.plan.playbook) ?? false),
  );
  const receipt = mintReceipt(run.plan.id, run.planDigest, written.index, written.leafHash);
  return { receipt, index: written.index };
}

/** Exactly one outcome: nothing is written for an intent that has got its own already. */
async function closeIntent(
  ports: RecordPorts,
  index: number,
  result: 'succeeded' | 'failed',
  detail: unknown,
): Promise<void> {
  const { ledger } = ports.world;
  if (!ledger.openIntents().some((intent) => intent.index === index)) return;
  await ledger.outcome(index, result, detail);
}

function outcomeOf(run: Run): unknown {
  return {
    run: run.id,
    state: run.state,
    failure: run.failure ?? null,
    steps: run.steps.map(({ key, state, detail, tookMs }) => ({
      key,
      state,
      detail,
      tookMs: tookMs ?? null,
    })),
  };
}

const OUTCOME_EVERY_MS = 1_000;

/** RE4. Tries until it is written; the end of this process hands it to the next start. */
async function persist(ports: RecordPorts, close: () => Promise<void>): Promise<void> {
  for (let written = false; !written;) {
    await ports.world.clock.sleep(OUTCOME_EVERY_MS);
    written = await close().then(
      () => true,
      () => false,
    );
  }
}

/**
 * RE4. An intent that an earlier controller left open: its run has ended, or never began. The runs
 * that are still open close theirs themselves.
 */
export async function reconcileIntents(
  ports: RecordPorts,
  left: readonly OpenIntent[],
): Promise<void> {
  for (const { index, detail } of left) {
    const id = runOf(detail);
    const run = id === undefined ? undefined : await ports.world.store.run(id);
    const close = (): Promise<void> =>
      run === undefined
        ? closeIntent(ports, index, 'failed', { run: id ?? null, failure: 'it never began' })
        : closeIntent(ports, index, run.state === 'done' ? 'succeeded' : 'failed', outcomeOf(run));
    await close().catch(() => persist(ports, close));
  }
}

/** The run that an intent is of. */
export function runOf(detail: unknown): RunId | undefined {
  if (typeof detail !== 'object' || detail === null || !('run' in detail)) return undefined;
  return typeof detail.run === 'string' ? runId(detail.run) : undefined;
}

/** Once; a failure is met by whoever waits for it. */
function send(ports: RecordPorts, each: Waiting): Promise<Written | undefined> {
  const { fact } = each;
  if (each.written === undefined) {
    each.written =
      fact.entry === undefined
        ? Promise.resolve(undefined)
        : ports.world.ledger.record(fact.entry, {
            incident: fact.incident ?? null,
            run: fact.run ?? null,
            text: fact.text,
            data: fact.data,
          });
    each.written.catch(() => undefined);
  }
  return each.written;
}

async function write(
  ports: RecordPorts,
  each: Waiting,
  listeners: ReadonlySet<(event: StoryEvent) => void>,
): Promise<void> {
  const { fact, atMs } = each;
  const written = await send(ports, each);
  const event: Omit<StoryEvent, 'seq'> = {
    atMs,
    kind: fact.kind,
    incident: fact.incident,
    run: fact.run,
    service: fact.service,
    text: fact.text,
    data: fact.data,
    ledgerIndex: written?.index,
  };
  const seq = await ports.world.store.tell(event, ports.epoch);
  for (const listener of listeners) listener({ ...event, seq });
}

export function incidentFact(what: 'opened' | 'closed' | 'updated', incident: Incident): Fact {
  const [best] = incident.diagnosis.hypotheses;
  const state = incident.state;
  const how = state.kind !== 'healed' ? '' : state.by === 'itself' ? ' by itself' : '';
  return {
    entry: what === 'updated' ? undefined : `incident.${what}`,
    kind: `incident.${what}`,
    text: what === 'closed' ? `healed${how}: ${incident.title}` : incident.title,
    incident: incident.id,
    ...('service' in best.subject ? { service: best.subject.service } : {}),
    data: {
      fingerprint: incident.fingerprint,
      findings: incident.findings,
      diagnosis: incident.diagnosis,
      state,
      attempts: incident.attempts,
    },
  };
}

export function refusalFact(incident: Incident, refusal: Refusal): Fact {
  return {
    entry: 'decision.refused',
    kind: 'decision.refused',
    text:
      `${refusal.escalate ? 'a person is asked' : 'nothing done'}: ` +
      `${refusal.reason}, ${refusal.detail}`,
    incident: incident.id,
    data: refusal,
  };
}

export function verdictFact(incident: Incident, verdict: Verdict): Fact {
  return {
    entry: 'plan.verdict',
    kind: 'plan.verdict',
    text: `${verdict.kind} in ${(verdict.tookMs / 1000).toFixed(2)} s: ${verdict.reasons[0] ?? ''}`,
    incident: incident.id,
    run: verdict.run,
    data: verdict,
  };
}
