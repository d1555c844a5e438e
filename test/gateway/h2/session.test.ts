// Does HTTP/2 in front behave like HTTP/1.1 to the rest of the gateway, and can a client of it ask
// for more than its share?
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect as connectH2, constants } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { after, before, test } from 'node:test';
import { forwardTo, openReplica, until } from '../http/rig.ts';
import type { Peer, Replica } from '../http/rig.ts';
import { ANSWER, dns, openAuthority, openClient, openFront } from '../tls/rig.ts';
import type { Authority, FrontOptions, SecureClient, TestFront } from '../tls/rig.ts';
import type { CertificateFiles } from '../../../src/gateway/tls/settings.ts';
import { errorOf, fields, FLAG, frame, framesOf, PREFACE, REQUEST, TYPE } from './frames.ts';

let authority: Authority;
let one: CertificateFiles;
type Field = readonly [string, string];
const closers: (() => Promise<void> | void)[] = [];

before(() => {
  authority = openAuthority();
  one = authority.issue('one', { alt: [dns('api.example'), dns('*.api.example')] });
});
after(() => authority.close());

async function front(options: FrontOptions = {}): Promise<TestFront> {
  const opened = await openFront(authority, [one], options);
  closers.push(() => opened.close());
  return opened;
}

async function replica(onData: (peer: Peer, chunk: string) => void): Promise<Replica> {
  const opened = await openReplica(onData);
  closers.push(() => opened.close());
  return opened;
}

const toReplica = (to: Replica): FrontOptions => ({
  onRequestHead: (_view, opened) => forwardTo(opened.pool(to.port)),
});

test.afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

function session(port: number, options: object = {}): ClientHttp2Session {
  const ca = readFileSync(authority.ca);
  const opened = connectH2(`https://api.example:${port}`, {
    host: '127.0.0.1',
    ca,
    servername: 'api.example',
    ...options,
  });
  opened.on('error', () => undefined);
  closers.push(() => opened.destroy());
  return opened;
}

interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: string;
  readonly code: number;
}

function finished(stream: ClientHttp2Stream): Promise<Got> {
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  let body = '';
  stream.on('response', (got) => (headers = got));
  stream.on('trailers', (got: IncomingHttpHeaders) => (trailers = got));
  stream.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
  stream.on('error', () => undefined);
  return new Promise((resolve) => {
    stream.once('close', () => {
      const status = Number(headers[':status'] ?? 0);
      resolve({ status, headers, trailers, body, code: stream.rstCode ?? -1 });
    });
  });
}

/** A raw client past its preface. */
async function rawClient(port: number, preface = PREFACE): Promise<SecureClient> {
  const client = await openClient(port, authority, { ALPNProtocols: ['h2'] });
  client.socket.write(preface, 'latin1');
  if (preface === PREFACE) client.socket.write(frame(TYPE.settings, 0, 0, Buffer.alloc(0)));
  closers.push(() => void client.socket.destroy());
  return client;
}

async function goawayOf(client: SecureClient): Promise<number> {
  await client.untilClosed();
  const said = framesOf(client).find(({ type }) => type === TYPE.goaway);
  return said === undefined ? -1 : errorOf(said);
}

/** What of the flood is unread resets the connection, and the word of farewell may be lost. */
async function sentAway(client: SecureClient): Promise<void> {
  const lost = -1;
  const codes = [lost, constants.NGHTTP2_ENHANCE_YOUR_CALM, constants.NGHTTP2_INTERNAL_ERROR];
  const code = await goawayOf(client);
  assert.ok(codes.includes(code), `GOAWAY ${code}`);
}

