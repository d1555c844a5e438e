// Does package-lock.json name the lint tools' binaries for every platform? A registry that offers
// only some of them makes npm write an incomplete lock, and `npm ci` refuses such a lock on all
// platforms. This writes the missing entries; run it after an update of oxlint or oxfmt:
//   node scripts/setup/complete-lock.mjs
// Their hashes cannot be known here: npm takes those of the registry that has them.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const OWNERS = ['oxlint', 'oxfmt', 'oxlint-tsgolint', '@nomicfoundation/edr'];
const PLATFORM = new RegExp(
  '(?:binding-|tsgolint/|edr-)(android|darwin|freebsd|linux|openharmony|win32)-' +
    '([a-z0-9]+)(?:-(.*))?$',
);

const file = fileURLToPath(new URL('../../package-lock.json', import.meta.url));
const lock = JSON.parse(readFileSync(file, 'utf8'));
let added = 0;
for (const owner of OWNERS) {
  const { optionalDependencies = {}, engines } = lock.packages[`node_modules/${owner}`] ?? {};
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const path = `node_modules/${name}`;
    const [, os, cpu, abi = ''] = PLATFORM.exec(name) ?? [];
    if (lock.packages[path] !== undefined || os === undefined) continue;
    const libc =
      os !== 'linux' || abi === '' ? undefined : abi.startsWith('musl') ? 'musl' : 'glibc';
    lock.packages[path] = {
      version,
      cpu: [cpu],
      dev: true,
      ...(libc === undefined ? {} : { libc: [libc] }),
      license: 'MIT',
      optional: true,
      os: [os],
      ...(engines === undefined ? {} : { engines }),
    };
    added++;
  }
}
lock.packages = Object.fromEntries(
  Object.entries(lock.packages).toSorted(([a], [b]) => a.localeCompare(b, 'en')),
);
if (added > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added} entries added\n`);
