// What happens to a system in hours of random trouble? One seed: the system comes up, is broken in
// ways and at times that the seed draws, is left alone for a while at the end, and must then be as
// good as new. Stops at the first violation.
import { breakSomething } from './faults.ts';
import type { Violation } from './checkers.ts';
import { Simulation } from './simulation.ts';

export interface SeedReport {
  readonly seed: number;
  readonly hours: number;
  readonly violations: readonly Violation[];
  readonly digest: string;
  readonly faults: number;
  readonly incidents: number;
  readonly acts: number;
  readonly entries: number;
  readonly requests: number;
  readonly failed: number;
  /** The last lines of the story, newest last. */
  readonly story: readonly string[];
}

export interface SeedOptions {
  readonly seed: number;
  readonly hours: number;
  /** Hears of each fault and story line as it happens. */
  readonly onLine?: (atMs: number, text: string) => void;
}

/** A seed has quiet stretches, in which hours are cheap, and stretches full of trouble. */
const QUIET_S = { from: 60, to: 900 } as const;
const BURST = { faultsMax: 5, gapMsMax: 12_000, chance: 0.4 } as const;
const LAST_QUIET_MS = 480_000;
const SWEEP_MS = 20_000;
const REAL_LEDGER_EVERY = 5;

export async function runSeed(options: SeedOptions): Promise<SeedReport> {
  const { seed, hours } = options;
  const sim = simulationOf(seed);
  const story: string[] = [];
  const say = (text: string): void => {
    story.push(`${stamp(sim.nowMs)}  ${text}`);
    if (story.length > 60) story.shift();
    options.onLine?.(sim.nowMs, text);
  };
  sim.onStory = (event) => say(`${event.kind.padEnd(18)} ${event.text}`);
  sim.boot();
  const endMs = hours * 3_600_000;
  const left = (): number => endMs - LAST_QUIET_MS - sim.nowMs;
  const isFine = (): boolean => sim.checkers.violations.length === 0;
  await sim.run(30_000);
  let faults = 0;
  while (isFine() && left() > 0) {
    await rest(sim, Math.min(left(), sim.chance.whole('gap', QUIET_S.from, QUIET_S.to) * 1_000));
    const count = sim.chance.yes('burst', BURST.chance)
      ? sim.chance.whole('burst', 2, BURST.faultsMax)
      : 1;
    for (let i = 0; i < count && isFine() && left() > 0; i += 1) {
      faults += 1;
      say(`FAULT              ${breakSomething(sim)}`);
      if (i + 1 < count) await sim.run(sim.chance.whole('gap', 0, BURST.gapMsMax));
    }
  }
  await rest(sim, endMs - sim.nowMs);
  if (isFine()) sim.checkers.final();
  const report = await sim.realLedger?.verify();
  if (report?.kind === 'damaged') {
    for (const found of report.findings) sim.checkers.fail('ledger', JSON.stringify(found));
  }
  const { requests, failed } = sim.plane.totals;
  return {
    seed,
    hours,
    violations: sim.checkers.violations,
    digest: sim.digest(),
    faults,
    incidents: sim.disk.incidents.size,
    acts: sim.checkers.acts,
    entries: sim.ledger.size,
    requests: Math.round(requests),
    failed: Math.round(failed),
    story,
  };
}

/** Which surroundings a seed gets: some have slow disks, some die at crash points by themselves. */
export function simulationOf(seed: number): Simulation {
  const sim: Simulation = new Simulation({
    seed,
    diskMs: seed % 3 === 0 ? 40 : 0,
    realLedger: seed % REAL_LEDGER_EVERY === 0,
    crashAt: () => seed % 2 === 0 && sim.nowMs > 60_000 && sim.chance.yes('crash', 0.004),
  });
  return sim;
}

/** Lets time pass and sweeps; ends early at a violation. */
async function rest(sim: Simulation, forMs: number): Promise<void> {
  const endMs = sim.nowMs + forMs;
  while (sim.nowMs < endMs && sim.checkers.violations.length === 0) {
    await sim.run(Math.min(SWEEP_MS, endMs - sim.nowMs));
    sim.checkers.sweep();
    // What the checkers need is with them; the story of hours is not.
    if (sim.disk.story.length > 500) sim.disk.story.splice(0, sim.disk.story.length - 100);
  }
}

export function stamp(ms: number): string {
  const s = ms / 1_000;
  const hours = Math.floor(s / 3_600);
  const minutes = Math.floor(s / 60) % 60;
  return `${hours}:${String(minutes).padStart(2, '0')}:${(s % 60).toFixed(3).padStart(6, '0')}`;
}
