// How are two values of a manifest compared and shown field by field? Every leaf gets the path and
// the spelling that the manifest itself uses: `readiness.interval: 500ms`.
import { VKEY } from './keys-words.ts';
import { holdsPassword, looksSecret } from './secret-words.ts';
import { unitText } from './units.ts';
import type { Unit } from './units.ts';

export interface Leaf {
  /** The whole value, for comparing. */
  readonly exact: string;
  /** What a person may see. */
  readonly shown: string;
}

const NAMED: Readonly<Record<string, readonly [string, Unit]>> = {
  memoryBytes: ['memory', 'size'],
  logBytes: ['logs', 'size'],
  bodyBytes: ['body', 'size'],
  cpuCores: ['cpu', 'cores'],
  ratePerSecond: ['rate', 'rate'],
  canaryPercent: ['canary', 'percent'],
  availability: ['availability', 'share'],
  latencyTarget: ['latencyTarget', 'share'],
  retryBudget: ['retryBudget', 'share'],
  maxFeeGwei: ['maxFee', 'fee'],
  concurrencyMax: ['concurrency', 'number'],
  shardSize: ['shard', 'number'],
};

/** Every leaf of a value by its path; undefined leaves are left out. */
export function flatten(value: unknown): ReadonlyMap<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  walk(value, '', '', leaves);
  return leaves;
}

function walk(value: unknown, path: string, key: string, leaves: Map<string, Leaf>): void {
  if (value === undefined) return;
  if (value instanceof Map) {
    for (const [name, inner] of value) walk(inner, under(path, String(name)), String(name), leaves);
  } else if (Array.isArray(value)) {
    const items: readonly unknown[] = value;
    if (items.every((item) => typeof item !== 'object')) {
      leaves.set(path, leaf(`[${items.map(String).join(', ')}]`, key));
    } else items.forEach((item, i) => walk(item, `${path}[${i}]`, key, leaves));
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(asWritten(value))) {
      const [spelled, text] = spelling(name, inner);
      walk(text, under(path, spelled), spelled, leaves);
    }
  } else leaves.set(path, leaf(plain(value), key));
}

/** Probes, secrets and witnesses are told apart by which of their keys is written. */
function asWritten(value: object): object {
  if ('kind' in value && value.kind === 'generate' && 'bytes' in value) {
    return { generate: value.bytes };
  }
  const isNamed = 'name' in value && 'path' in value;
  if ('kind' in value && value.kind === 'file' && 'path' in value && !isNamed) {
    return { file: value.path };
  }
  if ('kind' in value && value.kind === 'none') return {};
  if ('kind' in value && value.kind === 'policy' && 'file' in value) return { policy: value.file };
  if ('kind' in value && value.kind === 'list' && 'require' in value && 'list' in value) {
    return { require: value.require, list: value.list };
  }
  if ('kind' in value && value.kind === 'env' && 'name' in value) return { env: value.name };
  if (!('path' in value && 'failures' in value && 'kind' in value)) return value;
  const { kind, path, ...times } = value;
  return kind === 'http' ? { http: path, ...times } : { tcp: true, ...times };
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A field of the model as its key in the manifest, with its unit in the value. */
function spelling(name: string, value: unknown): readonly [string, unknown] {
  if (value instanceof Map && name.endsWith('Ms')) {
    const texts = [...value].map(([key, ms]) => [String(key), unitText('duration', Number(ms))]);
    return [name.slice(0, -2), new Map(texts as [string, string][])];
  }
  if (typeof value !== 'number') return [name, value];
  const known = Object.hasOwn(NAMED, name) ? NAMED[name] : undefined;
  if (known !== undefined) return [known[0], unitText(known[1], value)];
  if (name.endsWith('Ms')) return [name.slice(0, -2), unitText('duration', value)];
  return [name, value];
}

function under(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

const SHOWN_MAX = 60;

function leaf(exact: string, key: string): Leaf {
  const secret = looksSecret(key) && !exact.startsWith('${') && !isVkey(exact);
  const hidden = secret || hidesAddress(key, exact) || holdsPassword(exact);
  if (hidden) return { exact, shown: '(not shown)' };
  const cut = exact.length > SHOWN_MAX ? `${exact.slice(0, SHOWN_MAX - 1)}…` : exact;
  return { exact, shown: cut.replaceAll(/\p{Cc}/gu, '·') };
}

/** A verifier key is public although its name says `key`: a changed witness has to be seen. */
function isVkey(exact: string): boolean {
  return new RegExp(VKEY, 'u').test(exact);
}

/** Providers put the key of an account into the path of the address. */
function hidesAddress(key: string, exact: string): boolean {
  return key === 'rpcUrl' && !/^\$\{(?:secret|env):[\w.-]+\}$/u.test(exact);
}
