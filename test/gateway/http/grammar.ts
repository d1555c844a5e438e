// Which messages are worth trying? A grammar of requests and answers, mostly right, with the faults
// that smuggling is made of mixed in, and byte changes on top. Seeded: a case repeats by its
// number.

export interface Dice {
  next(): number;
  below(limit: number): number;
  one<T>(list: readonly T[]): T;
  chance(share: number): boolean;
}

/** mulberry32. */
export function dice(seed: number): Dice {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    next,
    below,
    one: (list) => list[below(list.length)] as (typeof list)[number],
    chance: (share) => next() < share,
  };
}

const METHODS = [
  'GET',
  'GET',
  'POST',
  'POST',
  'PUT',
  'HEAD',
  'DELETE',
  'OPTIONS',
  'PATCH',
  'M-SEARCH',
];
const ODD_METHODS = [
  'get',
  'CONNECT',
  'TRACE',
  'PRI',
  'QUERY',
  'G ET',
  '',
  'GET\t',
  '(GET)',
  'FOO',
];
const TARGETS = ['/', '/a', '/a/b?c=d', '/?q=%20', '/%41', '/a;b', '/x?a=1&b=[2]', '/~u', '/a|b'];
const ODD_TARGETS = [
  'http://h/x',
  'http://h',
  'http://other/x',
  'https://h:443/',
  '*',
  'a',
  '//x',
  '/a b',
  '/a\tb',
  '/#f',
  '/\u00ff',
  'h:80',
  '/a\u0000',
  'http://u@h/',
  'http://h?x',
  '/a\\b',
];
const VERSIONS = ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0'];
const ODD_VERSIONS = [
  'HTTP/2.0',
  'http/1.1',
  'HTTP/1.2',
  'HTTP/1.10',
  'HTTP/01.1',
  '',
  'HTTP/1.1 ',
  'HTTP/0.9',
];
const NAMES = [
  'Accept',
  'X-A',
  'user-agent',
  'Cookie',
  'x_y',
  'X-B.c',
  'ETag',
  'A',
  'If-Match',
  '1-2',
];
const VALUES = [
  '',
  'x',
  'a, b',
  '"q"',
  'caf\u00e9',
  'a\tb',
  '  padded  ',
  'k=v; p',
  ':',
  '\u00a0',
  'a:b',
  '0',
];
const ODD_LINES = [
  ' folded: x',
  '\tfolded',
  'Name : x',
  'Name\t: x',
  ': x',
  'NoColon',
  'A: b\u0000c',
  'A: b\rc',
  'A: b\nB: c',
  'A\u0000: b',
  'A: \u0001',
  'A: \u007f',
  'Content_Length: 3',
  'Transfer_Encoding: chunked',
  'Transfer-Encoding : chunked',
  'Content-Length\u00a0: 3',
  '\u00e9: x',
  'X-A: y\n Transfer-Encoding: chunked',
  '"q": x',
  'Content-Length: 1\u000b',
];
const CODINGS = [
  'chunked',
  'Chunked',
  'chunked, chunked',
  'gzip, chunked',
  'chunked, gzip',
  'identity',
  'x',
  '\tchunked',
  'chunked ',
  'chunked;q=1',
  ',chunked',
  '"chunked"',
  'xchunked',
  '\u000bchunked',
  'chunked\u00a0',
  '',
];
const CONNECTIONS = [
  'keep-alive',
  'close',
  'Keep-Alive, TE',
  'upgrade',
  'x-a',
  'content-length',
  ', close',
  'clo se',
  'close, keep-alive',
  '',
];
const OTHERS = [
  'Expect: 100-continue',
  'Expect: 200-ok',
  'TE: trailers',
  'Trailer: X-T',
  'Upgrade: websocket',
  'Upgrade: h2c',
  'Keep-Alive: timeout=5',
  'Proxy-Connection: keep-alive',
  'Host: h',
  'Host: x',
  'Host:',
];
const HOSTS = ['h', 'h', 'h', 'h', 'h:80', 'a.example:8080', '[::1]', '[::1]:80'];
const ODD_HOSTS = ['', 'h h', 'u@h', 'h:99999', 'h,x', 'h/x', 'h:', '[::1', 'h\u00e9', 'h:8a'];
const SPECIAL = [
  '\r',
  '\n',
  '\r\n',
  ' ',
  '\t',
  '\u0000',
  ':',
  ',',
  ';',
  '0',
  '\u000b',
  '\u0085',
  'a',
  '-',
  '\r\n\r\n',
];

