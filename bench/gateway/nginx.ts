// How is nginx set up, as whom? One worker, keep-alive to the upstream, as its manual says; the
// variants add what a team would add for tenants: a log and a limit, or a call to a service.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../heal/processes.ts';
import type { Certificate } from './bench.ts';
import { childrenOf, end, freePort, start, untilListening, which } from './peers.ts';
import type { Peer } from './peers.ts';

const TEMPS = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/** `http`: what stands in that block; PORT is where it shall listen, FOLDER its own folder. */
export async function startNginx(name: string, core: number, http: string): Promise<Peer> {
  const path = which('nginx') ?? 'nginx';
  const folder = makeFolder();
  mkdirSync(join(folder, 'tmp'));
  const temps = TEMPS.map((kind) => `${kind}_temp_path ${folder}/tmp/${kind};`).join('\n');
  const port = await freePort();
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const config = `${user} worker_processes 1; daemon off; pid ${folder}/pid;
worker_rlimit_nofile 20000;
error_log ${folder}/error.log crit;
events { worker_connections 19000; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; tcp_nodelay on;
${temps}
${http.replaceAll('PORT', String(port)).replaceAll('FOLDER', folder)} }`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  const child = start(core, [path, '-p', folder, '-c', join(folder, 'nginx.conf')]);
  await untilListening(port, child);
  const pid = child.pid ?? 0;
  const stop = async (): Promise<void> => {
    const workers = childrenOf(pid);
    await end(child);
    for (const worker of workers) killQuietly(worker);
  };
  return { name, port, pids: () => childrenOf(pid), stop };
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It went with its master.
  }
}

const ANSWER = JSON.stringify({ items: 'x'.repeat(188) });

/** A fixed answer of 200 bytes. */
export function nginxUpstream(core: number): Promise<Peer> {
  return startNginx(
    'upstream',
    core,
    `server { listen 127.0.0.1:PORT;
location / { default_type application/json; return 200 '${ANSWER}'; } }`,
  );
}

const upstreamBlock = (port: number): string =>
  `upstream up { server 127.0.0.1:${port}; keepalive 256; keepalive_requests 1000000000; }`;
const PASS = `proxy_pass http://up; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_set_header Host $host;`;

export function nginxProxy(core: number, upstreamPort: number): Promise<Peer> {
  return startNginx(
    'nginx',
    core,
    `${upstreamBlock(upstreamPort)}
server { listen 127.0.0.1:PORT; location / { ${PASS} } }`,
  );
}

/** The fields of our own line, as far as nginx knows them; constants are written as well. */
const LOGGED: Readonly<Record<string, string>> = {
  '@timestamp': '$time_iso8601',
  'ecs.version': '8.17.0',
  'event.duration': '$request_time',
  'http.request.method': '$request_method',
  'url.path': '$uri',
  'http.request.headers.user-agent': '$http_user_agent',
  'http.response.status_code': '$status',
  'http.response.body.bytes': '$body_bytes_sent',
  'http.request.id': '$request_id',
  'source.ip': '$remote_addr',
  'trace.id': '$request_id',
  'upstream.duration': '$upstream_response_time',
  'upstream.address': '$upstream_addr',
  'organization.id': 'acme',
  'service.name': 'records',
  route: '/api',
};

/** A JSON line for each request, a limit by credential, and a request id. */
export function nginxWithLog(core: number, upstreamPort: number): Promise<Peer> {
  const line = Object.entries(LOGGED)
    .map(([name, value]) => `"${name}":"${value}"`)
    .join(',');
  return startNginx(
    'nginx + log + limit_req',
    core,
    `log_format ecs escape=json '{${line}}';
limit_req_zone $http_authorization zone=keys:10m rate=900000r/s;
${upstreamBlock(upstreamPort)}
server { listen 127.0.0.1:PORT; access_log FOLDER/access.log ecs buffer=64k;
location / { limit_req zone=keys burst=100000 nodelay; proxy_set_header X-Request-Id $request_id;
${PASS} } }`,
  );
}

/** What nginx has for tenants: a service that it asks about each request. Both count. */
export async function nginxWithAuth(core: number, upstreamPort: number, auth: Peer): Promise<Peer> {
  const nginx = await startNginx(
    'nginx + auth_request',
    core,
    `upstream auth { server 127.0.0.1:${auth.port}; keepalive 256;
keepalive_requests 1000000000; }
${upstreamBlock(upstreamPort)}
server { listen 127.0.0.1:PORT;
location = /auth { internal; proxy_pass http://auth; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
location / { auth_request /auth; auth_request_set $tenant $upstream_http_x_tenant;
proxy_set_header X-Tenant $tenant; ${PASS} } }`,
  );
  return {
    ...nginx,
    pids: () => [...nginx.pids(), ...auth.pids()],
    stop: async () => {
      await nginx.stop();
      await auth.stop();
    },
  };
}

export function nginxTls(
  core: number,
  upstreamPort: number,
  { certPath, keyPath }: Certificate,
): Promise<Peer> {
  return startNginx(
    'nginx',
    core,
    `${upstreamBlock(upstreamPort)}
server { listen 127.0.0.1:PORT ssl; ssl_certificate ${certPath}; ssl_certificate_key ${keyPath};
ssl_protocols TLSv1.3; ssl_session_cache shared:tls:1m; location / { ${PASS} } }`,
  );
}

/** Bodies stream through: buffering to disk would be slower for it. */
export function nginxStreams(core: number, upstreamPort: number): Promise<Peer> {
  return startNginx(
    'nginx',
    core,
    `${upstreamBlock(upstreamPort)}
server { listen 127.0.0.1:PORT; client_max_body_size 0; proxy_request_buffering off;
proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;
proxy_busy_buffers_size 128k; client_body_buffer_size 64k;
proxy_read_timeout 300s; proxy_send_timeout 300s; location / { ${PASS} } }`,
  );
}

/** As good as it gets at faults: passive ejection, and the next replica on errors and 5xx. */
export function nginxOverReplicas(core: number, ports: readonly number[]): Promise<Peer> {
  const servers = ports
    .map((port) => `server 127.0.0.1:${port} max_fails=2 fail_timeout=5s;`)
    .join(' ');
  return startNginx(
    'nginx',
    core,
    `upstream up { ${servers} keepalive 64; }
server { listen 127.0.0.1:PORT; location / { ${PASS}
proxy_next_upstream error timeout http_500 http_502 http_503 http_504;
proxy_next_upstream_tries 3; } }`,
  );
}
