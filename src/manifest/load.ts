// Is this file a manifest that can be run here? Reads, checks and fills in; the one way in.
//
//   LD1. All problems of a file are found in one go and thrown together as `ManifestErrors`.
//   LD2. A manifest that comes out has every default filled in and every reference checked.
import { access, constants, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isMap, isScalar } from 'yaml';
import type { Manifest } from '../model/manifest.ts';
import { buildManifest, isReplaced, settleManifest } from './build.ts';
import { problem } from './checking.ts';
import type { Checking } from './checking.ts';
import { crossCheck } from './checks.ts';
import { checkLedgerFiles } from './checks-ledger-files.ts';
import { checkPolicy, withRights } from './checks-policy.ts';
import { checkCommand, isInside } from './command.ts';
import { MANIFEST } from './keys.ts';
import type { Draft } from './keys.ts';
import { WHOLE_FILE, ProblemList } from './problem.ts';
import type { ManifestWarning } from './problem.ts';
import { readDocument } from './read.ts';
import { replicaPath } from './reference.ts';
import type { Variables } from './reference.ts';
import { decode, parseYaml, readBytes } from './source.ts';
import type { YamlSource } from './source.ts';

export interface LoadOptions {
  /** The environment of `kintsugi up`: for `${env:…}`, `unlessEnv` and the PATH. */
  readonly env: Variables;
  /** Values in place of those of the file, by path: `{ 'gateway.port': 0 }`. */
  readonly overrides?: Readonly<Record<string, string | number | boolean>>;
  /** Folder of the Node that runs replicas; default the one that runs this. */
  readonly nodeDir?: string;
  /** The state folder; default `.kintsugi` beside the manifest. */
  readonly stateDir?: string;
}

export interface LoadedManifest {
  /** Without the services that `unlessEnv` leaves out here. */
  readonly manifest: Manifest;
  readonly warnings: readonly ManifestWarning[];
  /** Names of the services left out, each with the variable that says so. */
  readonly leftOut: readonly { readonly service: string; readonly because: string }[];
}

/** Loads the manifest at `path`; throws `ManifestErrors` with everything that is wrong. */
export async function loadManifest(path: string, options: LoadOptions): Promise<LoadedManifest> {
  const problems = new ProblemList(path);
  const bytes = await readBytes(path, problems);
  const text = bytes === undefined ? undefined : decode(bytes, problems);
  problems.throwIfAny();
  return checkManifest(text ?? '', path, problems, options);
}

/** The same for text that is not in a file yet; `path` says where it would stand. */
export function loadManifestText(
  text: string,
  path: string,
  options: LoadOptions,
): Promise<LoadedManifest> {
  const problems = new ProblemList(path);
  const bytes = Buffer.from(text, 'utf8');
  decode(bytes, problems);
  problems.throwIfAny();
  return checkManifest(text, path, problems, options);
}

async function checkManifest(
  text: string,
  path: string,
  problems: ProblemList,
  options: LoadOptions,
): Promise<LoadedManifest> {
  const source = parseYaml(text, problems);
  problems.throwIfAny();
  if (source === undefined) throw new Error('a document without problems is readable');
  applyOverrides(source, options.overrides ?? {}, problems);
  const { draft: read, places } = readDocument(source, MANIFEST, problems);
  // The reader walked MANIFEST, and Draft is the type of MANIFEST.
  const draft = read as Draft;
  const baseDir = dirname(resolve(path));
  const checking: Checking = { draft, places, problems, env: options.env };
  crossCheck(checking);
  await checkFiles(checking, baseDir, options.nodeDir ?? dirname(process.execPath));
  await checkLedgerFiles(checking, baseDir, options.stateDir ?? join(baseDir, '.kintsugi'));
  const rights = await checkPolicy(checking, baseDir);
  problems.throwIfAny();
  const leftOut = [...draft.services].flatMap(([service, spec]) =>
    spec.unlessEnv !== undefined && isReplaced(spec.unlessEnv, options.env)
      ? [{ service, because: spec.unlessEnv }]
      : [],
  );
  const whole = withRights(buildManifest(draft, baseDir), rights);
  const manifest = settleManifest(whole, options.env);
  return { manifest, warnings: problems.sortedWarnings(), leftOut };
}

/** Sets values in the document itself, so that they are checked like any other. */
function applyOverrides(
  source: YamlSource,
  overrides: NonNullable<LoadOptions['overrides']>,
  problems: ProblemList,
): void {
  for (const [path, value] of Object.entries(overrides)) {
    const keys = path.split('.');
    try {
      if (!isMap(source.doc.contents)) return;
      const node = source.doc.createNode(value);
      if (isScalar(node) && typeof value === 'string') node.source = value;
      source.doc.setIn(keys, node);
    } catch {
      problems.add('KIN_MANIFEST_REFERENCE', WHOLE_FILE, path, {
        found: 'an override for a key inside a single value',
        expected: 'the path of a key such as gateway.port',
      });
    }
  }
}

/** Folders, programs and key files that the manifest names. */
async function checkFiles(c: Checking, baseDir: string, nodeDir: string): Promise<void> {
  for (const [name, service] of c.draft.services) {
    const path = `services.${name}`;
    const sourceDir = resolve(baseDir, service.source);
    if (!(await isFolder(sourceDir))) {
      const found = `${JSON.stringify(service.source.slice(0, 100))}, which is not a folder`;
      problem(c, 'KIN_MANIFEST_NOT_FOUND', `${path}.source`, found, 'a folder that exists');
      continue;
    }
    const cwd = resolve(sourceDir, service.cwd);
    if (!isInside(sourceDir, cwd)) continue;
    if (!(await isFolder(cwd))) {
      const found = `${JSON.stringify(service.cwd.slice(0, 100))}, which is not a folder`;
      problem(c, 'KIN_MANIFEST_NOT_FOUND', `${path}.cwd`, found, 'a folder inside the source');
      continue;
    }
    const place = { sourceDir, cwd, path: servicePath(c, service.env.get('PATH'), nodeDir) };
    const answer = await checkCommand(service.command, place);
    if (answer.kind === 'ok') continue;
    const at = `${path}.command`;
    problem(c, 'KIN_MANIFEST_COMMAND', at, answer.found, answer.expected, answer.suggestion);
  }
  await checkJwks(c, baseDir);
}

function servicePath(c: Checking, own: string | undefined, nodeDir: string): string {
  const plain = own === undefined || own.includes('${') ? undefined : own;
  return plain ?? replicaPath(c.env, nodeDir);
}

async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() === true;
}

async function isReadableFile(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

const JWKS_URL = /^(?:https:\/\/|http:\/\/(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])[:/])/u;

async function checkJwks(c: Checking, baseDir: string): Promise<void> {
  for (const [i, issuer] of c.draft.gateway.jwt.entries()) {
    const path = `gateway.jwt[${i}].jwks`;
    const { jwks } = issuer;
    if (jwks === '' || JWKS_URL.test(jwks)) continue;
    if (/^[a-z][a-z0-9+.-]*:\/\//iu.test(jwks)) {
      const expected = 'a file, an https: URL, or an http: URL of this machine';
      problem(
        c,
        'KIN_MANIFEST_RANGE',
        path,
        'a URL that anybody could change on its way',
        expected,
      );
      continue;
    }
    if (await isReadableFile(resolve(baseDir, jwks))) continue;
    const found = `${JSON.stringify(jwks.slice(0, 100))}, which cannot be read`;
    problem(c, 'KIN_MANIFEST_NOT_FOUND', path, found, 'a JWKS file');
  }
}
