// What has smuggling been made of? Our own cases, one line each: a name, the bytes, and what we
// say. `ok`: accepted, and then llhttp must frame it the same. Otherwise the code of the refusal.
import type { RefusalCode } from '../../../src/gateway/http/refusal.ts';

export interface Case {
  readonly name: string;
  readonly text: string;
  readonly want: 'ok' | RefusalCode;
}

const cases: Case[] = [];

function add(want: Case['want'], list: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(list)) cases.push({ name, text, want });
}

/** A request with these lines, and a body. */
const post = (lines: string, body = ''): string =>
  `POST /in HTTP/1.1\r\nHost: h\r\n${lines === '' ? '' : `${lines}\r\n`}\r\n${body}`;
const get = (lines: string): string => `GET / HTTP/1.1\r\nHost: h\r\n${lines}\r\n\r\n`;
const line = (text: string): string => `${text}\r\nHost: h\r\n\r\n`;
const chunks = (body: string): string => post('Transfer-Encoding: chunked', body);
const evil = 'GET /evil HTTP/1.1\r\nHost: h\r\n\r\n';

add('ok', {
  'a plain get': get('A: b'),
  'no fields but Host': line('GET / HTTP/1.1'),
  'a length of zero': post('Content-Length: 0'),
  'a length and its body': post('Content-Length: 5', 'hello'),
  'a body that looks like a request': post(`Content-Length: ${evil.length}`, evil),
  'two requests in one read': get('A: b') + evil,
  'a length without a space': post('Content-Length:3', 'abc'),
  'a length with a space behind': post('Content-Length: 3 ', 'abc'),
  'one chunk': chunks('5\r\nhello\r\n0\r\n\r\n'),
  'chunk sizes in both cases': chunks(`a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n`),
  'a chunk size with leading zeros': chunks('005\r\nhello\r\n0\r\n\r\n'),
  'a last chunk of many zeros': chunks('0000\r\n\r\n'),
  'a chunk extension': chunks('5;a=b\r\nhello\r\n0\r\n\r\n'),
  'a chunk extension without value': chunks('5;a\r\nhello\r\n0\r\n\r\n'),
  'a chunk extension in quotes': chunks('5;a="b;c"\r\nhello\r\n0\r\n\r\n'),
  'an extension on the last chunk': chunks('5\r\nhello\r\n0;x=y\r\n\r\n'),
  trailers: chunks('5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'),
  'a trailer that names a length': chunks('5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n'),
  'chunk data with line ends': chunks('4\r\n\r\n\r\n\r\n0\r\n\r\n'),
  'chunk data like a last chunk': chunks('5\r\n0\r\n\r\n\r\n0\r\n\r\n'),
  'chunked, then a request': chunks('0\r\n\r\n') + evil,
  'the coding in capitals': post('TRANSFER-ENCODING: CHUNKED', '0\r\n\r\n'),
  'an empty line before the request': `\r\n${get('A: b')}`,
  'an empty value': get('A:'),
  'a value of spaces': get('A:    '),
  'a value with a tab': get('A: b\tc'),
  'a value beyond ASCII': get('A: caf\u00e9'),
  'every mark of a token in a name': get("!#$%&'*+-.^_`|~0aZ: x"),
  'a query with brackets and braces': line('GET /a?b[]={c}|d HTTP/1.1'),
  'absolute form of the same host': 'GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n',
  'absolute form with the default port': 'GET http://h:80/x HTTP/1.1\r\nHost: h\r\n\r\n',
  'absolute form in capitals': 'GET HTTP://H/x HTTP/1.1\r\nHost: h\r\n\r\n',
  'absolute form without a path': 'GET http://h HTTP/1.1\r\nHost: h\r\n\r\n',
  'the asterisk of OPTIONS': line('OPTIONS * HTTP/1.1'),
  'an IPv6 host': 'GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n',
  'a host with a port': 'GET / HTTP/1.1\r\nHost: example.org:443\r\n\r\n',
  'HTTP/1.0 with a host': 'GET / HTTP/1.0\r\nHost: h\r\n\r\n',
  'keep-alive': get('Connection: keep-alive'),
  close: get('Connection: close'),
  'Connection naming a field': get('Connection: X-Gone\r\nX-Gone: 1'),
  'Connection with empty parts': get('Connection: , close,,'),
  Expect: post('Content-Length: 2\r\nExpect: 100-continue', 'ab'),
  'a get with a body': 'GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc',
  'a HEAD with a length': 'HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc',
  'TE and Trailer': get('TE: trailers\r\nConnection: TE\r\nTrailer: x'),
  'a target with percent': line('GET /%2e%2e/%00 HTTP/1.1'),
  'an unknown field of one letter': get('x: y'),
});

