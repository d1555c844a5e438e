// What does the API say of a tenant that is held to less, and what does it take to hold one?

export interface HoldSummary {
  readonly mode: 'deny' | 'throttle' | 'read-only' | 'pin';
  /** In words. */
  readonly text: string;
  readonly reason: string;
  readonly actor: string;
  readonly sinceMs: number;
  /** Undefined: until somebody lifts it. */
  readonly untilMs: number | undefined;
}

export interface HoldAnswer {
  readonly tenant: string;
  readonly run: string;
  /** Undefined: it was lifted. */
  readonly hold: HoldSummary | undefined;
}

/** What an operator asks for; which of the fields count is up to the mode. */
export interface HoldOrder {
  readonly mode: 'deny' | 'throttle' | 'read-only' | 'pin';
  /** For `throttle`. */
  readonly ratePerSecond: number | undefined;
  /** For `pin`. */
  readonly service: string | undefined;
  readonly replica: string | undefined;
  readonly forMs: number | undefined;
  readonly reason: string;
}