test('a request and its answer: fields pass, those of the connection do not', async () => {
  const to = await replica((peer) => {
    peer.socket.write(
      'HTTP/1.1 200 OK\r\nX-Up: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nKeep-Alive: timeout=5\r\n' +
        'Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok',
    );
  });
  const opened = await front(toReplica(to));
  const client = session(opened.port);
  const got = await finished(
    client.request({ ':path': '/x?y=1', 'x-a': '1', cookie: ['c=1', 'd=2'] }),
  );
  assert.deepEqual([got.status, got.body, got.code], [200, 'ok', 0]);
  assert.equal(got.headers['x-up'], '1');
  assert.deepEqual(got.headers['set-cookie'], ['a', 'b']);
  assert.equal(got.headers['keep-alive'], undefined);
  const sent = to.peers[0]?.text ?? '';
  assert.match(sent, /^GET \/x\?y=1 HTTP\/1\.1\r\nhost: api\.example:\d+\r\n/u);
  assert.match(sent, /x-a: 1\r\n/u);
  assert.match(sent, /cookie: c=1; d=2\r\n/u);
  assert.match(sent, /x-added: 1\r\n/u);
  const [view] = opened.views;
  assert.deepEqual([view?.scheme, view?.remoteAddress], ['https', '127.0.0.1']);
  // Again on both connections.
  assert.equal((await finished(client.request({ ':path': '/2' }))).body, 'ok');
  assert.equal(to.peers.length, 1);
  assert.deepEqual(opened.bugs, []);
});

test('HEAD, 204 and 304 have no body; 103 and 100 come before the answer', async () => {
  const to = await replica((peer, chunk) => {
    const path = / (\S+) HTTP/u.exec(chunk)?.[1] ?? '';
    if (path === '/204') peer.socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    else if (path === '/304') peer.socket.write('HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n');
    else if (path === '/103') {
      peer.socket.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n');
      peer.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    } else if (path === '/head') {
      peer.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n');
    }
    if (/\r\n\r\n5\r\nhello/u.test(peer.text)) {
      peer.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!');
    }
  });
  const opened = await front(toReplica(to));
  const client = session(opened.port);
  for (const [path, status] of [
    ['/204', 204],
    ['/304', 304],
  ] as const) {
    const got = await finished(client.request({ ':path': path }));
    assert.deepEqual([got.status, got.body, got.code], [status, '', 0]);
  }
  const head = await finished(client.request({ ':path': '/head', ':method': 'HEAD' }));
  assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '77', '']);
  const early = client.request({ ':path': '/103' });
  const interim: unknown[] = [];
  early.on('headers', (got: IncomingHttpHeaders) => interim.push(got[':status'], got['link']));
  assert.equal((await finished(early)).status, 200);
  assert.deepEqual(interim, [103, '</a>']);
  const asks = client.request(
    { ':path': '/up', ':method': 'POST', expect: '100-continue' },
    { endStream: false },
  );
  asks.on('continue', () => asks.end('hello'));
  const answered = await finished(asks);
  assert.deepEqual([answered.status, answered.body], [200, '!']);
});

test('bodies and trailers pass both ways, with and without a length', async () => {
  const to = await replica((peer) => {
    const isWhole = /(?:0\r\nx-sum: 11\r\n\r\n|hello world)$|content-length: 0\r\n/u;
    if (!isWhole.test(peer.text)) return;
    peer.socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-out\r\n\r\n');
    peer.socket.write('5\r\nhello\r\n0\r\nx-out: 5\r\n\r\n');
  });
  const opened = await front(toReplica(to));
  const client = session(opened.port);
  const post = { ':path': '/', ':method': 'POST' };
  const trailing = client.request(post, { endStream: false, waitForTrailers: true });
  trailing.on('wantTrailers', () => trailing.sendTrailers({ 'x-sum': '11', authorization: 'x' }));
  trailing.write('hello ');
  trailing.end('world');
  const got = await finished(trailing);
  assert.deepEqual([got.body, got.code], ['hello', 0]);
  assert.equal(got.trailers['x-out'], '5');
  const sent = to.peers[0]?.text ?? '';
  assert.match(sent, /transfer-encoding: chunked\r\n/u);
  assert.doesNotMatch(sent, /content-length/u);
  const sized = client.request({ ...post, 'content-length': '11' }, { endStream: false });
  sized.end('hello world');
  assert.equal((await finished(sized)).body, 'hello');
  assert.match(to.peers[0]?.text ?? '', /content-length: 11\r\n/u);
  const bare = client.request({ ':path': '/', ':method': 'POST' }, { endStream: true });
  assert.equal((await finished(bare)).status, 200);
});

