// What does a test of the clinic need? Its processes, started as Kintsugi would, with real
// PostgreSQL and signed tenants; everything is ended by pid and every folder removed.
import { spawn, type ChildProcess } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';

export const CLINIC = resolve(dirname(fileURLToPath(import.meta.url)), '../../examples/clinic');
const WAIT_MS = 40_000;

export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadlineMs = performance.now() + WAIT_MS;
  while (performance.now() < deadlineMs) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await sleep(15);
  }
  throw new Error(`waited in vain: ${what}`);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A folder that an unprivileged user may pass through, as a state folder below a home is not. */
export function openFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-clinic-'));
  chmodSync(folder, 0o755);
  return folder;
}

export interface Process {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly port: number;
  readonly output: () => string;
  /** Exit code, or name of the signal. */
  readonly exit: Promise<number | string>;
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | string>;
}

export interface ProcessOrder {
  readonly script: string;
  readonly port: number;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export function startProcess(order: ProcessOrder): Process {
  const { script, port, env, cwd = CLINIC } = order;
  const child = spawn(process.execPath, [script], {
    cwd,
    env: { HOST: '127.0.0.1', PORT: String(port), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => (output += chunk));
  }
  const exit = new Promise<number | string>((done) => {
    child.once('exit', (code, signal) => done(code ?? signal ?? 'unknown'));
  });
  const stop = (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string> => {
    child.kill(signal);
    return exit;
  };
  return { child, pid: child.pid ?? 0, port, output: () => output, exit, stop };
}

export interface Clinic {
  readonly folder: string;
  readonly databasePort: number;
  readonly passwords: { readonly super: string; readonly owner: string; readonly app: string };
  startDatabase(): Promise<Process>;
  startService(name: string, env?: Record<string, string>, cwd?: string): Promise<Process>;
  call(to: Process, name: string, request: CallRequest): Promise<Reply>;
  /** One connection as a role of the database, outside the services. */
  connect(role: 'clinic_owner' | 'clinic_app'): Promise<Client>;
  end(): Promise<void>;
}

export interface CallRequest {
  readonly tenant?: string;
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-redundant-type-constituents -- what JSON can be
  readonly json: Readonly<Record<string, unknown>>;
}

export async function openClinic(): Promise<Clinic> {
  const folder = openFolder();
  const databasePort = await freePort();
  const word = (): string => randomBytes(24).toString('base64url');
  const passwords = { super: word(), owner: word(), app: word() };
  const key = randomBytes(32);
  const running: Process[] = [];
  const keep = (process: Process): Process => {
    running.push(process);
    return process;
  };
  return {
    folder,
    databasePort,
    passwords,
    async startDatabase() {
      const database = keep(
        startProcess({
          script: 'services/database.ts',
          port: databasePort,
          env: {
            CLINIC_DATA: join(folder, 'database'),
            CLINIC_SUPER_PASSWORD: passwords.super,
            CLINIC_OWNER_PASSWORD: passwords.owner,
            CLINIC_APP_PASSWORD: passwords.app,
          },
        }),
      );
      await until(`the database:\n${database.output()}`, () =>
        database.output().includes('roles and schema are in place'),
      );
      return database;
    },
    async startService(name, env = {}, cwd = CLINIC) {
      const service = keep(
        startProcess({
          script: `services/${name}.ts`,
          port: await freePort(),
          cwd,
          env: {
            KINTSUGI_SERVICE: name,
            KINTSUGI_REPLICA: `${name}-1`,
            KINTSUGI_ASSERTION_KEY: key.toString('base64url'),
            DATABASE_URL: `postgres://clinic_app@127.0.0.1:${databasePort}/clinic`,
            PGPASSWORD: passwords.app,
            ...env,
          },
        }),
      );
      await until(`${name} listens`, () => service.output().includes('"msg":"listening"'));
      return service;
    },
    call: (to, name, request) => call(to, name, key, request),
    async connect(role) {
      const client = new Client({
        host: '127.0.0.1',
        port: databasePort,
        user: role,
        password: role === 'clinic_app' ? passwords.app : passwords.owner,
        database: 'clinic',
      });
      client.on('error', () => undefined);
      await client.connect();
      return client;
    },
    async end() {
      for (const process of running.toReversed()) {
        if (process.child.exitCode === null && process.child.signalCode === null) {
          await process.stop();
        }
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function call(to: Process, name: string, key: Buffer, request: CallRequest): Promise<Reply> {
  const { tenant, method = 'GET', path, body, headers = {} } = request;
  const assertion =
    tenant === undefined ? {} : { 'x-kintsugi-assertion': assertionFor(tenant, name, key) };
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`http://127.0.0.1:${to.port}${path}`, {
    method,
    headers: {
      connection: 'close',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...assertion,
      ...headers,
    },
    ...(body === undefined ? {} : { body: text }),
  });
  const raw = await response.text();
  const json = raw === '' ? {} : (JSON.parse(raw) as Record<string, unknown>);
  return { status: response.status, headers: response.headers, json };
}

/** Written out here and not taken from the SDK: an independent reading of the wire format. */
function assertionFor(tenant: string, service: string, key: Buffer): string {
  const expMs = Date.now() + 30_000;
  const claims = { tenant, subject: 'key-1', region: 'eu', service, requestId: 'r-1', expMs };
  const signed = `v1.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}
