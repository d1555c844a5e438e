// Who takes part in the gateway benches, and how is each started on one core? nginx with its plain
// proxy settings tuned as its manual says (keep-alive to the upstream), and our own processes.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Child processes and folders of a bench, ended with it. */
const children = new Set<ChildProcess>();
const folders: string[] = [];

export function cleanUp(): void {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

export function which(name: string): string | undefined {
  for (const folder of `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`.split(':')) {
    const path = join(folder, name);
    if (folder !== '' && existsSync(path)) return path;
  }
  return undefined;
}

export const hasTaskset = which('taskset') !== undefined;

export function pinned(core: number, command: readonly string[]): string[] {
  return hasTaskset ? ['taskset', '-c', String(core), ...command] : [...command];
}

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

export async function untilListening(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const socket = connect(port, '127.0.0.1');
    const answer = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (answer) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`nobody listens on ${port}`);
}

export function start(core: number, command: readonly string[]): ChildProcess {
  const [file = '', ...args] = pinned(core, command);
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

export interface Peer {
  readonly name: string;
  readonly port: number;
  /** Processes whose CPU time counts. */
  pids(): number[];
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

async function startNginx(name: string, core: number, server: string): Promise<Peer> {
  const path = which('nginx') ?? 'nginx';
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-bench-'));
  folders.push(folder);
  mkdirSync(join(folder, 'tmp'));
  const temps = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/tmp/${kind};`)
    .join('\n');
  const port = await freePort();
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const config = `${user} worker_processes 1; daemon off; pid ${folder}/pid;
error_log ${folder}/error.log crit;
events { worker_connections 20000; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; tcp_nodelay on;
${temps}
${server.replaceAll('PORT', String(port))} }`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  const child = start(core, [path, '-p', folder, '-c', join(folder, 'nginx.conf')]);
  await untilListening(port);
  const pid = child.pid ?? 0;
  return { name, port, pids: () => childrenOf(pid) };
}

const ANSWER = JSON.stringify({ items: 'x'.repeat(188) });

export function nginxUpstream(core: number): Promise<Peer> {
  return startNginx(
    'upstream',
    core,
    `server { listen 127.0.0.1:PORT;
location / { default_type application/json; return 200 '${ANSWER}'; } }`,
  );
}

export function nginxProxy(core: number, upstreamPort: number): Promise<Peer> {
  return startNginx(
    'nginx',
    core,
    `upstream up { server 127.0.0.1:${upstreamPort}; keepalive 256; keepalive_requests 1000000000; }
server { listen 127.0.0.1:PORT; location / { proxy_pass http://up; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_set_header Host $host; } }`,
  );
}

export async function ownProcess(
  name: string,
  core: number,
  file: string,
  args: (port: number) => readonly string[],
  flags: readonly string[] = [],
): Promise<Peer> {
  const port = await freePort();
  const script = join(import.meta.dirname, file);
  const child = start(core, [process.execPath, ...flags, script, ...args(port)]);
  await untilListening(port);
  const pid = child.pid ?? 0;
  return { name, port, pids: () => [pid] };
}

/** CPU time so far, ms (Linux; ticks of 10 ms). */
export function cpuMs(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    sum += (Number(fields[11]) + Number(fields[12])) * 10;
  }
  return sum;
}

export function rssMb(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    const found = /VmRSS:\s+(\d+) kB/u.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    sum += Number(found?.[1] ?? 0) / 1_024;
  }
  return Math.round(sum);
}

export interface Load {
  readonly requests: number;
  readonly seconds: number;
  readonly failed: number;
}

/** About 570 bytes and 8 fields, as in the project's earlier measurements. */
export const FIELDS: readonly string[] = [
  'Accept: application/json, text/plain, */*',
  'Accept-Encoding: gzip, deflate, br',
  'Accept-Language: en-GB,en;q=0.9,de;q=0.7',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)',
  `Authorization: Bearer kin_bench_${'k'.repeat(120)}`,
  `Cookie: session=${'c'.repeat(96)}`,
  'X-Request-Id: 0123456789abcdef0123456789abcdef',
];

export const PATH = '/api/v1/records?limit=20&after=01J0000000000000000';

function wrk(core: number, port: number, connections: number, seconds: number): Load {
  const fields = FIELDS.flatMap((field) => ['-H', field]);
  const options = ['-t1', `-c${connections}`, `-d${seconds}s`, ...fields];
  const url = `http://127.0.0.1:${port}${PATH}`;
  const [file = '', ...args] = pinned(core, ['wrk', ...options, url]);
  const out = spawnSync(file, args, { encoding: 'utf8' }).stdout;
  const done = /(\d+) requests in ([\d.]+)s/u.exec(out);
  const bad = /Non-2xx or 3xx responses: (\d+)/u.exec(out);
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/u.exec(out);
  const broken = (errors ?? []).slice(1).reduce((sum, count) => sum + Number(count), 0);
  const failed = Number(bad?.[1] ?? 0) + broken;
  return { requests: Number(done?.[1] ?? 0), seconds: Number(done?.[2] ?? seconds), failed };
}

function ownLoad(core: number, port: number, connections: number, seconds: number): Load {
  const script = join(import.meta.dirname, 'load.ts');
  const numbers = [port, connections, seconds].map(String);
  const [file = '', ...args] = pinned(core, [process.execPath, script, ...numbers]);
  return JSON.parse(spawnSync(file, args, { encoding: 'utf8' }).stdout) as Load;
}

export const loadName = which('wrk') === undefined ? 'own generator' : 'wrk';

export function load(core: number, port: number, connections: number, seconds: number): Load {
  const run = loadName === 'wrk' ? wrk : ownLoad;
  return run(core, port, connections, seconds);
}
