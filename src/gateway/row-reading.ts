// What does a row say? Read when it is asked for the first time: the usual ones of tenants and keys
// by hand, in a third of the time that JSON takes for them, and all others by JSON.
//
//   RR1. A row read by hand says what JSON says.
import type { KeyRule, TenantRoute } from '../model/routing.ts';
import type { RowFamily } from './parts.ts';
import type { KeyRow, RowValue } from './rows.ts';

const [QUOTE, COMMA, CLOSE, ZERO, NINE] = [0x22, 0x2c, 0x5d, 0x30, 0x39];
/** With more digits, adding up is not exact. */
const DIGITS_MAX = 15;
/** Keys stand in rows of their own. */
const NO_KEYS: readonly KeyRule[] = [];

type Reader<F extends RowFamily> = (text: string) => RowValue[F];

/** Goes over a row, column after column. There is one, so that a look-up makes none. */
class Cursor {
  text = '';
  at = 0;
  /** Something came that is not read by hand. */
  isOdd = false;
  #region = '';

  start(text: string): void {
    this.text = text;
    this.at = 1;
    this.isOdd = false;
  }

  string(): string {
    const { text, at } = this;
    const end = text.indexOf('"', at + 1);
    if (end < 0 || text.charCodeAt(at) !== QUOTE) this.isOdd = true;
    this.at = end + 2;
    return text.slice(at + 1, end);
  }

  /** Mostly that of the row before: then it need not be made again. */
  region(): string {
    const region = this.#region;
    const end = this.at + 1 + region.length;
    const isSame = this.text.startsWith(region, this.at + 1) && this.text.charCodeAt(end) === QUOTE;
    if (isSame && region !== '') {
      this.at = end + 2;
      return region;
    }
    this.#region = this.string();
    return this.#region;
  }

  count(): number {
    const { text } = this;
    const from = this.at;
    let at = from;
    let value = 0;
    let code = text.charCodeAt(at);
    for (; code >= ZERO && code <= NINE; code = text.charCodeAt(at)) {
      value = value * 10 + code - ZERO;
      at += 1;
    }
    if ((code !== COMMA && code !== CLOSE) || at === from || at - from > DIGITS_MAX) {
      this.isOdd = true;
    }
    this.at = at + 1;
    return value;
  }

  /** Was this all of the row, and read in full? */
  isDone(): boolean {
    return !this.isOdd && this.at === this.text.length;
  }
}

const cursor = new Cursor();

const READERS: { readonly [F in RowFamily]: Reader<F> } = {
  tenants: (text) => tenantByHand(text) ?? tenantByJson(text),
  keys: (text) => keyByHand(text) ?? keyByJson(text),
  hosts: ofTenant,
  certificates: ofTenant,
};

/** Of a row without a fault. */
export function readRow<F extends RowFamily>(family: F, text: string): RowValue[F] {
  return READERS[family](text);
}

function tenantByHand(text: string): TenantRoute | undefined {
  cursor.start(text);
  const tenant: TenantRoute = {
    id: cursor.string() as TenantRoute['id'],
    region: cursor.region(),
    status: cursor.count() === 1 ? 'suspended' : 'active',
    ratePerSecond: cursor.count(),
    burst: cursor.count(),
    concurrency: cursor.count(),
    bodyBytes: cursor.count(),
    keys: NO_KEYS,
  };
  return cursor.isDone() ? tenant : undefined;
}

function keyByHand(text: string): KeyRow | undefined {
  cursor.start(text);
  const id = cursor.string();
  const tenant = cursor.string();
  const mac = cursor.string();
  const expiresAtMs = cursor.count();
  if (!cursor.isDone()) return undefined;
  const rule: KeyRule = { id, mac, expiresAtMs: expiresAtMs === 0 ? undefined : expiresAtMs };
  return { tenant, rule, known: undefined, tenants: undefined };
}

// By index: taking an array apart by its iterator takes longer than all of the rest.
function tenantByJson(text: string): TenantRoute {
  const row = valuesOf(text);
  const tenant: TenantRoute = {
    id: row[0] as TenantRoute['id'],
    region: row[1] as string,
    status: row[2] === 1 ? 'suspended' : 'active',
    ratePerSecond: row[3] as number,
    burst: row[4] as number,
    concurrency: row[5] as number,
    bodyBytes: row[6] as number,
    keys: NO_KEYS,
  };
  return row.length === 7 ? tenant : { ...(row[7] as object), ...tenant };
}

function keyByJson(text: string): KeyRow {
  const row = valuesOf(text);
  const expiresAtMs = row[3] === 0 ? undefined : (row[3] as number);
  const rule: KeyRule = { id: row[0] as string, mac: row[2] as string, expiresAtMs };
  const whole = row.length === 4 ? rule : { ...(row[4] as object), ...rule };
  return { tenant: row[1] as string, rule: whole, known: undefined, tenants: undefined };
}

function ofTenant(text: string): string {
  return valuesOf(text)[1] as string;
}

function valuesOf(text: string): readonly unknown[] {
  return JSON.parse(text) as readonly unknown[];
}
