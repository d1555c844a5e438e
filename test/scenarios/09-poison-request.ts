// One tenant's request crashes whatever serves it: that tenant's route is held back, nothing else.
import {
  at,
  between,
  fullCapacity,
  poison,
  quarantined,
  scenario,
  served,
  want,
} from './language.ts';

export const poisonRequest = scenario(9, "one tenant's request crashes what serves it", [
  at(2, poison('lakeview', 'records', 'POST', '/records/import')),
  want(between(2, 20), quarantined('lakeview', 'POST /records/import')),
  want(between(20, 40), served(0.999)),
  want(between(20, 40), fullCapacity()),
]);