test('HS1. large bodies pass both ways on several streams, unmixed', async () => {
  const size = 3_000_000;
  const hashes = new Map<Peer, ReturnType<typeof createHash>>();
  const counts = new Map<Peer, number>();
  const to = await replica((peer, chunk) => {
    let part = chunk;
    if (!hashes.has(peer)) {
      hashes.set(peer, createHash('sha256'));
      part = chunk.slice(chunk.indexOf('\r\n\r\n') + 4);
    }
    peer.text = '';
    hashes.get(peer)?.update(part, 'latin1');
    const count = (counts.get(peer) ?? 0) + part.length;
    counts.set(peer, count);
    if (count < size) return;
    const digest = hashes.get(peer)?.digest('hex') ?? '';
    peer.socket.write(`HTTP/1.1 200 OK\r\nx-hash: ${digest}\r\ncontent-length: ${size}\r\n\r\n`);
    peer.socket.write(Buffer.alloc(size, digest));
  });
  const opened = await front(toReplica(to));
  const client = session(opened.port);
  await Promise.all(
    ['a', 'b', 'c', 'd'].map(async (letter) => {
      const body = Buffer.alloc(size, letter);
      const head = { ':path': `/${letter}`, ':method': 'POST', 'content-length': String(size) };
      const stream = client.request(head, { endStream: false });
      stream.end(body);
      const got = await finished(stream);
      const digest = createHash('sha256').update(body).digest('hex');
      assert.equal(got.headers['x-hash'], digest);
      assert.equal(got.body.length, size);
      assert.ok(got.body.startsWith(digest) && got.body.slice(64, 128) === digest);
    }),
  );
});

test('HS2. a reset stream ends the exchange and the replica’s connection', async () => {
  const to = await replica(() => undefined);
  const opened = await front(toReplica(to));
  const client = session(opened.port);
  const stream = client.request({ ':path': '/' });
  stream.on('error', () => undefined);
  await until(() => to.peers.length === 1 && (to.peers[0]?.text.length ?? 0) > 0);
  const gone = new Promise((resolve) => to.peers[0]?.socket.once('close', resolve));
  stream.close(constants.NGHTTP2_CANCEL);
  await gone;
  await until(() => opened.ends.length === 1);
  assert.equal(opened.ends[0]?.kind, 'client-gone');
  // And one that goes away altogether.
  client.request({ ':path': '/' }).on('error', () => undefined);
  await until(() => to.peers.length === 2);
  const again = new Promise((resolve) => to.peers[1]?.socket.once('close', resolve));
  client.destroy();
  await again;
});

test('HS3. an answer that its replica breaks off resets its stream, and only that', async () => {
  const to = await replica((peer, chunk) => {
    if (chunk.startsWith('GET /good')) {
      peer.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
      return;
    }
    peer.socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel');
    setTimeout(() => peer.socket.destroy(), 10);
  });
  const opened = await front(toReplica(to));
  const client = session(opened.port);
  const broken = await finished(client.request({ ':path': '/broken' }));
  assert.deepEqual([broken.status, broken.code], [200, constants.NGHTTP2_INTERNAL_ERROR]);
  assert.equal((await finished(client.request({ ':path': '/good' }))).body, 'ok');
});

test('HS4. a slow body is refused, and an unread answer ends', async () => {
  const to = await replica((peer, chunk) => {
    if (!chunk.startsWith('GET /big')) return;
    peer.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n');
    peer.socket.write(Buffer.alloc(9_000_000));
  });
  const opened = await front({
    onRequestHead: (view, at) => (view.head.path === '/own' ? ANSWER : forwardTo(at.pool(to.port))),
    setup: { limits: { bodyTimeoutMs: 100, sendTimeoutMs: 200 } },
  });
  const client = session(opened.port);
  const slow = client.request({ ':path': '/up', ':method': 'POST' }, { endStream: false });
  slow.write('a');
  const refused = await finished(slow);
  assert.equal(refused.status, 408);
  assert.equal(opened.refusals[0]?.code, 'body-timeout');
  const unread = client.request({ ':path': '/big' });
  unread.on('error', () => undefined);
  const closed = new Promise((resolve) => unread.once('close', resolve));
  unread.pause();
  unread.on('response', () => undefined);
  await closed;
  assert.equal(unread.rstCode, constants.NGHTTP2_CANCEL);
  assert.equal((await finished(client.request({ ':path': '/own' }))).status, 200);
});

test('an answer before all of the request: the rest is not wanted', async () => {
  const opened = await front();
  const client = session(opened.port);
  const stream = client.request({ ':path': '/', ':method': 'POST' }, { endStream: false });
  stream.write('some of it');
  const got = await finished(stream);
  assert.deepEqual([got.status, got.body, got.code], [200, 'hello', 0]);
  assert.equal((await finished(client.request({ ':path': '/' }))).status, 200);
});

