// Which data schemas can a release run on? It may say so in `kintsugi.release.json`; a rollback to
// a release whose range does not hold the present schema is refused.
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KinError, messageOf } from '../../model/errors.ts';
import type { Release } from '../../model/release.ts';

export const RELEASE_FILE = 'kintsugi.release.json';
const BYTES_MAX = 64 * 1024;

export async function readSchema(dir: string): Promise<Release['schema']> {
  const path = join(dir, RELEASE_FILE);
  const facts = await lstat(path).catch(() => undefined);
  if (facts === undefined) return undefined;
  if (!facts.isFile() || facts.size > BYTES_MAX) throw invalid('it is not a small plain file');
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw invalid(messageOf(error));
  }
  if (!isObject(value)) throw invalid('it is not an object');
  const known = Object.keys(value).find((key) => key !== 'schema' && key !== '$schema');
  if (known !== undefined) throw invalid(`the key ${JSON.stringify(known)} is not known`);
  return rangeIn(value['schema']);
}

function rangeIn(schema: unknown): Release['schema'] {
  if (schema === undefined) return undefined;
  if (!isObject(schema)) throw invalid('"schema" is not an object');
  const { min, max } = schema;
  const isVersion = (each: unknown): each is number =>
    Number.isSafeInteger(each) && Number(each) >= 0;
  if (!isVersion(min) || !isVersion(max) || min > max)
    throw invalid('"schema" needs whole numbers "min" ≤ "max"');
  return { min, max };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const invalid = (why: string): KinError =>
  new KinError(
    'KIN_RELEASE_FILE_INVALID',
    `${RELEASE_FILE} cannot be used: ${why}`,
    'Write for example {"schema": {"min": 1, "max": 3}}, or remove the file.',
  );
