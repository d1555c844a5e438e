// Can this rule be followed? It comes with a table, which may be of another version than this
// gateway, or damaged.
import type { ObserveRule } from '../../model/routing.ts';

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isShare = (value: unknown): boolean => typeof value === 'number' && value >= 0 && value <= 1;
const isWhole = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 1;
const areTexts = (value: unknown): boolean =>
  Array.isArray(value) && value.length <= 200 && value.every((item) => typeof item === 'string');

/** What is wrong with it, or undefined. */
export function ruleFault(rule: ObserveRule): string | undefined {
  const { accessLog, tracing, serverTiming } = rule as {
    readonly [K in keyof ObserveRule]: unknown;
  };
  if (!['always', 'never', 'on-demand'].includes(serverTiming as string)) return 'serverTiming';
  if (!isFields(tracing) || !isShare(tracing['ratio'])) return 'tracing';
  const { otlpUrl, otlpHeaders = {} } = tracing as { otlpUrl?: unknown; otlpHeaders?: unknown };
  if (otlpUrl !== undefined && typeof otlpUrl !== 'string') return 'tracing.otlpUrl';
  if (!isFields(otlpHeaders) || !areTexts(Object.values(otlpHeaders))) return 'tracing.otlpHeaders';
  if (accessLog === undefined) return undefined;
  if (!isFields(accessLog)) return 'accessLog';
  const lists = ['query', 'headers', 'mask'].find((name) => !areTexts(accessLog[name]));
  if (lists !== undefined) return `accessLog.${lists}`;
  if (!['folded', 'full', 'route'].includes(accessLog['paths'] as string)) return 'accessLog.paths';
  if (!isShare(accessLog['sample'])) return 'accessLog.sample';
  const limits = ['maxBytes', 'files'].find((name) => !isWhole(accessLog[name]));
  return limits === undefined ? undefined : `accessLog.${limits}`;
}