test('421 for a host that the certificate does not speak for', async () => {
  const opened = await front();
  const client = session(opened.port);
  const other = await finished(client.request({ ':path': '/', ':authority': 'other.example' }));
  assert.equal(other.status, 421);
  assert.match(other.body, /misdirected/u);
  assert.equal(opened.views.length, 0);
  const sub = await finished(client.request({ ':path': '/', ':authority': 'x.api.example:1' }));
  assert.equal(sub.status, 200);
});

test('refused heads: the stream gets its status, the hooks are told', async () => {
  const opened = await front();
  const client = await rawClient(opened.port);
  const headers = (id: number, list: readonly Field[]): Buffer =>
    frame(TYPE.headers, FLAG.endStream | FLAG.endHeaders, id, fields(...list));
  client.socket.write(headers(1, [...REQUEST, ['host', 'other.example']]));
  client.socket.write(headers(3, [...REQUEST, ['content_length', '3']]));
  client.socket.write(headers(5, [...REQUEST]));
  await client.until(/hello/u);
  assert.deepEqual(
    opened.refusals.map(({ code }) => code),
    ['host-mismatch', 'bad-connection'],
  );
  assert.equal(opened.views.length, 1);
});

test('what nghttp2 refuses never gets here: fields, lengths, preface', async () => {
  const opened = await front();
  const bad: readonly (readonly [string, string])[] = [
    ['connection', 'close'],
    ['transfer-encoding', 'chunked'],
    ['upgrade', 'websocket'],
    ['X-Upper', '1'],
    ['content-length', '5'],
  ];
  for (const field of bad) {
    const client = await rawClient(opened.port);
    const payload = fields(...REQUEST, field);
    client.socket.write(frame(TYPE.headers, FLAG.endStream | FLAG.endHeaders, 1, payload));
    await until(() => framesOf(client).some(({ type }) => type === TYPE.reset) || client.closed);
    client.socket.destroy();
  }
  for (const preface of ['GET / HTTP/1.1\r\nHost: h\r\n\r\n', PREFACE.replace('SM', 'XX')]) {
    const client = await rawClient(opened.port, preface);
    await client.untilClosed();
  }
  assert.equal(opened.views.length, 0);
  assert.deepEqual(opened.bugs, []);
});

test('a field whose value holds a line end or NUL never arrives: nghttp2 drops it', async () => {
  const counts: number[] = [];
  const opened = await front({
    onRequestHead: (view) => {
      counts.push(view.head.count);
      return ANSWER;
    },
  });
  const client = await rawClient(opened.port);
  const list = fields(...REQUEST, ['x-a', 'a\r\nx-evil: c'], ['x-b', 'a\0'], ['x-c', 'ok']);
  client.socket.write(frame(TYPE.headers, FLAG.endStream | FLAG.endHeaders, 1, list));
  await client.until(/hello/u);
  assert.deepEqual(counts, [2]);
  assert.equal(opened.refusals.length, 0);
});

test('HZ4. a client that says nothing, or rests too long, is sent away', async () => {
  const limits = { headTimeoutMs: 100, keepAliveMs: 150 };
  const opened = await front({ setup: { limits } });
  const silent = await rawClient(opened.port, '');
  await silent.untilClosed();
  const resting = await rawClient(opened.port);
  assert.equal(await goawayOf(resting), constants.NGHTTP2_NO_ERROR);
});

test('HZ1. header lists and CONTINUATION have an end, streams a number', async () => {
  const opened = await front({ onRequestHead: () => new Promise(() => undefined) });
  // 400 KB of one header list in CONTINUATION frames that never end.
  const flood = await rawClient(opened.port);
  flood.socket.write(frame(TYPE.headers, FLAG.endStream, 1, fields(...REQUEST)));
  const filler = fields(['x-filler', 'f'.repeat(8_000)]);
  for (let i = 0; i < 50; i += 1) flood.socket.write(frame(TYPE.continuation, 0, 1, filler));
  await flood.untilClosed();
  const many = await rawClient(opened.port);
  const pairs = Array.from({ length: 200 }, (_, i) => [`x-${i}`, '1'] as const);
  const end = FLAG.endStream | FLAG.endHeaders;
  many.socket.write(frame(TYPE.headers, end, 1, fields(...REQUEST, ...pairs)));
  await until(() => framesOf(many).some(({ type }) => type === TYPE.reset));
  assert.equal(opened.views.length, 0);
  for (let i = 0; i < 150; i += 1) {
    many.socket.write(frame(TYPE.headers, end, 3 + 2 * i, fields(...REQUEST)));
  }
  await until(() => framesOf(many).filter(({ type }) => type === TYPE.reset).length > 50);
  assert.ok(opened.views.length <= 100);
});

