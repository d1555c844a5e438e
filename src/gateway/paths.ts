// What does this request target mean? One reading of it, so that a rule for a route cannot be
// dodged by another spelling.
//
//   PA1. Dot segments, control characters, backslashes, fragments and encoded slashes are refused:
//        a replica might read them in another way than we do.
//   PA2. Two spellings of one path (percent-encoding, doubled or trailing slash) fold to one route.
//   PA3. A prefix matches whole segments only.

const TARGET_CHARS_MAX = 8_192;
const ROUTE_CHARS_MAX = 200;
const SEGMENTS_MAX = 12;
const FORBIDDEN =
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  /[\u0000-\u0020\u007f\\#]|%(?:2f|5c|00)|(?:^|\/)(?:\.|%2e){1,2}(?:(?:;|%3b)[^/]*)?(?:\/|$)/iu;
const ESCAPE = /%[0-9a-f]{2}/giu;
const NUMBER = /^\d+$/u;
const DIGIT = /\d/u;
const WORDS = /^[a-z]+(?:[-_][a-z]+)*(?:[-_]?v?\d{1,2})?$/iu;

/** The path of an origin-form target, or undefined when it is refused. */
export function pathOf(target: string): string | undefined {
  if (!target.startsWith('/') || target.length > TARGET_CHARS_MAX) return undefined;
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  if (FORBIDDEN.test(path) || target.includes('#')) return undefined;
  return path;
}

/** As a replica may read it: plain characters without their escapes, no empty segments. */
export function plainPath(path: string): string {
  const plain = path.includes('%') ? path.replaceAll(ESCAPE, unescaped) : path;
  return plain.includes('//') ? plain.replaceAll(/\/{2,}/gu, '/') : plain;
}

function unescaped(escape: string): string {
  const code = Number.parseInt(escape.slice(1), 16);
  const isPlain = code > 32 && code < 127 && !'%/?#;\\'.includes(String.fromCharCode(code));
  return isPlain ? String.fromCharCode(code) : escape;
}

export function matchesPrefix(path: string, prefix: string): boolean {
  if (prefix === '/' || prefix === '') return true;
  const bare = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
  return path.startsWith(bare) && (path.length === bare.length || path[bare.length] === '/');
}

/** Path with its ids folded to `:id`: the name under which a route is blamed and held back. */
export function foldRoute(path: string): string {
  let route = '';
  let count = 0;
  for (const raw of path.split('/')) {
    if (raw === '') continue;
    count += 1;
    if (count > SEGMENTS_MAX) return `${route}/*`;
    const segment = decoded(raw);
    route += isId(segment) ? '/:id' : `/${segment}`;
    if (route.length > ROUTE_CHARS_MAX) return `${route.slice(0, ROUTE_CHARS_MAX)}*`;
  }
  return route === '' ? '/' : route;
}

function decoded(segment: string): string {
  if (!segment.includes('%')) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function isId(segment: string): boolean {
  if (NUMBER.test(segment) || segment.length > 40) return true;
  return DIGIT.test(segment) && segment.length >= 8 && !WORDS.test(segment);
}
