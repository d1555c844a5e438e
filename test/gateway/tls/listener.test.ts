// Does TLS in front keep out what is not TLS, and let in what is, with nobody able to hold it up?
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect as connectPlain } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { after, before, test } from 'node:test';
import { openReplica, until } from '../http/rig.ts';
import { forwardTo } from '../http/rig.ts';
import { Direct } from '../../../src/gateway/tls/direct.ts';
import { ANSWER, dns, GET, openAuthority, openClient, openFront } from './rig.ts';
import type { Authority, TestFront } from './rig.ts';
import type { CertificateFiles } from '../../../src/gateway/tls/settings.ts';

let authority: Authority;
let one: CertificateFiles;

before(() => {
  authority = openAuthority();
  one = authority.issue('one');
});
after(() => authority.close());

async function withFront(
  options: Parameters<typeof openFront>[2],
  act: (front: TestFront) => Promise<void>,
): Promise<void> {
  const front = await openFront(authority, [one], options);
  try {
    await act(front);
  } finally {
    await front.close();
  }
  assert.deepEqual(front.bugs, []);
}

/** What a plain connection gets for these bytes. */
async function plainTalk(port: number, bytes: Buffer | string): Promise<string> {
  const socket = connectPlain({ port, host: '127.0.0.1' });
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.write(bytes);
  await closed;
  return text;
}

test('HTTP/1.1 over TLS 1.3: keep-alive and early requests in order, scheme https', async () => {
  await withFront({}, async (front) => {
    const client = await openClient(front.port, authority, { ALPNProtocols: ['http/1.1'] });
    assert.equal(client.socket.getProtocol(), 'TLSv1.3');
    assert.equal(client.socket.alpnProtocol, 'http/1.1');
    client.socket.write(GET + GET);
    await client.until(/hello[^]*hello/u);
    client.socket.write(GET);
    await client.until(/hello[^]*hello[^]*hello/u);
    assert.equal(front.views[0]?.scheme, 'https');
    assert.equal(front.views[0]?.remoteAddress, '127.0.0.1');
    client.socket.destroy();
  });
});

test('TLS 1.2 only with forward secrecy and authenticated ciphers, or not at all', async () => {
  await withFront({}, async (front) => {
    const client = await openClient(front.port, authority, { maxVersion: 'TLSv1.2' });
    assert.match(client.socket.getCipher().name, /^ECDHE-ECDSA-.*(?:GCM|POLY1305)/u);
    client.socket.destroy();
    const old = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256:AES128-SHA' } as const;
    await assert.rejects(openClient(front.port, authority, old), /no handshake/u);
  });
  await withFront({ minVersion: '1.3' }, async (front) => {
    await assert.rejects(openClient(front.port, authority, { maxVersion: 'TLSv1.2' }), /VERSION/u);
  });
});

