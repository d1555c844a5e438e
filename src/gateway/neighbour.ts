// Who listens on our port already? `reusePort` lets any process of this user share it, another
// installation's gateway too, and each would get a part of the other's requests. So who answers
// there must be one of us: it knows the print of our state folder.
//
//   NB1. A worker is recognised whatever its protocol was set to before a change: plain or TLS,
//        behind a load balancer or not.
//   NB2. Where client certificates are required nobody can ask: then it must show our certificate.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { TlsSettings } from './tls/settings.ts';

export interface Neighbourhood {
  readonly host: string;
  readonly port: number;
  readonly instance: string;
  readonly tls: TlsSettings | undefined;
}

export type Neighbour = 'nobody' | 'ours' | 'foreign';

const ASK_MS = 1_000;
const ANSWER_BYTES_MAX = 16_384;
/** A PROXY header that says: I speak for myself. */
const LOCAL = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');
const ASK =
  'GET /__kintsugi/health HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\naccept: */*\r\n\r\n';

export async function neighbourAt(where: Neighbourhood): Promise<Neighbour> {
  if (where.port === 0 || !(await somebodyListens(where))) return 'nobody';
  for (const header of [undefined, LOCAL]) {
    for (const isTls of [false, true]) {
      const said = await ask(where, header, isTls);
      if (said.certificate !== undefined && isOwn(said.certificate, where.tls)) return 'ours';
      if (instanceOf(said.text) === where.instance) return 'ours';
    }
  }
  return 'foreign';
}

interface Said {
  readonly text: string;
  /** Shown by who would not let us in. */
  readonly certificate: X509Certificate | undefined;
}

function ask(where: Neighbourhood, header: Buffer | undefined, isTls: boolean): Promise<Said> {
  return new Promise((resolve) => {
    const { host, port } = where;
    const raw = connect({ host, port });
    if (header !== undefined) raw.write(header);
    // Whoever it is: it is asked who it is, and told nothing.
    const secure = isTls ? connectTls({ socket: raw, rejectUnauthorized: false }) : undefined;
    const socket: Socket = secure ?? raw;
    let text = '';
    let certificate: X509Certificate | undefined;
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      raw.destroy();
      resolve({ text, certificate: text === '' ? certificate : undefined });
    };
    const timer = setTimeout(done, ASK_MS);
    secure?.once('secureConnect', () => (certificate = shownBy(secure)));
    raw.on('error', done);
    socket.on('error', done);
    socket.once('close', done);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (text.length > ANSWER_BYTES_MAX) done();
    });
    socket.write(ASK);
  });
}

function shownBy(socket: TLSSocket): X509Certificate | undefined {
  return socket.getPeerX509Certificate();
}

function isOwn(shown: X509Certificate, tls: TlsSettings | undefined): boolean {
  if (tls?.clientAuth !== 'required') return false;
  return tls.certificates.some(({ cert }) => {
    try {
      // The same key: the certificate may be an older one.
      return new X509Certificate(readFileSync(cert)).publicKey.equals(shown.publicKey);
    } catch {
      return false;
    }
  });
}

function instanceOf(answer: string): unknown {
  try {
    const body: unknown = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
    return typeof body === 'object' && body !== null && 'instance' in body && body.instance;
  } catch {
    return undefined;
  }
}

function somebodyListens({ host, port }: Neighbourhood): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 500 });
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
    socket.once('timeout', () => done(false));
  });
}