function chunked(roll: Dice, body: string): string {
  let text = '';
  let at = 0;
  while (at < body.length) {
    const size = 1 + roll.below(body.length - at);
    text += chunkSize(roll, size);
    const end = roll.chance(0.03) ? roll.one(['\n', '', '\r', 'X\r\n']) : '\r\n';
    text += `\r\n${body.slice(at, at + size)}${end}`;
    at += size;
  }
  text += roll.chance(0.1) ? roll.one(['00', '000', '0;x', '', '0 ', '-0', '0x0']) : '0';
  text += roll.chance(0.03) ? '\n' : '\r\n';
  if (roll.chance(0.2)) text += trailers(roll);
  return `${text}${roll.chance(0.04) ? roll.one(['\n', '\r', '']) : '\r\n'}`;
}

function chunkSize(roll: Dice, size: number): string {
  const hex = size.toString(16);
  if (roll.chance(0.75)) return hex;
  const odd = [`0${hex}`, hex.toUpperCase(), `${hex};a=b`, `${hex};a`, `${hex};a="q;\\"x"`];
  odd.push(`${hex} `, ` ${hex}`, `+${hex}`, `0x${hex}`, `${hex};\n`, `${hex}\t;a`, `${hex};;`);
  odd.push(`00000000${hex}`, `${hex}_0`, `fffffffff`, `${hex};a=\u0000`, `${hex};a b`, `${hex};=`);
  return roll.one(odd);
}

function trailers(roll: Dice): string {
  return roll.one([
    'X-T: 1\r\n',
    'X-T: 1\r\nY: 2\r\n',
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    'bad\r\n',
    ' fold\r\n',
    'X-T : 1\r\n',
    'X-T: 1\n',
    'Host: z\r\n',
  ]);
}

const BODIES = [
  '',
  'x',
  'hello',
  'GET /evil HTTP/1.1\r\nHost: h\r\n\r\n',
  '0\r\n\r\n',
  '\r\n',
  'a'.repeat(300),
];

/** Lines and body that frame it, mostly in agreement. */
function framing(roll: Dice): { lines: string[]; body: string } {
  const body = roll.one(BODIES);
  const kind = roll.next();
  if (kind < 0.35) return { lines: [], body: roll.chance(0.04) ? body : '' };
  if (kind < 0.62) {
    const length = roll.chance(0.9) ? String(body.length) : oddLength(roll, body.length);
    return { lines: [`Content-Length: ${length}`], body };
  }
  if (kind < 0.92) {
    const coding = roll.chance(0.9) ? 'chunked' : roll.one(CODINGS);
    return { lines: [`Transfer-Encoding: ${coding}`], body: chunked(roll, body) };
  }
  const lines = [`Content-Length: ${body.length}`];
  lines.push(
    roll.chance(0.5)
      ? `Content-Length: ${roll.below(9)}`
      : `Transfer-Encoding: ${roll.one(CODINGS)}`,
  );
  return { lines, body: roll.chance(0.5) ? body : chunked(roll, body) };
}

function oddLength(roll: Dice, length: number): string {
  const n = String(length);
  return roll.one([
    `0${n}`,
    `+${n}`,
    `-${n}`,
    `${n},${n}`,
    `${n} ${n}`,
    `0x${n}`,
    `${n}.0`,
    '',
    `${n}\t`,
    ` ${n}`,
    '99999999999999999999',
    `${n}a`,
    `\t${n}`,
  ]);
}

function shuffle(roll: Dice, lines: string[]): string[] {
  for (let i = lines.length - 1; i > 0; i -= 1) {
    const j = roll.below(i + 1);
    [lines[i], lines[j]] = [lines[j] ?? '', lines[i] ?? ''];
  }
  return lines;
}

