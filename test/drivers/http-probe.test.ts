// The little HTTP reader of the probes, without sockets: whatever pieces an answer comes in, it is
// read the same. Covers src/drivers/probes/http-probe.ts.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProbeAnswer } from '../../src/drivers/probes/http-probe.ts';
import type { Reading } from '../../src/drivers/probes/http-probe.ts';

function read(text: string, cuts: readonly number[] = []): Reading {
  const bytes = Buffer.from(text);
  const answer = new ProbeAnswer();
  const ends = [...new Set(cuts.map((cut) => cut % bytes.length))].filter((cut) => cut > 0);
  let from = 0;
  for (const end of [...ends.toSorted((a, b) => a - b), bytes.length]) {
    const reading = answer.take(bytes.subarray(from, end));
    if (reading.kind !== 'more') return reading;
    from = end;
  }
  return answer.ended();
}

const WHOLE: readonly (readonly [string, string])[] = [
  ['a length', 'HTTP/1.1 503 Busy\r\ncontent-length: 7\r\n\r\n{"a":1}'],
  [
    'chunks',
    'HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
  ],
  ['until closed', 'HTTP/1.0 503 x\r\n\r\n{"a":1}'],
  [
    'an interim answer first',
    'HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 503 x\r\nContent-Length:7\r\n\r\n{"a":1}',
  ],
];

describe('the answer to a probe', () => {
  test('HP1: is the same in any pieces: by length, chunks, until closed, after an interim', () => {
    for (const [name, text] of WHOLE) {
      fc.assert(
        fc.property(fc.array(fc.nat(), { maxLength: 6 }), (cuts) => {
          assert.deepEqual(
            read(text, cuts),
            { kind: 'answer', status: 503, body: '{"a":1}' },
            name,
          );
        }),
        { numRuns: 200 },
      );
    }
  });

  test('HP1: an answer without a body is there with its head', () => {
    const answer = new ProbeAnswer();
    const reading = answer.take(Buffer.from('HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n'));
    assert.deepEqual(reading, { kind: 'answer', status: 204, body: '' });
  });

  test('HP1: a body that ends before its length says so is no answer', () => {
    const reading = read('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"a":1}');
    assert.deepEqual(reading, { kind: 'garbage', reason: 'the body is cut off' });
  });

  test('HP2: what is not HTTP is told from nothing at all', () => {
    assert.equal(read('SSH-2.0-x\r\n').kind, 'garbage');
    assert.equal(read('HTTP/1.1 ok\r\n\r\n').kind, 'garbage');
    assert.equal(read('HTTP/2').kind, 'garbage');
    assert.equal(read(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(40_000)}`).kind, 'garbage');
    assert.equal(new ProbeAnswer().ended().kind, 'cut');
  });
});
