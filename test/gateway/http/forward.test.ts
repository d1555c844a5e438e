// Does a request get its one answer, over real sockets, whatever either side does?
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { Carried } from '../../../src/gateway/http/upstream-connection.ts';
import type { RigHooks, Replica, Rig } from './rig.ts';
import { forwardTo, GET, heads, OK, openReplica, openRig, until } from './rig.ts';

const opened: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

async function replica(...args: Parameters<typeof openReplica>): Promise<Replica> {
  const one = await openReplica(...args);
  opened.push(one);
  return one;
}

async function rig(...args: Parameters<typeof openRig>): Promise<Rig> {
  const one = await openRig(...args);
  opened.push(one);
  return one;
}

const to = (one: Replica, change = {}): RigHooks => ({
  onRequestHead: (_exchange, rig) => forwardTo(rig.pool(one.port), change),
});

const post = (length: number, body: string): string =>
  `POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: ${length}\r\n\r\n${body}`;

test('UP3 requests share one upstream connection, with edited heads', async () => {
  const up = await replica((peer) =>
    peer.socket.write(
      'HTTP/1.1 200 OK\r\nX-Secret: s\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok',
    ),
  );
  const gate = await rig(to(up));
  const client = await gate.client();
  for (let i = 0; i < 3; i += 1) {
    client.clear();
    client.send(
      'GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: key\r\nX-Kintsugi-Tenant: forged\r\n\r\n',
    );
    assert.equal(await client.until(/ok$/u), 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  }
  assert.equal(up.peers.length, 1);
  assert.equal(up.peers[0]?.text, 'GET /a HTTP/1.1\r\nHost: h\r\nx-added: 1\r\n\r\n'.repeat(3));
});

test('CC1 pipelined requests are answered in turn, one at a time', async () => {
  let asked = 0;
  const up = await replica((peer) => {
    asked += 1;
    assert.equal(heads(peer.text), asked);
    const answer = `HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${asked}`;
    setImmediate(() => peer.socket.write(answer));
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET.repeat(4));
  client.send(GET);
  const text = await client.until(/5$/u);
  const bodies = [...text.matchAll(/\r\n\r\n(\d)/gu)].map(([, digit]) => digit);
  assert.deepEqual(bodies, ['1', '2', '3', '4', '5']);
  assert.equal(up.peers.length, 1);
});

test('CC1 own answers to pipelined requests come in turn as well', async () => {
  const gate = await rig({
    onRequestHead: ({ head }) => ({ kind: 'answer', status: 200, headers: '', body: head.target }),
  });
  const client = await gate.client();
  client.send(Array.from({ length: 500 }, (_, i) => GET.replace('/a', `/${i}`)).join(''));
  const text = await client.until(/\/499$/u);
  assert.equal(text.match(/HTTP\/1.1 200 OK/gu)?.length, 500);
});

test('FW1 a sized body and a chunked body arrive whole, and so do their answers', async () => {
  const up = await replica((peer) => {
    if (peer.text.endsWith('hello'))
      peer.socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n');
    if (peer.text.endsWith('hello'))
      setImmediate(() => peer.socket.write('0\r\nX-T: 1\r\nContent-Length: 9\r\n\r\n'));
    if (peer.text.endsWith('0\r\n\r\n')) peer.socket.write(OK);
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(post(5, 'he'));
  await until(() => up.peers[0]?.text.endsWith('he') === true);
  client.send('llo');
  assert.match(
    await client.until(/0\r\nX-T: 1\r\n\r\n$/u),
    /\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n/u,
  );
  client.clear();
  client.send(
    'POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nworld\r\n0\r\n\r\n',
  );
  await client.until(/ok$/u);
  assert.match(
    up.peers[0]?.text ?? '',
    /transfer-encoding: chunked\r\nx-added: 1\r\n\r\n5\r\nworld\r\n0\r\n\r\n$/u,
  );
});

test('FW4 a large body flows both ways with memory bounded by back-pressure', async () => {
  const size = 20_000_000;
  let got = 0;
  const up = await replica((peer, chunk) => {
    got += chunk.length;
    if (got < size) return;
    peer.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    const piece = Buffer.alloc(1_000_000, 'x');
    for (let i = 0; i < size / piece.length; i += 1) peer.socket.write(piece);
  });
  const gate = await rig(to(up, { replayBytesMax: 1_000 }));
  const client = await gate.client();
  let received = 0;
  client.socket.removeAllListeners('data');
  client.socket.on('data', (chunk) => {
    received += chunk.length;
  });
  const piece = Buffer.alloc(1_000_000, 'y');
  client.send(post(size, ''));
  for (let i = 0; i < size / piece.length; i += 1) client.socket.write(piece);
  await until(() => received > size && gate.ends.length === 1);
  assert.equal(gate.ends[0]?.kind, 'answered');
  assert.equal(gate.ends[0]?.bytesIn, size);
});

test('FW4 a replica is not read while the client does not read', async () => {
  const up = await replica((peer) => {
    peer.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n`);
    const piece = Buffer.alloc(1_000_000);
    const more = (): void => {
      while (peer.socket.writable && peer.socket.write(piece));
    };
    peer.socket.on('drain', more);
    more();
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.socket.pause();
  client.send(GET);
  await until(() => up.peers.length === 1);
  let before = -1;
  await until(() => {
    const now = up.peers[0]?.socket.bytesWritten ?? 0;
    const isStill = now === before && (up.peers[0]?.socket.writableLength ?? 0) > 0;
    before = now;
    return isStill;
  });
  assert.ok(before < 40_000_000, String(before));
});

test('FW5 a client that leaves ends its upstream connection', async () => {
  const up = await replica(() => undefined);
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  await until(() => up.peers[0]?.text.length !== undefined && up.peers[0].text !== '');
  assert.equal(gate.pool(up.port).inFlight, 1);
  client.socket.destroy();
  await until(() => up.peers[0]?.socket.destroyed === true);
  assert.deepEqual([gate.outcomes[0]?.kind, gate.ends[0]?.kind], ['client-gone', 'client-gone']);
  assert.equal(gate.pool(up.port).inFlight, 0);
});

test('FW5 a replica that breaks off inside an answer cuts the client', async () => {
  const up = await replica((peer) => {
    peer.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart');
    setImmediate(() => peer.socket.end());
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  await client.untilClosed();
  assert.equal(client.error, 'ECONNRESET');
  assert.deepEqual([gate.outcomes[0]?.kind, gate.ends[0]?.kind], ['cut', 'cut']);
});

test('IN2 FW1 an answer without a length is chunked for 1.1 and closed for 1.0', async () => {
  const up = await replica((peer) => {
    peer.socket.write('HTTP/1.0 200 OK\r\nA: b\r\n\r\nfirst');
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  await client.until(/first/u);
  up.peers[0]?.socket.end('second');
  const text = await client.until(/0\r\n\r\n$/u);
  assert.match(
    text,
    /\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n$/u,
  );
  const old = await gate.client();
  old.send('GET /a HTTP/1.0\r\nHost: h\r\n\r\n');
  await old.until(/first/u);
  up.peers[1]?.socket.end('second');
  await old.untilClosed();
  assert.match(old.text, /connection: close\r\n\r\nfirstsecond$/u);
});

test('FW1 a HTTP/1.0 client gets chunks without their sizes', async () => {
  const up = await replica((peer) =>
    peer.socket.write(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n',
    ),
  );
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send('GET /a HTTP/1.0\r\nHost: h\r\n\r\n');
  await client.untilClosed();
  assert.match(client.text, /\r\n\r\nabc$/u);
});

test('BF1 HEAD, 204 and 304 leave the connection in step', async () => {
  const answers = [
    'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n',
    'HTTP/1.1 204 No Content\r\n\r\n',
    'HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n',
    OK,
  ];
  const up = await replica((peer) => peer.socket.write(answers.shift() ?? ''));
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET.replace('GET', 'HEAD'));
  await client.until(/99\r\n\r\n$/u);
  client.send(GET);
  await client.until(/204 No Content\r\n\r\n$/u);
  client.send(GET);
  await client.until(/7\r\n\r\n$/u);
  client.send(GET);
  await client.until(/ok$/u);
  assert.equal(up.peers.length, 1);
});

test('Expect is answered by the gateway once the request is let in', async () => {
  const up = await replica((peer) => {
    if (peer.text.endsWith('hello')) peer.socket.write(OK);
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send('POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n');
  await client.until(/^HTTP\/1.1 100 Continue\r\n\r\n$/u);
  client.send('hello');
  await client.until(/ok$/u);
  assert.doesNotMatch(up.peers[0]?.text ?? '', /expect/iu);
});

test('interim answers pass to clients that know them, 100 does not', async () => {
  const up = await replica((peer) =>
    peer.socket.write(
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: l\r\n\r\n${OK}`,
    ),
  );
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  assert.match(
    await client.until(/ok$/u),
    /^HTTP\/1.1 103 Early Hints\r\nLink: l\r\n\r\nHTTP\/1.1 200 OK/u,
  );
});

test('CC2 an answer before the end of its request closes both sides, and is read', async () => {
  const up = await replica((peer) => {
    peer.socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig');
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(post(1_000_000, 'x'.repeat(1_000)));
  await client.until(/connection: close\r\n\r\nbig$/u);
  client.send('y'.repeat(1_000));
  await client.untilClosed();
  assert.equal(client.error, '');
  await until(() => up.peers[0]?.socket.destroyed === true);
});

test('UC1 bytes after the end of an answer close the connection, and reach nobody', async () => {
  const up = await replica((peer) =>
    peer.socket.write(`${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`),
  );
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  await client.until(/ok$/u);
  client.send(GET);
  await client.until(/ok.*ok$/su);
  assert.equal(up.peers.length, 2);
  assert.doesNotMatch(client.text, /evil/u);
});

test('UC1 bytes on an idle connection close it', async () => {
  const up = await replica((peer) => peer.socket.write(OK));
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  await client.until(/ok$/u);
  up.peers[0]?.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
  await until(() => up.peers[0]?.socket.destroyed === true && gate.pool(up.port).idle === 0);
  client.send(GET);
  await client.until(/ok.*ok$/su);
  assert.doesNotMatch(client.text, /evil/u);
});

test('UC1 an answer before any question is no answer', async () => {
  const up = await replica(
    () => undefined,
    (peer) => peer.socket.write(OK),
  );
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  // If both cross on the wire it cannot be told from an answer: HTTP/1.1 does not number them.
  await client.until(/^HTTP\/1.1 (?:502|200)/u);
  await until(() => gate.ends.length === 1 && gate.pool(up.port).inFlight === 0);
});

test('UC2 UC3 how an attempt ended is told apart', async () => {
  const kinds: Readonly<Record<string, (text: string) => boolean>> = {};
  assert.ok(kinds);
  const silent = await replica((peer) => peer.socket.end());
  const garbage = await replica((peer) => peer.socket.write('hello\r\n\r\n'));
  const torn = await replica((peer) => peer.socket.end('HTTP/1.1 200 OK\r\nConte'));
  const endless = await replica((peer) =>
    peer.socket.write(`HTTP/1.1 200 OK\r\nA: ${'b'.repeat(40_000)}`),
  );
  // The last to open, so that none of the others gets its port.
  const dead = await openReplica(() => undefined);
  await dead.close();
  const wants: [Replica, string, string, number][] = [
    [dead, 'unsent', 'ECONNREFUSED', 503],
    [silent, 'sent-no-response', 'eof', 502],
    [garbage, 'bad-response', 'bad-status-line', 502],
    [torn, 'bad-response', 'early-end', 502],
    [endless, 'bad-response', 'head-too-large', 502],
  ];
  for (const [one, kind, reason, status] of wants) {
    const gate = await rig(to(one));
    const client = await gate.client();
    client.send(GET);
    assert.match(await client.until(/\}$/u), new RegExp(`^HTTP/1.1 ${status}`, 'u'));
    assert.equal(gate.outcomes.length, 1);
    assert.deepEqual([gate.outcomes[0]?.kind, gate.outcomes[0]?.reason], [kind, reason]);
    assert.equal(gate.pool(one.port).inFlight, 0);
    // The client's connection goes on.
    client.clear();
    client.send(GET);
    await client.until(/\}$/u);
  }
});

test('UC3 an idle connection that the replica closes just then is told as reused', async () => {
  let count = 0;
  const up = await replica((peer) => {
    count += 1;
    if (count === 1) peer.socket.write(OK);
    else peer.socket.destroy();
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  await client.until(/ok$/u);
  client.send(GET);
  await client.until(/502/u);
  const { kind, reused, replayable } = gate.outcomes[1] ?? {};
  assert.deepEqual([kind, reused, replayable], ['sent-no-response', true, true]);
});

test('FW3 a failed request is sent again elsewhere, with its body and other lines', async () => {
  const broken = await replica((peer) => peer.socket.destroy());
  const good = await replica((peer) => {
    if (peer.text.endsWith('hello')) peer.socket.write(OK);
  });
  const gate = await rig({
    onRequestHead: (_exchange, rig) => forwardTo(rig.pool(broken.port)),
    onAttemptEnd: (_exchange, outcome) =>
      outcome.kind === 'answered'
        ? undefined
        : { kind: 'retry', to: gate.pool(good.port), add: 'x-again: 1\r\n' },
  });
  const client = await gate.client();
  client.send(post(5, 'hello'));
  await client.until(/ok$/u);
  assert.match(good.peers[0]?.text ?? '', /x-again: 1\r\n\r\nhello$/u);
  assert.doesNotMatch(good.peers[0]?.text ?? '', /x-added/u);
  assert.deepEqual(
    gate.outcomes.map(({ kind }) => kind),
    ['sent-no-response', 'answered'],
  );
  assert.equal(gate.ends[0]?.attempts, 2);
});

test('FW3 OG1 a body past the replay limit is never sent again', async () => {
  const broken = await replica((peer) => {
    if (peer.text.length > 2_000) peer.socket.destroy();
  });
  const gate = await rig({
    onRequestHead: (_exchange, rig) => forwardTo(rig.pool(broken.port), { replayBytesMax: 100 }),
    onAttemptEnd: () => ({ kind: 'retry', to: gate.pool(broken.port), add: '' }),
  });
  const client = await gate.client();
  client.send(post(3_000, 'x'.repeat(3_000)));
  await client.until(/HTTP\/1.1 502/u);
  assert.equal(gate.outcomes.length, 1);
  assert.equal(gate.outcomes[0]?.replayable, false);
});

test('FW3 hooks that never give up are given up on', async () => {
  const dead = await openReplica(() => undefined);
  await dead.close();
  const gate = await rig({
    onRequestHead: (_exchange, rig) => forwardTo(rig.pool(dead.port)),
    onAttemptEnd: () => ({ kind: 'retry', to: gate.pool(dead.port), add: '' }),
  });
  const client = await gate.client();
  client.send(GET);
  await client.until(/^HTTP\/1.1 503/u);
  assert.equal(gate.outcomes.length, 32);
});

test('OG2 a body that waits for its replica is not overwritten by later reads', async () => {
  const up = await replica((peer) => {
    if (/a{20}b{20}c{20}$/u.test(peer.text)) peer.socket.write(OK);
  });
  const held = Promise.withResolvers<void>();
  const gate = await rig({
    async onRequestHead(_exchange, rig) {
      await held.promise;
      return forwardTo(rig.pool(up.port));
    },
  });
  const client = await gate.client();
  client.send(post(60, 'a'.repeat(20)));
  client.send('b'.repeat(20));
  const other = await gate.client();
  for (let i = 0; i < 5; i += 1) other.send(GET.replace('/a', `/${'z'.repeat(100)}`));
  held.resolve();
  client.send('c'.repeat(20));
  await client.until(/ok$/u);
});

test('HK1 an error answer can be dropped for a try elsewhere', async () => {
  const bad = await replica((peer) =>
    peer.socket.write('HTTP/1.1 500 x\r\nContent-Length: 3\r\n\r\nbad'),
  );
  const good = await replica((peer) => peer.socket.write(OK));
  const gate = await rig({
    onRequestHead: (_exchange, rig) => forwardTo(rig.pool(bad.port)),
    onAnswerHead: (_exchange, status) => (status === 500 ? 'discard' : 'pass'),
    onAttemptEnd: (_exchange, { kind }) =>
      kind === 'discarded' ? { kind: 'retry', to: gate.pool(good.port), add: '' } : undefined,
  });
  const client = await gate.client();
  for (let i = 0; i < 3; i += 1) {
    client.clear();
    client.send(GET);
    assert.equal(await client.until(/ok$/u), OK);
  }
  assert.deepEqual([bad.peers.length, good.peers.length], [1, 1]);
  assert.deepEqual(
    gate.outcomes.slice(0, 2).map(({ kind }) => kind),
    ['discarded', 'answered'],
  );
  assert.equal(gate.ends.length, 3);
});

test('HK2 while hooks think, the client waits; if it leaves, their answer is ignored', async () => {
  const up = await replica((peer) => peer.socket.write(OK));
  const held = Promise.withResolvers<void>();
  const gate = await rig({
    async onRequestHead(_exchange, rig) {
      await held.promise;
      return forwardTo(rig.pool(up.port));
    },
  });
  const gone = await gate.client();
  gone.send(GET);
  const stays = await gate.client();
  stays.send(GET + GET);
  await until(() => gate.server.connections === 2);
  gone.socket.destroy();
  await until(() => gate.ends.length === 1);
  held.resolve();
  await stays.until(/ok.*ok$/su);
  assert.deepEqual(
    gate.ends.map(({ kind }) => kind),
    ['client-gone', 'answered', 'answered'],
  );
  assert.equal(gate.outcomes.length, 2);
});

test('HK3 the head is still right for the hooks when later requests were read', async () => {
  const up = await replica((peer) => setTimeout(() => peer.socket.write(OK), 5));
  const seen: string[] = [];
  const gate = await rig({
    onRequestHead: (_exchange, rig) => forwardTo(rig.pool(up.port)),
    onAttemptEnd: ({ head }) => void seen.push(`${head.method} ${head.target} ${head.host}`),
  });
  const clients = await Promise.all(Array.from({ length: 8 }, () => gate.client()));
  clients.forEach((client, i) =>
    client.send(`GET /${'x'.repeat(i)} HTTP/1.1\r\nHost: h${i}\r\n\r\n`),
  );
  await Promise.all(clients.map((client) => client.until(/ok$/u)));
  const wanted = clients.map((_, i) => `GET /${'x'.repeat(i)} h${i}`);
  assert.deepEqual(seen.sort(), wanted.sort());
});

test('HK1 a hook that throws costs one request', async () => {
  const gate = await rig({
    onRequestHead: ({ head }) => {
      if (head.target === '/a') throw new Error('planted');
      return { kind: 'answer', status: 200, headers: '', body: 'fine' };
    },
  });
  const client = await gate.client();
  client.send(GET);
  await client.until(/^HTTP\/1.1 500.*\}$/su);
  client.clear();
  client.send(GET.replace('/a', '/b'));
  await client.until(/fine$/u);
  assert.equal(gate.bugs.length, 1);
});

test('an attempt can be abandoned and tried elsewhere', async () => {
  const hung = await replica(() => undefined);
  const good = await replica((peer) => peer.socket.write(OK));
  const exchanges: { abandon(reason: string): void }[] = [];
  const gate = await rig({
    onRequestHead: (exchange, rig) => {
      exchanges.push(exchange);
      return forwardTo(rig.pool(hung.port));
    },
    onAttemptEnd: (_exchange, { kind }) =>
      kind === 'abandoned' ? { kind: 'retry', to: gate.pool(good.port), add: '' } : undefined,
  });
  const client = await gate.client();
  client.send(GET);
  await until(() => hung.peers[0]?.text.endsWith('\r\n\r\n') === true);
  exchanges[0]?.abandon('hung');
  await client.until(/ok$/u);
  await until(() => hung.peers[0]?.socket.destroyed === true);
  assert.equal(gate.pool(hung.port).inFlight, 0);
});

test('DL1 a replica that is silent too long is a timeout, by attempt and in total', async () => {
  const up = await replica(() => undefined);
  for (const [change, reason] of [
    [{ headTimeoutMs: 60 }, 'head'],
    [{ totalTimeoutMs: 60 }, 'total'],
  ] as const) {
    const gate = await rig(to(up, change));
    const client = await gate.client();
    client.send(GET);
    await client.until(/^HTTP\/1.1 504/u);
    assert.deepEqual([gate.outcomes[0]?.kind, gate.outcomes[0]?.reason], ['timeout', reason]);
  }
});

test('DL1 an answer that stops inside its body is cut', async () => {
  const up = await replica((peer) =>
    peer.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart'),
  );
  const gate = await rig(to(up, { bodyIdleMs: 60 }));
  const client = await gate.client();
  client.send(GET);
  await client.untilClosed();
  assert.deepEqual([gate.outcomes[0]?.kind, gate.outcomes[0]?.reason], ['timeout', 'body']);
});

test('CC3 slow heads and bodies are 408, idle connections are closed', async () => {
  const up = await replica(() => undefined);
  const limits = { headTimeoutMs: 80, bodyTimeoutMs: 80, keepAliveMs: 80 };
  const gate = await rig(to(up), { limits });
  const slowHead = await gate.client();
  slowHead.send('GET / HTTP/1.1\r\nHos');
  const slowBody = await gate.client();
  slowBody.send(post(10, 'abc'));
  const idle = await gate.client();
  await slowHead.until(/^HTTP\/1.1 408.*head-timeout/su);
  await slowBody.until(/^HTTP\/1.1 408.*body-timeout/su);
  await idle.untilClosed();
  assert.equal(idle.text, '');
  await until(() => gate.pool(up.port).inFlight === 0);
});

test('CC2 a refusal is answered with its code, the connection ends without a reset', async () => {
  const gate = await rig({
    onRequestHead: () => ({ kind: 'answer', status: 200, headers: '', body: '' }),
  });
  const client = await gate.client();
  client.send(
    `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${GET}`,
  );
  client.send('x'.repeat(10_000));
  await client.untilClosed();
  assert.match(client.text, /^HTTP\/1.1 400 .*connection: close.*length-and-coding/su);
  assert.equal(client.text.match(/HTTP\/1.1/gu)?.length, 1);
  assert.equal(client.error, '');
  assert.equal(gate.refusals[0]?.code, 'length-and-coding');
});

test('CC2 a bad chunk ends the exchange on both sides', async () => {
  const up = await replica(() => undefined);
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
  await until(() => up.peers[0]?.text.endsWith('hello\r\n') === true);
  client.send('zz\r\n');
  await client.until(/^HTTP\/1.1 400.*bad-chunk-size/su);
  await until(() => up.peers[0]?.socket.destroyed === true);
  assert.equal(gate.ends[0]?.kind, 'refused');
});

test('a body past its limit is 413, by its length or by its bytes', async () => {
  const up = await replica(() => undefined);
  const gate = await rig(to(up, { bodyBytesMax: 10 }));
  const sized = await gate.client();
  sized.send(post(11, ''));
  await sized.until(/^HTTP\/1.1 413/u);
  const chunked = await gate.client();
  chunked.send(
    'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n' +
      '8\r\n12345678\r\n8\r\n12345678\r\n',
  );
  await chunked.until(/^HTTP\/1.1 413/u);
});

test('a WebSocket is switched and tunnelled both ways, and counted until it ends', async () => {
  const up = await replica((peer, chunk) => {
    if (chunk.startsWith('GET')) {
      peer.socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n' +
          'Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhi',
      );
    } else peer.socket.write(`echo ${chunk}`);
  });
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(
    'GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Key: k\r\n\r\n',
  );
  const text = await client.until(/\r\n\r\nhi$/u);
  assert.match(text, /^HTTP\/1.1 101 .*connection: upgrade\r\nupgrade: websocket/su);
  assert.match(up.peers[0]?.text ?? '', /connection: upgrade\r\nupgrade: websocket\r\n/u);
  client.send('HEAD / HTTP/1.1\r\n\r\n');
  await client.until(/echo HEAD \/ HTTP\/1.1\r\n\r\n$/u);
  client.send('ping');
  await client.until(/ping$/u);
  assert.equal(gate.pool(up.port).inFlight, 1);
  up.peers[0]?.socket.end();
  await client.untilClosed();
  assert.equal(gate.ends[0]?.status, 101);
  assert.equal(gate.pool(up.port).inFlight, 0);
});

test('a switch that nobody asked for is a bad answer; h2c is never asked for', async () => {
  const up = await replica((peer) =>
    peer.socket.write('HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n'),
  );
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(
    'GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n' +
      'Upgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n',
  );
  await client.until(/^HTTP\/1.1 502.*unasked-upgrade/su);
  assert.doesNotMatch(up.peers[0]?.text ?? '', /upgrade|h2c|settings/iu);
});

test('IN1 events of a stream pass as they come', async () => {
  const up = await replica((peer) =>
    peer.socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n'),
  );
  const gate = await rig(to(up));
  const client = await gate.client();
  client.send(GET);
  await client.until(/event-stream/u);
  for (let i = 0; i < 3; i += 1) {
    client.clear();
    up.peers[0]?.socket.write(`data: ${i}\n\n`);
    await client.until(new RegExp(`data: ${i}\n\n`, 'u'));
  }
});

test('UP1 past its connections requests wait in turn, past that they are told full', async () => {
  const up = await replica(() => undefined);
  const gate = await rig(to(up));
  const pool = gate.pool(up.port, { connectionsMax: 1, waitingMax: 2 });
  const clients = await Promise.all([1, 2, 3, 4].map(() => gate.client()));
  for (const [i, client] of clients.entries()) {
    client.send(GET);
    await until(() => gate.server.connections > 0 && (pool.inFlight === i + 1 || i === 3));
  }
  await clients[3]?.until(/^HTTP\/1.1 503/u);
  assert.deepEqual([pool.connections, pool.waiting, pool.inFlight], [1, 2, 3]);
  for (let i = 0; i < 3; i += 1) {
    await until(() => heads(up.peers[0]?.text ?? '') === i + 1);
    up.peers[0]?.socket.write(OK);
    await clients[i]?.until(/ok$/u);
  }
  assert.deepEqual([pool.connections, pool.waiting, pool.inFlight], [1, 0, 0]);
});

test('UP2 FW2 in-flight counts return to zero after every kind of end', async () => {
  let n = 0;
  const up = await replica((peer) => {
    n += 1;
    if (n % 5 === 0) peer.socket.destroy();
    else if (n % 5 === 1) peer.socket.write(OK);
    else if (n % 5 === 2) peer.socket.write('junk\r\n');
    else if (n % 5 === 3) peer.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx');
  });
  const gate = await rig(to(up, { headTimeoutMs: 100 }));
  const clients = await Promise.all(Array.from({ length: 25 }, () => gate.client()));
  for (const client of clients) client.send(GET);
  await until(() => gate.ends.length === 25);
  const pool = gate.pool(up.port);
  assert.deepEqual([pool.inFlight, pool.waiting], [0, 0]);
  assert.equal(gate.outcomes.length, 25);
});

test('UP5 who waits longest is next, whatever the partition of the free connection', async () => {
  const up = await replica(() => undefined);
  const gate = await rig({
    onRequestHead: ({ head }, rig) => ({ ...forwardTo(rig.pool(up.port)), partition: head.host }),
  });
  const pool = gate.pool(up.port, { connectionsMax: 1, waitingMax: 2 });
  const clients = await Promise.all(['a', 'b', 'a'].map(() => gate.client()));
  for (const [i, host] of ['a', 'b', 'a'].entries()) {
    clients[i]?.send(`GET /${i} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await until(() => pool.inFlight === i + 1);
  }
  for (let i = 0; i < 3; i += 1) {
    await until(() => heads(up.peers[i]?.text ?? '') === 1);
    assert.match(up.peers[i]?.text ?? '', new RegExp(`^GET /${i} `, 'u'));
    up.peers[i]?.socket.write(OK);
    await clients[i]?.until(/ok$/u);
  }
  assert.deepEqual([pool.connections, pool.waiting, pool.inFlight], [1, 0, 0]);
});

test('UP5 a connection made for one that does not wait any longer is let go unused', async () => {
  const up = await replica(() => undefined);
  const gate = await rig(to(up));
  const pool = gate.pool(up.port, { connectionsMax: 1 });
  const told: string[] = [];
  const carried = (name: string): Carried => ({
    toHead: false,
    strip: false,
    requestDone: true,
    asksWebSocket: false,
    bodyIdleMs: 1_000,
    onReady: () => told.push(`${name} ready`),
    onFail: () => told.push(`${name} failed`),
    onSpan: () => undefined,
    onInterim: () => undefined,
    onSwitch: () => undefined,
    onHead: () => undefined,
    onPause: () => undefined,
    onLast: () => undefined,
    onEnd: () => undefined,
    onDrain: () => undefined,
  });
  const second = carried('second');
  const first = pool.take(carried('first'), 'a');
  assert.ok(typeof first === 'object');
  assert.equal(pool.take(second, 'b'), 'waits');
  await until(() => told.length === 1);
  first.release();
  assert.deepEqual([pool.connections, pool.waiting], [1, 0]);
  pool.leave(second);
  assert.deepEqual([pool.connections, told], [0, ['first ready']]);
});

test('UP4 partitions never share a connection', async () => {
  const up = await replica((peer) => peer.socket.write(OK));
  const gate = await rig({
    onRequestHead: ({ head }, rig) => ({ ...forwardTo(rig.pool(up.port)), partition: head.host }),
  });
  const client = await gate.client();
  for (const host of ['a', 'b', 'a', 'b', 'c', 'a']) {
    client.clear();
    client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await client.until(/ok$/u);
  }
  const hosts = up.peers.map(({ text }) => new Set(text.match(/Host: (.)/gu)));
  assert.deepEqual(
    hosts.map((set) => [...set]),
    [['Host: a'], ['Host: b'], ['Host: c']],
  );
});

test('UC4 answers in many pieces from many replicas are not mixed up', async () => {
  const up = await replica((peer, chunk) => {
    const mark = /GET \/(\w+)/u.exec(chunk)?.[1] ?? '';
    const body = mark.repeat(60).slice(0, 60);
    const text = `HTTP/1.1 200 OK\r\nX-Mark: ${mark}\r\nContent-Length: 60\r\n\r\n${body}`;
    let at = 0;
    const more = (): void => {
      peer.socket.write(text.slice(at, at + 7));
      at += 7;
      if (at < text.length) setImmediate(more);
    };
    more();
  });
  const gate = await rig(to(up));
  const clients = await Promise.all(Array.from({ length: 10 }, () => gate.client()));
  clients.forEach((client, i) => client.send(GET.replace('/a', `/${i}`)));
  const texts = await Promise.all(
    clients.map((client, i) => client.until(new RegExp(`\\r\\n\\r\\n${i}{60}$`, 'u'))),
  );
  texts.forEach((text, i) => assert.match(text, new RegExp(`X-Mark: ${i}\r\n`, 'u')));
});

test('SV1 stop lets what is inside end, and ends the idle', async () => {
  const up = await replica(() => undefined);
  const gate = await rig(to(up));
  const idle = await gate.client();
  const busy = await gate.client();
  busy.send(GET);
  await until(() => up.peers[0]?.text.endsWith('\r\n\r\n') === true);
  const stopped = gate.server.stop(10_000);
  await idle.untilClosed();
  up.peers[0]?.socket.write(OK);
  assert.match(await busy.until(/ok$/u), /connection: close/u);
  await stopped;
  assert.equal(gate.server.connections, 0);
});

test('SV2 past its connections a server closes new ones', async () => {
  const gate = await rig(
    { onRequestHead: () => ({ kind: 'answer', status: 204, headers: '', body: '' }) },
    { connectionsMax: 1 },
  );
  const first = await gate.client();
  first.send(GET);
  await first.until(/204/u);
  const second = await gate.client();
  await second.untilClosed();
  assert.equal(second.text, '');
});