add('length-and-coding', {
  'length, then coding': post('Content-Length: 6\r\nTransfer-Encoding: chunked', `0\r\n\r\nG`),
  'coding, then length': post('Transfer-Encoding: chunked\r\nContent-Length: 6', `0\r\n\r\nG`),
  'a length of zero and a coding': post(
    'Content-Length: 0\r\nTransfer-Encoding: chunked',
    '0\r\n\r\n',
  ),
  'both, in odd capitals': post('cONTENT-lENGTH: 3\r\ntRANSFER-eNCODING: cHUNKED', '0\r\n\r\n'),
});

add('content-length-repeated', {
  'two lengths': post('Content-Length: 5\r\nContent-Length: 6', 'hello!'),
  'the same length twice': post('Content-Length: 5\r\nContent-Length: 5', 'hello'),
  'zero and another length': post(`Content-Length: 0\r\nContent-Length: ${evil.length}`, evil),
  'lengths apart': post('Content-Length: 5\r\nA: b\r\ncontent-length: 4', 'hello'),
});

add('bad-content-length', {
  'a folded length': post('Content-Length:\r\n 5', 'hello'),
  'a list of lengths': post('Content-Length: 5, 5', 'hello'),
  'a list of two lengths': post('Content-Length: 5, 6', 'hello!'),
  'a plus sign': post('Content-Length: +5', 'hello'),
  'a minus sign': post('Content-Length: -5', 'hello'),
  'a hex length': post('Content-Length: 0x5', 'hello'),
  'a leading zero': post('Content-Length: 05', 'hello'),
  'an octal look': post('Content-Length: 010', 'helloworld'),
  'a fraction': post('Content-Length: 5.0', 'hello'),
  'an exponent': post('Content-Length: 5e0', 'hello'),
  'an empty length': post('Content-Length:', 'hello'),
  'a length in quotes': post('Content-Length: "5"', 'hello'),
  'two numbers': post('Content-Length: 5 5', 'hello'),
  'a length past all limits': post('Content-Length: 18446744073709551621', 'hello'),
  'a length of 16 digits': post('Content-Length: 1000000000000000', 'hello'),
  'a tab before the length': post('Content-Length:\t5', 'hello'),
  'a tab after the length': post('Content-Length: 5\t', 'hello'),
  'a semicolon': post('Content-Length: 5;', 'hello'),
  'an underscore in the number': post('Content-Length: 1_0', 'helloworld'),
  'a letter behind': post('Content-Length: 5a', 'hello'),
  'digits beyond ASCII': post('Content-Length: \u00b2', 'he'),
});

add('bad-coding', {
  'a folded coding': post('Transfer-Encoding:\r\n chunked', '0\r\n\r\n'),
  'chunked twice in one field': post('Transfer-Encoding: chunked, chunked', '0\r\n\r\n'),
  'chunked in two fields': post(
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
    '0\r\n\r\n',
  ),
  'chunked not last': post('Transfer-Encoding: chunked, gzip', '0\r\n\r\n'),
  'chunked, then identity in another field': post(
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
    '0\r\n\r\n',
  ),
  'a tab before chunked': post('Transfer-Encoding:\tchunked', '0\r\n\r\n'),
  'a tab after chunked': post('Transfer-Encoding: chunked\t', '0\r\n\r\n'),
  'chunked in quotes': post('Transfer-Encoding: "chunked"', '0\r\n\r\n'),
  'an empty coding': post('Transfer-Encoding:', '0\r\n\r\n'),
  'a comma before chunked': post('Transfer-Encoding: , chunked', '0\r\n\r\n'),
  'a comma after chunked': post('Transfer-Encoding: chunked,', '0\r\n\r\n'),
  'a parameter on chunked': post('Transfer-Encoding: chunked;q=0.5', '0\r\n\r\n'),
  'a no-break space behind chunked': post('Transfer-Encoding: chunked\u00a0', '0\r\n\r\n'),
  'a colon before chunked': post('Transfer-Encoding: :chunked', '0\r\n\r\n'),
});

