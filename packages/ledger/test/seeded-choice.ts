// Which bits does a sample take? About the given share of all, by a seeded generator: a fixed step
// would meet the same few places of every record again and again.
export function seededChoice(seed: number, share: number): () => boolean {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32 < share;
  };
}
