// How long until a dead child is started again? Pure, so that the whole policy is a table in a
// test.
//
//   IN1. The first restart is immediate; then the delay doubles up to a cap; a child that lived
//        long enough starts over. It is never given up.
//   IN2. An exit that says "my configuration is wrong" waits the cap at once: trying at once again
//        cannot help, and the reason stays on show.

const FIRST_MS = 100;
export const CAP_MS = 5000;
/** Living this long forgives earlier deaths. */
export const FORGIVEN_MS = 10_000;
/** sysexits(3): EX_UNAVAILABLE (a port is taken, a store is locked) and EX_CONFIG. */
const CONFIGURATION_EXITS: ReadonlySet<number> = new Set([69, 78]);

export interface Death {
  /** Undefined: ended by a signal, or not seen. */
  readonly code: number | undefined;
  /** False when the program could not even be started. */
  readonly hasRun: boolean;
  readonly livedMs: number;
  /** Deaths in a row before this one. */
  readonly failures: number;
}

export interface Backoff {
  readonly delayMs: number;
  /** Deaths in a row, this one included. */
  readonly failures: number;
  readonly isConfiguration: boolean;
}

/** `jitter`: 0 ≤ x < 1; spreads the restarts of several children. */
export function backoffAfter(death: Death, jitter: number): Backoff {
  const before = death.livedMs >= FORGIVEN_MS ? 0 : death.failures;
  const failures = before + 1;
  const isConfiguration =
    !death.hasRun || (death.code !== undefined && CONFIGURATION_EXITS.has(death.code));
  if (isConfiguration) return { delayMs: CAP_MS, failures, isConfiguration };
  if (before === 0) return { delayMs: 0, failures, isConfiguration };
  const fullMs = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(before - 1, 20));
  return { delayMs: Math.round(fullMs * (0.5 + jitter / 2)), failures, isConfiguration };
}
