// How long does one caller wait for the right to act? Intents one after another, each with its
// receipt, then its proof, then its outcome.
import type { IntentTimes, JobOf } from './job.ts';
import { openBenchLedger } from './opaque.ts';
import { cpuMs } from './pace.ts';

export async function runIntents({ dir, warm, count }: JobOf<'intents'>): Promise<IntentTimes> {
  const ledger = await openBenchLedger(dir);
  const intentMs: number[] = [];
  const proofMs: number[] = [];
  const outcomeMs: number[] = [];
  let fromCpuMs = cpuMs();
  for (let n = 0; n < warm + count; n++) {
    if (n === warm) fromCpuMs = cpuMs();
    const startMs = performance.now();
    const intent = await ledger.intent({
      kind: 'heal.restart',
      subject: `replica-${n % 12}`,
      plan: `plan-${n}`,
      detail: { finding: 'ended', evidence: [n, n + 1], policy: 'restart-ended' },
      deadlineMs: 30_000,
    });
    const receivedMs = performance.now();
    await intent.receipt.proof();
    const provedMs = performance.now();
    await intent.outcome({ result: 'succeeded', detail: null });
    if (n < warm) continue;
    intentMs.push(receivedMs - startMs);
    proofMs.push(provedMs - receivedMs);
    outcomeMs.push(performance.now() - provedMs);
  }
  const spentMs = cpuMs() - fromCpuMs;
  await ledger.close();
  return { intentMs, proofMs, outcomeMs, cpuMs: spentMs };
}