test('AR2. plain HTTP on the TLS port gets one plain 400; other bytes are cut', async () => {
  await withFront({ setup: { handshakeMs: 200 } }, async (front) => {
    const answer = await plainTalk(front.port, 'GET /secret HTTP/1.1\r\nHost: h\r\n\r\n');
    assert.match(answer, /^HTTP\/1\.1 400 [^]*connection: close[^]*"reason":"plain-http"/u);
    assert.doesNotMatch(answer, /secret/u);
    assert.match(await plainTalk(front.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /plain-http/u);
    for (const bytes of ['\0\0\0\0', '\x16\x03\x01\x00\x02\x01\x00', '\xff'.repeat(5_000)]) {
      const said = await plainTalk(front.port, Buffer.from(bytes, 'latin1'));
      assert.doesNotMatch(said, /HTTP/u);
    }
    assert.equal(front.views.length, 0);
  });
});

test('AR1. half a handshake ends in time, however its bytes trickle in', async () => {
  await withFront({ setup: { handshakeMs: 150 } }, async (front) => {
    const hello = Buffer.from('1603010200010001fc0303', 'hex');
    const socket = connectPlain({ port: front.port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    let at = 0;
    const drip = setInterval(() => {
      socket.write(hello.subarray(at % hello.length, (at % hello.length) + 1));
      at += 1;
    }, 20);
    await new Promise<void>((resolve) => socket.once('close', () => resolve()));
    clearInterval(drip);
    assert.match(front.arrivals.join(), /127\.0\.0\.1 slow/u);
    // One who says nothing at all, too.
    await plainTalk(front.port, '');
    assert.equal(front.arrivals.length, 2);
  });
});

test('TL1. handshakes in flight have a limit, and leave it as they end', async () => {
  await withFront({ setup: { handshakesMax: 2 } }, async (front) => {
    const idle = [1, 2].map(() => connectPlain({ port: front.port, host: '127.0.0.1' }));
    for (const socket of idle) {
      await new Promise((resolve) => socket.once('connect', resolve));
      socket.write(Buffer.from('1603', 'hex'));
    }
    await assert.rejects(openClient(front.port, authority), /no handshake/u);
    await until(() => front.arrivals.some((said) => said.includes('handshakes-full')));
    for (const socket of idle) socket.destroy();
    await until(() => front.arrivals.filter((said) => said.includes('closed')).length === 2);
    const client = await openClient(front.port, authority);
    client.socket.write(GET);
    await client.until(/hello/u);
    client.socket.destroy();
  });
});

test('TL1. a TLS 1.2 client cannot ask for another handshake later', async () => {
  await withFront({}, async (front) => {
    const client = await openClient(front.port, authority, { maxVersion: 'TLSv1.2' });
    client.socket.write(GET);
    await client.until(/hello/u);
    const answer = await new Promise((resolve) => {
      client.socket.renegotiate({ rejectUnauthorized: true }, resolve);
      client.socket.once('error', resolve);
    });
    assert.match(String(answer), /renegotiation/iu);
  });
});

test('a wrong protocol by ALPN is refused in the handshake', async () => {
  await withFront({}, async (front) => {
    const client = openClient(front.port, authority, { ALPNProtocols: ['smtp'] });
    await assert.rejects(client, /ALPN|no handshake/u);
  });
});

test('SV2. handshakes count as connections', async () => {
  await withFront({ setup: { connectionsMax: 1 } }, async (front) => {
    const client = await openClient(front.port, authority);
    client.socket.write(GET);
    await client.until(/hello/u);
    await assert.rejects(openClient(front.port, authority), /no handshake/u);
    client.socket.destroy();
  });
});

test('SV1. a stop lets the exchange inside end, closes idle ones and cuts handshakes', async () => {
  const gate = Promise.withResolvers<void>();
  const front = await openFront(authority, [one], {
    onRequestHead: async () => {
      await gate.promise;
      return ANSWER;
    },
  });
  const busy = await openClient(front.port, authority);
  const idle = await openClient(front.port, authority);
  const half = connectPlain({ port: front.port, host: '127.0.0.1' });
  half.on('error', () => undefined);
  half.write(Buffer.from('1603', 'hex'));
  busy.socket.write(GET);
  await until(() => front.views.length === 1 && front.server.connections === 2);
  const stopped = front.server.stop(5_000);
  await idle.untilClosed();
  gate.resolve();
  await busy.until(/connection: close[^]*hello/u);
  await stopped;
  half.destroy();
});

test('SE1. DT1. answers over TLS keep their bytes and their order', async () => {
  const replica = await openReplica((peer, chunk) => {
    const path = /GET (\S+)/u.exec(chunk)?.[1] ?? '';
    const body = path.repeat(400);
    peer.socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  });
  await withFront(
    { onRequestHead: (_view, front) => forwardTo(front.pool(replica.port)) },
    async (front) => {
      const clients = await Promise.all([1, 2, 3, 4].map(() => openClient(front.port, authority)));
      await Promise.all(
        clients.map(async (client, c) => {
          // Not read for a while: what was written waits in the socket.
          client.socket.pause();
          for (let i = 0; i < 40; i += 1) {
            client.socket.write(`GET /c${c}r${i}- HTTP/1.1\r\nHost: api.example\r\n\r\n`);
          }
          await until(() => front.views.length > 100);
          client.socket.resume();
          await client.until(new RegExp(`(?:/c${c}r39-){400}$`, 'u'));
          const order = Array.from({ length: 40 }, (_, i) => `/c${c}r${i}-`.repeat(400));
          const bodies = client.text.split(/HTTP\/1\.1 200 OK[^]*?\r\n\r\n/u).slice(1);
          assert.deepEqual(bodies, order);
          client.socket.destroy();
        }),
      );
    },
  );
  await replica.close();
});

test('SE2. an answer that its replica breaks off is cut, not ended', async () => {
  const replica = await openReplica((peer) => {
    peer.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart');
    setTimeout(() => peer.socket.destroy(), 20);
  });
  await withFront(
    { onRequestHead: (_view, front) => forwardTo(front.pool(replica.port)) },
    async (front) => {
      const client = await openClient(front.port, authority);
      client.socket.write(GET);
      await client.until(/part/u);
      await client.untilClosed();
      assert.equal(client.error, 'ECONNRESET');
    },
  );
  await replica.close();
});

test('DT2. without the inside that is known there is no direct way', () => {
  const user = { onBytes: () => undefined, onDrain: () => undefined };
  for (const handle of [undefined, null, {}, { writeBuffer: 1, useUserBuffer: 1 }]) {
    const socket = { readableLength: 0, writableLength: 0, _handle: handle };
    assert.equal(Direct.of(socket as unknown as TLSSocket, user), undefined);
  }
});

test('DT3. the end of a client and broken records end its connection', async () => {
  await withFront({}, async (front) => {
    const client = await openClient(front.port, authority);
    client.socket.write(GET);
    await client.until(/hello/u);
    client.socket.end();
    await client.untilClosed();
    await until(() => front.server.connections === 0);
    const raw = connectPlain({ port: front.port, host: '127.0.0.1' });
    const second = await openClient(front.port, authority, { socket: raw });
    second.socket.write(GET);
    await second.until(/hello/u);
    raw.write('no record at all, just some text that is long enough');
    await until(() => front.server.connections === 0);
    raw.destroy();
  });
});

test('SE3. cut from inside its own reads, a TLS connection ends without harm', async () => {
  const replica = await openReplica((peer, chunk) => {
    if (chunk.includes('POST')) {
      peer.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart');
    }
  });
  await withFront(
    { onRequestHead: (_view, front) => forwardTo(front.pool(replica.port)) },
    async (front) => {
      for (let i = 0; i < 30; i += 1) {
        const client = await openClient(front.port, authority);
        const head = 'POST /up HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n';
        client.socket.write(`${head}5\r\nhello\r\n`);
        await client.until(/part/u);
        client.socket.write('not a chunk');
        await client.untilClosed();
        assert.match(client.error, /^(?:ECONNRESET|EPIPE)$/u);
      }
    },
  );
  await replica.close();
});

test('large bodies pass both ways over TLS, at the pace of the slower side', async () => {
  const size = 8_000_000;
  const hash = createHash('sha256');
  let got = 0;
  const replica = await openReplica((peer, chunk) => {
    let part = chunk;
    if (got === 0) part = chunk.slice(chunk.indexOf('\r\n\r\n') + 4);
    got += part.length;
    hash.update(part, 'latin1');
    if (got < size) return;
    peer.socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`);
    peer.socket.write(Buffer.alloc(size, 'b'));
  });
  await withFront(
    { onRequestHead: (_view, front) => forwardTo(front.pool(replica.port)) },
    async (front) => {
      const client = await openClient(front.port, authority);
      const body = Buffer.alloc(size, 'abcdefg');
      const head = `POST /up HTTP/1.1\r\nHost: api.example\r\nContent-Length: ${size}\r\n\r\n`;
      client.socket.write(head);
      client.socket.write(body);
      await until(() => client.text.length > size);
      assert.equal(hash.digest('hex'), createHash('sha256').update(body).digest('hex'));
      assert.equal(client.text.slice(client.text.indexOf('\r\n\r\n') + 4), 'b'.repeat(size));
      client.socket.destroy();
    },
  );
  await replica.close();
});

test('several certificates: by exact name, by wildcard, and the first for all others', async () => {
  const two = authority.issue('two', { alt: [dns('two.example'), dns('*.two.example')] });
  const three = {
    ...authority.issue('three', { alt: [dns('three.example')] }),
    hosts: ['x.three'],
  };
  const front = await openFront(authority, [one, two, three]);
  const served = async (servername: string): Promise<unknown> => {
    const options = { servername, checkServerIdentity: () => undefined };
    const client = await openClient(front.port, authority, options);
    const { CN } = client.socket.getPeerCertificate().subject;
    client.socket.destroy();
    return CN;
  };
  assert.equal(await served('api.example'), 'one');
  assert.equal(await served('TWO.example'), 'two');
  assert.equal(await served('a.two.example'), 'two');
  assert.equal(await served('a.b.two.example'), 'one');
  assert.equal(await served('three.example'), 'one', 'hosts of the manifest are the whole list');
  assert.equal(await served('x.three'), 'three');
  assert.equal(await served('nobody.example'), 'one');
  await front.close();
});