add('coding-unknown', {
  'gzip, chunked': post('Transfer-Encoding: gzip, chunked', '0\r\n\r\n'),
  identity: post('Transfer-Encoding: identity', ''),
  'chunked with an x': post('Transfer-Encoding: xchunked', '0\r\n\r\n'),
  'chunked cut short': post('Transfer-Encoding: chunke', '0\r\n\r\n'),
  'gzip alone': post('Transfer-Encoding: gzip', 'x'),
  'a coding before chunked in its own field': post(
    'Transfer-Encoding: x\r\nTransfer-Encoding: chunked',
    '0\r\n\r\n',
  ),
});

add('coding-in-http10', {
  'chunked in HTTP/1.0':
    'POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
});

add('look-alike-field', {
  'a length with an underscore': post('Content_Length: 5', 'hello'),
  'a coding with an underscore': post('Transfer_Encoding: chunked', '0\r\n\r\n'),
  'the same in capitals': post('TRANSFER_ENCODING: chunked', '0\r\n\r\n'),
});

add('space-before-colon', {
  'a second request line': 'GET / HTTP/1.1\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n',
  'a space before the colon': get('A : b'),
  'a tab before the colon': get('A\t: b'),
  'a space before the colon of a length': post('Content-Length : 5', 'hello'),
  'a space before the colon of a coding': post('Transfer-Encoding : chunked', '0\r\n\r\n'),
  'a space inside a name': get('A B: c'),
});

add('obs-fold', {
  'a folded value': get('A: b\r\n c'),
  'a value folded with a tab': get('A: b\r\n\tc'),
  'a fold as the first line': 'GET / HTTP/1.1\r\n Host: h\r\n\r\n',
  'a line of one space': get('A: b\r\n '),
});

add('bare-lf', {
  'a head with LF only': 'GET / HTTP/1.1\nHost: h\n\n',
  'a field that ends with LF': 'GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n',
  'a hidden field after LF': get('A: b\nTransfer-Encoding: chunked'),
  'a chunk size that ends with LF': chunks('5\nhello\r\n0\r\n\r\n'),
  'an extension that ends with LF': chunks('5;a\nhello\r\n0\r\n\r\n'),
  'an LF in a trailer': chunks('0\r\nA: b\nC: d\r\n\r\n'),
  'an LF after the method': 'GET\n/ HTTP/1.1\r\nHost: h\r\n\r\n',
  'LF, LF': 'GET / HTTP/1.1\r\nHost: h\r\nA: b\n\nGET /evil HTTP/1.1\r\n\r\n',
});

add('bare-cr', {
  'a CR in a value': get('A: b\rc'),
  'a CR instead of a line end': 'GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n',
  'two CR and an LF': 'GET / HTTP/1.1\r\nHost: h\r\r\nA: b\r\n\r\n',
  'a CR where the head ends': 'GET / HTTP/1.1\r\nHost: h\r\n\rX',
  'a CR after a chunk size': chunks('5\rXhello\r\n0\r\n\r\n'),
  'a CR where the body ends': chunks('0\r\n\rX'),
  'a hidden field after CR': get('A: b\rTransfer-Encoding: chunked'),
  'a CR before the request': '\rGET / HTTP/1.1\r\nHost: h\r\n\r\n',
});

add('nul', {
  'a NUL in a value': get('A: b\u0000c'),
  'a NUL in a name': get('A\u0000: b'),
  'a NUL after chunked': post('Transfer-Encoding: chunked\u0000', '0\r\n\r\n'),
});

add('control-char', {
  'a vertical tab after chunked': post('Transfer-Encoding: chunked\u000b', '0\r\n\r\n'),
  'a form feed in a value': get('A: b\u000c'),
  'an escape in a value': get('A: \u001b[31m'),
  'a DEL in a value': get('A: b\u007f'),
  'a backspace in a value': get('A: b\u0008'),
});

add('bad-field-name', {
  'a line without a colon': get('A: b\r\nNoColon'),
  'an empty name': get(': b'),
  'a name beyond ASCII': get('\u00e9: b'),
  'a no-break space before the colon': post('Content-Length\u00a0: 5', 'hello'),
  'quotes around a name': get('"A": b'),
  'brackets in a name': get('A[0]: b'),
  'a slash in a name': get('A/B: c'),
  'a comma in a name': get('A,B: c'),
  'a vertical tab before the colon': post('Transfer-Encoding\u000b: chunked', '0\r\n\r\n'),
});

