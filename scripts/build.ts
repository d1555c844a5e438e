// `npm run build`: what do others install? For each package: JavaScript and declarations in
// build/NAME/dist, a package.json that names them, and a tarball in build/.
//
// B1. A tarball contains no TypeScript source, no test, and nothing that it does not need.
// B2. The control plane's tarball carries the ledger inside, so that it installs from one file.
// B3. The control plane's package names no Node binary: it would stand before the user's own
//     `node` in the user's npm scripts. It asks for Node 26 instead.

import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot as root } from './test/run-file.ts';

interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly [key: string]: unknown;
}

interface Product {
  /** The folder below build/. */
  readonly folder: string;
  readonly from: string;
  /** Declarations of our own packages that its source imports. */
  readonly uses: Readonly<Record<string, string>>;
  readonly manifest: (json: PackageJson) => PackageJson;
}

/** `new URL('./thread.ts', import.meta.url)` and `import.meta.resolve('./thread.ts')`. */
const ADDRESS = /(new URL\(|import\.meta\.resolve\()(\s*['"]\.{1,2}\/[^'"]+)\.ts(['"])/g;
const NODE_BINARIES = /^node-(bin-)?(linux|darwin)-/;

const library = (json: PackageJson): PackageJson => ({
  ...json,
  exports: builtExports(json['exports'] as Readonly<Record<string, string>>),
  files: ['dist', 'LICENSE', 'NOTICE'],
});

const products: readonly Product[] = [
  { folder: 'ledger', from: 'packages/ledger', uses: {}, manifest: library },
  { folder: 'sdk', from: 'packages/sdk', uses: {}, manifest: library },
  {
    folder: 'kintsugi',
    from: '.',
    uses: {
      '@kintsugi/ledger': 'ledger/dist/index.d.ts',
      '@kintsugi/ledger/verify': 'ledger/dist/verify.d.ts',
      '@kintsugi/ledger/auditor': 'ledger/dist/auditor.d.ts',
    },
    manifest: controlPlane,
  },
];

function builtExports(from: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> {
  const built = (path: string, ending: string): string =>
    path.replace('./src/', './dist/').replace(/\.ts$/, ending);
  return Object.fromEntries(
    Object.entries(from).map(([name, path]) => [
      name,
      { types: built(path, '.d.ts'), default: built(path, '.js') },
    ]),
  );
}

/** B2, B3. */
function controlPlane(json: PackageJson): PackageJson {
  const optional = Object.entries((json['optionalDependencies'] ?? {}) as Record<string, string>);
  const others = optional.filter(([name]) => !NODE_BINARIES.test(name));
  return {
    name: json.name,
    version: json.version,
    description: json['description'],
    license: json['license'],
    type: 'module',
    bin: json['bin'],
    engines: { node: '>=26' },
    os: ['linux', 'darwin'],
    files: ['dist', 'bin', 'contracts', 'LICENSE', 'NOTICE', 'README.md'],
    dependencies: json['dependencies'],
    ...(others.length > 0 ? { optionalDependencies: Object.fromEntries(others) } : {}),
    bundleDependencies: ['@kintsugi/ledger'],
  };
}

function build(product: Product, out: string): string {
  const target = join(out, product.folder);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  compile(product, target, out);
  rewriteAddresses(join(target, 'dist'));
  copyAssets(join(root, product.from, 'src'), join(target, 'dist'));
  const json = JSON.parse(readFileSync(join(root, product.from, 'package.json'), 'utf8'));
  writeJson(join(target, 'package.json'), product.manifest(json as PackageJson));
  for (const name of ['LICENSE', 'NOTICE']) cpSync(join(root, name), join(target, name));
  const readme = join(root, product.from, 'README.md');
  if (existsSync(readme)) cpSync(readme, join(target, 'README.md'));
  if (product.folder === 'kintsugi') {
    for (const name of ['bin', 'contracts'])
      cpSync(join(root, name), join(target, name), { recursive: true });
    const inside = join(target, 'node_modules', '@kintsugi', 'ledger');
    cpSync(join(out, 'ledger'), inside, { recursive: true });
  }
  return pack(target, out);
}

function compile(product: Product, target: string, out: string): void {
  const config = join(target, 'tsconfig.json');
  const paths = Object.entries(product.uses).map(([name, path]) => [name, [join(out, path)]]);
  writeJson(config, {
    extends: join(root, 'tsconfig.build.json'),
    compilerOptions: {
      rootDir: join(root, product.from, 'src'),
      outDir: join(target, 'dist'),
      typeRoots: [join(root, 'node_modules', '@types')],
      paths: Object.fromEntries(paths),
    },
    include: [join(root, product.from, 'src')],
  });
  run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', config], root);
  rmSync(config);
}

/** The compiler rewrites imports, but not the addresses of threads and processes to start. */
function rewriteAddresses(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.js')) continue;
    const path = join(entry.parentPath, entry.name);
    const text = readFileSync(path, 'utf8');
    const rewritten = text.replaceAll(ADDRESS, '$1$2.js$3');
    if (rewritten !== text) writeFileSync(path, rewritten);
  }
}

/** Whatever the source reads at run time beside its modules: migrations, schemas, playbooks. */
function copyAssets(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || /\.(ts|mts|cts)$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    const target = join(to, relative(from, path));
    mkdirSync(dirname(target), { recursive: true });
    cpSync(path, target);
  }
}

function pack(target: string, out: string): string {
  const said = run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--loglevel=error', '--pack-destination', out],
    target,
  );
  const parsed: unknown = JSON.parse(said);
  const [first] = Array.isArray(parsed) ? parsed : Object.values(parsed as object);
  return join(out, (first as { readonly filename: string }).filename);
}

function run(file: string, args: readonly string[], cwd: string): string {
  const env = Object.fromEntries(
    // `npm run -w …` and the like would make this npm pack something else.
    Object.entries(process.env).filter(
      ([name]) => !/^npm_config_(workspaces?|dry_run)$/.test(name),
    ),
  );
  const ended = spawnSync(file, [...args], { cwd, env, encoding: 'utf8', timeout: 240_000 });
  if (ended.status === 0) return ended.stdout;
  const why = ended.error?.message ?? `${ended.stdout}${ended.stderr}`.trim();
  process.stderr.write(`${file} ${args[0]} failed in ${cwd}:\n${why}\n`);
  process.exit(1);
}

const writeJson = (path: string, value: unknown): void =>
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: 'string', default: join(root, 'build') } },
});
const wanted = products.filter(
  ({ folder }) => positionals.length === 0 || positionals.includes(folder),
);
mkdirSync(values.out, { recursive: true });
for (const product of wanted) {
  const tarball = build(product, values.out);
  process.stdout.write(`${product.folder.padEnd(8)} ${relative(process.cwd(), tarball)}\n`);
}
