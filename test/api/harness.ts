// Starts the control API over a fake port on a free port, and speaks to it.
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'node:http';
import type { TestContext } from 'node:test';
import { startControlApi } from '../../src/api/server.ts';
import type { ControlApi, ControlApiOptions } from '../../src/api/server.ts';
import { newOperatorToken } from '../../src/api/token.ts';
import type { Log } from '../../src/world/clock.ts';
import { fakeEvidence } from './fake-evidence.ts';
import type { FakeEvidence } from './fake-evidence.ts';
import { fakeControl } from './fake.ts';
import type { FakeControl } from './fake.ts';

export const CLOCK = {
  sleep: async (ms: number, signal?: AbortSignal): Promise<void> => {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  },
};

/** For tests that are about something else. */
const PLENTY = { burst: 1_000, everyMs: 1 };
export const GENEROUS = {
  rates: { read: PLENTY, reveal: PLENTY, heavy: PLENTY },
  underWay: 100,
  callers: 100,
};

export interface LogLine {
  readonly level: string;
  readonly text: string;
  readonly fields: unknown;
}

export function bookLog(lines: LogLine[]): Log {
  const at = (level: string) => (text: string, fields?: unknown) => {
    lines.push({ level, text, fields });
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export interface Rig {
  readonly control: FakeControl;
  readonly evidence: FakeEvidence;
  readonly api: ControlApi;
  readonly token: string;
  readonly log: LogLine[];
  readonly call: (method: string, path: string, options?: CallOptions) => Promise<Answer>;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly anonymous?: boolean;
  /** In place of the operator's. */
  readonly token?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly json: () => unknown;
}

export async function rig(
  t: TestContext,
  change: Partial<ControlApiOptions> & {
    readonly control?: FakeControl;
    readonly evidence?: FakeEvidence;
  } = {},
): Promise<Rig> {
  const evidence = change.evidence ?? (await fakeEvidence());
  const control = change.control ?? fakeControl();
  const token = newOperatorToken();
  const log: LogLine[] = [];
  let drawn = 0;
  const api = await startControlApi({
    token,
    host: '127.0.0.1',
    port: 0,
    version: '0.1.0',
    clock: CLOCK,
    ids: { next: (prefix) => `${prefix}-${String((drawn += 1)).padStart(4, '0')}` },
    log: bookLog(log),
    callLimits: GENEROUS,
    ...change,
    control,
    evidence,
  });
  t.after(() => api.close());
  const call: Rig['call'] = async (method, path, options = {}) => {
    const authorization =
      options.anonymous === true ? {} : { authorization: `Bearer ${options.token ?? token}` };
    return send(api.port, method, path, options.body, {
      ...authorization,
      ...options.headers,
    });
  };
  return { control, evidence, api, token, log, call };
}

/** Plain `node:http`, because fetch does not let a test forge the Host header. */
export async function send(
  port: number,
  method: string,
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): Promise<Answer> {
  const payload =
    body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const type = payload === undefined ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const out = request({
      host: '127.0.0.1',
      port,
      method,
      path,
      headers: { ...type, ...headers },
    });
    out.on('error', reject);
    out.on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (text += chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const { statusCode = 0, headers: got } = answer;
        resolve({
          status: statusCode,
          headers: got,
          text,
          json: () => JSON.parse(text) as unknown,
        });
      });
    });
    out.end(payload);
  });
}
