// Where does chance come from? From named streams, each a small generator of its own whose seed is
// the run's seed and the stream's name: a new draw in one place moves nothing elsewhere.
//
//   RN1. The same seed and stream name always give the same numbers.
//
// For jitter and tie-breaks, never for secrets: keys and tokens come from node:crypto.
import { createHash, randomBytes } from 'node:crypto';
import type { Random } from '../clock.ts';

const STREAMS_MAX = 10_000;

/** Without a seed one is drawn from the operating system. */
export function openRandom(seed: string = randomBytes(16).toString('hex')): Random {
  const streams = new Map<string, () => number>();
  return {
    next(name) {
      let stream = streams.get(name);
      if (stream === undefined) {
        if (streams.size >= STREAMS_MAX) throw new Error('assertion failed: too many streams');
        stream = sfc32(seed, name);
        streams.set(name, stream);
      }
      return stream();
    },
  };
}

/** Small fast counting generator (PractRand-clean, period ≥ 2^32), seeded by SHA-256. */
function sfc32(seed: string, name: string): () => number {
  const digest = createHash('sha256').update(`${seed.length}:${seed}${name}`).digest();
  let a = digest.readUInt32LE(0);
  let b = digest.readUInt32LE(4);
  let c = digest.readUInt32LE(8);
  let counter = digest.readUInt32LE(12);
  return () => {
    const t = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    return (t >>> 0) / 2 ** 32;
  };
}