function otherLines(roll: Dice): string[] {
  const lines: string[] = [];
  for (let i = roll.below(4); i > 0; i -= 1) {
    const gap = roll.one([': ', ': ', ': ', ':', ':  ', ':\t']);
    lines.push(`${roll.one(NAMES)}${gap}${roll.one(VALUES)}`);
  }
  if (roll.chance(0.25)) lines.push(`Connection: ${roll.one(CONNECTIONS)}`);
  if (roll.chance(0.12)) lines.push(roll.one(OTHERS));
  if (roll.chance(0.06)) lines.push(roll.one(ODD_LINES));
  return lines;
}

/** Changes a few bytes. */
export function mutate(roll: Dice, text: string): string {
  let out = text;
  for (let i = 1 + roll.below(2); i > 0; i -= 1) {
    const at = roll.below(out.length + 1);
    const kind = roll.below(4);
    if (kind === 0) out = out.slice(0, at) + roll.one(SPECIAL) + out.slice(at);
    else if (kind === 1) out = out.slice(0, at) + out.slice(at + 1);
    else if (kind === 2) out = out.slice(0, at) + roll.one(SPECIAL) + out.slice(at + 1);
    else out = out.slice(0, at) + String.fromCharCode(roll.below(256)) + out.slice(at + 1);
  }
  return out;
}

export function request(roll: Dice): string {
  const method = roll.chance(0.95) ? roll.one(METHODS) : roll.one(ODD_METHODS);
  const target = roll.chance(0.92) ? roll.one(TARGETS) : roll.one(ODD_TARGETS);
  const version = roll.chance(0.97) ? roll.one(VERSIONS) : roll.one(ODD_VERSIONS);
  const { lines, body } = framing(roll);
  const all = [...lines, ...otherLines(roll)];
  if (roll.chance(0.98))
    all.push(`Host: ${roll.chance(0.95) ? roll.one(HOSTS) : roll.one(ODD_HOSTS)}`);
  const end = roll.chance(0.01) ? roll.one(['\n', '\r', '\r\r\n']) : '\r\n';
  const blank = roll.chance(0.03) ? roll.one(['\r\n', '\n', '\r', '\r\n\r\n', ' ']) : '';
  const space = roll.chance(0.01) ? roll.one(['  ', '\t']) : ' ';
  const first = `${blank}${method} ${target}${space}${version}${end}`;
  const text = `${first}${shuffle(roll, all).join('\r\n')}\r\n\r\n${body}`;
  return roll.chance(0.2) ? mutate(roll, text) : text;
}

export function requestCase(roll: Dice): string {
  let text = '';
  for (let i = 1 + roll.below(3); i > 0; i -= 1) text += request(roll);
  return text;
}

const STATUS_LINES = [
  'HTTP/1.1 200 OK',
  'HTTP/1.1 200 OK',
  'HTTP/1.1 404 Not Found',
  'HTTP/1.1 200 ',
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 x',
  'HTTP/1.0 200 OK',
  'HTTP/1.1 500 caf\u00e9',
  'HTTP/1.1 200',
];
const ODD_STATUS_LINES = [
  'HTTP/1.1  200 OK',
  'HTTP/2.0 200 OK',
  'HTTP/1.1 20 OK',
  'HTTP/1.1 2000 OK',
  'HTTP/1.1 099 x',
  'HTTP/1.1 600 x',
  'http/1.1 200 OK',
  'HTTP/1.1\t200 OK',
  'HTTP/1.1 200 O\u0000K',
  '200 OK',
  'HTTP/1.1 200 a\rb',
  'HTTP/1.1 101 Switching Protocols',
  'ICY 200 OK',
];

export function answerCase(roll: Dice): string {
  const line = roll.chance(0.93) ? roll.one(STATUS_LINES) : roll.one(ODD_STATUS_LINES);
  const { lines, body } = framing(roll);
  const all = shuffle(roll, [...lines, ...otherLines(roll)]);
  const interim = roll.chance(0.05)
    ? roll.one([
        'HTTP/1.1 100 Continue\r\n\r\n',
        'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n',
        'HTTP/1.1 100 x\r\nContent-Length: 3\r\n\r\nabc',
      ])
    : '';
  const fields = all.length > 0 ? `${all.join('\r\n')}\r\n` : '';
  const text = `${interim}${line}\r\n${fields}\r\n${body}`;
  return roll.chance(0.2) ? mutate(roll, text) : text;
}