test('a head between our limit and that of HTTP/2 gets 431', async () => {
  const opened = await front();
  const client = session(opened.port);
  const got = await finished(client.request({ ':path': '/', 'x-large': 'x'.repeat(20_000) }));
  assert.equal(got.status, 431);
  assert.equal(opened.refusals[0]?.code, 'head-too-large');
});

test('HZ2. opening and resetting streams in a flood ends the connection', async () => {
  const to = await replica(() => undefined);
  const opened = await front(toReplica(to));
  const client = await rawClient(opened.port);
  const end = FLAG.endStream | FLAG.endHeaders;
  for (let i = 0; i < 1_000 && !client.closed; i += 1) {
    const id = 1 + 2 * i;
    client.socket.write(
      Buffer.concat([
        frame(TYPE.headers, end, id, fields(...REQUEST)),
        frame(TYPE.reset, 0, id, Buffer.from([0, 0, 0, 8])),
      ]),
    );
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await sentAway(client);
  await until(() => opened.server.connections === 0);
  assert.ok(opened.views.length <= 130, `${opened.views.length} exchanges began`);
  await until(() => opened.ends.length === opened.views.length);
});

test('HZ2. making us reset streams counts the same (a body longer than it said)', async () => {
  const to = await replica(() => undefined);
  const opened = await front(toReplica(to));
  const client = await rawClient(opened.port);
  const post = [...REQUEST.slice(1), ['content-length', '1']] as const;
  for (let i = 0; i < 400 && !client.closed; i += 1) {
    const id = 1 + 2 * i;
    client.socket.write(
      Buffer.concat([
        frame(TYPE.headers, FLAG.endHeaders, id, fields([':method', 'POST'], ...post)),
        frame(TYPE.data, 0, id, Buffer.from('more')),
      ]),
    );
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await sentAway(client);
  await until(() => opened.ends.length === opened.views.length);
});

test('HZ3. pings and settings in a flood end the connection', async () => {
  const opened = await front();
  for (const [type, payload] of [
    [TYPE.ping, Buffer.alloc(8)],
    [TYPE.settings, Buffer.alloc(0)],
  ] as const) {
    const client = await rawClient(opened.port);
    client.socket.write(frame(TYPE.headers, 5, 1, fields(...REQUEST)));
    await client.until(/hello/u);
    for (let i = 0; i < 200; i += 1) client.socket.write(frame(type, 0, 0, payload));
    await sentAway(client);
  }
});

test('HZ4. SV1. a drain says GOAWAY and lets the stream inside end', async () => {
  const gate = Promise.withResolvers<void>();
  const opened = await openFront(authority, [one], {
    onRequestHead: async () => {
      await gate.promise;
      return ANSWER;
    },
  });
  const client = session(opened.port);
  const stream = client.request({ ':path': '/' });
  const got = finished(stream);
  await until(() => opened.views.length === 1);
  const away = new Promise<number>((resolve) => client.once('goaway', resolve));
  const stopped = opened.server.stop(5_000);
  assert.equal(await away, constants.NGHTTP2_NO_ERROR);
  gate.resolve();
  assert.equal((await got).status, 200);
  await stopped;
  await opened.close();
});

test('client certificates are known on streams as well', async () => {
  const opened = await front({ clientCa: authority.ca, clientAuth: 'required' });
  const { cert, key } = authority.issue('h2-client', { alt: [dns('me.example')] });
  const client = session(opened.port, { cert: readFileSync(cert), key: readFileSync(key) });
  assert.equal((await finished(client.request({ ':path': '/' }))).status, 200);
  assert.deepEqual(opened.views[0]?.peer?.dnsNames, ['me.example']);
  assert.equal(opened.views[0]?.peer?.subject, 'CN=h2-client');
});
