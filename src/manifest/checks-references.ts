// Does every `${…}` of a manifest refer to something, and is every secret kept where secrets
// belong?
//
//   CR1. A secret reaches a service by its environment only: never by its arguments, which every
//        user of the machine can read.
import { nearest } from './nearest.ts';
import { advise, problem } from './checking.ts';
import type { Checking } from './checking.ts';
import { isReplaced } from './build.ts';
import { urlOf } from './derive.ts';
import { holdsPassword, looksSecret } from './secret-words.ts';
import type { DraftService } from './keys-service.ts';
import { REFERENCES_ACCEPTED, isSet, neededIn, parseText, referencesIn } from './reference.ts';
import type { Part } from './reference.ts';

type Where =
  | { readonly kind: 'env'; readonly service: DraftService }
  | { readonly kind: 'command'; readonly service: DraftService }
  | { readonly kind: 'url' };

export function checkReferences(c: Checking): void {
  for (const [name, service] of c.draft.services) {
    const path = `services.${name}`;
    for (const [variable, text] of service.env) {
      const at = `${path}.env.${variable}`;
      checkReserved(c, at, variable);
      checkText(c, at, text, { kind: 'env', service });
      adviseLiteral(c, at, variable, text);
    }
    service.command.forEach((word, i) => {
      const list = c.places.has(`${path}.command[0]`);
      const at = list ? `${path}.command[${i}]` : `${path}.command`;
      checkText(c, at, word, { kind: 'command', service });
      checkArgument(c, at, word, service.command[i - 1] ?? '');
    });
  }
  for (const [name, dependency] of c.draft.dependencies) {
    const path = `dependencies.${name}`;
    const { service } = dependency;
    const isHere = service === undefined || c.draft.services.has(service);
    checkUrl(c, `${path}.url`, isHere ? urlOf(dependency) : dependency.url, dependency.kind);
    checkUrl(c, `${path}.adminUrl`, dependency.adminUrl, dependency.kind);
  }
}

function checkReserved(c: Checking, path: string, variable: string): void {
  if (variable !== 'PORT' && !variable.startsWith('KINTSUGI_')) return;
  const found = `the variable ${variable}`;
  const expected = 'another name: Kintsugi sets PORT and KINTSUGI_… for each replica';
  problem(c, 'KIN_MANIFEST_CONFLICT', path, found, expected);
}

export function checkText(c: Checking, path: string, text: string, where: Where): void {
  const answer = parseText(text);
  if (answer.kind === 'bad') {
    const { found, suggestion } = answer;
    problem(c, 'KIN_MANIFEST_REFERENCE', path, found, REFERENCES_ACCEPTED, suggestion);
    return;
  }
  for (const part of referencesIn(answer.parts)) checkPart(c, path, part, where);
  // Whose replacement has no environment needs none of its own references either.
  if (where.kind !== 'url' && isReplaced(where.service.unlessEnv, c.env)) return;
  for (const part of neededIn(answer.parts, c.env)) checkNeeded(c, path, part);
}

function checkPart(c: Checking, path: string, part: Part, where: Where): void {
  const add = (found: string, expected: string, suggestion?: string): void =>
    problem(c, 'KIN_MANIFEST_REFERENCE', path, found, expected, suggestion);
  if (part.kind === 'secret') {
    if (where.kind === 'command') {
      const expected = 'no secret in a command, where every user of the machine can read it';
      const found = `\${secret:${part.name}} in the command`;
      problem(c, 'KIN_MANIFEST_CONFLICT', path, found, expected, 'to pass it by env');
    }
    if (c.draft.secrets.has(part.name)) return;
    const meant = nearest(part.name, c.draft.secrets.keys());
    const suggestion = meant === undefined ? undefined : `\${secret:${meant}}`;
    add(`the secret ${JSON.stringify(part.name)}`, 'a name from secrets', suggestion);
  }
  if (part.kind === 'service' && where.kind === 'url') {
    add('${service} in a dependency', 'a reference that has a value here');
  }
  if (part.kind === 'env' && where.kind === 'command' && looksSecret(part.name)) {
    const expected = 'no secret in a command, where every user of the machine can read it';
    const found = `\${env:${part.name}} in the command`;
    problem(c, 'KIN_MANIFEST_CONFLICT', path, found, expected, 'to pass it by env');
  }
  if (part.kind === 'port') checkPort(c, path, part.service, where);
}

