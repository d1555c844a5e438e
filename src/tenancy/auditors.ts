// Which auditors may read the evidence? Names with a token each, kept as a hash in the settings of
// the store; a token is shown once and ends by itself.
//
//   AU1. Only SHA-256 of a token is kept: 256 random bits need no slow hash.
//   AU2. A token that has expired or was removed is as good as none, at once.
//   AU3. The compare takes the same time wherever it fails.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { KinError } from '../model/errors.ts';

export interface AuditorRow {
  readonly name: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export interface AddedAuditor extends AuditorRow {
  /** Shown this once. */
  readonly token: string;
}

export interface AuditorBook {
  /** Name of the auditor whose token this is; undefined for every other text. */
  nameOf(token: string): string | undefined;
  list(): readonly AuditorRow[];
  add(name: string, lifetimeMs: number): Promise<AddedAuditor>;
  remove(name: string): Promise<void>;
}

/** What the book needs: `Store.setting` and `Store.putSetting` under the current epoch. */
export interface AuditorPorts {
  readonly read: (setting: string) => Promise<unknown>;
  readonly write: (setting: string, value: unknown) => Promise<void>;
  readonly nowMs: () => number;
}

export const AUDITOR_LIFETIME_MAX_MS = 366 * 86_400_000;
const SETTING = 'auditors';
const AUDITORS_MAX = 100;
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/u;
const TOKEN = /^kin_au_[A-Za-z0-9_-]{43}$/u;

export const isAuditorToken = (text: string): boolean => TOKEN.test(text);

interface StoredAuditor extends AuditorRow {
  /** Base64url SHA-256 of the token. */
  readonly hash: string;
}

export async function openAuditors(ports: AuditorPorts): Promise<AuditorBook> {
  let rows = readRows(await ports.read(SETTING));
  let turn: Promise<unknown> = Promise.resolve();
  const isLive = (row: StoredAuditor): boolean => row.expiresAtMs > ports.nowMs();
  /** One change after the other, and in memory only what the store has taken. */
  const change = <T>(draft: () => readonly [readonly StoredAuditor[], T]): Promise<T> => {
    const done = turn.then(async () => {
      const [wanted, answer] = draft();
      await ports.write(SETTING, { v: 1, auditors: wanted });
      rows = wanted;
      return answer;
    });
    turn = done.catch(() => undefined);
    return done;
  };
  return {
    nameOf(token) {
      if (!isAuditorToken(token)) return undefined;
      const hash = createHash('sha256').update(token).digest();
      let found: string | undefined;
      // AU3. All rows are compared, whichever fits.
      for (const row of rows) {
        const same = timingSafeEqual(hash, Buffer.from(row.hash, 'base64url'));
        if (same && isLive(row)) found = row.name;
      }
      return found;
    },
    list: () => rows.map(({ hash: _hash, ...row }) => row),
    add: (name, lifetimeMs) =>
      change(() => {
        const others = rows.filter(isLive);
        checkNew(name, lifetimeMs, others);
        const token = `kin_au_${randomBytes(32).toString('base64url')}`;
        const hash = createHash('sha256').update(token).digest('base64url');
        const createdAtMs = ports.nowMs();
        const row = { name, createdAtMs, expiresAtMs: createdAtMs + lifetimeMs };
        return [[...others, { ...row, hash }], { ...row, token }];
      }),
    remove: (name) =>
      change(() => {
        const others = rows.filter((row) => row.name !== name);
        if (others.length === rows.length) throw unknown(name);
        return [others, undefined];
      }),
  };
}

function checkNew(name: string, lifetimeMs: number, others: readonly StoredAuditor[]): void {
  const isTime = Number.isSafeInteger(lifetimeMs) && lifetimeMs > 0;
  if (!NAME.test(name) || !isTime || lifetimeMs > AUDITOR_LIFETIME_MAX_MS) {
    throw new KinError(
      'KIN_AUDITOR_INVALID',
      'this is no name of an auditor, or no time that a token may live',
      'Use 1–64 of a–z, 0–9, dot, dash and underscore, and at most 366 days.',
    );
  }
  if (others.some((row) => row.name === name)) {
    throw new KinError(
      'KIN_AUDITOR_EXISTS',
      `the auditor ${name} has a token already`,
      `Remove it first: kintsugi ledger auditor remove ${name}.`,
    );
  }
  if (others.length < AUDITORS_MAX) return;
  throw new KinError(
    'KIN_AUDITORS_FULL',
    `there are ${AUDITORS_MAX} auditors already`,
    'Remove one that is no longer needed: kintsugi ledger auditor remove NAME.',
  );
}

function unknown(name: string): KinError {
  const shown = JSON.stringify(name.slice(0, 64));
  const fix = 'See "kintsugi ledger auditor list".';
  return new KinError('KIN_AUDITOR_UNKNOWN', `there is no auditor ${shown}`, fix);
}

/** What the store gives back was written by us; a row that it changed is refused as a whole. */
function readRows(value: unknown): readonly StoredAuditor[] {
  if (value === undefined || value === null) return [];
  const list = typeof value === 'object' && 'auditors' in value ? value.auditors : undefined;
  if (Array.isArray(list) && list.every(isRow)) return list;
  throw new KinError(
    'KIN_STORE_CORRUPT',
    `the setting ${SETTING} does not hold auditors`,
    'Restore the store from a backup.',
  );
}

function isRow(value: unknown): value is StoredAuditor {
  if (typeof value !== 'object' || value === null) return false;
  const { name, hash, createdAtMs, expiresAtMs } = value as Readonly<Record<string, unknown>>;
  const isHash = typeof hash === 'string' && Buffer.from(hash, 'base64url').length === 32;
  const areTimes = Number.isSafeInteger(createdAtMs) && Number.isSafeInteger(expiresAtMs);
  return typeof name === 'string' && NAME.test(name) && isHash && areTimes;
}
