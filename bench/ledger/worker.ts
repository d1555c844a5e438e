// The process of one job: nothing else runs in it, so that its CPU time and memory are the job's.
import { text } from 'node:stream/consumers';
import { runEvents, runOpenEvents } from './events-job.ts';
import { runIntents } from './intents.ts';
import type { JobKind, JobOf, ResultOf } from './job.ts';
import { runFill, runFsck, runOpaque, runOpen } from './opaque.ts';
import { runPostgres } from './postgres.ts';
import { runSqlite } from './sqlite.ts';
import { runTenants } from './tenants.ts';

type Runs = { readonly [K in JobKind]: (job: JobOf<K>) => Promise<ResultOf<K>> };

const RUNS: Runs = {
  opaque: runOpaque,
  events: runEvents,
  sqlite: runSqlite,
  postgres: runPostgres,
  intents: runIntents,
  fill: runFill,
  fsck: runFsck,
  open: runOpen,
  openEvents: runOpenEvents,
  tenants: runTenants,
};

function run<K extends JobKind>(kind: K, job: JobOf<K>): Promise<ResultOf<K>> {
  return RUNS[kind](job);
}

const { kind, job } = JSON.parse(await text(process.stdin)) as {
  readonly kind: JobKind;
  readonly job: JobOf<JobKind>;
};
try {
  process.stdout.write(`${JSON.stringify(await run(kind, job))}\n`);
} catch (error) {
  process.stderr.write(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
}