add('bad-chunk-size', {
  'a chunk size with a sign': chunks('+5\r\nhello\r\n0\r\n\r\n'),
  'a negative chunk size': chunks('-5\r\nhello\r\n0\r\n\r\n'),
  'a chunk size with 0x': chunks('0x5\r\nhello\r\n0\r\n\r\n'),
  'a space before a chunk size': chunks(' 5\r\nhello\r\n0\r\n\r\n'),
  'a space after a chunk size': chunks('5 \r\nhello\r\n0\r\n\r\n'),
  'a tab before an extension': chunks('5\t;a\r\nhello\r\n0\r\n\r\n'),
  'an empty chunk size': chunks('\r\nhello\r\n0\r\n\r\n'),
  'a chunk size in letters': chunks('zz\r\nhello\r\n0\r\n\r\n'),
  'a chunk size past 32 bits': chunks('100000005\r\nhello\r\n0\r\n\r\n'),
  'a chunk size past 64 bits': chunks('10000000000000005\r\nhello\r\n0\r\n\r\n'),
  'an underscore in a chunk size': chunks('1_0\r\nhello\r\n0\r\n\r\n'),
  'a chunk size in quotes': chunks('"5"\r\nhello\r\n0\r\n\r\n'),
  'an extension without a size': chunks(';a=b\r\nhello\r\n0\r\n\r\n'),
});

add('bad-chunk-end', {
  'a chunk longer than its size': chunks('5\r\nhello!\r\n0\r\n\r\n'),
  'a chunk that ends with LF': chunks('5\r\nhello\n0\r\n\r\n'),
  'a chunk that ends with CR': chunks('5\r\nhello\r0\r\n\r\n'),
  'chunks without line ends between': chunks('5\r\nhello0\r\n\r\n'),
});

add('bad-chunk-extension', {
  'a space in an extension': chunks('5; a=b\r\nhello\r\n0\r\n\r\n'),
  'a NUL in an extension': chunks('5;a\u0000\r\nhello\r\n0\r\n\r\n'),
  'a byte beyond ASCII in an extension': chunks('5;\u00e9\r\nhello\r\n0\r\n\r\n'),
});

add('chunk-extension-too-large', {
  'an endless extension': chunks(`5;${'a'.repeat(5_000)}`),
  'many extensions': chunks(`${`1;${'a'.repeat(99)}\r\nx\r\n`.repeat(50)}0\r\n\r\n`),
});

add('bad-trailer', {
  'a trailer without a colon': chunks('0\r\nbad\r\n\r\n'),
  'a folded trailer': chunks('0\r\nA: b\r\n c\r\n\r\n'),
  'a space before the colon of a trailer': chunks('0\r\nA : b\r\n\r\n'),
  'a NUL in a trailer': chunks('0\r\nA: \u0000\r\n\r\n'),
  'a request as a trailer': chunks('0\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n'),
});

add('trailers-too-large', {
  'endless trailers': chunks(`0\r\n${`A: ${'b'.repeat(90)}\r\n`.repeat(100)}`),
});

add('host-missing', {
  'no host': 'GET / HTTP/1.1\r\nA: b\r\n\r\n',
  'no field at all': 'GET / HTTP/1.1\r\n\r\n',
  'no host in HTTP/1.0': 'GET / HTTP/1.0\r\n\r\n',
  'a host in the target only': 'GET http://h/ HTTP/1.1\r\nA: b\r\n\r\n',
});

add('host-repeated', {
  'two hosts': 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'the same host twice': 'GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n',
  'an empty second host': 'GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n',
});

add('bad-host', {
  'an empty host': 'GET / HTTP/1.1\r\nHost:\r\n\r\n',
  'a host with a space': 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n',
  'a list of hosts': 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n',
  'a host with a path': 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
  'a host with a user': 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n',
  'a port past all': 'GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n',
  'a port of letters': 'GET / HTTP/1.1\r\nHost: a:b\r\n\r\n',
  'an empty port': 'GET / HTTP/1.1\r\nHost: a:\r\n\r\n',
  'a bracket that stays open': 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n',
  'a host with a query': 'GET / HTTP/1.1\r\nHost: a?b\r\n\r\n',
  'a host beyond ASCII': 'GET / HTTP/1.1\r\nHost: \u00e9\r\n\r\n',
  'a host with percent': 'GET / HTTP/1.1\r\nHost: a%00b\r\n\r\n',
});

