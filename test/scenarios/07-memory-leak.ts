// A replica leaks memory towards its limit: recycled before it dies of it.
import { at, between, healed, leak, replaced, scenario, served, want } from './language.ts';

export const memoryLeak = scenario(7, 'a replica leaks memory', [
  want(between(0, 60), served(0.999)),
  at(2, leak('records-2', 6)),
  want(between(5, 60), replaced('records-2')),
  want(between(5, 65), healed('records-2 runs out of memory')),
]);
