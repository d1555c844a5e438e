// How are the hooks told of what is over? What they throw is reported and costs nobody anything.
import type { Head } from './head.ts';
import type { AnswerVerdict, ExchangeEnd, ExchangeView, Hooks, Outcome, Verdict } from './hooks.ts';

type Told = Verdict | undefined | Promise<Verdict | undefined>;

export function tellAttemptEnd(hooks: Hooks, exchange: ExchangeView, outcome: Outcome): Told {
  try {
    const told = hooks.onAttemptEnd(exchange, outcome);
    if (!(told instanceof Promise)) return told;
    // Nobody may be waiting for it.
    return told.catch((error: unknown) => {
      hooks.onBug(error);
      return undefined;
    });
  } catch (error) {
    hooks.onBug(error);
    return undefined;
  }
}

/** 'bug': it threw. */
export function tellAnswerHead(
  hooks: Hooks,
  exchange: ExchangeView,
  head: Head,
): AnswerVerdict | { readonly kind: 'bug'; readonly error: unknown } {
  try {
    return hooks.onAnswerHead?.(exchange, head.status, head) ?? 'pass';
  } catch (error) {
    return { kind: 'bug', error };
  }
}

export function tellExchangeEnd(hooks: Hooks, exchange: ExchangeView, end: ExchangeEnd): void {
  try {
    hooks.onExchangeEnd(exchange, end);
  } catch (error) {
    hooks.onBug(error);
  }
}

/** Goes on once it is known; also what goes on then may throw. */
export function later<T>(
  value: Promise<T>,
  goOn: (value: T) => void,
  whose: { onBug(error: unknown): void },
): void {
  value.then((known) => goOn(known)).catch((error: unknown) => whose.onBug(error));
}
