// How does a test get what costs seconds to make and is the same each time, an empty store or a
// database cluster? The first file of a run that asks has the real code make it and close it; all
// copy that. Outside of a run of the suite (`npm test`) nothing is shared: then it is made where it
// is needed.
import { cpSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Given by `scripts/test.ts`, which also removes it. */
const SHARED = 'KINTSUGI_TEST_TEMPLATES';
const WAIT_MS = 60_000;

/**
 * The folder of that name, there whole or not at all and never written again; undefined where
 * nothing is shared, or where it could not be made.
 */
export async function templateOf(
  name: string,
  make: (fresh: string) => Promise<void>,
): Promise<string | undefined> {
  const shared = process.env[SHARED];
  if (shared === undefined) return undefined;
  const folder = join(shared, name);
  const failed = `${folder}.failed`;
  if (claim(`${folder}.claimed`)) {
    try {
      await make(`${folder}.new`);
      renameSync(`${folder}.new`, folder);
    } catch (error) {
      writeFileSync(failed, '');
      throw error;
    }
  }
  // Whoever makes it may have been killed: then everybody does without.
  for (let waitedMs = 0; !existsSync(folder) && waitedMs < WAIT_MS; waitedMs += 50) {
    if (existsSync(failed)) break;
    await sleep(50);
  }
  return existsSync(folder) ? folder : undefined;
}

function claim(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Copies an empty, closed store to `dir`; false where there is none to copy. */
export async function placeStore(dir: string): Promise<boolean> {
  const template = await templateOf('store', async (fresh) => {
    const [{ openStore }, { SILENT }] = await Promise.all([
      import('../../src/store/open.ts'),
      import('../../src/world/real/log.ts'),
    ]);
    await (await openStore({ dir: fresh, log: SILENT })).close();
  });
  if (template === undefined) return false;
  cpSync(template, dir, { recursive: true, preserveTimestamps: true });
  return true;
}

/** Also the folder above it, as private as a state folder has to be. */
export async function placeStoreIn(state: string): Promise<void> {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  await placeStore(join(state, 'store'));
}
