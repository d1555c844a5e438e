// `node scripts/run.mjs scripts/ledger/browser.ts --out FOLDER`: how large is the verifier of a web
// page, and where is it? One ES module without any import, from packages/ledger/src/browser.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import type { Plugin } from 'esbuild';

const source = resolve(fileURLToPath(import.meta.url), '../../../packages/ledger/src');
export const BROWSER_FILE = 'kintsugi-verify.js';

export interface BrowserBundle {
  readonly file: string;
  readonly text: string;
  readonly bytes: number;
  readonly gzipBytes: number;
}

/** The one file of the verifier that a browser build replaces. */
const browserCrypto: Plugin = {
  name: 'browser-crypto',
  setup: (bundler) => {
    bundler.onResolve({ filter: /\/crypto\.ts$/ }, ({ path, resolveDir }) =>
      resolve(resolveDir, path) === join(source, 'crypto.ts')
        ? { path: join(source, 'browser/crypto.ts') }
        : null,
    );
  },
};

export async function buildBrowser(out: string): Promise<BrowserBundle> {
  const result = await build({
    entryPoints: [join(source, 'browser/index.ts')],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    charset: 'utf8',
    write: false,
    logLevel: 'error',
    plugins: [browserCrypto],
  });
  const [output] = result.outputFiles;
  if (output === undefined) throw new Error('esbuild wrote nothing');
  const file = join(out, BROWSER_FILE);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, output.contents);
  const { text } = output;
  return { file, text, bytes: output.contents.length, gzipBytes: gzipSync(output.contents).length };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: 'string', default: 'build/browser' } } });
  const { file, bytes, gzipBytes } = await buildBrowser(resolve(values.out));
  console.log(`${file}: ${bytes} bytes, ${gzipBytes} gzipped`);
}
