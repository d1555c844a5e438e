// What is a running controller made of? The parts that its API, its views and its changes work
// with.
import type { DependencyName } from '../model/ids.ts';
import type { EvidenceLog, Ledger as Log } from '@kintsugi/ledger';
import type { EdgeBook } from '../api/edge-book.ts';
import type { StartFile } from '../api/state-folder.ts';
import type { Loop } from '../loop/loop.ts';
import type { Manifest } from '../model/manifest.ts';
import type { JwtRule } from '../model/routing.ts';
import type { World } from '../world/world.ts';
import type { Anchors } from './anchors.ts';
import type { Lease } from './boot.ts';
import type { KeyRing, OwnSecrets } from './keys.ts';

export const VERSION = '0.1.0';

/** Everything of a running controller that the API's port works with. */
export interface Controller {
  readonly stateDir: string;
  readonly start: StartFile;
  readonly own: OwnSecrets;
  readonly world: World;
  /** Probes and controls follow the settings. */
  readonly configure: (settings: Settings) => void;
  readonly log: Log;
  readonly evidence: EvidenceLog;
  readonly anchors: Anchors;
  readonly edge: EdgeBook;
  readonly lease: Lease;
  readonly loop: Loop;
  readonly keys: KeyRing;
  readonly startedAtMs: number;
  /** Swapped whole when a manifest is applied. */
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
  stopping: boolean;
  /** While everything is being stopped: the end of the controller waits for it. */
  ending: Promise<void> | undefined;
  /** Share of one core over the last chore interval. */
  cpu: number | undefined;
  /** Whether everything stood once since the start: before that it is "starting". */
  readonly wasHealthy: { value: boolean };
  readonly stop: AbortController;
}

/** What a manifest brings with it; read anew at every use. */
export interface Settings {
  manifest: Manifest;
  secrets: ReadonlyMap<string, string>;
  ports: ReadonlyMap<string, number>;
  jwt: readonly JwtRule[];
  /** Dependencies that gateways are told to be down. */
  down?: readonly DependencyName[];
}
