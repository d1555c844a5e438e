// What must never be seen in a log or an error? Passwords inside URLs, and the values of fields
// whose name says that they are secret.
//
//   RD1. The password of a URL never survives `redactUrl`, not even when the URL cannot be parsed.
//   RD2. A value under a secret-looking key is replaced, at any depth.

/** A whole word of these, or an ending that can mean nothing else. */
const SECRET_WORD =
  /(?:^|[-_.])(?:pass(?:word|wd|phrase)?|secrets?|token|authorization|cookie|pepper)$/iu;
const SECRET_ENDING =
  /(?:password|secret|token|credentials?|(?:api|private|access|signing)[-_]?key|databaseurl)$/iu;
/**
 * Up to the last `@`, because a password that was not escaped may hold anything. Only after http a
 * number and a slash are a port, so that a path with an `@` stays readable. Lengths are bounded,
 * or a long text of the right shape would cost quadratic time.
 */
const WEB = /https?:\/\/[^\s:/@]{0,200}(?=:(?!\d+\/))/u.source;
const OTHER = /(?!https?:)[a-z][a-z0-9+.-]{0,30}:\/\/[^\s:/@]{0,200}/u.source;
const URL_PASSWORD = new RegExp(`\\b(${WEB}|${OTHER}):\\S{0,500}@`, 'giu');
const QUERY_SECRET = /([?&](?:password|sslpassword|token|secret|key)=)[^&\s]*/giu;
const DEPTH_MAX = 6;
const REDACTED = '[redacted]';

const isSecret = (key: string): boolean => SECRET_WORD.test(key) || SECRET_ENDING.test(key);

/** Works on whole texts too: every URL inside loses its password. */
export function redactUrl(text: string): string {
  return text.replace(URL_PASSWORD, '$1:***@').replace(QUERY_SECRET, '$1***');
}

export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactUrl(value);
  if (value instanceof Error) return errorFields(value, depth);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= DEPTH_MAX) return '[deep]';
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  if (value instanceof Map) return redact(Object.fromEntries(value), depth + 1);
  if (value instanceof Set) return redact([...value], depth + 1);
  const out: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    out[key] = isSecret(key) ? REDACTED : redact(item, depth + 1);
  }
  return out;
}

function errorFields(error: Error, depth: number): unknown {
  const code: unknown = 'code' in error ? error.code : undefined;
  return {
    name: error.name,
    message: redactUrl(error.message),
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: redactUrl(error.stack) }),
    ...(error.cause === undefined || depth >= DEPTH_MAX
      ? {}
      : { cause: redact(error.cause, depth + 1) }),
  };
}