function checkPort(c: Checking, path: string, name: string | undefined, where: Where): void {
  const add = (found: string, expected: string, suggestion?: string): void =>
    problem(c, 'KIN_MANIFEST_REFERENCE', path, found, expected, suggestion);
  if (name === undefined) {
    const known = where.kind === 'command' || (where.kind === 'env' && where.service.port !== 0);
    const expected = 'the variable PORT, which each replica gets; ${port} works in a command';
    if (!known) add('${port}', expected);
    return;
  }
  const service = c.draft.services.get(name);
  if (service === undefined) {
    const meant = nearest(name, c.draft.services.keys());
    const suggestion = meant === undefined ? undefined : `\${port:${meant}}`;
    add(`the service ${JSON.stringify(name)}`, 'a name from services', suggestion);
  } else if (service.kind === 'stateless' && service.port === 0) {
    const expected = 'a service with one port (stateful, or a fixed port); reach it by the gateway';
    add(`\${port:${name}}, which has a port for each replica`, expected);
  }
}

function checkNeeded(c: Checking, path: string, part: Part): void {
  if (part.kind === 'env' && !isSet(c.env, part.name)) {
    const found = `\${env:${part.name}}, which is not set`;
    const expected = 'a variable that is set, or a default';
    problem(c, 'KIN_MANIFEST_REFERENCE', path, found, expected, `\${env:${part.name}:-default}`);
  }
  if (part.kind !== 'port' || part.service === undefined) return;
  const unlessEnv = c.draft.services.get(part.service)?.unlessEnv;
  if (unlessEnv === undefined || !isReplaced(unlessEnv, c.env)) return;
  const found = `\${port:${part.service}}, a service that is left out because ${unlessEnv} is set`;
  const expected = `a text that does without it, such as \${env:${unlessEnv}:-…}`;
  problem(c, 'KIN_MANIFEST_REFERENCE', path, found, expected);
}

export function adviseLiteral(c: Checking, path: string, variable: string, text: string): void {
  const literal = looksSecret(variable) && text !== '' && !text.includes('${');
  if (!literal && !holdsPassword(text)) return;
  const advice =
    'this looks like a secret in plain text: name it under secrets and write ${secret:…}';
  advise(c, 'secret-literal', path, advice);
}

/** CR1 for secrets that are written out: by flag, by URL, or the very value of a known one. */
function checkArgument(c: Checking, path: string, word: string, before: string): void {
  const flagged = /^--?([A-Za-z][\w-]*)=(.+)$/u.exec(word);
  const byFlag = flagged !== null && looksSecret(flagged[1] ?? '') && !isPlain(flagged[2] ?? '');
  const after = /^--?([A-Za-z][\w-]*)$/u.exec(before);
  const byNext =
    after !== null && looksSecret(after[1] ?? '') && !word.startsWith('-') && !isPlain(word);
  const known = [...c.draft.secrets.values()].some((secret) => {
    const value = secret.env === undefined ? undefined : c.env[secret.env];
    return value !== undefined && value.length >= 8 && word.includes(value);
  });
  if (!byFlag && !byNext && !known && !holdsPassword(word)) return;
  const expected = 'no secret in a command, where every user of the machine can read it';
  problem(c, 'KIN_MANIFEST_CONFLICT', path, 'a secret (not shown)', expected, 'to pass it by env');
}

/** A path or a reference in place of a secret is what we want to see; others report it. */
function isPlain(value: string): boolean {
  return value.startsWith('/') || value.startsWith('./') || value.includes('${');
}

const SCHEMES: Readonly<Record<'postgres' | 'tcp', RegExp>> = {
  postgres: /^postgres(?:ql)?:\/\//u,
  tcp: /^tcp:\/\//u,
};

function checkUrl(
  c: Checking,
  path: string,
  url: string | undefined,
  kind: 'postgres' | 'tcp',
): void {
  if (url === undefined || url === '') return;
  checkText(c, path, url, { kind: 'url' });
  if (holdsPassword(url)) adviseLiteral(c, path, '', url);
  if (url.startsWith('${') || SCHEMES[kind].test(url)) return;
  const expected =
    kind === 'tcp' ? 'tcp://host:port' : 'postgres://user:${secret:…}@host:port/name';
  problem(c, 'KIN_MANIFEST_RANGE', path, 'a URL of another kind (not shown)', expected);
}
