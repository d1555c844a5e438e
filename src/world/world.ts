// What does the outside offer? One value, built for real in `main.ts` and simulated in `sim/`.
// Functions take only the parts that they use.
import type { Clock, Ids, Log, Random } from './clock.ts';
import type { Runtime } from './runtime.ts';
import type { Store } from './store.ts';
import type { Gateways } from './gateways.ts';
import type { Ledger } from './ledger.ts';
import type { Probes } from './probes.ts';
import type { Controls } from './controls.ts';

export interface World {
  readonly clock: Clock;
  readonly random: Random;
  readonly ids: Ids;
  readonly log: Log;
  readonly runtime: Runtime;
  readonly store: Store;
  readonly gateways: Gateways;
  readonly ledger: Ledger;
  readonly probes: Probes;
  readonly controls: Controls;
}
