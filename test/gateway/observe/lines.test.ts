import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EcsLines, LINE_BYTES_MAX, lineRule } from '../../../src/gateway/observe/ecs-line.ts';
import type { ExchangeFacts } from '../../../src/gateway/observe/facts.ts';
import { JsonBytes } from '../../../src/gateway/observe/json-bytes.ts';
import { queryRule, writePath, writeQuery } from '../../../src/gateway/observe/redact.ts';
import { Head } from '../../../src/gateway/http/head.ts';
import type { AccessLogRule } from '../../../src/model/routing.ts';
import { traceFrom } from '../../../src/gateway/observe/trace.ts';
import { factsOf, headOf, logRule, parsed, T0 } from './samples.ts';

const anyText = fc.string({ unit: 'binary', maxLength: 80 });
const halves = fc
  .array(fc.integer({ min: 0xd7f0, max: 0xe00f }), { maxLength: 20 })
  .map((codes) => String.fromCharCode(...codes));

function written(write: (out: JsonBytes) => void): string {
  const out = new JsonBytes(Buffer.alloc(65_536));
  write(out);
  return out.buf.toString('utf8', 0, out.pos);
}

function lineOf(facts: ExchangeFacts, rule: AccessLogRule = logRule()): string {
  const lines = new EcsLines();
  lines.out = new JsonBytes(Buffer.alloc(LINE_BYTES_MAX));
  lines.add(facts, lineRule(rule));
  return lines.out.buf.toString('utf8', 0, lines.out.pos);
}

const fieldsOf = (facts: ExchangeFacts, rule?: AccessLogRule): Readonly<Record<string, unknown>> =>
  parsed(lineOf(facts, rule))[0] ?? {};

test('JB1: JSON.parse gives back every text, lone surrogates and control characters too', () => {
  fc.assert(
    fc.property(fc.oneof(anyText, halves), (text) => {
      const json = written((out) => {
        out.byte(34);
        out.text(text, 10_000);
        out.byte(34);
      });
      assert.equal(JSON.parse(json), text);
    }),
    { numRuns: 2_000 },
  );
});

test('JB1: what is no ASCII is found wherever it stands in a long text', () => {
  for (const odd of ['é', '☃', '😀', '\ud800', '"', '\n', '\u007f']) {
    for (let at = 0; at <= 20; at += 1) {
      const text = `${'x'.repeat(at)}${odd}${'y'.repeat(20 - at)}`;
      assert.equal(JSON.parse(`"${written((out) => out.text(text, 100))}"`), text);
    }
  }
});

test('JB1: JSON.parse gives back every byte as the character of its number', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const json = written((out) => {
        out.byte(34);
        out.bytes(bytes, 0, bytes.length, 10_000);
        out.byte(34);
      });
      assert.equal(JSON.parse(json), Buffer.from(bytes).toString('latin1'));
    }),
    { numRuns: 1_000 },
  );
});

test('JB2: a text is cut at its limit and takes six bytes a character at most', () => {
  fc.assert(
    fc.property(fc.oneof(anyText, halves), fc.integer({ min: 0, max: 30 }), (text, charsMax) => {
      const json = written((out) => out.text(text, charsMax));
      assert.equal(JSON.parse(`"${json}"`), text.slice(0, charsMax));
      assert.ok(Buffer.byteLength(json) <= 6 * charsMax);
    }),
  );
});

test('whole numbers are written as JavaScript writes them, and what is none as zero', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      assert.equal(
        written((out) => out.whole(value)),
        String(value),
      );
    }),
  );
  for (const odd of [-1, Number.NaN, Number.POSITIVE_INFINITY, 0, 0.4, 2 ** 60]) {
    assert.equal(
      written((out) => out.whole(odd)),
      '0',
    );
  }
  assert.equal(
    written((out) => out.whole(1_999.9)),
    '1999',
  );
});

