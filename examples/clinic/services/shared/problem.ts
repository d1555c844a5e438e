// How does an API say no? One exception for expected refusals, rendered as RFC 9457
// `application/problem+json`. The text never holds a value that the caller did not send.

export interface FieldError {
  readonly field: string;
  readonly message: string;
}

export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly errors: readonly FieldError[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    title: string,
    detail: string,
    extra: { errors?: readonly FieldError[]; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.status = status;
    this.title = title;
    this.errors = extra.errors ?? [];
    this.headers = extra.headers ?? {};
  }

  toJSON(): object {
    return {
      type: 'about:blank',
      title: this.title,
      status: this.status,
      detail: this.message,
      ...(this.errors.length > 0 ? { errors: this.errors } : {}),
    };
  }
}

export const notFound = (what: string): Problem =>
  new Problem(404, 'Not Found', `There is no such ${what}.`);

export const conflict = (detail: string): Problem => new Problem(409, 'Conflict', detail);

export const unprocessable = (detail: string): Problem =>
  new Problem(422, 'Unprocessable Content', detail);

/** The database is away: say when to come back, and let a gateway try another replica. */
export const unavailable = (): Problem =>
  new Problem(503, 'Service Unavailable', 'The database cannot be reached right now.', {
    headers: { 'retry-after': '1' },
  });
