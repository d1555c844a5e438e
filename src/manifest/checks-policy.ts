// What does the policy file that the manifest names mean for each route? Read and compiled with the
// manifest, so that `validate` shows its faults, and a policy that is wrong changes nothing.
//
//   CP1. A relative path does not lead out of the manifest's folder, by dots or by links.
//   CP2. Every fault has the policy's own file and line.
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import type { Manifest, RouteSpec, ServiceSpec } from '../model/manifest.ts';
import type { RouteRights } from '../tenancy/route-policy.ts';
import { problem } from './checking.ts';
import type { Checking } from './checking.ts';
import { isInside } from './command.ts';
import { routesOf } from './derive.ts';
import { nearest } from './nearest.ts';

export type Rights = ReadonlyMap<string, RouteRights>;

const PATH = 'gateway.policy';
const BYTES_MAX = 262_144;

/** By prefix; undefined when there is no policy, or one that cannot be used (and was noted). */
export async function checkPolicy(c: Checking, baseDir: string): Promise<Rights | undefined> {
  const { policy } = c.draft.gateway;
  if (policy === undefined || policy === '') return undefined;
  const text = await readPolicy(c, policy, baseDir);
  if (text === undefined) return undefined;
  // Loading the policy engine takes 0.3 s and 60 MB: only who has a policy pays for it.
  const { compileRoutePolicy } = await import('../tenancy/route-policy.ts');
  const prefixes = [...c.draft.services.keys()].flatMap((name) =>
    routesOf(c.draft, name).map(({ prefix }) => prefix),
  );
  const answer = compileRoutePolicy(text, prefixes);
  if (answer.kind === 'compiled') return answer.rights;
  const shown = isAbsolute(policy) ? policy : join(dirname(c.problems.file), policy);
  for (const { code, line, column, policy: name, misspelt, ...what } of answer.faults) {
    const meant = misspelt === undefined ? undefined : nearest(misspelt.id, misspelt.known);
    const suggestion = `${misspelt?.type}::${JSON.stringify(meant)}`;
    const full = meant === undefined ? what : { ...what, suggestion };
    c.problems.add(code, { line, column }, name, full, shown);
  }
  return undefined;
}

async function readPolicy(
  c: Checking,
  policy: string,
  baseDir: string,
): Promise<string | undefined> {
  const file = resolve(baseDir, policy);
  const found = JSON.stringify(policy.slice(0, 100));
  const unreadable = (why: string): undefined => {
    problem(c, 'KIN_MANIFEST_NOT_FOUND', PATH, `${found}, ${why}`, 'a file of Cedar policies');
  };
  if (!isAbsolute(policy)) {
    const [base, real] = await Promise.all([baseDir, file].map((p) => realpath(p).catch(() => p)));
    if (!isInside(baseDir, file) || !isInside(base ?? '', real ?? '')) {
      const expected = 'a file inside the folder of the manifest, or an absolute path';
      problem(c, 'KIN_MANIFEST_RANGE', PATH, `${found}, which leads out of the folder`, expected);
      return undefined;
    }
  }
  // O_NONBLOCK: a named pipe in its place must not hold up the start.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  const handle = await open(file, flags).catch(() => undefined);
  if (handle === undefined) return unreadable('which cannot be read');
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return unreadable('which is not a file');
    if (stat.size > BYTES_MAX) return unreadable(`which is larger than ${BYTES_MAX / 1_024} KiB`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/** The manifest with what its policy means written to each route. */
export function withRights(manifest: Manifest, rights: Rights | undefined): Manifest {
  if (rights === undefined) return manifest;
  const services = [...manifest.services].map(([name, spec]): [typeof name, ServiceSpec] => {
    const routes = spec.routes.map(
      // A route that no policy speaks of is closed.
      (route): RouteSpec => ({ ...route, ...(rights.get(route.prefix) ?? { allow: {} }) }),
    );
    return [name, { ...spec, routes }];
  });
  return { ...manifest, services: new Map(services) };
}
