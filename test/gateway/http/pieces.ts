// Does it matter in which pieces bytes come? One head and its body read at once and in two pieces:
// the answer must be the same in every part.
import { wordsFor } from './reading.ts';
import { BodyFrame, frameRequest } from '../../../src/gateway/http/body.ts';
import { Head, SLOT } from '../../../src/gateway/http/head.ts';
import { NO_NAMES } from '../../../src/gateway/http/names.ts';
import { DONE, MORE, parseRequest, REFUSED } from '../../../src/gateway/http/parse-head.ts';
import { REQUEST_HEAD } from '../../../src/gateway/http/server.ts';

const whole = new Head(REQUEST_HEAD);
const pieced = new Head(REQUEST_HEAD);

function headFacts(head: Head, step: number): string {
  if (step === REFUSED) return `refused ${head.fault}`;
  if (step === MORE) return 'partial';
  const offsets = head.at.subarray(0, head.count * SLOT).join();
  const { end, version, contentLength, chunked, persistent, expectsContinue } = head;
  const facts = [
    end,
    version,
    contentLength,
    chunked,
    persistent,
    expectsContinue,
    head.asksUpgrade,
  ];
  return `${head.method} ${head.path} ${head.host} ${facts.join()} ${offsets}`;
}

/** Feeds up to each of the ends in turn. */
function bodyFacts(head: Head, bytes: Buffer, ends: readonly number[]): string {
  const frame = new BodyFrame();
  frameRequest(frame, head, NO_NAMES);
  let text = '';
  let at = head.end;
  for (const end of ends) {
    if (end <= at || frame.done || frame.fault !== undefined) continue;
    at = frame.feed(bytes, at, end, {
      onSpan: (buf, from, to) => (text += buf.toString('latin1', from, to)),
    });
  }
  if (frame.fault !== undefined) return `fault ${frame.fault}`;
  return `${at} ${frame.done} ${frame.dataBytes} ${text}`;
}

/** Undefined: the same. */
export function differsInPieces(bytes: Buffer, cut: number): string | undefined {
  whole.reset();
  pieced.reset();
  const step = parseRequest(whole, bytes, bytes.length, wordsFor(bytes));
  let steps = parseRequest(pieced, bytes, cut);
  if (steps === MORE) steps = parseRequest(pieced, bytes, bytes.length);
  let one = headFacts(whole, step);
  let two = headFacts(pieced, steps);
  if (one === two && step === DONE) {
    one = bodyFacts(whole, bytes, [bytes.length]);
    two = bodyFacts(pieced, bytes, [cut, bytes.length]);
  }
  if (one === two) return undefined;
  return JSON.stringify({ text: bytes.toString('latin1'), cut, one, two });
}
