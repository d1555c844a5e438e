// Does every import follow the table of layers? And does a pure folder stay pure? The table is
// in test/tidy.test.ts; this file only applies one.

import { posix } from 'node:path';
import { isTest, lineAt, type Source } from './source.ts';

export interface Layer {
  /** A folder or a file; the longest one that fits a file counts. */
  readonly at: string;
  /** Other folders or files that may be imported; its own folder always may. `*`: all. */
  readonly may: readonly string[];
  /** Those of which only types may be imported. */
  readonly mayTypes?: readonly string[];
  /** Packages that may be imported. `*`: all. `node`: Node's own modules. */
  readonly packages: readonly string[];
  /**
   * `pure`: no promise, no clock, no process, nothing from Node.
   * `world`: time, randomness and ids come through the World only.
   * `free`: stands at the edge and touches the outside itself.
   */
  readonly reach: 'pure' | 'world' | 'free';
}

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly message: string;
}

export function checkLayers(sources: readonly Source[], table: readonly Layer[]): Violation[] {
  return sources
    .filter(({ path }) => !isTest(path) && /^(src|packages)\//.test(path))
    .flatMap((source) => {
      const layer = layerOf(source.path, table);
      if (layer === undefined)
        return [violation(source, 1, 'layers', 'stands in no layer: add it to the table')];
      return [...checkImports(source, layer, table), ...checkReach(source, layer)];
    });
}

export function layerOf(path: string, table: readonly Layer[]): Layer | undefined {
  return table
    .filter(({ at }) => covers(at, path))
    .toSorted((a, b) => b.at.length - a.at.length)[0];
}

const covers = (at: string, path: string): boolean => path === at || path.startsWith(`${at}/`);

function checkImports(source: Source, layer: Layer, table: readonly Layer[]): Violation[] {
  return source.imports.flatMap(({ specifier, line, isType }) => {
    const say = (message: string): Violation[] => [violation(source, line, 'layers', message)];
    if (!specifier.startsWith('.')) {
      const name = packageOf(specifier);
      if (isAllowed(layer.packages, name) || layer.packages.includes(specifier)) return [];
      return say(`${layer.at} may not import the package "${specifier}"`);
    }
    if (!/\.(ts|mjs|json)$/.test(specifier)) return say(`"${specifier}" lacks its extension`);
    const target = posix.normalize(posix.join(posix.dirname(source.path), specifier));
    if (layerOf(target, table)?.at === layer.at) return [];
    const allowed = isType ? [...layer.may, ...(layer.mayTypes ?? [])] : layer.may;
    if (allowed.includes('*') || allowed.some((at) => covers(at, target))) return [];
    return say(`${layer.at} may not import ${target}${isType ? ' (not even its types)' : ''}`);
  });
}

const isAllowed = (list: readonly string[], name: string): boolean =>
  list.includes('*') || list.includes(name);

function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return 'node';
  const parts = specifier.split('/');
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

/** Time, randomness and ids that did not come through the World. `new Date(ms)` is a conversion. */
const AMBIENT: readonly RegExp[] = [
  /\bDate\.now\b/,
  /\bnew Date\s*\(\s*\)/,
  /\bMath\.random\b/,
  /(?<![.\w])performance\.now\b/,
  /\b(?:randomUUID|randomBytes|getRandomValues)\b/,
  /(?<![.\w])(?:setTimeout|setInterval|setImmediate)\s*\(/,
];

/** What a pure stage may not even name. */
const IMPURE: readonly RegExp[] = [
  ...AMBIENT,
  /(?<![.\w])async\b(?!\s*[:?,])/,
  /(?<![.\w])await\b(?!\s*[:?,])/,
  /(?<![.\w])Promise\b/,
  /(?<![.\w])Date\b/,
  /(?<![.\w])process\s*\./,
  /(?<![.\w])(?:globalThis|console|fetch|require|crypto|performance)\s*[.(]/,
];

function checkReach(source: Source, layer: Layer): Violation[] {
  if (layer.reach === 'free') return [];
  return (layer.reach === 'pure' ? IMPURE : AMBIENT).flatMap((pattern) => {
    const found = pattern.exec(source.code);
    if (found === null) return [];
    const line = lineAt(source.code, found.index);
    const what = layer.reach === 'pure' ? 'is pure' : 'reaches time and chance through the World';
    return [violation(source, line, 'reach', `"${found[0].trim()}": ${layer.at} ${what}`)];
  });
}

function violation(source: Source, line: number, rule: string, message: string): Violation {
  return { path: source.path, line, rule, message };
}
