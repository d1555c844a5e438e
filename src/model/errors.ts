// How does an expected failure look to a person? A code from one catalogue, what happened, and the
// fix. Every code has its section in docs/reference/errors.md (the tidy test compares the two).

export type KinErrorCode = `KIN_${string}`;

/** An expected failure that reaches a person: never a bug, never a secret in its text. */
export class KinError extends Error {
  readonly code: KinErrorCode;
  readonly fix: string;

  constructor(code: KinErrorCode, message: string, fix: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KinError';
    this.code = code;
    this.fix = fix;
  }
}

/** A bug: the component that finds it stops. Never used for bad input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** Makes a switch exhaustive: the compiler refuses a member that is not handled. */
export function never(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}

/** The message of anything thrown, without its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
