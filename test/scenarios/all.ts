// Every scenario, in the order of the issue.
import { replicaKilled } from './01-replica-killed.ts';
import { replicaBusy, replicaHung } from './02-replica-hung.ts';
import { replicaErroring } from './03-replica-erroring.ts';
import { replicaSlow } from './04-replica-slow.ts';
import { crashAtStart } from './05-crash-at-start.ts';
import { errorsUnderTraffic } from './06-errors-under-traffic.ts';
import { memoryLeak } from './07-memory-leak.ts';
import { databaseStopped } from './08-database-stopped.ts';
import { poisonRequest } from './09-poison-request.ts';
import { probeWrong } from './10-probe-wrong.ts';
import { rlsSwitchedOff } from './11-rls-off.ts';
import { controllerKilled } from './12-controller-killed.ts';
import { nothingWrong } from './13-nothing-wrong.ts';
import type { Scenario } from './language.ts';

export const SCENARIOS: readonly Scenario[] = [
  replicaKilled,
  replicaHung,
  replicaBusy,
  replicaErroring,
  replicaSlow,
  crashAtStart,
  errorsUnderTraffic,
  memoryLeak,
  databaseStopped,
  poisonRequest,
  probeWrong,
  rlsSwitchedOff,
  controllerKilled,
  nothingWrong,
];
