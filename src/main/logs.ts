// Where are the logs of a target? A replica's or a service's from the runtime, the control plane's
// own from its log files, the access log of the gateways too.
import { open, readdir } from 'node:fs/promises';
import { constants } from 'node:fs';
import { join } from 'node:path';
import type { LogPart } from '../api/contract.ts';
import { KinError } from '../model/errors.ts';
import { asReplicaId, replicaId } from '../model/ids.ts';
import type { ReplicaId } from '../model/ids.ts';
import { statePaths } from '../api/state-folder.ts';
import type { Controller } from './parts.ts';

const OWN = ['controller', 'init', 'gateway', 'access'] as const;

export async function logsOf(
  controller: Controller,
  target: string,
  bytes: number,
): Promise<readonly LogPart[]> {
  const limit = Math.min(Math.max(1, bytes), 1_048_576);
  if (OWN.some((name) => name === target)) return await ownLogs(controller, target, limit);
  const { runtime } = controller.world;
  const running = runtime.list().filter((r) => r.service === target || r.id === target);
  const ids = running.map((r) => r.id);
  // A replica that has ended still has its last words, and so has a service's newest one.
  if (ids.length === 0) ids.push(...lastWords(controller, target));
  if (ids.length === 0) {
    throw new KinError(
      'KIN_TARGET_UNKNOWN',
      `no replica, service or part ${target}`,
      `Name one that \`kintsugi status\` shows, or ${OWN.join(', ')}.`,
    );
  }
  const share = Math.max(1, Math.floor(limit / ids.length));
  return await Promise.all(
    ids.map(async (id) => ({ source: id, text: await runtime.logs(id, share) })),
  );
}

function lastWords(controller: Controller, target: string): readonly ReplicaId[] {
  const { runtime } = controller.world;
  const book = [...controller.loop.state.book.fleet().services.values()].find(
    (s) => s.name === target,
  );
  const newest =
    book === undefined
      ? [asReplicaId(target)]
      : Array.from({ length: Math.min(20, book.nextOrdinal - 1) }, (_, i) =>
          replicaId(book.name, book.nextOrdinal - 1 - i),
        );
  return newest.filter((id) => runtime.look(id) === 'ended').slice(0, 1);
}

async function ownLogs(
  controller: Controller,
  target: string,
  limit: number,
): Promise<readonly LogPart[]> {
  const { logs } = statePaths(controller.stateDir);
  // Of the access log only what is written now: older files are for whoever collects them.
  const names = (await readdir(logs))
    .filter((name) => name.startsWith(target) && !/\.\d+\.ndjson$/u.test(name))
    .sort();
  const share = Math.max(1, Math.floor(limit / Math.max(1, names.length)));
  return await Promise.all(
    names.map(async (name) => ({
      source: name.replace(/\.(?:log|ndjson)$/u, ''),
      text: await tail(join(logs, name), share),
    })),
  );
}

async function tail(path: string, bytes: number): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    const length = Math.min(size, bytes);
    const buffer = Buffer.alloc(length);
    await file.read(buffer, 0, length, size - length);
    return buffer.toString('utf8');
  } finally {
    await file.close();
  }
}
