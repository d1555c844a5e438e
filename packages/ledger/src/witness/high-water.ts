// Is our log older than what the witnesses remember of it? Asked before anything is appended after
// a start, because a restored backup that goes on would be a fork.
// HW1. One proof with our own signature is enough to refuse.
// HW2. Mere claims refuse when the claiming witnesses, with those that are silent, could have been
//      the quorum of a checkpoint that we lost; otherwise they are one liar's word, and reported.

import { LedgerError } from '../errors.ts';
import { judgeQuorum } from '../policy.ts';
import type { Policy } from '../policy.ts';
import type { AskOutcome, OwnCheckpoint, WitnessClient } from './client.ts';
import type { WitnessEvidence } from './evidence.ts';

export type HighWaterVerdict =
  | {
      readonly kind: 'clear';
      /** Witnesses that answered; fewer than the quorum means that little was learned. */
      readonly answered: readonly string[];
      readonly silent: readonly string[];
      /** Claims that could not have been a quorum. */
      readonly doubted: readonly WitnessEvidence[];
    }
  | {
      readonly kind: 'suspected' | 'rolled-back' | 'forked';
      readonly evidence: readonly WitnessEvidence[];
      readonly reason: string;
    };

export function judgeHighWater(
  policy: Policy,
  outcomes: ReadonlyMap<string, AskOutcome>,
): HighWaterVerdict {
  const evidence: WitnessEvidence[] = [];
  const answered: string[] = [];
  const silent: string[] = [];
  for (const [name, outcome] of outcomes) {
    if (outcome.kind === 'cosigned') answered.push(name);
    else if (outcome.kind === 'failed' && outcome.evidence !== undefined) {
      evidence.push(outcome.evidence);
    } else silent.push(name);
  }
  const proof = evidence.find(({ proven }) => proven);
  if (proof !== undefined && proof.kind !== 'claims-more') {
    const { witness, witnessSize, ourSize } = proof;
    const what = `our own signature over size ${witnessSize}; our log has ${ourSize}`;
    return { kind: proof.kind, evidence, reason: `${witness} shows ${what}` };
  }
  const claiming = evidence.map(({ witness }) => witness);
  const possible = judgeQuorum(policy, new Set([...claiming, ...silent]));
  if (claiming.length === 0 || policy.quorum === 'none' || possible.kind === 'unmet') {
    return { kind: 'clear', answered, silent, doubted: evidence };
  }
  const certain = judgeQuorum(policy, new Set(claiming)).kind === 'met';
  const list = evidence.map(({ witness, witnessSize }) => `${witness}: ${witnessSize}`).join(', ');
  return {
    kind: certain ? 'rolled-back' : 'suspected',
    evidence,
    reason: `witnesses say that they cosigned more than our log has (${list})`,
  };
}

/** The error to throw at open; undefined when the log may go on. */
export function highWaterError(verdict: HighWaterVerdict): LedgerError | undefined {
  switch (verdict.kind) {
    case 'clear':
      return undefined;
    case 'forked':
      return new LedgerError('KIN_LEDGER_FORKED', verdict.reason, { cause: verdict.evidence });
    case 'suspected':
    case 'rolled-back':
      return new LedgerError('KIN_LEDGER_ROLLED_BACK', verdict.reason, { cause: verdict.evidence });
  }
}

export async function checkHighWaterOf(
  policy: Policy,
  clients: readonly WitnessClient[],
  checkpoint: OwnCheckpoint,
): Promise<HighWaterVerdict> {
  const outcomes = await Promise.all(
    clients.map(async (client) => [client.name, await client.ask(checkpoint)] as const),
  );
  return judgeHighWater(policy, new Map(outcomes));
}
