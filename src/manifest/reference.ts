// What do `${…}` in a text stand for? Parses texts with references, lists what they need, and
// resolves them at the start of a replica from values that are handed in.
//
//   RF1. Resolving is pure: the same inputs give the same text.
//   RF2. A default is resolved only when it is used: `${env:URL:-…${port:database}}` needs no
//        database when URL is set.
//   RF3. An error names the reference, never a value.
import { KinError } from '../model/errors.ts';
import { delimiter } from 'node:path';
import type { Manifest, ServiceSpec } from '../model/manifest.ts';

export type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'env'; readonly name: string; readonly otherwise: readonly Part[] | undefined }
  | { readonly kind: 'secret'; readonly name: string }
  /** `service` is undefined for the replica's own port. */
  | { readonly kind: 'port'; readonly service: string | undefined }
  | { readonly kind: 'state' }
  | { readonly kind: 'service' }
  | { readonly kind: 'name' };

export type ParseAnswer =
  | { readonly kind: 'ok'; readonly parts: readonly Part[] }
  | { readonly kind: 'bad'; readonly found: string; readonly suggestion: string | undefined };

const DEPTH_MAX = 4;
export const REFERENCES_ACCEPTED =
  '${env:NAME}, ${env:NAME:-default}, ${secret:name}, ${port:service}, ' +
  '${state}, ${service} or ${name}';

/** Splits a text into plain parts and references. `$${` is a plain `${`. */
export function parseText(text: string): ParseAnswer {
  const answer = parseParts(text, 0, 0);
  return 'bad' in answer ? { kind: 'bad', ...answer.bad } : { kind: 'ok', parts: answer.parts };
}

interface Bad {
  readonly bad: { readonly found: string; readonly suggestion: string | undefined };
}
type Parsed = { readonly parts: readonly Part[]; readonly end: number } | Bad;

const failed = (found: string, suggestion?: string): Bad => ({ bad: { found, suggestion } });

function parseParts(text: string, from: number, depth: number): Parsed {
  const parts: Part[] = [];
  let plain = '';
  let i = from;
  while (i < text.length) {
    if (text.startsWith('$${', i)) {
      plain += '${';
      i += 3;
    } else if (depth > 0 && text[i] === '}') break;
    else if (text.startsWith('${', i)) {
      const answer = parseReference(text, i + 2, depth + 1);
      if ('bad' in answer) return answer;
      if (plain !== '') parts.push({ kind: 'text', text: plain });
      plain = '';
      parts.push(...answer.parts);
      i = answer.end;
    } else {
      plain += text.charAt(i);
      i += 1;
    }
  }
  if (plain !== '') parts.push({ kind: 'text', text: plain });
  return { parts, end: i };
}

/** From just after `${` to just after its `}`. */
function parseReference(text: string, from: number, depth: number): Parsed {
  if (depth > DEPTH_MAX) return failed(`references more than ${DEPTH_MAX} deep`);
  const head = /[^:}$]{0,64}/uy;
  head.lastIndex = from;
  const kind = head.exec(text)?.[0] ?? '';
  let at = from + kind.length;
  let name: string | undefined;
  if (text[at] === ':') {
    const tail = /[A-Za-z0-9_.-]{0,128}?(?=:-|\}|[^A-Za-z0-9_.-]|$)/uy;
    tail.lastIndex = at + 1;
    name = tail.exec(text)?.[0] ?? '';
    at += 1 + name.length;
  }
  let otherwise: readonly Part[] | undefined;
  if (text.startsWith(':-', at)) {
    const answer = parseParts(text, at + 2, depth);
    if ('bad' in answer) return answer;
    otherwise = answer.parts;
    at = answer.end;
  }
  const shown = `\${${kind}${name === undefined ? '' : `:${name}`}`.slice(0, 80);
  if (at >= text.length) return failed(`${shown} without its closing "}"`, `${shown}}`);
  if (text[at] !== '}') return failed(`${shown}… with something else after it`, `${shown}}`);
  const part = partFrom(kind, name, otherwise);
  return 'bad' in part ? part : { parts: [part], end: at + 1 };
}

function partFrom(
  kind: string,
  name: string | undefined,
  otherwise: readonly Part[] | undefined,
): Part | Bad {
  const shown = `\${${kind}${name === undefined ? '' : `:${name}`}}`;
  if (otherwise !== undefined && kind !== 'env') {
    return failed(`${shown} with a default, which only env can have`, shown);
  }
  if (kind === 'env' && name !== undefined && /^[A-Za-z_][A-Za-z0-9_]*$/u.test(name)) {
    return { kind, name, otherwise };
  }
  if (kind === 'secret' && name !== undefined && name !== '') return { kind, name };
  if (kind === 'port' && name !== '') return { kind, service: name };
  if ((kind === 'state' || kind === 'service' || kind === 'name') && name === undefined) {
    return { kind };
  }
  return failed(`the reference ${shown}`, guessReference(kind, name));
}

function guessReference(kind: string, name: string | undefined): string | undefined {
  if (name === undefined && /^[A-Z][A-Z0-9_]*$/u.test(kind)) return `\${env:${kind}}`;
  const lower = kind.toLowerCase();
  if (['secrets', 'sec', 'secret'].includes(lower)) return `\${secret:${name ?? 'name'}}`;
  if (['environment', 'var', 'env'].includes(lower)) return `\${env:${name ?? 'NAME'}}`;
  if (['ports'].includes(lower)) return `\${port:${name ?? 'service'}}`;
  return undefined;
}

