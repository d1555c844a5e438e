// Does a body end where it must, and does what goes on frame the same data? Pure.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BODY, BodyFrame, frameResponse } from '../../../src/gateway/http/body.ts';
import { Head } from '../../../src/gateway/http/head.ts';
import { DONE, parseResponse } from '../../../src/gateway/http/parse-head.ts';
import { nameSet, NO_NAMES } from '../../../src/gateway/http/names.ts';
import { ANSWER_HEAD } from '../../../src/gateway/http/server.ts';
import { dice, mutate } from './grammar.ts';

interface Fed {
  readonly out: string;
  readonly done: boolean;
  readonly fault: string | undefined;
  readonly rest: number;
  readonly dataBytes: number;
}

/** Feeds chunked text in pieces of these sizes. */
function feed(text: string, strip: boolean, size: () => number, drop = NO_NAMES): Fed {
  const frame = new BodyFrame();
  frame.start(BODY.chunked, 0, strip, drop);
  const bytes = Buffer.from(text, 'latin1');
  let out = '';
  let at = 0;
  while (at < bytes.length && !frame.done && frame.fault === undefined) {
    // Each piece in a buffer of its own, overwritten afterwards.
    const piece = Buffer.from(bytes.subarray(at, at + size()));
    const next = frame.feed(piece, 0, piece.length, {
      onSpan: (buf, from, to) => {
        out += buf.toString('latin1', from, to);
      },
    });
    at += next;
    piece.fill(0);
  }
  const { done, fault, dataBytes } = frame;
  return { out, done, fault, rest: bytes.length - at, dataBytes };
}

const whole = (): number => 1e9;

test('BF1 only answers that may have a body have one', () => {
  const framed = (text: string, toHead = false): number => {
    const head = new Head(ANSWER_HEAD);
    assert.equal(parseResponse(head, Buffer.from(text), text.length), DONE, head.fault);
    const frame = new BodyFrame();
    frameResponse(frame, head, toHead, false);
    return frame.kind;
  };
  const length = 'Content-Length: 5\r\n\r\n';
  assert.equal(framed(`HTTP/1.1 200 OK\r\n${length}`), BODY.sized);
  assert.equal(framed(`HTTP/1.1 200 OK\r\n${length}`, true), BODY.none);
  assert.equal(framed(`HTTP/1.1 304 x\r\n${length}`), BODY.none);
  assert.equal(framed('HTTP/1.1 204 x\r\n\r\n'), BODY.none);
  assert.equal(framed('HTTP/1.1 200 OK\r\n\r\n'), BODY.untilClose);
  assert.equal(framed('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'), BODY.chunked);
  assert.equal(framed('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', true), BODY.none);
});

test('BF1 a sized body ends at its length, and what follows is left', () => {
  const frame = new BodyFrame();
  frame.start(BODY.sized, 5);
  const bytes = Buffer.from('helloGET');
  const spans: string[] = [];
  const next = frame.feed(bytes, 0, 8, {
    onSpan: (b, f, t) => spans.push(b.toString('latin1', f, t)),
  });
  assert.deepEqual([next, frame.done, spans], [5, true, ['hello']]);
});

test('BF2 chunks pass as they came, without extensions and unwanted trailers', () => {
  const plain = '5\r\nhello\r\n0\r\n\r\n';
  assert.equal(feed(plain, false, whole).out, plain);
  const extended = '5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n';
  assert.equal(feed(extended, false, whole).out, plain);
  assert.equal(feed(extended, true, whole).out, 'hello');
  const trailers =
    '0\r\nX-A: 1\r\nContent-Length: 5\r\nHost: x\r\nAuthorization: y\r\nX-Drop: z\r\n\r\n';
  const { out } = feed(trailers, false, whole, nameSet(['x-drop']));
  assert.equal(out, '0\r\nX-A: 1\r\n\r\n');
  assert.equal(feed('0\r\nSet-Cookie: a\r\n\r\n', false, whole).out, '0\r\n\r\n');
});

test('BF2 what passes of random chunks frames the same data', () => {
  const roll = dice(5);
  for (let n = 0; n < 2_000; n += 1) {
    let text = '';
    for (let i = roll.below(4); i > 0; i -= 1) {
      const size = 1 + roll.below(40);
      text += `${size.toString(16)}${roll.one(['', ';a', ';a="b"'])}\r\n${'x'.repeat(size)}\r\n`;
    }
    text += `0\r\n${roll.one(['', 'A: b\r\n', 'Host: c\r\n'])}\r\n`;
    if (roll.chance(0.5)) text = mutate(roll, text);
    const data = feed(text, true, whole);
    const passed = feed(text, false, whole);
    assert.deepEqual([passed.done, passed.fault, passed.rest], [data.done, data.fault, data.rest]);
    if (!data.done) continue;
    const again = feed(passed.out, true, whole);
    assert.deepEqual([again.out, again.done, again.rest], [data.out, true, 0], text);
  }
});

test('BF3 sizes, extensions and trailers have limits', () => {
  assert.equal(feed('fffffffff\r\n', false, whole).fault, 'bad-chunk-size');
  assert.equal(feed(`1;${'a'.repeat(5_000)}`, false, whole).fault, 'chunk-extension-too-large');
  assert.equal(feed(`0\r\nA: ${'b'.repeat(9_000)}`, false, whole).fault, 'trailers-too-large');
  assert.equal(feed('1\nx\r\n', false, whole).fault, 'bare-lf');
});

test('BF4 in pieces of any size chunks give the same', () => {
  const roll = dice(9);
  const texts = [
    '5\r\nhello\r\n0\r\n\r\nGET',
    'a;ext="v"\r\n0123456789\r\n3;q\r\nabc\r\n0;z\r\nA: b\r\nHost: no\r\n\r\nrest',
    '00003\r\n\r\n\r\r\n0\r\n\r\n',
    '3\r\nabcX\r\n',
    '0\r\nbad trailer\r\n\r\n',
  ];
  for (let n = 0; n < 1_500; n += 1) {
    const base = roll.one(texts);
    const text = roll.chance(0.4) ? mutate(roll, base) : base;
    for (const strip of [true, false]) {
      const wanted = feed(text, strip, whole);
      const got = feed(text, strip, () => 1 + roll.below(4));
      if (wanted.fault === undefined) assert.deepEqual(got, wanted, JSON.stringify(text));
      else assert.equal(got.fault, wanted.fault, JSON.stringify(text));
    }
  }
});
