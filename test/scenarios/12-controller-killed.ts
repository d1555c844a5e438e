// The control plane is killed in the middle of heals: nothing that serves notices, the next start
// adopts everything and goes on.
import {
  at,
  between,
  hang,
  healed,
  kill,
  killController,
  replaced,
  resumed,
  samePids,
  scenario,
  served,
  want,
} from './language.ts';

export const controllerKilled = scenario(12, 'the control plane is killed during a heal', [
  want(between(0, 30), samePids('scheduling')),
  want(between(0, 30), served(0.98)),
  at(2, hang('records-1')),
  at(2.5, kill('billing-2')),
  at(2.6, killController()),
  want(between(2.6, 10), resumed()),
  want(between(3, 20), replaced('records-1')),
  want(between(3, 20), replaced('billing-2')),
  want(between(3, 30), healed('billing-2')),
]);