test('a line has the names and values of the Elastic Common Schema', () => {
  const trace = traceFrom(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, 0, true);
  const facts = factsOf({ trace, attempts: 2, tls: 'TLSv1.3' });
  const { 'span.id': span, ...fields } = fieldsOf(facts);
  assert.match(String(span), /^[0-9a-f]{16}$/u);
  assert.deepEqual(fields, {
    '@timestamp': '2026-11-20T10:00:00.123Z',
    'ecs.version': '8.17.0',
    'event.duration': 12_500_000,
    'http.request.method': 'GET',
    'url.path': '/api/patients/:id/notes',
    'http.response.status_code': 200,
    'http.request.body.bytes': 3,
    'http.response.body.bytes': 512,
    'http.request.id': 'req-12345678',
    'source.ip': '192.0.2.7',
    'trace.id': 'a'.repeat(32),
    'kintsugi.attempts': 2,
    'kintsugi.upstream.duration': 12_250_000,
    'url.scheme': 'https',
    'tls.version': '1.3',
    'user.id': 'key:k1',
    'organization.id': 'acme',
    'service.name': 'records',
    'kintsugi.route': '/api',
    'kintsugi.replica': 'records-1',
    'kintsugi.release': 'r1',
  });
});

test('what is usual is left out, and what is not stands in the line', () => {
  const rare = (change: Partial<ExchangeFacts>): readonly unknown[] => {
    const fields = fieldsOf(factsOf(change));
    const names = ['event.outcome', 'http.version', 'http.request.body.bytes', 'kintsugi.attempts'];
    return names.map((name) => fields[name]);
  };
  assert.deepEqual(rare({ bytesIn: 0 }), [undefined, undefined, undefined, undefined]);
  const head = headOf('/api');
  head.version = 20;
  const odd = { head, status: 502, attempts: 3, bytesIn: 7 };
  assert.deepEqual(rare(odd), ['failure', '2', 7, 3]);
});

test('a span is named where it is sampled, a trace always', () => {
  const ids = (flags: string, exported: boolean): unknown[] => {
    const given = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-${flags}`;
    const fields = fieldsOf(factsOf({ trace: traceFrom(given, 0, exported) }));
    return [fields['trace.id'], typeof fields['span.id']];
  };
  const trace = 'a'.repeat(32);
  assert.deepEqual(ids('01', true), [trace, 'string']);
  assert.deepEqual(ids('00', true), [trace, 'undefined']);
  assert.deepEqual(ids('01', false), [trace, 'undefined'], 'it is the span of somebody else');
});

test('the id that the client sent is taken from its head', () => {
  const head = headOf('/api', 'x-request-id: from-the-client\r\n');
  head.keptId = 1;
  assert.equal(fieldsOf(factsOf({ head }))['http.request.id'], 'from-the-client');
});

test('a usual line is short', () => {
  const trace = traceFrom(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`, 0, true);
  const requestId = '0193a1b2-aaaa-4bbb-8ccc-123456789abc';
  const bytes = lineOf(factsOf({ trace, requestId, bytesIn: 0 })).length;
  assert.ok(bytes <= 550, `${bytes} bytes`);
});

test('whether it came by TLS is in the line, and by which where that is known', () => {
  const about = (tls: string): unknown[] => {
    const fields = fieldsOf(factsOf({ tls }));
    return [fields['url.scheme'], fields['tls.version']];
  };
  assert.deepEqual(about(''), [undefined, undefined]);
  assert.deepEqual(about('TLS'), ['https', undefined]);
  assert.deepEqual(about('TLSv1.2'), ['https', '1.2']);
});

test('outcome, reason and ending say how it ended; times follow each other', () => {
  const outcome = (change: Partial<ExchangeFacts>): unknown =>
    fieldsOf(factsOf(change))['event.outcome'];
  assert.equal(outcome({}), undefined, 'success');
  assert.equal(outcome({ status: 404 }), 'failure');
  assert.equal(outcome({ kind: 'cut' }), 'failure');
  assert.equal(outcome({ kind: 'client-gone', status: 0 }), 'unknown');
  const refused = fieldsOf(factsOf({ kind: 'refused', status: 429, reason: 'rate-limited' }));
  assert.equal(refused['kintsugi.reason'], 'rate-limited');
  assert.equal(refused['kintsugi.ending'], 'refused');
  const lines = new EcsLines();
  lines.out = new JsonBytes(Buffer.alloc(10 * LINE_BYTES_MAX));
  const times = [T0, T0 + 1, T0 + 876, T0 + 877, T0 + 60_000, T0 - 5_000];
  const rule = lineRule(logRule());
  for (const startMs of times) lines.add(factsOf({ startMs }), rule);
  const stamps = parsed(lines.out.buf.toString('utf8', 0, lines.out.pos));
  assert.deepEqual(
    stamps.map((fields) => fields['@timestamp']),
    times.map((atMs) => new Date(atMs).toISOString()),
  );
});

