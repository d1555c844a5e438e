// A replica takes two seconds for what takes its siblings milliseconds: shed first, then recycled.
import { at, between, healed, replaced, scenario, served, slow, want } from './language.ts';

export const replicaSlow = scenario(4, 'a replica is slow (2 s)', [
  want(between(0, 25), served(0.97)),
  at(2, slow('records-1', 2_000)),
  want(between(2, 20), replaced('records-1')),
  want(between(2, 25), healed('records-1')),
]);
