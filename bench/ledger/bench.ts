// What do the rows of this bench share? Options, the folder of the run, fresh folders for jobs, one
// PostgreSQL server for the peers, and scripts of the repository that are rows by themselves.
import { mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { query, startServer } from '../../test/store/postgres-server.ts';
import type { ServerAnswer } from '../../test/store/postgres-server.ts';
import type { Bar, Options } from '../heal/bench.ts';
import { atEnd } from '../heal/processes.ts';
import { runNode } from './child.ts';
import { openPlace } from './place.ts';
import type { Place } from './place.ts';

export interface LedgerOptions extends Options {
  readonly dir: string | undefined;
}

export interface LedgerBench {
  readonly options: LedgerOptions;
  readonly place: Place;
  readonly say: (text: string) => void;
  /** A folder that is removed when the work is over. */
  readonly inFolder: <T>(work: (folder: string) => Promise<T>) => Promise<T>;
  /** An empty database that is dropped when the work is over; a reason where none can run. */
  readonly inDatabase: <T>(work: (url: string) => Promise<T>) => Promise<DatabaseAnswer<T>>;
  readonly script: (name: string, args: readonly string[]) => Promise<ScriptAnswer>;
}

export type DatabaseAnswer<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'none'; readonly reason: string };

export interface ScriptAnswer {
  readonly code: number | null;
  readonly lines: readonly string[];
}

const root = dirname(dirname(import.meta.dirname));

export function openBench(options: LedgerOptions, say: (text: string) => void): LedgerBench {
  const place = openPlace(options.dir);
  let server: Promise<ServerAnswer> | undefined;
  return {
    options,
    place,
    say,
    inFolder: (work) => inFolder(place.folder, work),
    inDatabase: async (work) => {
      server ??= openServer();
      const answer = await server;
      if (answer.kind === 'none') return answer;
      const url = await answer.server.database();
      try {
        return { kind: 'done', value: await work(url) };
      } finally {
        const name = new URL(url).pathname.slice(1);
        const admin = answer.server.superUrl('postgres');
        await query(admin, `drop database ${name} with (force)`).catch(() => undefined);
      }
    },
    script: (name, args) => runScript(place, name, args),
  };
}

async function inFolder<T>(parent: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(parent, 'job-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function openServer(): Promise<ServerAnswer> {
  const answer = await startServer();
  if (answer.kind === 'server') atEnd(() => answer.server.end());
  return answer;
}

/** Its temporary files lie in the folder of the run, so that they go even when it is killed. */
async function runScript(
  { folder }: Place,
  name: string,
  args: readonly string[],
): Promise<ScriptAnswer> {
  const env = { ...process.env, TMPDIR: folder };
  const { code, out, problem } = await runNode([join(root, name), ...args], '', env);
  const shown = code === 0 || out !== '' ? out : problem;
  return { code, lines: shown.split('\n').filter((line) => line !== '') };
}

export function bar(what: string, wanted: string, got: string, isMet: boolean): Bar {
  return { what, wanted, got, state: isMet ? 'met' : 'missed' };
}

/** The default, unless `--quick` or `--rounds` say otherwise. */
export function roundsOf(options: Options, usual: number, quick: number): number {
  return options.rounds ?? (options.quick ? quick : usual);
}