test('parts that are kept for many lines never end up in the line of somebody else', () => {
  const lines = new EcsLines();
  const rule = lineRule(logRule());
  const keys = {
    'organization.id': 'tenant',
    'user.id': 'subject',
    'service.name': 'service',
    'kintsugi.route': 'route',
    'kintsugi.replica': 'replica',
    'kintsugi.release': 'release',
  } as const;
  const name = fc.constantFrom('', 'a', 'b', '"');
  const who = fc.tuple(...Object.keys(keys).map(() => name));
  // Each flow and each place is one object, as in the gateway.
  const objects = new Map<string, object>();
  const oneOf = (texts: readonly string[]): object => {
    const mark = JSON.stringify(texts);
    const known = objects.get(mark) ?? {};
    objects.set(mark, known);
    return known;
  };
  fc.assert(
    fc.property(who, fc.boolean(), (texts, isKnown) => {
      lines.out = new JsonBytes(Buffer.alloc(LINE_BYTES_MAX));
      const change = Object.fromEntries(Object.values(keys).map((key, i) => [key, texts[i]]));
      const flow = isKnown ? oneOf(texts.slice(0, 4)) : undefined;
      lines.add(factsOf({ ...change, flow, place: oneOf(texts.slice(4)) }), rule);
      const [fields = {}] = parsed(lines.out.buf.toString('utf8', 0, lines.out.pos));
      const found = Object.keys(keys).map((key) => fields[key] ?? '');
      assert.deepEqual(found, texts);
    }),
    { numRuns: 3_000 },
  );
});

/** A head that no parser would let through: the line must be valid all the same. */
function hostileHead(bytes: Uint8Array, cut: number): Head {
  const head = new Head({ headBytes: 65_536, fields: 100, targetBytes: 16_384 });
  head.buf = Buffer.from(bytes);
  head.lineAt = 0;
  head.methodEnd = Math.min(cut, bytes.length);
  head.targetAt = head.methodEnd;
  head.pathAt = head.targetAt;
  head.targetEnd = bytes.length;
  return head;
}

test('EC1, EC3: each line is one valid JSON object of bounded length, whatever is in it', () => {
  const paths = fc.constantFrom('folded', 'full', 'route');
  const bytes = fc.uint8Array({ maxLength: 4_000 });
  const long = fc.string({ unit: 'binary', maxLength: 600 });
  fc.assert(
    fc.property(bytes, fc.nat(300), long, long, paths, (raw, cut, text, other, how) => {
      const head = hostileHead(raw, cut);
      const facts = factsOf({
        head,
        tenant: text,
        subject: other,
        service: other,
        route: text,
        replica: text,
        release: other,
        reason: text,
        requestId: other,
        remoteAddress: text,
        tls: other,
      });
      const line = lineOf(facts, logRule({ query: ['*'], paths: how }));
      assert.ok(Buffer.byteLength(line) <= LINE_BYTES_MAX);
      assert.equal(line.indexOf('\n'), line.length - 1);
      const fields = JSON.parse(line) as Readonly<Record<string, unknown>>;
      assert.equal(fields['organization.id'] ?? '', text.slice(0, 200));
      assert.equal(fields['user.id'] ?? '', other.slice(0, 200));
    }),
    { numRuns: 500 },
  );
});

test('EC3: even the longest line of escapes fits', () => {
  const worst = '\u0001'.repeat(5_000);
  const head = hostileHead(new Uint8Array(9_000).fill(1), 250);
  const text = Object.fromEntries(
    ['tenant', 'subject', 'service', 'route', 'replica', 'release', 'reason', 'requestId']
      .concat('remoteAddress', 'tls')
      .map((name) => [name, worst]),
  );
  const line = lineOf(factsOf({ head, ...text }), logRule({ query: ['*'], paths: 'full' }));
  assert.ok(line.length <= LINE_BYTES_MAX);
  JSON.parse(line);
});

