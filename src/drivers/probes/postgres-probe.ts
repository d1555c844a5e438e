// Does PostgreSQL answer a trivial question to the application's role? One small connection is
// kept warm, so that a look costs one round trip and takes no slot from the application's pool.
//
//   PG1. A connection that broke since the last look says nothing about now: it is tried afresh
//        once, within the same timeout.
//   PG2. At most one question is out; a second look waits for the same answer.
import { Socket } from 'node:net';
import { Client } from 'pg';
import { messageOf } from '../../model/errors.ts';
import type { ProbeResult } from '../../model/signal.ts';
import { redactUrl } from '../../world/real/redact.ts';
import { codeOf, unreachable } from './failures.ts';

export interface PostgresProbe {
  probe(timeoutMs: number): Promise<ProbeResult>;
  close(): void;
}

interface Session {
  readonly client: Client;
  readonly socket: Socket;
  broken: boolean;
}

/** One look: which connection it uses, and whether its time is over. */
interface Look {
  session: Session | undefined;
  over: boolean;
}

const DETAIL_MAX = 200;
/** By these a server that is there says no: it starts, is full, or does not know the role. */
const SQLSTATE = /^(?!EPIPE|EPERM)[0-9A-Z]{5}$/u;

export function openPostgresProbe(url: string): PostgresProbe {
  let warm: Session | undefined;
  let asking: Promise<ProbeResult> | undefined;
  let closed = false;

  async function ask(look: Look): Promise<ProbeResult> {
    const startedMs = performance.now();
    const kept = warm?.broken === false ? warm : undefined;
    const session = kept ?? newSession(url);
    look.session = session;
    try {
      if (kept === undefined) await session.client.connect();
      await session.client.query('select 1');
      warm = session;
      return { kind: 'ok', tookMs: performance.now() - startedMs };
    } catch (error) {
      drop(session);
      if (warm === session) warm = undefined;
      // PG1: the second time there is none kept.
      if (kept !== undefined && !look.over) return await ask(look);
      return failed(error, performance.now() - startedMs);
    }
  }

  function bounded(timeoutMs: number): Promise<ProbeResult> {
    const look: Look = { session: undefined, over: false };
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        look.over = true;
        if (warm === look.session) warm = undefined;
        if (look.session !== undefined) drop(look.session);
        resolve({ kind: 'timeout', afterMs: timeoutMs });
      }, timeoutMs);
      void ask(look).then((result) => {
        clearTimeout(timer);
        resolve(result);
        if (closed && look.session !== undefined) drop(look.session);
      });
    });
  }

  return {
    probe(timeoutMs) {
      if (closed) return Promise.resolve(unreachable('the probe is closed'));
      asking ??= bounded(timeoutMs).finally(() => {
        asking = undefined;
      });
      return asking;
    },
    close() {
      closed = true;
      if (warm !== undefined) drop(warm);
      warm = undefined;
    },
  };
}

function newSession(url: string): Session {
  const socket = new Socket();
  const client = new Client({
    connectionString: url,
    application_name: 'kintsugi-probe',
    keepAlive: true,
    stream: () => socket,
  });
  const session: Session = { client, socket, broken: false };
  const onEnd = (): void => {
    session.broken = true;
  };
  client.on('error', onEnd);
  client.on('end', onEnd);
  return session;
}

/** Not `end()`: towards a server that hangs it would wait as well. */
function drop(session: Session): void {
  session.broken = true;
  session.socket.destroy();
}

function failed(error: unknown, tookMs: number): ProbeResult {
  const code = codeOf(error);
  if (!SQLSTATE.test(code)) return unreachable(error);
  const detail = redactUrl(`${messageOf(error)} (${code})`).slice(0, DETAIL_MAX);
  return { kind: 'refused', tookMs, detail };
}
