// Is a head read right, refused right, and the same in any pieces? Pure.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Head, HeadShelf } from '../../../src/gateway/http/head.ts';
import { fieldName, nameSet, NO_NAMES } from '../../../src/gateway/http/names.ts';
import { DONE, MORE, parseRequest, parseResponse } from '../../../src/gateway/http/parse-head.ts';
import { refusalCodes, refusalOf } from '../../../src/gateway/http/refusal.ts';
import { answerText, requestText } from '../../../src/gateway/http/rewrite.ts';
import { ANSWER_HEAD, REQUEST_HEAD } from '../../../src/gateway/http/server.ts';
import { corpus } from './corpus.ts';
import { answerCase, dice, request } from './grammar.ts';
import { readRequests } from './reading.ts';

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');

function parsed(text: string): Head {
  const head = new Head(REQUEST_HEAD);
  assert.equal(parseRequest(head, bytesOf(text), text.length), DONE, head.fault);
  return head;
}

function answered(text: string): Head {
  const head = new Head(ANSWER_HEAD);
  assert.equal(parseResponse(head, bytesOf(text), text.length), DONE, head.fault);
  return head;
}

describe('the corpus', () => {
  test('has at least 150 cases with names of their own, and reaches its refusals', () => {
    assert.ok(corpus.length >= 150, String(corpus.length));
    assert.equal(new Set(corpus.map(({ name }) => name)).size, corpus.length);
    const unreached = new Set<string>(refusalCodes);
    for (const { want } of corpus) unreached.delete(want);
    const elsewhere = ['bad-status-line', 'body-too-large', 'head-timeout', 'body-timeout'];
    elsewhere.push('body-on-empty', 'too-many-interim', 'unasked-upgrade', 'early-end');
    assert.deepEqual([...unreached].sort(), elsewhere.sort());
  });

  for (const { name, text, want } of corpus) {
    test(`HP4 ME1 ME2 ME3 ${want}: ${name}`, () => {
      const { end } = readRequests(bytesOf(text));
      assert.equal(end === 'clean' || end === 'closed' ? 'ok' : end, want);
    });
  }
});

test('HP2 in pieces of any size a head gives the same answer', () => {
  const roll = dice(11);
  for (let n = 0; n < 3_000; n += 1) {
    const isAnswer = roll.chance(0.3);
    const text = isAnswer ? answerCase(roll) : request(roll);
    const bytes = bytesOf(text);
    const parse = isAnswer ? parseResponse : parseRequest;
    const limits = isAnswer ? ANSWER_HEAD : REQUEST_HEAD;
    const whole = new Head(limits);
    const wanted = parse(whole, bytes, bytes.length);
    const pieced = new Head(limits);
    let got: number = MORE;
    for (let end = 0; end < bytes.length && got === MORE;) {
      end = Math.min(bytes.length, end + 1 + roll.below(roll.chance(0.5) ? 3 : 60));
      // A fresh copy each time: nothing may be kept from the buffer before.
      got = parse(pieced, Buffer.from(bytes.subarray(0, end)), end);
    }
    assert.equal(got, wanted, JSON.stringify(text));
    if (got === DONE) assert.equal(pieced.end, whole.end);
    if (got === 2) assert.equal(pieced.fault, whole.fault, JSON.stringify(text));
  }
});

test('HP3 a fault is told at its byte, not at the end of the head', () => {
  const starts = ['G\n', 'GET /\u0000', 'GET / HTTP/1.1\n', 'GET / HTTP/1.1\r\nA b'];
  starts.push('GET / HTTP/1.1\r\nA: b\n', 'GET / HTTP/1.1\r\n A');
  for (const text of starts) {
    const head = new Head(REQUEST_HEAD);
    assert.equal(parseRequest(head, bytesOf(text), text.length), 2, JSON.stringify(text));
  }
});

test('HP3 an endless head is refused when its limit is passed', () => {
  const head = new Head(REQUEST_HEAD);
  const text = `GET / HTTP/1.1\r\nHost: h\r\nA: ${'b'.repeat(16_384)}`;
  assert.equal(parseRequest(head, bytesOf(text), text.length), 2);
  assert.equal(head.fault, 'head-too-large');
});

