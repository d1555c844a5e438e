// How is haproxy set up, as whom? One thread, keep-alive and reuse of connections on both sides.
// For the faults once as most people run it and once tuned as far as it goes; a POST is never sent
// twice in either: haproxy cannot tell which of them may be.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../heal/processes.ts';
import type { Certificate } from './bench.ts';
import { freePort, peerOf, start, untilListening, which } from './peers.ts';
import type { Peer } from './peers.ts';

async function startHaproxy(name: string, core: number, config: string): Promise<Peer> {
  const port = await freePort();
  const path = join(makeFolder(), 'haproxy.cfg');
  const whole = `global
  maxconn 9900
  nbthread 1
${config}`;
  writeFileSync(path, whole.replaceAll('PORT', String(port)));
  const child = start(core, [which('haproxy') ?? 'haproxy', '-q', '-db', '-f', path]);
  await untilListening(port, child);
  return peerOf(name, port, child);
}

const PLAIN = `defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
`;

export function haproxyProxy(core: number, upstreamPort: number): Promise<Peer> {
  return startHaproxy(
    'haproxy',
    core,
    `${PLAIN}
listen front
  bind 127.0.0.1:PORT
  server up 127.0.0.1:${upstreamPort}
`,
  );
}

export function haproxyTls(
  core: number,
  upstreamPort: number,
  { bothPath }: Certificate,
): Promise<Peer> {
  return startHaproxy(
    'haproxy',
    core,
    `${PLAIN}
listen front
  bind 127.0.0.1:PORT ssl crt ${bothPath} ssl-min-ver TLSv1.3
  server up 127.0.0.1:${upstreamPort}
`,
  );
}

/** Checks every second, three retries on whatever can be retried, to another replica. */
export function haproxyOverReplicas(core: number, ports: readonly number[]): Promise<Peer> {
  const servers = ports
    .map((port, i) => `  server r${i + 1} 127.0.0.1:${port} check inter 1s fall 2 rise 2`)
    .join('\n');
  return startHaproxy(
    'haproxy',
    core,
    `defaults
  mode http
  option http-keep-alive
  http-reuse safe
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  retries 3
  option redispatch 1
  retry-on all-retryable-errors
listen front
  bind 127.0.0.1:PORT
  balance roundrobin
  option httpchk GET /healthz
  http-request disable-l7-retry if METH_POST
${servers}
`,
  );
}

/** A short server timeout, errors of real traffic count, least connections, sessions shut down. */
export function tunedHaproxy(core: number, ports: readonly number[]): Promise<Peer> {
  const check =
    'check inter 1s fastinter 200ms fall 2 rise 2 observe layer7 error-limit 10 ' +
    'on-error mark-down on-marked-down shutdown-sessions';
  const servers = ports
    .map((port, i) => `  server r${i + 1} 127.0.0.1:${port} ${check}`)
    .join('\n');
  return startHaproxy(
    'haproxy, tuned',
    core,
    `defaults
  mode http
  option http-keep-alive
  http-reuse safe
  timeout connect 500ms
  timeout client 30s
  timeout server 700ms
  retries 3
  option redispatch 1
  retry-on all-retryable-errors
listen front
  bind 127.0.0.1:PORT
  balance leastconn
  option httpchk GET /healthz
  http-request disable-l7-retry if METH_POST
${servers}
`,
  );
}
