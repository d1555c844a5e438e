// Who else has to see every entry, and when? Views of the log (open intents, tenants' logs) are
// followers: they learn from the entries alone, so they are the same after a restart.
// FW1. `follow` is called once for each durable entry, in index order: at recovery, then after each
//      group's sync and before anybody is told. It must not throw: the entries are durable already.
// FW2. `snapshot` then `restore` in a new process gives the same view; pruning depends on it.

export interface EntryFollower {
  /** Its key in the snapshot of a pruned log: unique, and never renamed. */
  readonly name: string;
  /** `entry` and `leaf` are only lent: copy what is to be kept. */
  follow(index: number, entry: Uint8Array, leaf: Uint8Array): void;
  /** Entries below `bound` are about to be deleted: reads back what later proofs need of them. */
  forgetBelow?(bound: number): Promise<void>;
  /** The state at the current size. */
  snapshot(): Uint8Array;
  /** Throws KIN_LEDGER_CORRUPT on nonsense. */
  restore(bytes: Uint8Array): void;
}

export function followAll(
  followers: readonly EntryFollower[],
  index: number,
  entry: Uint8Array,
  leaf: Uint8Array,
): void {
  for (const follower of followers) follower.follow(index, entry, leaf);
}