test('answers: what a replica may not say is refused', () => {
  const bad: Readonly<Record<string, string>> = {
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n': 'content-length-repeated',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n':
      'length-and-coding',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n': 'coding-unknown',
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n': 'coding-in-http10',
    'HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n': 'body-on-empty',
    'HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n': 'body-on-empty',
    'HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n': 'body-on-empty',
    'HTTP/2.0 200 OK\r\n\r\n': 'version-unsupported',
    'HTTP/1.1 600 OK\r\n\r\n': 'bad-status-line',
    'HTTP/1.1 20 OK \r\n\r\n': 'bad-status-line',
    'HTTP/1.1 200 O\u0000K\r\n\r\n': 'bad-status-line',
    'HTTP/1.1 200 OK\nA: b\r\n\r\n': 'bare-lf',
    'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n': 'obs-fold',
    'garbage from a database\r\n\r\n': 'bad-status-line',
    'HTTP/1.1 200 OK\r\nA: b\u0000\r\n\r\n': 'nul',
  };
  for (const [text, code] of Object.entries(bad)) {
    const head = new Head(ANSWER_HEAD);
    assert.equal(parseResponse(head, bytesOf(text), text.length), 2, text);
    assert.equal(head.fault, code, text);
    assert.ok(refusalOf(head.fault).reason.length > 0);
  }
});

test('NA1 names are found in any case, and sets match underscores as dashes', () => {
  const head = parsed(
    'GET / HTTP/1.1\r\nHOST: h\r\nX-Kintsugi-Tenant: a\r\nx_kintsugi_b: c\r\n\r\n',
  );
  assert.equal(head.value(fieldName('x-kintsugi-tenant')), 'a');
  assert.equal(head.value(fieldName('x-kintsugi-b')), undefined);
  assert.equal(head.value(fieldName('nobody')), undefined);
  const text = requestText(head, nameSet([], ['x-kintsugi-']), 'x-kintsugi-tenant: t\r\n');
  assert.equal(text, 'GET / HTTP/1.1\r\nHOST: h\r\nx-kintsugi-tenant: t\r\n\r\n');
});

test('HE1 a head that was reset and used again knows nothing of the one before', () => {
  const shelf = new HeadShelf(REQUEST_HEAD);
  const first = shelf.take();
  const long =
    'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n' +
    'Expect: 100-continue\r\n\r\n';
  parseRequest(first, bytesOf(long), long.length);
  shelf.give(first);
  const again = shelf.take();
  assert.equal(again, first);
  const short = 'GET / HTTP/1.1\r\nHost: i\r\n\r\n';
  assert.equal(parseRequest(again, bytesOf(short), short.length), DONE);
  assert.deepEqual(
    [again.contentLength, again.close, again.expectsContinue, again.count, again.host],
    [-1, false, false, 1, 'i'],
  );
});

test('RW1 hop-by-hop fields, named fields and dropped fields do not pass', () => {
  const head = parsed(
    'GET /p HTTP/1.1\r\nConnection: keep-alive, X-One\r\nHost: h\r\nX-One: 1\r\nKeep-Alive: 5\r\n' +
      'A: b\r\nTE: trailers\r\nProxy-Authorization: x\r\nAuthorization: y\r\n' +
      'Upgrade: h2c\r\nC: d\r\n\r\n',
  );
  const text = requestText(head, nameSet(['authorization']), 'E: f\r\n');
  assert.equal(text, 'GET /p HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\nE: f\r\n\r\n');
});

test('RW2 chunked is spelled plainly, and a 204 carries no length', () => {
  const head = parsed('POST / HTTP/1.1\r\nHost: h\r\nTransfer-ENCODING:   CHUNKED\r\n\r\n');
  assert.match(requestText(head, NO_NAMES, ''), /\r\ntransfer-encoding: chunked\r\n\r\n$/u);
  const empty = answered('HTTP/1.1 204 x\r\nA: b\r\nContent-Length: 0\r\n\r\n');
  assert.equal(answerText(empty, NO_NAMES, ''), 'HTTP/1.1 204 x\r\nA: b\r\n\r\n');
});

test('RW3 absolute form and HTTP/1.0 go on as HTTP/1.1 in origin form', () => {
  const lineOf = (text: string): string | undefined =>
    requestText(parsed(text), NO_NAMES, '').split('\r\n')[0];
  assert.equal(lineOf('GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n'), 'GET /a?b HTTP/1.1');
  assert.equal(lineOf('GET http://h HTTP/1.1\r\nHost: h\r\n\r\n'), 'GET / HTTP/1.1');
  assert.equal(lineOf('GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n'), 'GET /?q HTTP/1.1');
  assert.equal(lineOf('OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n'), 'OPTIONS * HTTP/1.1');
  assert.equal(lineOf('GET /x HTTP/1.0\r\nHost: h\r\n\r\n'), 'GET /x HTTP/1.1');
  assert.equal(lineOf('\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n'), 'GET /x HTTP/1.1');
  const answer = answered('HTTP/1.0 200 Fine\r\nA: b\r\n\r\n');
  assert.equal(answerText(answer, NO_NAMES, ''), 'HTTP/1.1 200 Fine\r\nA: b\r\n\r\n');
});
