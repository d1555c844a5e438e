// In which words is a scenario told? As a timeline of plain data: at this second this is broken,
// between these seconds that must be seen. The same files are played in the simulator and against
// real processes; `play.ts` interprets them over a `Stage`.

/** What is broken or done on purpose. */
export type Fault =
  | { readonly kind: 'nothing' }
  /** SIGKILL. */
  | { readonly kind: 'kill'; readonly replica: string }
  /** SIGSTOP. */
  | { readonly kind: 'hang'; readonly replica: string }
  /** A busy loop: connections are taken, nothing is answered. */
  | { readonly kind: 'busy'; readonly replica: string }
  | { readonly kind: 'errors'; readonly replica: string; readonly share: number }
  | { readonly kind: 'slow'; readonly replica: string; readonly ms: number }
  | { readonly kind: 'leak'; readonly replica: string; readonly mibPerSecond: number }
  | { readonly kind: 'deploy'; readonly service: string; readonly release: ReleaseWord }
  /** Ends the process that provides it. */
  | { readonly kind: 'stop-dependency'; readonly dependency: string }
  | {
      readonly kind: 'poison';
      readonly tenant: string;
      readonly service: string;
      readonly method: string;
      readonly route: string;
    }
  | { readonly kind: 'probe-lie'; readonly service: string }
  | { readonly kind: 'probe-truth'; readonly service: string }
  | { readonly kind: 'rls-off'; readonly table: string }
  /** `kill -9` of the control plane; it comes up again by itself. */
  | { readonly kind: 'kill-controller' };

export type ReleaseWord = 'good' | 'crash-at-start' | 'errors-under-traffic';

/** What must be seen. Those that are marked ALWAYS must hold during the whole window. */
export type Expectation =
  /** An incident that names it was opened and is closed, and its service stands in full. */
  | { readonly kind: 'healed'; readonly subject: string }
  /** A person is asked. */
  | { readonly kind: 'escalated'; readonly subject: string; readonly reason: string }
  /** An incident that names it is open, or was. */
  | { readonly kind: 'blamed'; readonly subject: string }
  | { readonly kind: 'replaced'; readonly replica: string }
  | { readonly kind: 'quarantined'; readonly tenant: string; readonly route: string }
  | { readonly kind: 'rolled-back'; readonly service: string }
  | { readonly kind: 'dependency-restarted'; readonly dependency: string }
  | { readonly kind: 'reproved'; readonly check: string }
  /** The control plane is up again after a kill and says that it adopted what runs. */
  | { readonly kind: 'resumed' }
  /** As many replicas as wanted serve, in every service. */
  | { readonly kind: 'full-capacity' }
  /** ALWAYS: no replica of this service was started or ended by us. */
  | { readonly kind: 'not-restarted'; readonly service: string }
  /** ALWAYS: no incident, no run. */
  | { readonly kind: 'nothing-done' }
  /** ALWAYS: every replica that was there at the start of the window still has its pid. */
  | { readonly kind: 'same-pids'; readonly service: string }
  /** ALWAYS: at least this share of all requests of the window was served. */
  | { readonly kind: 'served'; readonly share: number };

export type Moment =
  | { readonly kind: 'at'; readonly atS: number; readonly fault: Fault }
  | {
      readonly kind: 'want';
      readonly fromS: number;
      readonly toS: number;
      readonly expectation: Expectation;
    };

export interface Scenario {
  /** As in the issue: 1–13. */
  readonly number: number;
  readonly name: string;
  readonly timeline: readonly Moment[];
}

export const scenario = (number: number, name: string, timeline: readonly Moment[]): Scenario => ({
  number,
  name,
  timeline,
});

export const at = (atS: number, fault: Fault): Moment => ({ kind: 'at', atS, fault });
export const between = (fromS: number, toS: number): { fromS: number; toS: number } => ({
  fromS,
  toS,
});
export const want = (
  window: { readonly fromS: number; readonly toS: number },
  expectation: Expectation,
): Moment => ({ kind: 'want', ...window, expectation });

export const nothing = (): Fault => ({ kind: 'nothing' });
export const kill = (replica: string): Fault => ({ kind: 'kill', replica });
export const hang = (replica: string): Fault => ({ kind: 'hang', replica });
export const busy = (replica: string): Fault => ({ kind: 'busy', replica });
export const errors = (replica: string, share = 1): Fault => ({ kind: 'errors', replica, share });
export const slow = (replica: string, ms: number): Fault => ({ kind: 'slow', replica, ms });
export const leak = (replica: string, mibPerSecond: number): Fault => ({
  kind: 'leak',
  replica,
  mibPerSecond,
});
export const deploy = (service: string, release: ReleaseWord): Fault => ({
  kind: 'deploy',
  service,
  release,
});
export const stopDependency = (dependency: string): Fault => ({
  kind: 'stop-dependency',
  dependency,
});
export const poison = (tenant: string, service: string, method: string, route: string): Fault => ({
  kind: 'poison',
  tenant,
  service,
  method,
  route,
});
export const probeLie = (service: string): Fault => ({ kind: 'probe-lie', service });
export const probeTruth = (service: string): Fault => ({ kind: 'probe-truth', service });
export const rlsOff = (table: string): Fault => ({ kind: 'rls-off', table });
export const killController = (): Fault => ({ kind: 'kill-controller' });

export const healed = (subject: string): Expectation => ({ kind: 'healed', subject });
export const escalated = (subject: string, reason: string): Expectation => ({
  kind: 'escalated',
  subject,
  reason,
});
export const blamed = (subject: string): Expectation => ({ kind: 'blamed', subject });
export const replaced = (replica: string): Expectation => ({ kind: 'replaced', replica });
export const quarantined = (tenant: string, route: string): Expectation => ({
  kind: 'quarantined',
  tenant,
  route,
});
export const rolledBack = (service: string): Expectation => ({ kind: 'rolled-back', service });
export const dependencyRestarted = (dependency: string): Expectation => ({
  kind: 'dependency-restarted',
  dependency,
});
export const reproved = (check: string): Expectation => ({ kind: 'reproved', check });
export const resumed = (): Expectation => ({ kind: 'resumed' });
export const fullCapacity = (): Expectation => ({ kind: 'full-capacity' });
export const notRestarted = (service: string): Expectation => ({ kind: 'not-restarted', service });
export const nothingDone = (): Expectation => ({ kind: 'nothing-done' });
export const samePids = (service: string): Expectation => ({ kind: 'same-pids', service });
export const served = (share: number): Expectation => ({ kind: 'served', share });
