// Every probe of a service fails because the probe is wrong: nothing is ended, a person is asked.
import {
  at,
  between,
  escalated,
  healed,
  notRestarted,
  probeLie,
  probeTruth,
  scenario,
  served,
  want,
} from './language.ts';

export const probeWrong = scenario(10, 'all probes fail and all clients are served', [
  at(2, probeLie('records')),
  want(between(0, 60), notRestarted('records')),
  want(between(0, 60), served(0.999)),
  want(between(2, 20), escalated('records', 'probe-suspected')),
  at(40, probeTruth('records')),
  want(between(41, 60), healed('records')),
]);
