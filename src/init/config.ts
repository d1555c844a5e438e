// What is to be kept running? The JSON file that the CLI writes: a list of children, first the
// controller, then the gateways.
import { lstatSync, readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';

export interface ChildSpec {
  readonly name: string;
  /** Absolute program, then its arguments. */
  readonly argv: readonly string[];
  /** Complete environment. May hold secrets, so the file is 0600 and nothing here prints it. */
  readonly env: Readonly<Record<string, string>>;
  /** Absolute. Its output is appended here. */
  readonly logFile: string;
}

export type ConfigAnswer =
  | { readonly kind: 'config'; readonly children: readonly ChildSpec[] }
  | { readonly kind: 'invalid'; readonly why: string };

const BYTES_MAX = 1024 * 1024;
const CHILDREN_MAX = 100;

export function readConfig(path: string): ConfigAnswer {
  try {
    const facts = lstatSync(path);
    if (!facts.isFile() || facts.size > BYTES_MAX) return invalid('it is not a small plain file');
    // Whoever may write it decides what we execute.
    if ((facts.mode & 0o022) !== 0) return invalid('others may write to it; make it 0600');
    if (facts.uid !== process.getuid?.() && facts.uid !== 0)
      return invalid('it is somebody else’s');
    return parseConfig(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    // Only the code: a JSON error quotes the text, which may hold a secret.
    const code = (error as NodeJS.ErrnoException).code;
    return invalid(code === undefined ? 'it is not JSON' : `it cannot be read (${code})`);
  }
}

const invalid = (why: string): ConfigAnswer => ({ kind: 'invalid', why });

type Loose = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string =>
  typeof value === 'string' && !value.includes('\0');

/** A list, or an object with the list as `children`. */
export function parseConfig(value: unknown): ConfigAnswer {
  const list: unknown = isObject(value) ? value['children'] : value;
  if (!Array.isArray(list)) return invalid('it holds no list of children');
  if (list.length === 0 || list.length > CHILDREN_MAX)
    return invalid(`it must name 1 to ${CHILDREN_MAX} children`);
  const children: ChildSpec[] = [];
  for (const [at, each] of list.entries()) {
    const child = parseChild(each);
    if (typeof child === 'string') return invalid(`child ${at + 1}: ${child}`);
    if (children.some(({ name }) => name === child.name))
      return invalid(`the name ${child.name} appears twice`);
    children.push(child);
  }
  return { kind: 'config', children };
}

function parseChild(value: unknown): ChildSpec | string {
  if (!isObject(value)) return 'it is not an object';
  const { name, argv, env, logFile } = value;
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,39}$/u.test(name)) return '"name" is no name';
  if (!Array.isArray(argv) || argv.length === 0 || !argv.every(isText))
    return '"argv" is not a list of texts';
  if (!isAbsolute(argv[0] ?? '')) return '"argv" must begin with an absolute path';
  if (!isObject(env) || !Object.values(env).every(isText)) return '"env" does not hold texts only';
  if (!isText(logFile) || !isAbsolute(logFile)) return '"logFile" is not an absolute path';
  return { name, argv, env: env as Record<string, string>, logFile };
}
