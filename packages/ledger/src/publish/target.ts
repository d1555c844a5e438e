// How far is one published checkpoint on its way to the quorum? The checkpoint, and the
// cosignatures that came back for exactly this text.

import { addSignatures } from '../note.ts';
import { judgeQuorum } from '../policy.ts';
import type { Policy } from '../policy.ts';
import type { OwnCheckpoint } from '../witness/client.ts';

export interface Target {
  readonly checkpoint: OwnCheckpoint;
  /** By the witness' name in the policy. */
  readonly lines: Map<string, string>;
  /** How many of the lines are in the files. */
  saved: number;
}

export type QuorumState =
  /** No policy, or one that asks for no cosignature. */
  | { readonly kind: 'none' }
  | {
      readonly kind: 'waiting' | 'met';
      /** The smallest number of witnesses that can be the quorum. */
      readonly needed: number;
      readonly got: number;
      readonly of: number;
      readonly missing: readonly string[];
    };

export function quorumOf(policy: Policy | undefined, target: Target | undefined): QuorumState {
  if (policy === undefined || policy.quorum === 'none') return { kind: 'none' };
  const names = new Set(target?.lines.keys());
  const verdict = judgeQuorum(policy, names);
  const counts = { needed: neededBy(policy), got: names.size, of: policy.witnesses.length };
  if (verdict.kind === 'met') return { kind: 'met', ...counts, missing: [] };
  return { kind: 'waiting', ...counts, missing: verdict.missing };
}

/** Each witness stands in one group at most, so the cheapest members of each group add up. */
export function neededBy(policy: Policy): number {
  const least = new Map<string, number>(policy.witnesses.map(({ name }) => [name, 1]));
  for (const { name, needs, members } of policy.groups) {
    const costs = members.map((member) => least.get(member) ?? 0).sort((a, b) => a - b);
    least.set(
      name,
      costs.slice(0, needs).reduce((sum, cost) => sum + cost, 0),
    );
  }
  return least.get(policy.quorum) ?? 0;
}

/** The checkpoint with its cosignatures, in the order of the policy. */
export function cosignedText(policy: Policy | undefined, { checkpoint, lines }: Target): string {
  const ordered = policy?.witnesses.map(({ name }) => lines.get(name) ?? '').join('') ?? '';
  if (ordered === '') return checkpoint.text;
  return addSignatures(checkpoint.text, ordered) ?? checkpoint.text;
}
