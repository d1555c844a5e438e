// Are these inputs fit to be written down for ever? Ids, subjects and legal grounds.
// CK1. A reference stays in the log for ever: it has a digit, and does not contain the person's id.

import { LedgerError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../json.ts';
import { BASES } from './port.ts';
import type { Basis, BasisDetail, BasisKind } from './port.ts';

const TENANT = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** Narrow on purpose: names and mail addresses do not fit, case numbers do. */
const REFERENCE = /^[A-Za-z0-9][A-Za-z0-9._/:#-]{0,95}$/;
const SUBJECT_CHARS_MAX = 512;
/** Shorter ids would stand in case numbers by chance. */
const PERSON_CHARS_MIN = 3;

export function checkTenant(tenant: string): void {
  if (typeof tenant === 'string' && TENANT.test(tenant)) return;
  throw invalid(`"${`${tenant}`.slice(0, 80)}" is no tenant id`);
}

/** Not repeated in the message: it is personal. */
export function checkSubject(subject: string): void {
  const fits = subject !== '' && subject.length <= SUBJECT_CHARS_MAX && subject.isWellFormed();
  if (!fits) throw invalid(`a subject is a text of 1–${SUBJECT_CHARS_MAX} characters`);
}

/** What stands in the log: the code, its meaning and the reference. `subject`: whom it is about. */
export function basisDetail<Kind extends BasisKind>(
  kind: Kind,
  basis: Basis<Kind>,
  subject?: string,
): BasisDetail {
  const texts: Readonly<Record<string, string>> = BASES[kind];
  const text = Object.hasOwn(texts, basis.code) ? texts[basis.code] : undefined;
  if (text === undefined) {
    throw invalid(`the basis of a ${kind} is one of ${Object.keys(texts).join(', ')}`);
  }
  // A retention names a rule, not a case.
  if (kind === 'retention') checkForm(basis.ref);
  else checkReference(basis.ref, subject);
  return { code: basis.code, ref: basis.ref, text };
}

/** CK1. */
export function checkReference(ref: string, subject?: string): void {
  checkForm(ref);
  if (!/[0-9]/.test(ref)) throw invalid('the reference is a case number: it has a digit');
  if (subject === undefined || !namesPerson(ref.toLowerCase(), subject.toLowerCase())) return;
  throw invalid('the reference contains the id of the person, and it would stay in the log');
}

/** The whole id, what follows its kind (`user:`), and a mail address up to its domain. */
function namesPerson(ref: string, subject: string): boolean {
  const name = subject.slice(subject.lastIndexOf(':') + 1);
  const parts = [subject, name, name.slice(0, Math.max(0, name.lastIndexOf('@')))];
  return parts.some((part) => part.length >= PERSON_CHARS_MIN && ref.includes(part));
}

function checkForm(ref: string): void {
  if (typeof ref === 'string' && REFERENCE.test(ref)) return;
  throw invalid('the reference is a case number of letters, digits and ._/:#- without spaces');
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
}
