// Is a head of HTTP/2 judged as strictly as one of HTTP/1.1, and can nothing in it become a line?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Head } from '../../../src/gateway/http/head.ts';
import { DONE, parseRequest } from '../../../src/gateway/http/parse-head.ts';
import { REQUEST_HEAD } from '../../../src/gateway/http/server.ts';
import { hostOf, requestHead, trailerLines } from '../../../src/gateway/h2/request-head.ts';
import { AnswerReader } from '../../../src/gateway/h2/answer.ts';
import type { AnswerTaker } from '../../../src/gateway/h2/answer.ts';

const PSEUDO = [':method', 'GET', ':scheme', 'https', ':path', '/a?b', ':authority', 'h:8443'];

function textOf(raw: readonly string[], ends = true): string {
  const read = requestHead(raw, ends);
  return read.kind === 'head' ? read.text : `refused ${read.code}`;
}

test('HH4. a head becomes one of HTTP/1.1, with the framing of its stream', () => {
  const more = ['x-a', '1', 'te', 'trailers', 'cookie', 'a=1', 'x-b', '', 'cookie', 'b=2'];
  assert.equal(
    textOf([...PSEUDO, ...more]),
    'GET /a?b HTTP/1.1\r\nhost: h:8443\r\nx-a: 1\r\nx-b: \r\ncookie: a=1; b=2\r\n\r\n',
  );
  const post = [':method', 'POST', ...PSEUDO.slice(2)];
  assert.match(textOf(post, true), /\r\ncontent-length: 0\r\n\r\n$/u);
  assert.match(textOf(post, false), /\r\ntransfer-encoding: chunked\r\n\r\n$/u);
  const sized = textOf([...post, 'content-length', '5'], false);
  assert.match(sized, /content-length: 5/u);
  assert.doesNotMatch(sized, /chunked/u);
  assert.doesNotMatch(textOf(PSEUDO, true), /content-length/u);
});

test('HH1. no byte of a name, value or target can end a line', () => {
  for (const evil of ['\r\nx: y', 'a\nb', 'a\rb', 'a\0b', 'a\x7fb', '\u010a', ' a', 'a ', '\ta']) {
    assert.match(textOf([...PSEUDO, 'x-a', evil]), /^refused/u, JSON.stringify(evil));
    assert.match(textOf([...PSEUDO, `x${evil}`, 'v']), /^refused/u, JSON.stringify(evil));
    const pseudo = (name: string): string[] =>
      PSEUDO.map((text, i) => (PSEUDO[i - 1] === name ? `${text}${evil}` : text));
    for (const name of [':method', ':path', ':scheme']) {
      assert.match(textOf(pseudo(name)), /^refused/u, `${name} ${JSON.stringify(evil)}`);
    }
  }
  assert.match(textOf([':method', 'GET', ':path', '/a HTTP/1.1', ':scheme', 'https']), /^refused/u);
});

test('HH2. one authority, which host repeats or replaces', () => {
  const without = PSEUDO.slice(0, 6);
  assert.match(textOf([...without, 'host', 'h']), /host: h\r\n/u);
  assert.match(textOf([...PSEUDO, 'host', 'H:8443']), /host: h:8443\r\n/u);
  assert.equal(textOf([...PSEUDO, 'host', 'other']), 'refused host-mismatch');
  assert.equal(textOf(without), 'refused host-missing');
  assert.equal(textOf([...without, ':authority', '']), 'refused host-missing');
  assert.equal(textOf([...without, 'host', 'h', 'host', 'h']), 'refused host-repeated');
  assert.equal(hostOf('A.example:8443'), 'a.example');
  assert.equal(hostOf('[::1]:1'), '[::1]');
  assert.equal(hostOf('[::1]'), '[::1]');
});

