// `node scripts/run.mjs scripts/ledger/fuzz.ts --cases N --seed S`: does any input make a parser or
// verifier of the ledger throw, accept what it must refuse, or accept a second spelling?
// F1. The same seed and number give the same cases; a failure names the case and its input.

import { parseArgs } from 'node:util';
import { targets } from './fuzz-targets.ts';
import type { Target } from './fuzz-targets.ts';
import { chanceOf } from './mutate.ts';

export interface FuzzCount {
  accepted: number;
  refused: number;
}

export type FuzzReport =
  | { readonly kind: 'clean'; readonly counts: ReadonlyMap<string, FuzzCount> }
  | {
      readonly kind: 'failed';
      readonly target: string;
      readonly caseNumber: number;
      readonly reason: string;
    };

export function fuzz(cases: number, seed: number, from: readonly Target[] = targets): FuzzReport {
  const drawn = from.flatMap((target) => Array.from({ length: target.weight }, () => target));
  const counts = new Map(from.map(({ name }): [string, FuzzCount] => [name, fresh()]));
  for (let at = 0; at < cases; at++) {
    // Each case has its own chance, so that one can be run again alone.
    const chance = chanceOf(Math.imul(seed, 0x9e3779b1) + at);
    const target = drawn[chance.next(drawn.length)];
    if (target === undefined) break;
    try {
      const outcome = target.run(chance);
      const count = counts.get(target.name);
      if (count !== undefined) count[outcome] += 1;
    } catch (cause) {
      const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      return { kind: 'failed', target: target.name, caseNumber: at, reason };
    }
  }
  return { kind: 'clean', counts };
}

function fresh(): FuzzCount {
  return { accepted: 0, refused: 0 };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '100000' },
      seed: { type: 'string', default: '1' },
    },
  });
  const [cases, seed] = [Number(values.cases), Number(values.seed)];
  if (!Number.isSafeInteger(cases) || !Number.isSafeInteger(seed) || cases < 1) {
    console.error('usage: fuzz.ts [--cases N] [--seed S]');
    process.exit(64);
  }
  const start = performance.now();
  const report = fuzz(cases, seed);
  if (report.kind === 'failed') {
    console.error(`case ${report.caseNumber} of seed ${seed} (${report.target}): ${report.reason}`);
    process.exit(1);
  }
  for (const [name, { accepted, refused }] of report.counts) {
    console.log(`${name.padEnd(16)} ${accepted} accepted, ${refused} refused`);
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${cases} cases of seed ${seed} in ${seconds} s: no failure`);
}
