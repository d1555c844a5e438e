// What happened, one JSON object a line on stdout, without leaking what must not be read there.
//
// L1. Values under a sensitive key (authorization, password, ssn, …) are replaced, at any depth.
// L2. Texts that look like a credential or a social security number are masked anywhere.
// L3. A line is bounded: depth, items, text length and whole size; a cycle cannot hang it.
// L4. Logging never throws and never stops the service, even if nobody reads stdout any more.
import { currentContext } from './tenant.ts';
import type { Identity } from './environment.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'audit';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  audit(message: string, fields?: LogFields): void;
}

export interface LoggerOptions {
  readonly identity: Identity;
  /** Lowest level that is written; default `info`. Audit lines are always written. */
  readonly level?: LogLevel;
  /** Takes a finished line without its newline; default stdout. */
  readonly write?: (line: string) => void;
}

const RANKS: Readonly<Record<LogLevel, number>> = {
  debug: 0,
  info: 1,
  warn: 2,
  error: 3,
  audit: 4,
};
const DEPTH_MAX = 6;
const ITEMS_MAX = 100;
const TEXT_CHARS_MAX = 2_000;
const LINE_CHARS_MAX = 16_384;
const MASK = '[redacted]';

/** Compared with letters and digits only, lower case: `X-Api-Key` and `apiKey` are one. */
const SENSITIVE_KEYS: ReadonlySet<string> = new Set(
  (
    'authorization proxyauthorization cookie setcookie password passwd pwd secret clientsecret ' +
    'token accesstoken refreshtoken idtoken apikey xapikey privatekey assertion ' +
    'xkintsugiassertion ssn socialsecuritynumber creditcard cardnumber pan cvv cvc iban ' +
    'dateofbirth birthdate dob mrn'
  ).split(' '),
);
const SENSITIVE_TEXTS: readonly (readonly [RegExp, string])[] = [
  [/\b\d{3}-\d{2}-\d{4}\b/g, MASK],
  [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${MASK}`],
  [/\b([a-z][a-z0-9+]{1,15}:\/\/[^\s:@/]{0,64}):[^\s@/]{1,256}@/gi, `$1:${MASK}@`],
  [/\bv1\.[\w-]{8,}\.[\w-]{20,}/g, MASK],
];

export function createLogger(options: LoggerOptions): Logger {
  const lowest = RANKS[options.level ?? 'info'];
  const write = options.write ?? standardOutput();
  const log = (level: LogLevel, message: string, fields: LogFields): void => {
    if (RANKS[level] >= lowest) write(line(options.identity, level, message, fields));
  };
  return {
    debug: (message, fields = {}) => log('debug', message, fields),
    info: (message, fields = {}) => log('info', message, fields),
    warn: (message, fields = {}) => log('warn', message, fields),
    error: (message, fields = {}) => log('error', message, fields),
    audit: (message, fields = {}) => log('audit', message, fields),
  };
}

/** A copy that is safe to print or to send (L1–L3). */
export function redact(value: unknown): unknown {
  return clean(value, DEPTH_MAX);
}

function line(id: Identity, level: LogLevel, message: string, fields: LogFields): string {
  const context = currentContext();
  const head = {
    time: new Date().toISOString(),
    level,
    service: id.service,
    replica: id.replica,
    msg: clean(message, 1),
    requestId: context?.requestId,
    tenant: context?.tenant?.tenant,
    trace: context?.traceparent?.split('-')[1],
  };
  const text = JSON.stringify({ ...head, ...(clean(fields, DEPTH_MAX) as object), ...head });
  if (text.length <= LINE_CHARS_MAX) return text;
  return JSON.stringify({ ...head, truncatedChars: text.length });
}

function clean(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return cleanText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (depth === 0) return '[deep]';
  if (value instanceof Error) return cleanError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.slice(0, ITEMS_MAX).map((item) => clean(item, depth - 1));
  const result: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value).slice(0, ITEMS_MAX)) {
    const name = key.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
    result[key] = SENSITIVE_KEYS.has(name) ? MASK : clean(item, depth - 1);
  }
  return result;
}

function cleanError(error: Error, depth: number): object {
  const code: unknown = Reflect.get(error, 'code');
  return {
    name: error.name,
    message: cleanText(error.message),
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: cleanText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: clean(error.cause, depth - 1) }),
  };
}

function cleanText(text: string): string {
  let result = text.slice(0, TEXT_CHARS_MAX);
  for (const [pattern, mask] of SENSITIVE_TEXTS) result = result.replace(pattern, mask);
  return text.length > TEXT_CHARS_MAX ? `${result}…` : result;
}

/**
 * Without an error listener a reader that went away (EPIPE) would become an uncaught exception
 * and take the service down together with whoever collected its logs (L4).
 */
function standardOutput(): (line: string) => void {
  let listening = false;
  return (text) => {
    if (!listening) {
      listening = true;
      process.stdout.on('error', () => undefined);
    }
    process.stdout.write(`${text}\n`);
  };
}
