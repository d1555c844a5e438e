// What must not go, and what must not be read? Legal holds and restrictions (GDPR Art. 18), each
// with its ground in the log.
// H1. A hold protects before it is recorded, and is recorded as released before it ends: whatever
//     happens in between errs on the side of keeping. A restriction likewise.

import { LedgerError, isLedgerError } from '../errors.ts';
import { basisDetail, checkReference, checkSubject, checkTenant } from './checks.ts';
import type { Hold, Restriction } from './marks.ts';
import { randomId, tagText } from './parts.ts';
import type { PrivateParts } from './parts.ts';
import { HOLD_PLACED, HOLD_RELEASED, RESTRICTED, UNRESTRICTED } from './port.ts';
import type { HoldBasis, RestrictionBasis } from './port.ts';

export interface HoldInput {
  readonly tenant: string;
  /** Left out: everything of the tenant. */
  readonly subject?: string;
  readonly basis: HoldBasis;
}

export interface RestrictInput {
  readonly tenant: string;
  readonly subject: string;
  readonly basis: RestrictionBasis;
}

export async function placeHold(parts: PrivateParts, input: HoldInput): Promise<Hold> {
  const { keys, marks, random, ledger } = parts;
  const { tenant, subject } = input;
  checkTenant(tenant);
  if (subject !== undefined) checkSubject(subject);
  const basis = basisDetail('hold', input.basis, subject);
  const port = ledger();
  const tag = subject === undefined ? null : tagText(await keys.tagOf(tenant, subject));
  const draft: Hold = { hold: randomId(random), tenant, tag, basis, index: -1 };
  await marks.change((now) => {
    const isLate = now.erasing.some(
      (mark) => mark.tenant === tenant && (tag === null || mark.tag === tag),
    );
    // Not a silent promise: what is being destroyed cannot be held any more.
    if (isLate) throw new LedgerError('KIN_LEDGER_ERASING', 'an erasure is already under way');
    return { ...now, holds: [...now.holds, draft] };
  });
  const { hold } = draft;
  const scope = subject === undefined ? 'tenant' : 'subject';
  let placed: Hold;
  try {
    const { index } = await port.record(HOLD_PLACED, { basis, hold, scope, tenant }, tenant);
    placed = { ...draft, index };
  } catch (cause) {
    // H1. With an unknown fate the log may still say so: it is kept until somebody releases it.
    if (isUnknown(cause)) throw cause;
    await marks.change((now) => ({ ...now, holds: now.holds.filter((one) => one.hold !== hold) }));
    throw cause;
  }
  await marks.change((now) => ({
    ...now,
    holds: now.holds.map((one) => (one.hold === hold ? placed : one)),
  }));
  return placed;
}

export async function releaseHold(
  parts: PrivateParts,
  hold: string,
  ref: string,
): Promise<{ readonly index: number }> {
  const { marks, ledger } = parts;
  const found = marks.content.holds.find((one) => one.hold === hold);
  if (found === undefined) throw unknown('hold', hold);
  checkReference(ref);
  const detail = { hold, placed: found.index, ref, tenant: found.tenant };
  const { index } = await ledger().record(HOLD_RELEASED, detail, found.tenant);
  await marks.change((now) => ({ ...now, holds: now.holds.filter((one) => one.hold !== hold) }));
  return { index };
}

export async function restrict(parts: PrivateParts, input: RestrictInput): Promise<Restriction> {
  const { keys, marks, random, ledger } = parts;
  const { tenant, subject } = input;
  checkTenant(tenant);
  checkSubject(subject);
  const basis = basisDetail('restriction', input.basis, subject);
  const port = ledger();
  const tag = tagText(await keys.tagOf(tenant, subject));
  const restriction = randomId(random);
  const draft: Restriction = { restriction, tenant, tag, basis, index: -1 };
  const isOther = (one: Restriction): boolean => one.restriction !== restriction;
  await marks.change((now) => {
    const isLate = now.erasing.some((mark) => mark.tenant === tenant && mark.tag === tag);
    if (isLate) throw new LedgerError('KIN_LEDGER_ERASING', 'an erasure is already under way');
    return { ...now, restrictions: [...now.restrictions, draft] };
  });
  let placed: Restriction;
  try {
    const { index } = await port.record(RESTRICTED, { basis, restriction, tenant }, tenant);
    placed = { ...draft, index };
  } catch (cause) {
    if (isUnknown(cause)) throw cause;
    await marks.change((now) => ({ ...now, restrictions: now.restrictions.filter(isOther) }));
    throw cause;
  }
  await marks.change((now) => ({
    ...now,
    // Unless an erasure has ended it meanwhile.
    restrictions: now.restrictions.map((one) => (isOther(one) ? one : placed)),
  }));
  return placed;
}

export async function unrestrict(
  parts: PrivateParts,
  restriction: string,
  ref: string,
): Promise<{ readonly index: number }> {
  const { marks, ledger } = parts;
  const found = marks.content.restrictions.find((one) => one.restriction === restriction);
  if (found === undefined) throw unknown('restriction', restriction);
  checkReference(ref);
  const detail = { placed: found.index, ref, restriction, tenant: found.tenant };
  const { index } = await ledger().record(UNRESTRICTED, detail, found.tenant);
  await marks.change((now) => ({
    ...now,
    restrictions: now.restrictions.filter((one) => one.restriction !== restriction),
  }));
  return { index };
}

function isUnknown(cause: unknown): boolean {
  return isLedgerError(cause) && cause.inLog === 'unknown';
}

function unknown(what: string, id: string): LedgerError {
  const shown = id.slice(0, 64);
  return new LedgerError('KIN_LEDGER_OPTION_INVALID', `there is no ${what} "${shown}"`);
}
