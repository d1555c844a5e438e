// What exactly is executed for an order, or why can it not be? Decided before anything is spawned,
// so that a mistake in the manifest is told apart from a service that crashes.
//
//   PD3. The environment is the order's and nothing of the controller's own, plus PORT, HOST and
//        the marks by which a lost replica is found again.
import { accessSync, constants, statSync } from 'node:fs';
import { basename, delimiter, isAbsolute, join, resolve } from 'node:path';
import type { ReplicaOrder } from '../../world/runtime.ts';

/** Where a command without a PATH of its own is looked for. */
const PATH_DEFAULT = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin';

export interface Launch {
  readonly kind: 'launch';
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface LaunchRefusal {
  readonly kind: 'refused';
  readonly code:
    | 'KIN_COMMAND_NOT_FOUND'
    | 'KIN_COMMAND_NOT_EXECUTABLE'
    | 'KIN_COMMAND_INVALID'
    | 'KIN_CWD_MISSING';
  readonly detail: string;
}

export interface LaunchPlace {
  readonly instance: string;
  readonly owner: string;
  readonly host: string;
  readonly port: number;
  /** Folder that holds nothing but a link `node` to the Node that runs Kintsugi. */
  readonly nodeDir: string;
}

export function launchOf(order: ReplicaOrder, place: LaunchPlace): Launch | LaunchRefusal {
  const refused = (code: LaunchRefusal['code'], detail: string): LaunchRefusal => ({
    kind: 'refused',
    code,
    detail,
  });
  const [program = '', ...rest] = order.command;
  if (program === '') return refused('KIN_COMMAND_INVALID', 'the command is empty');
  const isText = (text: string): boolean => !text.includes('\0');
  if (![...order.command, ...Object.entries(order.env).flat()].every(isText))
    return refused('KIN_COMMAND_INVALID', 'the command or its environment holds a NUL byte');
  if (!isAbsolute(order.cwd) || !isFolder(order.cwd))
    return refused('KIN_CWD_MISSING', `the folder ${order.cwd} does not exist`);
  const env = environmentOf(order, place);
  const found = find(program, order.cwd, env['PATH'] ?? PATH_DEFAULT);
  if (found.kind === 'absent')
    return refused('KIN_COMMAND_NOT_FOUND', `the command ${program} was not found`);
  if (found.kind === 'not-executable')
    return refused('KIN_COMMAND_NOT_EXECUTABLE', `${found.path} is not an executable file`);
  const args = rest.map((arg) => arg.replaceAll('${port}', String(place.port)));
  return { kind: 'launch', file: found.path, args, env };
}

/**
 * A folder with only `node` in it goes first on the PATH: `node` means the pinned one, and nothing
 * else that the order's own PATH would have found (a Python environment, say) is hidden by it.
 */
function environmentOf(order: ReplicaOrder, place: LaunchPlace): Record<string, string> {
  return {
    ...order.env,
    PATH: `${place.nodeDir}${delimiter}${order.env['PATH'] ?? PATH_DEFAULT}`,
    PORT: String(place.port),
    HOST: place.host,
    KINTSUGI_INSTANCE: place.instance,
    KINTSUGI_REPLICA: order.id,
    KINTSUGI_OWNER: place.owner,
  };
}

type Found =
  | { readonly kind: 'found'; readonly path: string }
  | { readonly kind: 'not-executable'; readonly path: string }
  | { readonly kind: 'absent' };

function find(program: string, cwd: string, path: string): Found {
  if (program.includes('/')) return check(resolve(cwd, program));
  let best: Found = { kind: 'absent' };
  for (const folder of path.split(delimiter)) {
    // An empty part means "the current folder" to a shell: a well-known way to run the wrong file.
    if (folder === '' || !isAbsolute(folder)) continue;
    const found = check(join(folder, basename(program)));
    if (found.kind === 'found') return found;
    if (found.kind === 'not-executable') best = found;
  }
  return best;
}

function check(path: string): Found {
  try {
    if (!statSync(path).isFile()) return { kind: 'not-executable', path };
  } catch {
    return { kind: 'absent' };
  }
  try {
    accessSync(path, constants.X_OK);
    return { kind: 'found', path };
  } catch {
    return { kind: 'not-executable', path };
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
