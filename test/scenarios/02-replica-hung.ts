// A replica stops answering, once stopped by a signal and once spinning: both are replaced.
import { at, between, busy, hang, healed, replaced, scenario, served, want } from './language.ts';

export const replicaHung = scenario(2, 'a replica hangs (SIGSTOP)', [
  want(between(0, 12), served(0.98)),
  at(2, hang('records-1')),
  want(between(2, 10), replaced('records-1')),
  want(between(2, 12), healed('records-1')),
]);

export const replicaBusy = scenario(2, 'a replica hangs (busy loop)', [
  want(between(0, 12), served(0.98)),
  at(2, busy('billing-1')),
  want(between(2, 10), replaced('billing-1')),
  want(between(2, 12), healed('billing-1')),
]);
