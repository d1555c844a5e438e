// Does one tenant's request kill whatever serves it? Judged from which requests were inside the
// replicas that died. Innocent company must not be blamed, and neither must a combination that is
// most of the traffic anyway: it is inside every replica that dies of something else.
//
//   PO1. A combination (tenant, method, route) is held when it was inside every one of the last two
//        or more deaths (of different replicas, within 30 s) and is the only one that fits.
//   PO2. When two or more fit, none is held, unless just one of them is of a request that itself
//        died on both.
//   PO3. Nobody fits whose presence in all of these deaths (the last four at most) could be chance:
//        above 1 in 1 000, from its share of the traffic and the size of the crowds; 1 in 100 for
//        one that never was answered well, 1 in 20 if its very same request died on both.
//   PO4. A hold is short (5 s) and ends by itself; only the controller's rule lasts.
//   PO5. Deaths, holds and shares are bounded in number.
import type { ReplicaId, TenantId } from '../model/ids.ts';
import type { Suspect } from '../model/signal.ts';

export const DEATH_WINDOW_MS = 30_000;
export const HOLD_MS = 5_000;
const DEATHS_MAX = 32;
const HOLDS_MAX = 256;
const COMBINATIONS_MAX = 4_096;
/** Many deaths are many chances to look guilty: far below what one test would ask for. */
const CHANCE_MAX = 0.001;
const UNANSWERED_CHANCE_MAX = 0.01;
const REPEATED_CHANCE_MAX = 0.05;
const DEATHS_USED_MAX = 4;
const SUSPECTS_MAX = 200;

export interface Death {
  readonly atMs: number;
  readonly replica: ReplicaId;
  readonly suspects: readonly Suspect[];
}

/** Well-answered requests of one combination, in one generation. */
export interface Good {
  readonly combo: string;
  count: number;
}

interface Share {
  readonly good: Map<string, Good>;
  total: number;
  sinceMs: number;
}

export interface PoisonState {
  deaths: Death[];
  readonly held: Map<string, number>;
  /** Two generations of up to 15 s each. */
  now: Share;
  before: Share;
}

export interface PoisonHeld {
  readonly kind: 'poison-held';
  readonly suspect: Suspect;
  readonly deaths: number;
  readonly holdMs: number;
}

const emptyShare = (sinceMs: number): Share => ({ good: new Map(), total: 0, sinceMs });

export function openPoison(nowMs: number): PoisonState {
  return { deaths: [], held: new Map(), now: emptyShare(nowMs), before: emptyShare(nowMs) };
}

export function combination(of: {
  readonly tenant: TenantId;
  readonly service: string;
  readonly method: string;
  readonly route: string;
}): string {
  return `${of.tenant} ${of.service} ${of.method} ${of.route}`;
}

/** The generation that is counted in now: who keeps a `Good` keeps it as long as this stays. */
export function generationOf(state: PoisonState, nowMs: number): PoisonState['now'] {
  if (nowMs - state.now.sinceMs > DEATH_WINDOW_MS / 2) {
    state.before = state.now;
    state.now = emptyShare(nowMs);
  }
  return state.now;
}

/** Where this combination is counted in this generation; past the bound, in nobody's place. */
export function goodOf(share: PoisonState['now'], combo: string): Good {
  const known = share.good.get(combo);
  if (known !== undefined) return known;
  const fresh = { combo, count: 0 };
  if (share.good.size < COMBINATIONS_MAX) share.good.set(combo, fresh);
  return fresh;
}

/** A request of this combination was answered well (anything but a death). */
export function noteAnswered(state: PoisonState, combo: string, nowMs: number): void {
  const share = generationOf(state, nowMs);
  share.total += 1;
  goodOf(share, combo).count += 1;
}

/**
 * Is another combination than `own` held now that was inside the deaths of all these replicas? Then
 * it is what broke them, and whoever was inside with it is not.
 */
export function isCleared(
  state: PoisonState,
  own: string,
  replicas: readonly ReplicaId[],
  nowMs: number,
): boolean {
  for (const [combo, untilMs] of state.held) {
    if (combo === own || untilMs <= nowMs) continue;
    const inAll = replicas.every((replica) =>
      state.deaths.some(
        (d) => d.replica === replica && d.suspects.some((s) => combination(s) === combo),
      ),
    );
    if (inAll) return true;
  }
  return false;
}

