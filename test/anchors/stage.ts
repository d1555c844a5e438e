// What do the tests of anchors share? Heads, a local http server, waiting for a condition, a clock.
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestContext } from 'node:test';
import { type AnchoredHead, headOf } from '../../src/drivers/anchors/anchor.ts';
import type { Log } from '../../src/world/clock.ts';
import { openClock } from '../../src/world/real/clock.ts';

export const ORIGIN = 'clinic.example/ledger';

export function rootOf(label: string | number): string {
  return createHash('sha256').update(String(label)).digest('base64');
}

/** A head whose signature nobody checks here: that is the ledger's work. */
export function makeHead(size: number, root: string = rootOf(size), origin = ORIGIN): AnchoredHead {
  const signature = Buffer.alloc(68, size % 251).toString('base64');
  return headOf(`${origin}\n${size}\n${root}\n\n\u2014 ${origin} ${signature}\n`);
}

export const clock = openClock();

export interface LinesLog extends Log {
  readonly lines: string[];
}

export function linesLog(): LinesLog {
  const lines: string[] = [];
  const keep = (text: string, fields?: Readonly<Record<string, unknown>>): void => {
    lines.push(`${text} ${JSON.stringify(fields ?? {})}`);
  };
  return { lines, debug: keep, info: keep, warn: keep, error: keep };
}

export async function temporaryFolder(context: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kintsugi-anchors-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + 20_000;
  while (!(await isTrue())) {
    if (Date.now() > endMs) throw new Error(`never: ${what}`);
    await sleep(5);
  }
}

export type Handle = (
  request: IncomingMessage,
  body: Buffer,
  response: ServerResponse,
) => void | Promise<void>;

export interface LocalServer {
  readonly url: string;
  readonly bodies: Buffer[];
  handle: Handle;
  close(): Promise<void>;
}

export async function serve(handle: Handle): Promise<LocalServer> {
  const bodies: Buffer[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      bodies.push(body);
      Promise.resolve(local.handle(request, body, response)).catch((error: unknown) => {
        response.statusCode = 500;
        response.end(String(error));
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const local: LocalServer = {
    url: `http://127.0.0.1:${port}`,
    bodies,
    handle,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return local;
}

export async function serveFor(context: TestContext, handle: Handle): Promise<LocalServer> {
  const server = await serve(handle);
  context.after(() => server.close());
  return server;
}
