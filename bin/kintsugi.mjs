#!/usr/bin/env node
// The `kintsugi` command. It finds the Node that Kintsugi is pinned to and hands over to the CLI:
// the TypeScript source in a clone, the built JavaScript in an installed package.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endWith, NODE_MAJOR, runNode, SetupProblem } from './pinned-node.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const built = join(root, 'dist', 'cli', 'kintsugi.js');
const source = join(root, 'src', 'cli', 'kintsugi.ts');

/** In a clone the packages may be missing; `npm start` brings them, also without pre-scripts. */
async function assertInstalled() {
  if (existsSync(join(root, 'node_modules'))) return;
  if (process.env.npm_lifecycle_event === 'start') {
    const { prepare } = await import('../scripts/prepare.mjs');
    await prepare(root);
    return;
  }
  throw new SetupProblem(
    'KIN_SETUP_NOT_INSTALLED',
    `the packages that Kintsugi needs (Node ${NODE_MAJOR} too) are not installed in ${root}.`,
    `run "npm install" in ${root}`,
  );
}

try {
  const isClone = existsSync(source);
  if (isClone) await assertInstalled();
  runNode(root, isClone ? source : built, process.argv.slice(2));
} catch (error) {
  endWith(error);
}
