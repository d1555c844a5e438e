// Which handler serves this request? A table of patterns such as `/records/patients/:id`.
import { Problem, notFound } from './problem.ts';
import { isUuid, type Input } from './input.ts';
import type { Transaction } from './tenant-database.ts';

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

/** What a handler may use. Reads run in a read-only transaction. */
export interface Exchange {
  readonly tx: Transaction;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The JSON body; a request without one reads as `{}`. */
  readonly input: Input;
  readonly header: (name: string) => string | undefined;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  /** What was touched, for the audit event and the Location header of a 201. */
  readonly resource?: { readonly type: string; readonly id: string };
  readonly location?: string;
}

export interface Route {
  readonly method: Method;
  readonly pattern: string;
  /** Name of the audit event, e.g. `patient.read`. */
  readonly action: string;
  /** Default: a write accepts an Idempotency-Key. */
  readonly idempotency?: 'required';
  readonly handle: (exchange: Exchange) => Promise<Answer>;
}

export interface Match {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

export type Router = (method: string, path: string) => Match;

/** Throws 404 or 405. Every `:name` in a pattern stands for a UUID. */
export function createRouter(routes: readonly Route[]): Router {
  const table = routes.map((route) => ({ route, parts: route.pattern.split('/') }));
  return (method, path) => {
    const given = path.split('/');
    const allowed: string[] = [];
    for (const { route, parts } of table) {
      const params = matchParts(parts, given);
      if (params === undefined) continue;
      if (route.method === method) return { route, params };
      allowed.push(route.method);
    }
    if (allowed.length === 0) throw notFound('resource');
    throw new Problem(405, 'Method Not Allowed', `Use ${allowed.join(' or ')} here.`, {
      headers: { allow: allowed.join(', ') },
    });
  };
}

function matchParts(
  parts: readonly string[],
  given: readonly string[],
): Record<string, string> | undefined {
  if (parts.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of parts.entries()) {
    const value = given[index] ?? '';
    if (part.startsWith(':')) {
      if (!isUuid(value)) return undefined;
      params[part.slice(1)] = value;
    } else if (part !== value) return undefined;
  }
  return params;
}

/** A parameter that the pattern guarantees. */
export function param(exchange: Exchange, name: string): string {
  const value = exchange.params[name];
  if (value === undefined) throw new Error(`the pattern has no :${name}`);
  return value;
}
