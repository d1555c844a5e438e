// Exchanges for the tests of what is written down about them.
import { noFacts } from '../../../src/gateway/observe/facts.ts';
import type { ExchangeFacts } from '../../../src/gateway/observe/facts.ts';
import { Head } from '../../../src/gateway/http/head.ts';
import { DONE, parseRequest } from '../../../src/gateway/http/parse-head.ts';
import type { AccessLogRule } from '../../../src/model/routing.ts';

/** 2026-11-20T10:00:00.123Z. */
export const T0 = 1_795_168_800_123;
const LIMITS = { headBytes: 65_536, fields: 100, targetBytes: 16_384 };

/** Parsed by the gateway's own parser. */
export function headOf(target: string, fields = '', method = 'GET'): Head {
  const head = new Head(LIMITS);
  const text = `${method} ${target} HTTP/1.1\r\nhost: api.example\r\n${fields}\r\n`;
  const bytes = Buffer.from(text, 'latin1');
  const step = parseRequest(head, bytes, bytes.length);
  if (step !== DONE) throw new Error(`not a head: ${head.fault}`);
  return head;
}

export function factsOf(change: Partial<ExchangeFacts> = {}): ExchangeFacts {
  return {
    ...noFacts(),
    startMs: T0,
    tookMs: 12.5,
    upstreamMs: 12.25,
    head: headOf('/api/patients/4711/notes?page=2&token=s3cret'),
    status: 200,
    tenant: 'acme',
    subject: 'key:k1',
    service: 'records',
    route: '/api',
    replica: 'records-1',
    release: 'r1',
    attempts: 1,
    bytesIn: 3,
    bytesOut: 512,
    remoteAddress: '192.0.2.7',
    requestId: 'req-12345678',
    ...change,
  };
}

export function logRule(change: Partial<AccessLogRule> = {}): AccessLogRule {
  const limits = { maxBytes: 1_048_576, files: 3 };
  return { query: [], headers: [], mask: [], paths: 'folded', sample: 1, ...limits, ...change };
}

export function parsed(text: string): Readonly<Record<string, unknown>>[] {
  const lines = text.split('\n');
  if (lines.pop() !== '') throw new Error('the last line has no end');
  return lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}
