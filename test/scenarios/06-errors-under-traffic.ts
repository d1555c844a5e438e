// A release that is healthy until it gets traffic: the canary shows it, and it is rolled back.
import {
  at,
  between,
  deploy,
  fullCapacity,
  rolledBack,
  scenario,
  served,
  want,
} from './language.ts';

export const errorsUnderTraffic = scenario(6, 'a release fails under traffic alone', [
  at(2, deploy('records', 'errors-under-traffic')),
  want(between(1, 40), served(0.98)),
  want(between(3, 40), rolledBack('records')),
  want(between(35, 40), fullCapacity()),
]);
