// Which processes and folders did the bench make? All of them are registered here, and gone at the
// end: in order, after a failure, and on Ctrl-C.
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';

const children = new Set<ChildProcess>();
const closers: (() => Promise<void>)[] = [];
const folders: string[] = [];

/** Registers a child for the end of the bench. */
export function owned<T extends ChildProcess>(child: T): T {
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

/** Runs at the end, last in first out; the function that it answers does so earlier. Once only. */
export function atEnd(close: () => Promise<void>): () => Promise<void> {
  let closed: Promise<void> | undefined;
  const once = (): Promise<void> => (closed ??= close());
  closers.push(once);
  return once;
}

export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-bench-'));
  folders.push(folder);
  return folder;
}

let ending: Promise<void> | undefined;

export function endAll(): Promise<void> {
  ending ??= (async () => {
    for (const close of closers.toReversed()) {
      await close().catch((error: unknown) => console.error('cleaning up:', error));
    }
    for (const child of children) child.kill('SIGKILL');
    for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  })();
  return ending;
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => void server.close(done))));
  return ports;
}

/** Undefined where there is no /proc, or the process is gone. */
export function statOf(
  pid: number,
): { state: string; cpuMs: number; rssBytes: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    // 100 ticks a second and pages of 4 KiB on every Linux that Node is built for.
    return { state: fields[0] ?? '', cpuMs: ticks * 10, rssBytes: Number(fields[21]) * 4_096 };
  } catch {
    return undefined;
  }
}

/** A zombie counts as dead. */
export function isAlive(pid: number): boolean {
  const stat = statOf(pid);
  if (stat !== undefined) return stat.state !== 'Z' && stat.state !== 'X';
  if (process.platform === 'linux') return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself.
  }
}
