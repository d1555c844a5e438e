// How is long work done without holding up requests? In steps, for a few milliseconds at a time;
// between two slices everybody else has a turn.

export type Steps<T> = Generator<undefined, T>;

export interface Sliced<T> {
  readonly budgetMs: number;
  readonly onDone: (value: T) => void;
  readonly onFault: (error: unknown) => void;
}

/** The first slice runs at once: short work is done when this returns. Answers a way to stop it. */
export function startSliced<T>(steps: Steps<T>, how: Sliced<T>): () => void {
  let stopped = false;
  const run = (): void => {
    if (stopped) return;
    const endMs = performance.now() + how.budgetMs;
    try {
      let step = steps.next();
      while (step.done !== true && performance.now() < endMs) step = steps.next();
      if (step.done === true) how.onDone(step.value);
      else setImmediate(run);
    } catch (error) {
      how.onFault(error);
    }
  };
  run();
  return () => {
    stopped = true;
  };
}

export function runWhole<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}
