// Which tenants have a series of their own? Those with the most traffic, up to a limit, so that the
// number of series does not grow with the number of tenants; the others are one series together.
//
//   NT1. Never more than `limit` names at a time.
//   NT2. A name is kept until another tenant has clearly more traffic (half as much again): two
//        that are equal do not take turns.
//   NT3. A tenant that comes back goes on counting where it stopped, while that is remembered.

const HALF_LIFE_MS = 600_000;
const RANK_EVERY_MS = 15_000;
const CLEARLY = 1.5;
const SCORES_MAX = 100_000;
const FORGOTTEN = 0.01;

export class NamedTenants {
  readonly #scores = new Map<string, number>();
  readonly #named = new Set<string>();
  #limit: number;
  #rankedMs: number;

  constructor(limit: number, nowMs: number) {
    this.#limit = limit;
    this.#rankedMs = nowMs;
  }

  get names(): ReadonlySet<string> {
    return this.#named;
  }

  /** Fewer: those with the least traffic lose their names at the next ranking. */
  limit(limit: number): void {
    this.#limit = limit;
  }

  /** Is it to be counted under its own name? */
  note(tenant: string, requests: number, nowMs: number): boolean {
    const before = this.#scores.get(tenant);
    if (before !== undefined || this.#scores.size < SCORES_MAX) {
      this.#scores.set(tenant, (before ?? 0) + requests);
    }
    if (nowMs - this.#rankedMs >= RANK_EVERY_MS) this.#rank(nowMs);
    if (this.#named.has(tenant)) return true;
    if (this.#named.size >= this.#limit) return false;
    this.#named.add(tenant);
    return true;
  }

  #rank(nowMs: number): void {
    const decay = 0.5 ** ((nowMs - this.#rankedMs) / HALF_LIFE_MS);
    this.#rankedMs = nowMs;
    for (const [tenant, score] of this.#scores) {
      if (score * decay < FORGOTTEN) {
        this.#scores.delete(tenant);
        this.#named.delete(tenant);
      } else this.#scores.set(tenant, score * decay);
    }
    const score = (tenant: string): number => this.#scores.get(tenant) ?? 0;
    const weakest = [...this.#named].toSorted((a, b) => score(a) - score(b));
    while (this.#named.size > this.#limit) this.#named.delete(weakest.shift() ?? '');
    const others = [...this.#scores.keys()].filter((tenant) => !this.#named.has(tenant));
    // Only so many can come in: no need to put all of a hundred thousand in order.
    for (const tenant of best(others, score, this.#limit)) {
      if (this.#named.size >= this.#limit) {
        const last = weakest[0];
        if (last === undefined || score(tenant) <= score(last) * CLEARLY) return;
        weakest.shift();
        this.#named.delete(last);
      }
      this.#named.add(tenant);
    }
  }
}

/** The first `count` by score, best first. */
function best(
  tenants: readonly string[],
  score: (tenant: string) => number,
  count: number,
): readonly string[] {
  if (count === 0) return [];
  const scores = tenants.map(score).toSorted((a, b) => b - a);
  const least = scores[Math.min(count, scores.length) - 1] ?? 0;
  return tenants
    .filter((tenant) => score(tenant) >= least)
    .toSorted((a, b) => score(b) - score(a))
    .slice(0, count);
}
