// A replica answers with errors while its siblings do not: ejected, replaced, drained.
import { at, between, errors, healed, replaced, scenario, served, want } from './language.ts';

export const replicaErroring = scenario(3, 'a replica answers 500s', [
  want(between(0, 20), served(0.97)),
  at(2, errors('records-3')),
  want(between(2, 15), replaced('records-3')),
  want(between(2, 20), healed('records-3')),
]);
