// Should this replica get traffic? Started, not draining, and every dependency answers.
//
// R1. A probe costs nothing: checks run in the background and the answer is a cached value.
// R2. A check that hangs counts as down after its timeout; at most one runs at a time.
// R3. While a dependency is down it is asked often (`retryMs`), so that recovery shows at once.
// R4. Draining is final: no check can make a draining replica ready again.

export type DependencyState = 'up' | 'down' | 'unknown';
export type ReadinessStatus = 'starting' | 'ready' | 'unready' | 'draining';

export interface DependencyOptions {
  /** Resolves if the dependency works; rejects or hangs if not. */
  readonly check: (signal: AbortSignal) => Promise<unknown>;
  /** Pause between checks while up, milliseconds; default 1 000. */
  readonly intervalMs?: number;
  /** Pause between checks while down, milliseconds; default 150. */
  readonly retryMs?: number;
  /** How long one check may take, milliseconds; default 1 000. */
  readonly timeoutMs?: number;
}

export interface Readiness {
  status(): ReadinessStatus;
  dependencies(): Readonly<Record<string, 'up' | 'down'>>;
  /** The service listens: from now on dependencies alone decide. */
  started(): void;
  draining(): void;
  /** A request just failed because of this dependency: check it now, not at the next interval. */
  suspect(name: string): void;
  /** Called at each change of the status. */
  onChange(listener: (status: ReadinessStatus) => void): void;
  stop(): void;
}

type Phase = 'starting' | 'serving' | 'draining';

export function createReadiness(
  dependencies: Readonly<Record<string, DependencyOptions>>,
): Readiness {
  const states = new Map<string, DependencyState>();
  const listeners: ((status: ReadinessStatus) => void)[] = [];
  let phase: Phase = 'starting';
  let last: ReadinessStatus = 'starting';

  const changed = (): void => {
    const status = statusOf(phase, [...states.values()]);
    if (status === last) return;
    last = status;
    for (const listener of listeners) listener(status);
  };
  for (const name of Object.keys(dependencies)) states.set(name, 'unknown');
  const watches = new Map(
    Object.entries(dependencies).map(([name, options]) => [
      name,
      watch(options, (state) => {
        states.set(name, state);
        changed();
      }),
    ]),
  );
  return {
    status: () => last,
    dependencies: () =>
      Object.fromEntries(
        [...states].map(([name, state]) => [name, state === 'up' ? state : 'down']),
      ),
    started() {
      if (phase === 'starting') phase = 'serving';
      changed();
    },
    draining() {
      phase = 'draining';
      changed();
    },
    suspect: (name) => watches.get(name)?.now(),
    onChange: (listener) => void listeners.push(listener),
    stop() {
      for (const each of watches.values()) each.stop();
    },
  };
}

/** Pure: phase and dependency states in, status out. Unknown is "starting", never "ready". */
export function statusOf(phase: Phase, states: readonly DependencyState[]): ReadinessStatus {
  if (phase === 'draining') return 'draining';
  if (phase === 'starting' || states.includes('unknown')) return 'starting';
  return states.includes('down') ? 'unready' : 'ready';
}

interface Watch {
  now(): void;
  stop(): void;
}

function watch(options: DependencyOptions, report: (state: DependencyState) => void): Watch {
  const { check, intervalMs = 1_000, retryMs = 150, timeoutMs = 1_000 } = options;
  let timer: NodeJS.Timeout | undefined;
  let running = false;
  let stopped = false;

  const schedule = (delayMs: number): void => {
    if (stopped) return;
    timer = setTimeout(() => void run(), delayMs);
    timer.unref();
  };
  const run = async (): Promise<void> => {
    if (running || stopped) return;
    running = true;
    clearTimeout(timer);
    const state = await once(check, timeoutMs);
    running = false;
    if (stopped) return;
    report(state);
    schedule(state === 'up' ? intervalMs : retryMs);
  };
  void run();
  return {
    now: () => void run(),
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

async function once(
  check: DependencyOptions['check'],
  timeoutMs: number,
): Promise<DependencyState> {
  const abort = new AbortController();
  const timeout = Promise.withResolvers<DependencyState>();
  const timer = setTimeout(() => timeout.resolve('down'), timeoutMs);
  timer.unref();
  const answer = (async (): Promise<DependencyState> => {
    try {
      await check(abort.signal);
      return 'up';
    } catch {
      return 'down';
    }
  })();
  const state = await Promise.race([answer, timeout.promise]);
  clearTimeout(timer);
  abort.abort();
  return state;
}
