// Will a replica run into its memory limit? The slope of its resident memory (Theil–Sen: the median
// of the slopes of all pairs, Sen 1968) says when, and being near the limit says that it is soon.
//
//   ME1. No limit, no finding; fewer than 6 samples, no finding.
//   ME2. A saw-tooth of garbage collection is no leak: the median slope must be positive.
//   ME3. Far below the limit nothing is said, however steep the start-up looks.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import type { MemorySample, Picture } from '../../model/picture.ts';

const RULE = {
  samplesMin: 6,
  samplesUsed: 30,
  fromShare: 0.6,
  nearShare: 0.85,
  leadMs: 60_000,
} as const;

export function detectMemory(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const replica of picture.replicas.values()) {
    const limit = picture.services.get(replica.service)?.spec.resources.memoryBytes;
    if (limit === undefined || replica.phase !== 'ready' || replica.exited !== undefined) continue;
    const last = replica.memory.at(-1);
    if (last === undefined || replica.memory.length < RULE.samplesMin) continue;
    const share = last.rssBytes / limit;
    // Cheapest test first: almost every look ends here (ME3).
    if (share < RULE.fromShare) continue;
    const slope = theilSen(replica.memory.slice(-RULE.samplesUsed));
    if (slope <= 0) continue;
    const leftMs = (limit - last.rssBytes) / slope;
    if (leftMs > RULE.leadMs && share < RULE.nearShare) continue;
    const subject = { kind: 'replica', replica: replica.id, service: replica.service } as const;
    found.push(
      finding('memory-exhausting', subject, nowMs, 0.9, [
        `${mib(last.rssBytes)} of ${mib(limit)}, growing by ${mib(slope * 1000)}/s: ` +
          `full in ${Math.max(0, Math.round(leftMs / 1000))} s`,
      ]),
    );
  }
  return found;
}

/** Median slope in bytes a millisecond; 0 with fewer than two samples. */
export function theilSen(samples: readonly MemorySample[]): number {
  const slopes: number[] = [];
  for (let i = 0; i < samples.length; i += 1) {
    const a = samples[i];
    if (a === undefined) continue;
    for (let j = i + 1; j < samples.length; j += 1) {
      const b = samples[j];
      if (b === undefined || b.atMs === a.atMs) continue;
      slopes.push((b.rssBytes - a.rssBytes) / (b.atMs - a.atMs));
    }
  }
  slopes.sort((x, y) => x - y);
  return slopes[Math.floor(slopes.length / 2)] ?? 0;
}

function mib(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(0)} MiB`;
}
