// A replica is killed: its requests go elsewhere at once and a replacement stands soon after.
import { at, between, healed, kill, replaced, scenario, served, want } from './language.ts';

export const replicaKilled = scenario(1, 'a replica is killed (SIGKILL)', [
  want(between(0, 10), served(0.99)),
  at(2, kill('records-2')),
  want(between(2, 8), healed('records-2')),
  want(between(2, 8), replaced('records-2')),
]);