test('HH3. fields of a connection, look-alikes and stray pseudo-fields are refused', () => {
  const bad: readonly (readonly [string, string])[] = [
    ['connection', 'close'],
    ['transfer-encoding', 'chunked'],
    ['keep-alive', '1'],
    ['upgrade', 'websocket'],
    ['proxy-connection', 'close'],
    ['te', 'gzip'],
    ['content_length', '5'],
    ['transfer_encoding', 'chunked'],
    ['X-Upper', '1'],
    ['', 'v'],
    [':protocol', 'websocket'],
    [':status', '200'],
    [':path', '/twice'],
  ];
  for (const [name, value] of bad) {
    assert.match(textOf([...PSEUDO, name, value]), /^refused/u, name);
  }
  assert.match(textOf(['x-a', '1', ...PSEUDO]), /^refused/u, 'a field before the pseudo-fields');
  const change = (name: string, value: string): string[] =>
    PSEUDO.map((text, i) => (PSEUDO[i - 1] === name ? value : text));
  for (const path of ['', 'a', 'https://h/', '*x', '//\\', '/a#b']) {
    const read = textOf(change(':path', path));
    // What is left to the parser of HTTP/1.1 is refused there.
    const bytes = Buffer.from(read, 'latin1');
    const isOk = !read.startsWith('refused');
    assert.ok(!isOk || parseRequest(new Head(REQUEST_HEAD), bytes, bytes.length) !== DONE, path);
  }
  assert.match(textOf(change(':scheme', 'http')), /^refused/u);
  assert.match(textOf(change(':method', 'CONNECT')), /^refused method-unsupported/u);
});

test('trailers are lines of tokens and values, or none at all', () => {
  assert.equal(trailerLines(['x-sum', '1', 'x-b', '']), 'x-sum: 1\r\nx-b: \r\n');
  for (const [name, value] of [
    ['x-a', 'a\r\nb: c'],
    [':path', '/'],
    ['X-A', '1'],
    ['x a', '1'],
  ] as const) {
    assert.equal(trailerLines([name, value]), undefined);
  }
});

interface Read {
  status: number;
  fields: unknown;
  body: string;
  trailers: unknown;
  interim: number[];
  ends: boolean;
}

function readAnswer(text: string, cut: number, toHead = false): Read & { done: boolean } {
  const read: Read = { status: 0, fields: {}, body: '', trailers: {}, interim: [], ends: false };
  const taker: AnswerTaker = {
    toHead,
    onInterim: (status) => void read.interim.push(status),
    onHead(status, fields, ends) {
      Object.assign(read, { status, fields: { ...fields }, ends });
    },
    onData(bytes) {
      read.body += Buffer.from(bytes).toString('latin1');
      return true;
    },
    onTrailers: (fields) => void (read.trailers = { ...fields }),
  };
  const reader = new AnswerReader(taker);
  const bytes = Buffer.from(text, 'latin1');
  // Heads come whole.
  const bodyAt = text.indexOf('\r\n\r\n') + 4;
  reader.feed(bytes.subarray(0, bodyAt));
  for (let at = bodyAt; at < bytes.length; at += cut) reader.feed(bytes.subarray(at, at + cut));
  return { ...read, done: reader.done };
}

test('AN1. AN2. answers are read back in any pieces: sized, chunked with trailers, bare', () => {
  const chunked =
    'HTTP/1.1 200 OK\r\nX-A: 1\r\nset-cookie: a\r\nset-cookie: b\r\n' +
    'transfer-encoding: chunked\r\nconnection: close\r\n\r\n' +
    '5\r\nhello\r\n1\r\n!\r\n0\r\nx-sum: 6\r\n\r\nextra';
  for (const cut of [1, 2, 3, 7, 1_000]) {
    const { status, fields, body, trailers, done } = readAnswer(chunked, cut);
    assert.deepEqual([status, body, done], [200, 'hello!', true]);
    assert.deepEqual(fields, { 'x-a': '1', 'set-cookie': ['a', 'b'] });
    assert.deepEqual(trailers, { 'x-sum': '6' });
  }
  const sized = readAnswer('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello-and-more', 4);
  assert.deepEqual([sized.body, sized.done, sized.ends], ['hello', true, false]);
  const empty = readAnswer('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', 1);
  assert.deepEqual([empty.done, empty.ends], [true, true]);
  const head = readAnswer('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n', 1, true);
  assert.deepEqual([head.done, head.ends], [true, true]);
  const none = readAnswer('HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n', 1);
  assert.deepEqual([none.status, none.done, none.ends], [304, true, true]);
});
