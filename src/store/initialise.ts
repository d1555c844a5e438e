// A thread that makes an empty cluster in a folder and ends. See `embedded.ts` for why a thread.
import { workerData } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';

const { dir } = workerData as { readonly dir: string };
const pglite = await PGlite.create(dir);
await pglite.close();
