// Where do manifests of these tests live? A folder per test with the files that they name.
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { loadManifest } from '../../src/manifest/index.ts';
import type { LoadOptions, LoadedManifest } from '../../src/manifest/index.ts';
import { ManifestErrors, ProblemList } from '../../src/manifest/problem.ts';
import type { ManifestProblem } from '../../src/manifest/problem.ts';
import { MANIFEST } from '../../src/manifest/keys.ts';
import { readDocument } from '../../src/manifest/read.ts';
import { parseYaml } from '../../src/manifest/source.ts';

export const SERVER = 'services: { web: { command: [node, server.js] } }';

export interface Folder {
  readonly dir: string;
  load(text: string | Uint8Array, options?: Partial<LoadOptions>): Promise<LoadedManifest>;
  problems(text: string | Uint8Array, options?: Partial<LoadOptions>): Promise<ProblemsSeen>;
}

export interface ProblemsSeen {
  readonly all: readonly ManifestProblem[];
  /** `code path line:column`, one a problem. */
  readonly short: readonly string[];
  /** The whole message, with the folder taken out. */
  readonly text: string;
}

export async function folder(
  t: TestContext,
  files: Readonly<Record<string, string>> = { 'server.js': '' },
): Promise<Folder> {
  const dir = await mkdtemp(join(tmpdir(), 'kintsugi-manifest-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), content);
  }
  const path = join(dir, 'kintsugi.yaml');
  const load: Folder['load'] = async (text, options = {}) => {
    await writeFile(path, text);
    const PATH = process.env['PATH'] ?? '';
    return loadManifest(path, { env: { PATH }, ...options });
  };
  const problems: Folder['problems'] = async (text, options) => {
    try {
      await load(text, options);
    } catch (error) {
      if (error instanceof ManifestErrors) return seen(error, dir);
      throw error;
    }
    return { all: [], short: [], text: '' };
  };
  return { dir, load, problems };
}

function seen(error: ManifestErrors, dir: string): ProblemsSeen {
  const all = error.problems;
  return {
    all,
    short: all.map((p) => `${p.code.slice(13)} ${p.path} ${p.line}:${p.column}`),
    text: error.message.replaceAll(`${dir}/`, ''),
  };
}

/** Only the walk along the table: no cross-checks, no files. */
export function structure(text: string): { readonly problems: number; readonly draft: unknown } {
  const problems = new ProblemList('kintsugi.yaml');
  const source = parseYaml(text, problems);
  if (source === undefined) return { problems: problems.count(), draft: undefined };
  const { draft } = readDocument(source, MANIFEST, problems);
  return { problems: problems.count(), draft };
}
