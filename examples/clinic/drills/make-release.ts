// Makes a release folder for `kintsugi deploy SERVICE --release PATH`, good or bad on purpose:
//
//   node drills/make-release.ts --service records --kind errors-under-traffic --out /tmp/release
//
// Kinds: good | crash-at-start | errors-under-traffic (answers 5xx, after 20 good requests).
// The folder stands on its own: it holds the services, and node_modules with just what they
// import, so that it runs wherever it is copied to. TypeScript below node_modules is not run by
// Node, so the SDK goes in as JavaScript.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const KINDS = ['good', 'crash-at-start', 'errors-under-traffic'] as const;
const SERVICES = ['records', 'billing', 'scheduling'] as const;
type Kind = (typeof KINDS)[number];

export interface ReleaseOrder {
  readonly service: (typeof SERVICES)[number];
  readonly kind: Kind;
  /** Must not exist yet. */
  readonly out: string;
  /** Makes two releases of one kind differ, and with it their digest. */
  readonly label: string;
}

const clinic = resolve(dirname(fileURLToPath(import.meta.url)), '..');

export function makeRelease(order: ReleaseOrder): string {
  const out = resolve(order.out);
  if (existsSync(out)) throw new Error(`${out} exists already; choose a new folder.`);
  mkdirSync(out, { recursive: true });
  for (const part of ['services', 'drills', 'package.json', 'openapi.yaml']) {
    cpSync(join(clinic, part), join(out, part), { recursive: true });
  }
  const { service, kind, label } = order;
  writeFileSync(join(out, 'drill.json'), `${JSON.stringify({ service, kind, label })}\n`);
  breakEntry(join(out, 'services'), service, kind);
  const modules = join(out, 'node_modules');
  copyPackage('pg', createRequire(join(clinic, 'package.json')), modules, new Set());
  copySdk(join(modules, '@kintsugi', 'sdk'));
  return out;
}

/** The fault sits in front of the unchanged service: what is deployed differs in one file. */
function breakEntry(services: string, service: string, kind: Kind): void {
  if (kind === 'good') return;
  const entry = join(services, `${service}.ts`);
  renameSync(entry, join(services, `${service}-app.ts`));
  const app = `await import('./${service}-app.ts');\n`;
  const code =
    kind === 'crash-at-start'
      ? `throw new Error('drill: this release crashes at its start');\n`
      : `process.env['CLINIC_DRILLS'] = '1';\n` +
        `process.env['CLINIC_DRILL_START'] = 'errors?rate=1&after=20';\n${app}`;
  writeFileSync(entry, `// A release that is bad on purpose: ${kind}.\n${code}`);
}

/** The package and, below the same folder, everything that it needs at run time. */
function copyPackage(
  name: string,
  require: NodeJS.Require,
  modules: string,
  seen: Set<string>,
): void {
  if (seen.has(name)) return;
  seen.add(name);
  const folder = folderOf(name, require);
  if (folder === undefined) return;
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>;
  };
  cpSync(folder, join(modules, name), { recursive: true, dereference: true });
  const own = createRequire(join(folder, 'package.json'));
  for (const dependency of Object.keys(manifest.dependencies ?? {})) {
    copyPackage(dependency, own, modules, seen);
  }
}

function folderOf(name: string, require: NodeJS.Require): string | undefined {
  for (const base of require.resolve.paths(name) ?? []) {
    const folder = join(base, name);
    if (existsSync(join(folder, 'package.json'))) return folder;
  }
  return undefined;
}

function copySdk(target: string): void {
  const require = createRequire(join(clinic, 'package.json'));
  const folder = folderOf('@kintsugi/sdk', require);
  if (folder === undefined) throw new Error('@kintsugi/sdk is not installed: run npm ci');
  mkdirSync(join(target, 'src'), { recursive: true });
  for (const file of readdirSync(join(folder, 'src'))) {
    const source = readFileSync(join(folder, 'src', file), 'utf8');
    const code = stripTypeScriptTypes(source).replaceAll(/(from '\.\/[\w-]+)\.ts'/g, "$1.js'");
    writeFileSync(join(target, 'src', file.replace(/\.ts$/, '.js')), code);
  }
  const text = readFileSync(join(folder, 'package.json'), 'utf8');
  writeFileSync(join(target, 'package.json'), text.replaceAll('./src/index.ts', './src/index.js'));
}

function fromCommandLine(): ReleaseOrder {
  const { values } = parseArgs({
    options: {
      service: { type: 'string', default: 'records' },
      kind: { type: 'string', default: 'good' },
      out: { type: 'string' },
      label: { type: 'string', default: String(Date.now()) },
    },
  });
  const service = SERVICES.find((name) => name === values.service);
  const kind = KINDS.find((name) => name === values.kind);
  if (service === undefined || kind === undefined || values.out === undefined) {
    throw new Error(
      `usage: make-release.ts --service ${SERVICES.join('|')} --kind ${KINDS.join('|')} --out DIR`,
    );
  }
  return { service, kind, out: values.out, label: values.label };
}

if (import.meta.main) {
  try {
    console.log(makeRelease(fromCommandLine()));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
