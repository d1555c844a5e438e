// What time is it, and how does one wait? Two clocks: the wall clock may jump and is for records;
// the monotonic one counts from the machine's boot, survives a restart of this process, and is what
// judgements are made on.

export interface Clock {
  /** Wall time, ms since the epoch. May jump. */
  nowMs(): number;
  /** Ms since boot. Never goes back. */
  monotonicMs(): number;
  /** Resolves after `ms`, or rejects with the signal's reason; its listener is removed. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Named streams: a new draw in one place moves nothing elsewhere. */
export interface Random {
  /** 0 ≤ x < 1 from the stream of this name. */
  next(stream: string): number;
}

/** Where ids come from: 26 characters, sortable by time of making. */
export interface Ids {
  next(prefix: string): string;
}

export interface Log {
  debug(text: string, fields?: Readonly<Record<string, unknown>>): void;
  info(text: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(text: string, fields?: Readonly<Record<string, unknown>>): void;
  error(text: string, fields?: Readonly<Record<string, unknown>>): void;
}
