// How does everything get written down? Facts go to the ledger (for ever) and to the story (for the
// live view and `explain`), in the order in which they happened.
//
//   RE1. Intents are awaited: they are the condition of acting. All else is written behind, in
//        order, and never delays the loop.
//   RE2. At most `limit` facts wait; past it the oldest routine ones are dropped and counted, and
//        the count itself is written.
//   RE3. A ledger that fails stops actions (`intend` rejects), not the watching.
import type { EntryKind, StoryEvent } from '../../model/entry.ts';
import type { Incident } from '../../model/incident.ts';
import type { Refusal } from '../../model/plan.ts';
import { planEssence } from '../../model/plan.ts';
import { mintReceipt } from '../../model/receipt.ts';
import type { Receipt } from '../../model/receipt.ts';
import type { Run, Verdict } from '../../model/run.ts';
import { messageOf } from '../../model/errors.ts';
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
}

export function createRecorder(ports: RecordPorts): Recorder {
  const { ledger, clock } = ports.world;
  const listeners = new Set<(event: StoryEvent) => void>();
  const waiting: { readonly fact: Fact; readonly atMs: number }[] = [];
  const limit = ports.limit ?? 5_000;
  let dropped = 0;
  let writing: Promise<void> | undefined;

  async function drainQueue(): Promise<void> {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      try {
        await write(ports, next.fact, next.atMs, listeners);
      } catch (error) {
        ports.world.log.error('a fact could not be written', {
          kind: next.fact.kind, error: messageOf(error),
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
    waiting.push({ fact, atMs: clock.nowMs() });
    writing ??= drainQueue();
  }
  return {
    tell,
    async intend(run) {
      const written = await ledger.intent(run.plan.target, {
        run: run.id, digest: run.planDigest, plan: planEssence(run.plan),
        summary: run.plan.summary,
      });
      const receipt = mintReceipt(run.plan.id, run.planDigest, written.index, written.leafHash);
      return { receipt, index: written.index };
    },
    async conclude(run, result) {
      if (run.intentIndex === undefined) return;
      await ledger.outcome(run.intentIndex, result, {
        run: run.id, state: run.state, failure: run.failure ?? null,
        steps: run.steps.map(({ key, state, detail, tookMs }) =>
          ({ key, state, detail, tookMs: tookMs ?? null })),
      });
    },
    onStory(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async settled() {
      while (writing !== undefined) await writing;
    },
  };
}

async function write(
  ports: RecordPorts, fact: Fact, atMs: number,
  listeners: ReadonlySet<(event: StoryEvent) => void>,
): Promise<void> {
  const written = fact.entry === undefined
    ? undefined : await ports.world.ledger.record(fact.entry, {
      incident: fact.incident ?? null, run: fact.run ?? null, text: fact.text, data: fact.data,
    });
  const event: Omit<StoryEvent, 'seq'> = {
    atMs, kind: fact.kind, incident: fact.incident, run: fact.run, service: fact.service,
    text: fact.text, data: fact.data, ledgerIndex: written?.index,
  };
  const seq = await ports.world.store.tell(event, ports.epoch);
  for (const listener of listeners) listener({ ...event, seq });
}

export function incidentFact(
  what: 'opened' | 'closed' | 'updated', incident: Incident,
): Fact {
  const [best] = incident.diagnosis.hypotheses;
  const state = incident.state;
  const how = state.kind !== 'healed' ? '' : state.by === 'itself' ? ' by itself' : '';
  return {
    entry: what === 'opened' ? 'incident.opened' : what === 'closed' ? 'incident.closed' : undefined,
    kind: `incident.${what}`,
    text: what === 'closed' ? `healed${how}: ${incident.title}` : incident.title,
    incident: incident.id,
    ...('service' in best.subject ? { service: best.subject.service } : {}),
    data: {
      fingerprint: incident.fingerprint, findings: incident.findings,
      diagnosis: incident.diagnosis, state, attempts: incident.attempts,
    },
  };
}

export function refusalFact(incident: Incident, refusal: Refusal): Fact {
  return {
    entry: 'decision.refused', kind: 'decision.refused',
    text: `${refusal.escalate ? 'a person is asked' : 'nothing done'}: `
      + `${refusal.reason}, ${refusal.detail}`,
    incident: incident.id, data: refusal,
  };
}

export function verdictFact(incident: Incident, verdict: Verdict): Fact {
  return {
    entry: 'plan.verdict', kind: 'plan.verdict',
    text: `${verdict.kind} in ${(verdict.tookMs / 1000).toFixed(2)} s: ${verdict.reasons[0] ?? ''}`,
    incident: incident.id, run: verdict.run, data: verdict,
  };
}
