// The same small requests over TLS 1.3 with keep-alive, the same certificate (P-256) for all.
import { connect } from 'node:tls';
import type { RowReport } from '../../heal/bench.ts';
import { GATEWAY_CORE, unmeasured } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { closedBy } from '../closed.ts';
import { haproxyTls } from '../haproxy.ts';
import { openKintsugi } from '../kintsugi.ts';
import { nginxTls } from '../nginx.ts';
import type { Peer } from '../peers.ts';
import { bearer, openUpstream, playRates } from './plain.ts';
import type { Contender } from './plain.ts';
import { NO_LOG, TLS_ENV } from '../settings.ts';

const WANTED = 0.8;

function skipped(reason: string): RowReport {
  return {
    name: 'tls',
    title: 'TLS 1.3 with keep-alive',
    table: [],
    bars: [unmeasured('kintsugi ÷ nginx', `≥ ${WANTED.toFixed(2)}`, `skipped: ${reason}`)],
    notes: [],
    inside: [],
    data: { skipped: reason },
  };
}

/** Whether somebody speaks TLS there. */
function speaksTls(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(3_000, () => done(false));
    socket.once('secureConnect', () => done(true));
    socket.once('error', () => done(false));
  });
}

export async function tlsRow(bench: GatewayBench): Promise<RowReport> {
  const certificate = bench.certificate();
  if (certificate === undefined) return skipped('no openssl to make a certificate with');
  if (closedBy !== 'wrk') return skipped('no wrk, which is the generator with TLS');
  const upstream = await openUpstream(bench);
  const setup = { core: GATEWAY_CORE, replicaPorts: [upstream.port], env: TLS_ENV(certificate) };
  const kintsugi = await openKintsugi({ ...setup, observe: NO_LOG });
  if (!(await speaksTls(kintsugi.port))) return skipped('the worker does not speak TLS');
  const tls = true;
  const fields = bearer(kintsugi.key());
  const peers: Peer[] = [];
  if (bench.missing('nginx') === undefined) {
    peers.push(await nginxTls(GATEWAY_CORE, upstream.port, certificate));
  }
  if (bench.missing('haproxy') === undefined) {
    peers.push(await haproxyTls(GATEWAY_CORE, upstream.port, certificate));
  }
  const own: Contender = { peer: kintsugi, name: 'kintsugi', fields, tls };
  const logging = await openKintsugi(setup);
  const logged: Contender = {
    peer: logging,
    name: 'kintsugi + log',
    fields: bearer(logging.key()),
    tls,
  };
  const others = peers.map((peer): Contender => ({ peer, name: peer.name, fields, tls }));
  return playRates(bench, upstream, [...others, own, logged], {
    name: 'tls',
    title: 'TLS 1.3 with keep-alive on one core; without an access log, as the peers have none',
    own: 'kintsugi',
    wanted: [['nginx', WANTED]],
    notes: [
      '"+ log": with everything on',
      'P-256 certificate; connections are kept, so handshakes do not count',
    ],
  });
}
