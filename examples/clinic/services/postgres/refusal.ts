// Why can the database not run here, and what is the fix? Expected refusals, told in one line.

/** EX_CONFIG of sysexits.h: starting again without a change is of no use. */
export const EXIT_CONFIG = 78;
/** EX_SOFTWARE: PostgreSQL itself gave up; a supervisor may start it again. */
export const EXIT_LOST = 70;

export class Refusal extends Error {
  readonly fix: string;

  constructor(message: string, fix: string, options?: ErrorOptions) {
    super(message, options);
    this.fix = fix;
  }
}
