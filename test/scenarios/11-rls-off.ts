// Row-level security is switched off on a tenant table: found, switched on, proved again.
import { at, between, healed, reproved, rlsOff, scenario, want } from './language.ts';

export const rlsSwitchedOff = scenario(11, 'row-level security is switched off', [
  at(2, rlsOff('invoices')),
  want(between(2, 30), reproved('rls-enforced')),
  want(between(2, 40), healed('rls-enforced')),
]);