test('EC2: headers are written when listed, credentials never, masked ones only as such', () => {
  const fields =
    'User-Agent: curl/8 "x"\r\nX-Case: 77\r\nAuthorization: Bearer abc\r\nCookie: a=b\r\n' +
    'X-Api-Key: kin_1\r\nX-Kintsugi-Tenant: evil\r\n';
  const facts = factsOf({ head: headOf('/api', fields) });
  assert.ok(!lineOf(facts).includes('curl'));
  const wanted = ['user-agent', 'x-case', 'authorization', 'cookie', 'x-api-key', 'x-none'];
  const rule = logRule({ headers: [...wanted, 'X-Kintsugi-Tenant'], mask: ['x-case'] });
  const line = fieldsOf(facts, rule);
  const shown = Object.entries(line).filter(([key]) => key.startsWith('http.request.headers.'));
  assert.deepEqual(Object.fromEntries(shown), {
    'http.request.headers.user-agent': 'curl/8 "x"',
    'http.request.headers.x-case': 'REDACTED',
  });
});

const query = (text: string, shown: readonly string[], masked: readonly string[] = []): string =>
  written((out) => {
    writeQuery(out, queryRule(shown, masked), Buffer.from(text), 0, text.length);
  });

test('RD1: of a query only listed parameters are written, masked ones without their value', () => {
  assert.equal(
    query('page=2&name=Jane&limit=9&page=3', ['page', 'limit']),
    'page=2&limit=9&page=3',
  );
  assert.equal(query('name=Jane', ['page']), '');
  assert.equal(query('a=1&b=2', ['a', 'b'], ['b']), 'a=1&b=REDACTED');
  assert.equal(query('a&&b==&=c', ['*']), 'a&b==&=c');
  assert.equal(query('A=1&B=2', ['a']), 'A=1', 'names in any case');
  assert.equal(query('', ['*']), '');
  assert.ok(!lineOf(factsOf()).includes('url.query'));
  const rule = logRule({ query: ['page'] });
  assert.equal(fieldsOf(factsOf(), rule)['url.query'], 'page=2');
  assert.ok(!lineOf(factsOf({ head: headOf('/api?') }), rule).includes('url.query'));
});

test('RD3: a masked name cannot be dodged by escapes; secret names mask themselves', () => {
  assert.equal(
    query('ssn=1&%73sn=2&s+n=3', ['*'], ['ssn']),
    'ssn=REDACTED&%73sn=REDACTED&s+n=REDACTED',
  );
  const secret = 'token=1&access_token=2&api-key=3&password=4&sig=5&page=6';
  assert.equal(
    query(secret, ['*']),
    'token=REDACTED&access_token=REDACTED&api-key=REDACTED&password=REDACTED&sig=REDACTED&page=6',
  );
});

const folded = (path: string): string =>
  written((out) => writePath(out, Buffer.from(path, 'latin1'), 0, path.length, true));

test('RD2: folded, a path keeps plain words alone', () => {
  const same = [
    '/',
    '/api/v1/patients',
    '/a/open-api.json',
    '/oauth2/x-y_z',
    '//a//',
    '*',
    '/.well-known/x',
  ];
  for (const path of same) assert.equal(folded(path), path);
  const pairs = {
    '/patients/4711/notes': '/patients/:id/notes',
    '/p/0193a1b2-aaaa-4bbb-8ccc-123456789abc': '/p/:id',
    '/p/jane%20doe': '/p/:id',
    '/p/a@b.example': '/p/:id',
    '/p/1': '/p/:id',
    '/p/A123': '/p/:id',
    '/p/a1b': '/p/:id',
    '/p/x;id=3': '/p/:id',
    '/p/-a': '/p/:id',
    '/p/a-': '/p/:id',
    [`/p/${'a'.repeat(41)}`]: '/p/:id',
    '/p/Ünal': '/p/:id',
    '': '/',
    x: '/x',
  };
  for (const [path, wanted] of Object.entries(pairs)) assert.equal(folded(path), wanted, path);
});

test('RD2: digits that stand for a person never come through, wherever they are', () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-zA-Z0-9._~%@-]{1,24}$/u)), (segments) => {
      const shown = folded(`/${segments.join('/')}`);
      assert.ok(!/\d{3}|@|%/u.test(shown), shown);
      assert.equal(shown.split('/').length, Math.max(2, segments.length + 1));
    }),
  );
});

test('the path may be left whole, or be the route alone', () => {
  assert.equal(
    fieldsOf(factsOf(), logRule({ paths: 'full' }))['url.path'],
    '/api/patients/4711/notes',
  );
  assert.equal(fieldsOf(factsOf(), logRule({ paths: 'route' }))['url.path'], '/api');
  const absolute = factsOf({ head: headOf('http://api.example?x=1') });
  assert.equal(fieldsOf(absolute)['url.path'], '/');
});