add('host-mismatch', {
  'absolute form of another host': 'GET http://evil/ HTTP/1.1\r\nHost: h\r\n\r\n',
  'absolute form of another port': 'GET http://h:81/ HTTP/1.1\r\nHost: h\r\n\r\n',
  'absolute form of a longer name': 'GET http://h.evil/ HTTP/1.1\r\nHost: h\r\n\r\n',
});

add('bad-target', {
  'a user in the absolute form': 'GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n',
  'another scheme': 'GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n',
  'no slash': line('GET a HTTP/1.1'),
  'an empty target': line('GET  HTTP/1.1'),
  'an asterisk for GET': line('GET * HTTP/1.1'),
  'a fragment': line('GET /#x HTTP/1.1'),
  'a tab in the target': line('GET /a\tb HTTP/1.1'),
  'a NUL in the target': line('GET /a\u0000b HTTP/1.1'),
  'a byte beyond ASCII in the target': line('GET /\u00e9 HTTP/1.1'),
  'quotes in the target': line('GET /"a" HTTP/1.1'),
  'a backslash in the path': line('GET /a\\b HTTP/1.1'),
  'an authority for GET': line('GET h:80 HTTP/1.1'),
  'angle brackets': line('GET /<a> HTTP/1.1'),
});

add('bad-version', {
  'no version': line('GET /'),
  'lower-case': line('GET / http/1.1'),
  'a space in the target': line('GET /a b HTTP/1.1'),
  'two digits': line('GET / HTTP/1.11'),
  'another protocol': line('GET / HTTPS/1.1'),
  'a space behind': line('GET / HTTP/1.1 '),
  'a comma': line('GET / HTTP/1,1'),
  'a tab for a space': line('GET /\u0020\tHTTP/1.1'),
});

add('version-unsupported', {
  'HTTP/2.0': line('GET / HTTP/2.0'),
  'HTTP/1.2': line('GET / HTTP/1.2'),
  'HTTP/0.9 spelled out': line('GET / HTTP/0.9'),
  'HTTP/3.0': line('GET / HTTP/3.0'),
  'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
});

add('bad-method', {
  'a method in brackets': line('(GET) / HTTP/1.1'),
  'a space before the method': line(' GET / HTTP/1.1'),
  'a colon in the method': line('GET: / HTTP/1.1'),
  'a NUL before the method': line('\u0000GET / HTTP/1.1'),
  'a TLS hello': '\u0016\u0003\u0001\u0002\u0000\u0001',
});

add('method-unknown', {
  'a method in small letters': line('get / HTTP/1.1'),
  'a method of mixed letters': line('Get / HTTP/1.1'),
  'a method with a digit': line('GET2 / HTTP/1.1'),
  'a long method': line(`${'A'.repeat(40)} / HTTP/1.1`),
});

add('method-unsupported', {
  CONNECT: 'CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n',
  TRACE: line('TRACE / HTTP/1.1'),
});

add('bad-connection', {
  'Connection naming the length': post('Connection: content-length\r\nContent-Length: 5', 'hello'),
  'Connection naming the coding': post(
    'Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked',
    '0\r\n\r\n',
  ),
  'Connection naming the host': get('Connection: host'),
  'Connection with a space inside': get('Connection: keep alive'),
  'Connection naming Expect': get('Connection: expect'),
});

add('expectation-unknown', {
  'another expectation': post('Content-Length: 1\r\nExpect: 200-ok', 'a'),
  'two expectations': post(
    'Content-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue',
    'a',
  ),
});

add('too-many-fields', { '101 fields': get('A: b\r\n'.repeat(100).trimEnd()) });
add('head-too-large', {
  'a value of 20 kB': get(`A: ${'b'.repeat(20_000)}`),
  'a name of 20 kB': get(`${'b'.repeat(20_000)}: a`),
  'many long fields': get(`A: ${'b'.repeat(900)}\r\n`.repeat(30).trimEnd()),
});
add('target-too-long', { 'a target of 9 kB': line(`GET /${'a'.repeat(9_000)} HTTP/1.1`) });

export const corpus: readonly Case[] = cases;
