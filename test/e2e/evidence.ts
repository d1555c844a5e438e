// Does the record say all of it? Every act has its intent before and its outcome behind it in the
// ledger, nothing is left open, and each incident can be explained.
import assert from 'node:assert/strict';
import type { LedgerEntry, RunSummary } from '../../src/api/contract.ts';
import type { System } from './system.ts';

const PAGE = 500;
const FINAL: ReadonlySet<string> = new Set(['done', 'undone', 'refused', 'stuck']);

export async function ledgerFrom(system: System, from: number): Promise<readonly LedgerEntry[]> {
  const all: LedgerEntry[] = [];
  // Bounded by the size of the ledger: an incomplete page is the last.
  while (true) {
    const page = await system.client.ledgerEntries(from + all.length, PAGE);
    all.push(...page);
    if (page.length < PAGE) return all;
  }
}

interface Intent {
  readonly detail: { readonly run: string };
}

interface OutcomeBody {
  readonly intent: number;
  readonly detail: { readonly run: string };
}

/** Every run that began at or after this wall time, against the ledger from this index on. */
export async function assertRecorded(
  system: System,
  sinceMs: number,
  fromIndex: number,
): Promise<readonly RunSummary[]> {
  const [entries, all] = await Promise.all([
    ledgerFrom(system, fromIndex),
    system.client.runs(200),
  ]);
  const intents = new Map(
    entries.flatMap((e) =>
      e.kind === 'intent' ? [[(e.body as Intent).detail.run, e] as const] : [],
    ),
  );
  const outcomes = entries.filter(({ kind }) => kind === 'outcome');
  const outcomesOf = (index: number): readonly LedgerEntry[] =>
    outcomes.filter(({ body }) => (body as OutcomeBody).intent === index);
  for (const [run, { index }] of intents) {
    assert.equal(outcomesOf(index).length, 1, `the intent ${index} of ${run} has one outcome`);
  }
  const runs = all.filter((run) => run.startedAtMs >= sinceMs);
  for (const run of runs) {
    assert.ok(FINAL.has(run.state), `${run.summary} is at its end: ${run.state}`);
    const { steps, intentIndex } = await system.client.run(run.id);
    const intent = intents.get(run.id);
    assert.ok(intent !== undefined, `${run.summary} has an intent in the ledger`);
    assert.equal(intentIndex, intent.index, 'the run names its intent');
    const [outcome] = outcomesOf(intent.index);
    assert.ok(outcome !== undefined && outcome.index > intent.index);
    for (const { key, text, record } of steps) {
      if (record === undefined) continue;
      // The row of a first step is written along with the intent: what counts is when it was done.
      const doneMs = record.atWallMs + (record.tookMs ?? 0);
      const times: readonly number[] = [intent.atMs, doneMs, outcome.atMs];
      const inOrder: boolean = intent.atMs <= doneMs && doneMs <= outcome.atMs;
      assert.ok(inOrder, `${times.join(', ')} should grow: ${key} ${text}`);
    }
  }
  return runs;
}

/** The whole story of each incident, as a person reads it. */
export async function assertExplained(system: System, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const story = await system.client.explain(id);
    const { code, out, err } = await system.cli('explain', id);
    assert.equal(code, 0, err);
    assert.ok(out.includes(story.incident.title), `${id} is explained: ${out}`);
    assert.ok(story.findings.length > 0 && story.hypotheses.length > 0);
    for (const { run } of story.runs) assert.ok(out.includes(run.summary), out);
    assert.ok(story.proofs.length > 0, `${story.incident.title} has its place in the ledger`);
  }
}
