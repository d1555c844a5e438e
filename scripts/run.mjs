// Runs one TypeScript file of this repository under the pinned Node 26:
//   node scripts/run.mjs FILE [ARGUMENT…]
// Used by every npm script, so that `node` on the PATH may be any version from 20 on.

import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endWith, runNode } from '../bin/pinned-node.mjs';
import { prepare } from './prepare.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [file, ...args] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write('usage: node scripts/run.mjs FILE [ARGUMENT…]\n');
  process.exit(64);
}
try {
  // Once more, since npm leaves the "pre" scripts out for users who set `ignore-scripts`.
  await prepare(root);
  runNode(root, resolve(root, file), args);
} catch (error) {
  endWith(error);
}
