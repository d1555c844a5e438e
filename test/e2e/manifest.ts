// Which manifest do the e2e tests bring up? The clinic's own, read from the example, with what a
// test needs shorter: rollouts, intervals. It is written into a temp folder; its sources are the
// example's.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';

export const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const CLINIC = join(REPOSITORY, 'examples/clinic');

interface Document {
  gateway: Record<string, unknown>;
  services: Record<string, Record<string, unknown>>;
  tenants: Record<string, { quotas: Record<string, unknown> }>;
  compliance: { checks: Record<string, unknown>[] };
  healing?: Record<string, unknown>;
  [key: string]: unknown;
}

/** Answers the path of the manifest. `base` can be entered by the database's user (mode 0711). */
export function writeManifest(base: string): string {
  const document = parse(readFileSync(join(CLINIC, 'kintsugi.yaml'), 'utf8'), {
    merge: true,
  }) as Document;
  for (const service of Object.values(document.services)) {
    service['source'] = CLINIC;
    service['rollout'] = { canary: '50%', bake: '5s', minRequests: 30 };
  }
  // A leak of a few MiB a second reaches it within the patience of a test.
  const { records, database } = document.services;
  if (records !== undefined) records['resources'] = { memory: '192MiB', cpu: 1 };
  if (database === undefined) throw new Error('the clinic has no database any more');
  // Beside the state, which is 0700: the server runs as another user when the tests run as root.
  database['env'] = { ...(database['env'] as object), CLINIC_DATA: join(base, 'database') };
  // On a slow machine a moment of many open requests must not look like a quota.
  for (const tenant of Object.values(document.tenants)) {
    tenant.quotas = { rate: '1000/s', concurrency: 1_000, body: '1MiB' };
  }
  for (const check of document.compliance.checks) check['interval'] = '1s';
  // Many heals in a few minutes are the very purpose here.
  document.healing = { budget: { maxPerHour: 1_000 } };
  const path = join(base, 'kintsugi.yaml');
  writeFileSync(path, stringify(document));
  return path;
}
