// What does a request of HTTP/2 say in HTTP/1.1? Its fields are written as the head of one and then
// read by the same strict parser, so that there is one set of rules. Pure.
//
//   HH1. Nothing in a name or value can become a line of its own.
//   HH2. Exactly one authority: `:authority` and `host` are the same where both are there.
//   HH3. Fields of a connection have no place in HTTP/2; their presence is refused, not repaired.
//   HH4. The framing is the stream's: with neither a length nor an end it becomes chunked.
import { TOKEN, VALUE } from '../http/chars.ts';
import { isPlain, KNOWN, knownField } from '../http/names.ts';
import type { RefusalCode } from '../http/refusal.ts';

export type RequestHead =
  | { readonly kind: 'head'; readonly text: string; readonly authority: string }
  | { readonly kind: 'refused'; readonly code: RefusalCode };

const refused = (code: RefusalCode): RequestHead => ({ kind: 'refused', code });

interface Gathered {
  readonly pseudo: Map<string, string>;
  lines: string;
  host: string | undefined;
  cookie: string | undefined;
  hasLength: boolean;
}

const PSEUDO: ReadonlySet<string> = new Set([':method', ':scheme', ':path', ':authority']);
/** Methods whose body is expected: an HTTP/1.1 server wants to be told that there is none. */
const WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/** `raw`: names and values in turn. `ends`: the stream ends with its head. */
export function requestHead(raw: readonly string[], ends: boolean): RequestHead {
  const all: Gathered = {
    pseudo: new Map(),
    lines: '',
    host: undefined,
    cookie: undefined,
    hasLength: false,
  };
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const fault = gather(all, raw[i] ?? '', raw[i + 1] ?? '');
    if (fault !== undefined) return refused(fault);
  }
  return compose(all, ends);
}

function gather(all: Gathered, name: string, value: string): RefusalCode | undefined {
  if (!isValue(value)) return 'control-char';
  if (name.startsWith(':')) return gatherPseudo(all, name, value);
  const known = fieldKind(name);
  if (known === undefined) return 'bad-field-name';
  if (known === KNOWN.host) {
    if (all.host !== undefined) return 'host-repeated';
    all.host = value;
    return undefined;
  }
  if (name === 'te') return value === 'trailers' ? undefined : 'bad-connection';
  const passes = isPlain(known) || known === KNOWN.contentLength || known === KNOWN.expect;
  // `trailer` only announces; a proxy's credentials are for a proxy.
  if (!passes && !HARMLESS.has(name)) return 'bad-connection';
  if (name === 'cookie') {
    // Crumbs of one field, cut for compression.
    all.cookie = all.cookie === undefined ? value : `${all.cookie}; ${value}`;
    return undefined;
  }
  if (known === KNOWN.contentLength) all.hasLength = true;
  all.lines += `${name}: ${value}\r\n`;
  return undefined;
}

const HARMLESS: ReadonlySet<string> = new Set(['trailer', 'proxy-authorization']);

function gatherPseudo(all: Gathered, name: string, value: string): RefusalCode | undefined {
  const isLate = all.lines !== '' || all.host !== undefined || all.cookie !== undefined;
  if (isLate || !PSEUDO.has(name) || all.pseudo.has(name)) return 'bad-target';
  all.pseudo.set(name, value);
  return undefined;
}

function compose(all: Gathered, ends: boolean): RequestHead {
  const method = all.pseudo.get(':method') ?? '';
  const path = all.pseudo.get(':path') ?? '';
  if (method === 'CONNECT') return refused('method-unsupported');
  if (!isToken(method)) return refused('bad-method');
  if (all.pseudo.get(':scheme') !== 'https') return refused('bad-target');
  // No URL, and nothing that would end the target: what else it may hold the parser knows.
  if (!/^(?:\/[\x21-\x7e]*|\*)$/u.test(path)) return refused('bad-target');
  const authority = all.pseudo.get(':authority') ?? all.host;
  if (authority === undefined || authority === '') return refused('host-missing');
  if (all.host !== undefined && all.host.toLowerCase() !== authority.toLowerCase()) {
    return refused('host-mismatch');
  }
  const cookie = all.cookie === undefined ? '' : `cookie: ${all.cookie}\r\n`;
  const framing = framingOf(method, all.hasLength, ends);
  const head = `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n`;
  return { kind: 'head', text: `${head}${all.lines}${cookie}${framing}\r\n`, authority };
}

function framingOf(method: string, hasLength: boolean, ends: boolean): string {
  if (hasLength) return '';
  if (!ends) return 'transfer-encoding: chunked\r\n';
  return WITH_BODY.has(method) ? 'content-length: 0\r\n' : '';
}

function fieldKind(name: string): number | undefined {
  if (!isToken(name) || name !== name.toLowerCase()) return undefined;
  return knownField(Buffer.from(name, 'latin1'), 0, name.length);
}

function isToken(text: string): boolean {
  if (text === '') return false;
  for (let i = 0; i < text.length; i += 1) if (TOKEN[text.charCodeAt(i)] !== 1) return false;
  return true;
}

function isValue(text: string): boolean {
  if (/^[ \t]|[ \t]$/u.test(text)) return false;
  for (let i = 0; i < text.length; i += 1) if (VALUE[text.charCodeAt(i)] !== 1) return false;
  return true;
}

/** A trailer section as lines. Undefined: something in it cannot be one. */
export function trailerLines(raw: readonly string[]): string | undefined {
  let lines = '';
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    if (fieldKind(name) === undefined || !isValue(value)) return undefined;
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

/** Without its port: `host:port`, `[::1]:port`. */
export function hostOf(authority: string): string {
  return authority.replace(/:\d{1,5}$/u, '').toLowerCase();
}
