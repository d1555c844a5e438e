// How is PostgreSQL run inside this process? PGlite on a folder of ours, made safe by three things
// that it lacks: one owner, a real fsync, and a cluster that is there whole or not at all.
//
//   EM1. A commit that was acknowledged has been through fdatasync (PGlite itself never syncs).
//   EM2. A start that is killed at any moment leaves nothing that the next one cannot use: the
//        cluster is made in `data.new` and renamed when it is complete and on disk.
//   EM3. A folder that cannot be read is reported and left as it is.
//
// What stays: directory entries are synced by the file system's own order only, so regulated
// production belongs on a server.
import { execFile } from 'node:child_process';
import { fdatasyncSync } from 'node:fs';
import { mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';
import { NodeFS } from '@electric-sql/pglite/nodefs';
import type { Log } from '../world/clock.ts';
import { messageOf } from '../model/errors.ts';
import { codeOf, corrupt, notWritable } from './errors.ts';
import { lockFolder } from './owner.ts';

/** The major version of PostgreSQL inside PGlite 0.5: other data folders are not ours. */
const CLUSTER_VERSION = '18';
const INITIALISE_TIMEOUT_MS = 120_000;
const SAID_MAX = 300;
/** As emscripten numbers it. */
const EIO = 29;

type InitFs = Awaited<ReturnType<NodeFS['init']>>;

export interface Embedded {
  readonly pglite: PGlite;
  readonly dir: string;
  close(): Promise<void>;
}

interface NodeStreamOps {
  fsync?: (stream: { readonly nfd?: number }) => number;
}

/** NodeFS whose files can be synced. Off while starting: one `sync` does that better. */
class DurableNodeFS extends NodeFS {
  durable = false;

  override async init(...args: Parameters<NodeFS['init']>): Promise<InitFs> {
    const made = await super.init(...args);
    const preRun = [...(made.emscriptenOpts.preRun ?? [])];
    preRun.push((module: unknown) => {
      const { NODEFS } = module as { NODEFS: { stream_ops: NodeStreamOps } };
      NODEFS.stream_ops.fsync = (stream) => {
        if (!this.durable || stream.nfd === undefined) return 0;
        try {
          fdatasyncSync(stream.nfd);
          return 0;
        } catch {
          return EIO;
        }
      };
    });
    return { emscriptenOpts: { ...made.emscriptenOpts, preRun } };
  }
}

export async function openEmbedded(folder: string, log: Log): Promise<Embedded> {
  const dir = await writableFolder(folder);
  const lock = await lockFolder(dir);
  try {
    const data = join(dir, 'data');
    await makeCluster(dir, data, log);
    const pglite = await start(data);
    return {
      pglite,
      dir,
      async close() {
        try {
          if (!pglite.closed) await pglite.close();
        } finally {
          await lock.release();
        }
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function writableFolder(folder: string): Promise<string> {
  try {
    const wanted = resolve(folder);
    await makeFolder(wanted);
    const dir = await realpath(wanted);
    const trial = join(dir, `.writable-${process.pid}`);
    const handle = await open(trial, 'w', 0o600);
    await handle.close();
    await rm(trial, { force: true });
    return dir;
  } catch (error) {
    throw notWritable(folder, error);
  }
}

/** Not `recursive`: below /proc, Node's own loop never ends. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await mkdir(path, { mode: 0o700 });
  }
}

async function makeCluster(dir: string, data: string, log: Log): Promise<void> {
  if (await exists(data)) {
    await checkVersion(data);
    return;
  }
  const fresh = join(dir, 'data.new');
  // Only an unfinished start leaves this, and only the owner of the lock is here.
  await rm(fresh, { recursive: true, force: true });
  log.info('making the store', { dir });
  await initialise(fresh);
  await flush(dir);
  await rename(fresh, data);
  await flush(dir);
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function checkVersion(data: string): Promise<void> {
  let found = '';
  try {
    found = (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim();
  } catch (error) {
    throw corrupt(dirname(data), error, 'data/PG_VERSION cannot be read');
  }
  if (found === CLUSTER_VERSION) return;
  const said = `data/ belongs to PostgreSQL ${found.slice(0, 20)}, not ${CLUSTER_VERSION}`;
  throw corrupt(dirname(data), undefined, said);
}

/** In a thread of its own: initdb takes seconds, and some 400 MB that this way are given back. */
async function initialise(fresh: string): Promise<void> {
  const script = new URL(import.meta.url.replace(/embedded\.(\w+)$/u, 'initialise.$1'));
  const worker = new Worker(script, { workerData: { dir: fresh }, stdout: true, stderr: true });
  const timer = setTimeout(() => void worker.terminate(), INITIALISE_TIMEOUT_MS);
  try {
    await new Promise<void>((resolve, reject) => {
      worker.once('error', reject);
      worker.once('exit', (code) => {
        if (code === 0) resolve();
        else reject(new Error(`initdb ended with ${code}`));
      });
    });
  } catch (error) {
    throw notWritable(dirname(fresh), error);
  } finally {
    clearTimeout(timer);
  }
}

async function start(data: string): Promise<PGlite> {
  const dir = dirname(data);
  const files = new DurableNodeFS(data);
  // What recovery reads must be on disk, not only in the page cache of a killed process.
  await flush(dir);
  let said = '';
  let pglite: PGlite;
  try {
    pglite = await PGlite.create({
      fs: files,
      startParams: [
        ...PGlite.defaultStartParams.filter((param) => param !== '-F'),
        ...['-c', 'fsync=on', '-c', 'wal_sync_method=fsync', '-c', 'shared_buffers=16MB'],
        ...['-c', 'max_wal_size=64MB', '-c', 'synchronous_commit=on', '-c', 'timezone=UTC'],
      ],
      onStderr: (text) => {
        said = /(?:PANIC|FATAL|ERROR):\s*(.+)/u.exec(text)?.[1]?.slice(0, SAID_MAX) ?? said;
        return false;
      },
    });
  } catch (error) {
    throw corrupt(dir, error, said === '' ? (messageOf(error).split('\n')[0] ?? '') : said);
  }
  await flush(dir);
  files.durable = true;
  return pglite;
}

/** Everything of this file system to disk: one call instead of a sync of each of 1 000 files. */
async function flush(dir: string): Promise<void> {
  const ended = await run('sync', process.platform === 'linux' ? ['-f', dir] : []);
  if (!ended) await run('sync', []);
}

function run(command: string, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(command, args, { timeout: 60_000 }, (error) => resolve(error === null));
  });
}