/** Every reference of a text, those inside defaults included. */
export function* referencesIn(parts: readonly Part[]): Generator<Part> {
  for (const part of parts) {
    if (part.kind === 'text') continue;
    yield part;
    if (part.kind === 'env' && part.otherwise !== undefined) yield* referencesIn(part.otherwise);
  }
}

/** Only the references that count when the environment is this one (RF2). */
export function* neededIn(parts: readonly Part[], env: Variables): Generator<Part> {
  for (const part of parts) {
    if (part.kind === 'text') continue;
    const useDefault = part.kind === 'env' && !isSet(env, part.name);
    if (!useDefault || part.otherwise === undefined) yield part;
    else yield* neededIn(part.otherwise, env);
  }
}

export type Variables = Readonly<Record<string, string | undefined>>;

/** As in a shell's `:-`: a variable that is empty counts as not set. */
export function isSet(env: Variables, name: string): boolean {
  return env[name] !== undefined && env[name] !== '';
}

export interface ResolveInputs {
  /** The environment of `kintsugi up`. */
  readonly env: Variables;
  readonly secrets: ReadonlyMap<string, string>;
  /** Port of each stateful or fixed-port service, by its name. */
  readonly ports: ReadonlyMap<string, number>;
  /** Absolute state folder. */
  readonly stateDir: string;
  /** The replica's own port, where it is known already. */
  readonly port?: number;
  /** Folder of the Node that runs us: comes first in the PATH. */
  readonly nodeDir?: string;
}

export interface ResolveNames {
  /** Name of the manifest. */
  readonly name: string;
  readonly service?: string;
}

/** Puts values in place of references; throws `KIN_REFERENCE_UNRESOLVED` when one is missing. */
export function resolveText(text: string, names: ResolveNames, inputs: ResolveInputs): string {
  const answer = parseText(text);
  if (answer.kind === 'bad') throw unresolved(answer.found);
  return resolveParts(answer.parts, names, inputs);
}

function resolveParts(parts: readonly Part[], names: ResolveNames, inputs: ResolveInputs): string {
  return parts.map((part) => resolvePart(part, names, inputs)).join('');
}

function resolvePart(part: Part, names: ResolveNames, inputs: ResolveInputs): string {
  switch (part.kind) {
    case 'text':
      return part.text;
    case 'env': {
      const value = inputs.env[part.name];
      if (value !== undefined && value !== '') return value;
      if (part.otherwise !== undefined) return resolveParts(part.otherwise, names, inputs);
      throw unresolved(`the environment variable ${part.name}`);
    }
    case 'secret':
      return inputs.secrets.get(part.name) ?? throwing(`the secret ${part.name}`);
    case 'port': {
      const port = part.service === undefined ? inputs.port : inputs.ports.get(part.service);
      return String(port ?? throwing(`the port of ${part.service ?? 'the replica'}`));
    }
    case 'state':
      return inputs.stateDir;
    case 'service':
      return names.service ?? throwing('the name of the service');
    case 'name':
      return names.name;
  }
}

function throwing(what: string): never {
  throw unresolved(what);
}

function unresolved(what: string): KinError {
  return new KinError(
    'KIN_REFERENCE_UNRESOLVED',
    `a reference of the manifest has no value: ${what}`,
    'Set it, or give the reference a default; `kintsugi validate` lists all of them.',
  );
}

// Without these a program cannot find its tools, home or language; nothing else of the operator's
// environment reaches a service, because it may hold secrets that are none of its business.
const PASSED_ON = [
  'HOME',
  'USER',
  'LOGNAME',
  'LANG',
  'LC_ALL',
  'LC_CTYPE',
  'TZ',
  'TMPDIR',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
] as const;

const PATH_DEFAULT = '/usr/local/bin:/usr/bin:/bin';

/** The PATH of a replica: Node's own folder first, so that `node` is the Node that runs us. */
export function replicaPath(env: Variables, nodeDir: string | undefined): string {
  const path = env['PATH'] ?? PATH_DEFAULT;
  return nodeDir === undefined ? path : `${nodeDir}${delimiter}${path}`;
}

/** The complete environment of a replica of `service`, secrets resolved: never log it. */
export function resolveEnv(
  service: ServiceSpec,
  manifest: Pick<Manifest, 'name'>,
  inputs: ResolveInputs,
): Record<string, string> {
  const names = { name: manifest.name, service: service.name };
  const own = service.port === 0 ? inputs : { ...inputs, port: inputs.port ?? service.port };
  const result: Record<string, string> = { PATH: replicaPath(inputs.env, inputs.nodeDir) };
  for (const name of PASSED_ON) {
    const value = inputs.env[name];
    if (value !== undefined) result[name] = value;
  }
  for (const [name, text] of service.env) result[name] = resolveText(text, names, own);
  return result;
}

/** The command with its references resolved; `${port}` stays when the port is not known yet. */
export function resolveCommand(
  service: ServiceSpec,
  manifest: Pick<Manifest, 'name'>,
  inputs: ResolveInputs,
): readonly string[] {
  const names = { name: manifest.name, service: service.name };
  const port = inputs.port ?? (service.port === 0 ? undefined : service.port);
  return service.command.map((word) => {
    const answer = parseText(word);
    if (answer.kind === 'bad') throw unresolved(answer.found);
    return answer.parts
      .map((part) => {
        const own = part.kind === 'port' && part.service === undefined && port === undefined;
        return own
          ? '${port}'
          : resolvePart(part, names, { ...inputs, ...(port === undefined ? {} : { port }) });
      })
      .join('');
  });
}