/** Ms for which this combination is still held, or 0. */
export function heldForMs(state: PoisonState, combo: string, nowMs: number): number {
  if (state.held.size === 0) return 0;
  const untilMs = state.held.get(combo);
  if (untilMs === undefined) return 0;
  if (untilMs > nowMs) return untilMs - nowMs;
  state.held.delete(combo);
  return 0;
}

/** A replica died (or hung) with these requests inside. Answers what is held from now on. */
export function noteDeath(state: PoisonState, death: Death): PoisonHeld[] {
  const nowMs = death.atMs;
  state.deaths = state.deaths.filter((d) => d.atMs > nowMs - DEATH_WINDOW_MS);
  // A replica dies once: connections that break later belong to the same death.
  const known = state.deaths.find((d) => d.replica === death.replica);
  state.deaths = state.deaths.filter((d) => d !== known);
  const suspects = [...death.suspects, ...(known?.suspects ?? [])].slice(0, SUSPECTS_MAX);
  state.deaths.push({ ...death, suspects });
  if (state.deaths.length > DEATHS_MAX) state.deaths.shift();
  const guilty = findGuilty(state);
  if (guilty === undefined) return [];
  const combo = combination(guilty);
  if (state.held.size >= HOLDS_MAX && !state.held.has(combo)) return [];
  state.held.set(combo, nowMs + HOLD_MS);
  const deaths = state.deaths.filter((d) => d.suspects.some((s) => combination(s) === combo));
  return [{ kind: 'poison-held', suspect: guilty, deaths: deaths.length, holdMs: HOLD_MS }];
}

/** Goes back from the newest death, until exactly one combination was inside all, or none. */
function findGuilty(state: PoisonState): Suspect | undefined {
  const newest = state.deaths.at(-1);
  if (newest === undefined) return undefined;
  let common = new Map(newest.suspects.map((s) => [combination(s), s]));
  const sets = state.deaths.map((d) => new Set(d.suspects.map(combination)));
  const oldest = Math.max(0, state.deaths.length - DEATHS_USED_MAX);
  for (let i = state.deaths.length - 2; i >= oldest; i -= 1) {
    common = new Map([...common].filter(([combo]) => sets[i]?.has(combo) === true));
    const crowds = state.deaths.slice(i);
    const chances = [...common].map(([combo, s]) => ({
      combo,
      suspect: s,
      chance: chanceOf(state, combo, crowds),
    }));
    const certain = chances.filter(
      ({ combo, chance }) =>
        chance <= (isAnswered(state, combo) ? CHANCE_MAX : UNANSWERED_CHANCE_MAX),
    );
    if (certain.length === 1) return certain[0]?.suspect;
    // The very same request inside two deaths is evidence of its own, so less is asked of chance.
    const likely = chances.filter(({ chance }) => chance <= REPEATED_CHANCE_MAX);
    const repeated = diedTwice(crowds, new Set(likely.map(({ combo }) => combo)));
    if (repeated !== undefined) return repeated;
  }
  return undefined;
}

const identity = (s: Suspect): string => `${s.requestId} ${combination(s)}`;

/** The one combination, among `fit`, whose very same request was inside the last two deaths. */
function diedTwice(crowds: readonly Death[], fit: ReadonlySet<string>): Suspect | undefined {
  const [before, last] = crowds.slice(-2);
  const seen = new Set(before?.suspects.map(identity));
  const again = (last?.suspects ?? []).filter(
    (s) => seen.has(identity(s)) && fit.has(combination(s)),
  );
  return new Set(again.map(combination)).size === 1 ? again[0] : undefined;
}

function countOf(state: PoisonState, combo: string): number {
  return (state.now.good.get(combo)?.count ?? 0) + (state.before.good.get(combo)?.count ?? 0);
}

/** Does it go well at least sometimes? Then more is asked before it is blamed. */
function isAnswered(state: PoisonState, combo: string): boolean {
  return countOf(state, combo) > 0;
}

/** How likely a bystander of this share would be inside all of these deaths: 0–1. */
function chanceOf(state: PoisonState, combo: string, deaths: readonly Death[]): number {
  const good = countOf(state, combo);
  const total = state.now.total + state.before.total;
  if (total === 0) return 0;
  // As if one more were answered well: a worker that has seen little cannot rule chance out.
  const share = (good + 1) / (total + 1);
  let chance = 1;
  for (const death of deaths) chance *= 1 - (1 - share) ** death.suspects.length;
  return chance;
}
