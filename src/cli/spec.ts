// How is one command described? Its words, what it takes, and what runs it; and the arguments and
// options that several commands share.
import { Argument, InvalidArgumentError, Option } from 'commander';
import type { Context, Globals } from './context.ts';

export type MakeContext = (globals: Globals) => Context;

export type Run = (context: Context, args: readonly unknown[], options: Options) => Promise<number>;
export type Options = Readonly<Record<string, unknown>>;

export interface Spec {
  readonly words: string;
  readonly about: string;
  readonly args?: readonly Argument[];
  readonly options?: readonly Option[];
  readonly run: Run;
  readonly help?: string;
}

export const text = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;
export const must = (value: unknown): string => String(value);
export const yes = (value: unknown): boolean => value === true;
export const numeric = (value: unknown): number => Number(value);

export function whole(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (/^\d{1,15}$/u.test(value) && number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

export const SERVICE = new Argument('<service>', 'name of a service');
export const MANIFEST = new Argument('[manifest]', 'manifest file (default: --manifest)');
export const LIMIT = new Option('-n, --limit <n>', 'how many').argParser(whole(1, 500)).default(20);
export const FOLLOW = new Option('--no-follow', 'do not wait for the run to end');
export const PLACE = [
  new Option('--dir <dir>', 'folder of the ledger (default: that of the instance)'),
  new Option('--vkey <key>', 'public key, or a file with it (default: the one in the folder)'),
];
export const place = (options: Options) => ({
  dir: text(options['dir']),
  vkey: text(options['vkey']),
});

const UNITS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `12h`, `30d`: in ms. */
export function lifetime(value: string): number {
  const [, count = '', unit = ''] = /^(\d{1,4})([hd])$/u.exec(value) ?? [];
  const ms = Number(count) * (UNITS[unit] ?? 0);
  if (ms > 0) return ms;
  throw new InvalidArgumentError('It must be a time such as 12h or 30d.');
}

/** `30s`, `10m`, `12h`, `30d`: in ms. */
export function span(value: string): number {
  const [, count = '', unit = ''] = /^(\d{1,4})([smhd])$/u.exec(value) ?? [];
  const ms = Number(count) * (UNITS[unit] ?? 0);
  if (ms > 0 && ms <= 30 * 86_400_000) return ms;
  throw new InvalidArgumentError('It must be a time such as 30s, 10m, 12h or 7d, 30d at most.');
}

export function rate(value: string): number {
  const perSecond = Number(value);
  if (/^\d{1,7}(\.\d{1,6})?$/u.test(value) && perSecond > 0 && perSecond <= 1e6) return perSecond;
  throw new InvalidArgumentError('It must be requests a second, above 0 and 1000000 at most.');
}

export const TENANT = new Argument('<tenant>', 'id of the tenant');
export const SUBJECT = new Argument('<subject>', 'id of the person; - reads it from stdin');
export const REF = new Option(
  '--ref <text>',
  'case number; it stays in the ledger for ever',
).makeOptionMandatory();
export const basisOption = (codes: string): Option =>
  new Option('--basis <code>', `legal ground: ${codes}`).makeOptionMandatory();
