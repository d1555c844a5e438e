// PostgreSQL is stopped: it is named and restarted, and none of the replicas that need it is.
import {
  at,
  between,
  blamed,
  dependencyRestarted,
  fullCapacity,
  healed,
  notRestarted,
  scenario,
  stopDependency,
  want,
} from './language.ts';

export const databaseStopped = scenario(8, 'PostgreSQL is stopped', [
  at(2, stopDependency('postgres')),
  want(between(1, 40), notRestarted('records')),
  want(between(1, 40), notRestarted('billing')),
  want(between(1, 40), notRestarted('scheduling')),
  want(between(2, 12), blamed('postgres')),
  want(between(2, 30), dependencyRestarted('postgres')),
  want(between(2, 40), healed('postgres')),
  want(between(10, 40), fullCapacity()),
]);
