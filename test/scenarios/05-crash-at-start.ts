// A deploy of a release that crashes at its start: undone, the old one never stopped serving.
import {
  at,
  between,
  deploy,
  fullCapacity,
  rolledBack,
  samePids,
  scenario,
  served,
  want,
} from './language.ts';

export const crashAtStart = scenario(5, 'a release crashes at its start', [
  at(2, deploy('billing', 'crash-at-start')),
  want(between(1, 30), samePids('billing')),
  want(between(1, 30), served(0.999)),
  want(between(3, 30), rolledBack('billing')),
  want(between(25, 30), fullCapacity()),
]);
