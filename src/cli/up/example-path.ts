// Which address answers something when one tries the system out? A path of the OpenAPI file beside
// the manifest that needs nothing but a key; a prefix alone is often no operation.
import { join } from 'node:path';
import { parse } from 'yaml';
import { NAMED_BYTES_MAX, readRegular } from '../offline/read-file.ts';

const NAMES = ['openapi.yaml', 'openapi.yml', 'openapi.json'];
/** The path is printed inside a command that is copied into a shell. */
const PLAIN_PATH = /^\/[A-Za-z0-9._~/-]{0,200}$/u;

/** The shortest GET below `prefix`; undefined: there is no such file, or nothing in it fits. */
export function examplePath(folder: string, prefix: string): string | undefined {
  const paths = NAMES.flatMap((name) => operationsIn(join(folder, name)));
  const below = prefix.endsWith('/') ? prefix : `${prefix}/`;
  return paths
    .filter((path) => path === prefix || path.startsWith(below))
    .toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1))[0];
}

/** Only a hint depends on it: a file that cannot be read has none. */
function operationsIn(file: string): readonly string[] {
  try {
    const document: unknown = parse(readRegular(file, NAMED_BYTES_MAX).toString('utf8'));
    const paths = fieldOf(document, 'paths');
    if (typeof paths !== 'object' || paths === null) return [];
    return Object.entries(paths).flatMap(([path, item]) =>
      PLAIN_PATH.test(path) && asksNothing(item) ? [path] : [],
    );
  } catch {
    return [];
  }
}

function asksNothing(item: unknown): boolean {
  const get = fieldOf(item, 'get');
  if (typeof get !== 'object' || get === null) return false;
  return [item, get].every((part) => {
    const parameters = fieldOf(part, 'parameters');
    return (
      !Array.isArray(parameters) || !parameters.some((one) => fieldOf(one, 'required') === true)
    );
  });
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}
