// An open-loop generator in a process of its own: requests start at fixed times, whatever became of
// the earlier ones, so that a stalled server cannot slow the load down and hide what it does.
//
// It tells how late it was itself: a round in which this process was starved is not evidence.
import { Agent, request } from 'node:http';
import type { ClientRequest } from 'node:http';
import type { Socket } from 'node:net';
import { nowMs } from './clock.ts';
import type { Answer, Command, Mix, Report, RequestClass } from './records.ts';

const FLUSH_MS = 25;
const PROBLEM_MAX = 2_048;

/**
 * Connections are kept alive and given up after a few requests. Otherwise few connections would
 * carry everything, and a fresh process behind a shared port (PM2, cluster) would get none of them.
 */
class ShortLivedAgent extends Agent {
  readonly #uses = new WeakMap<object, number>();
  readonly #usesMax: number;

  constructor(usesMax: number) {
    super({ keepAlive: true, maxSockets: 4_096, maxFreeSockets: 256, scheduling: 'fifo' });
    this.#usesMax = usesMax;
  }

  override keepSocketAlive(socket: Socket): boolean {
    const uses = (this.#uses.get(socket) ?? 0) + 1;
    this.#uses.set(socket, uses);
    return uses < this.#usesMax;
  }
}

let answers: Answer[] = [];
let worstLateMs = 0;
/** Due times of the requests without an end yet, oldest first. */
const unanswered = new Map<number, number>();
let stopping = false;
let sequence = 0;

process.on('message', (command: Command) => {
  if (command.kind === 'stop') stopping = true;
  else run(command);
});
process.on('disconnect', () => process.exit(0));

function run(command: Extract<Command, { kind: 'start' }>): void {
  const agent = new ShortLivedAgent(command.requestsPerConnection);
  const everyMs = 1_000 / command.ratePerSecond;
  let dueMs = nowMs() + everyMs;
  const tick = (): void => {
    if (stopping) return;
    const now = nowMs();
    for (; dueMs <= now; dueMs += everyMs) {
      worstLateMs = Math.max(worstLateMs, now - dueMs);
      send(command, agent, dueMs);
    }
    setTimeout(tick, Math.max(0, Math.floor(dueMs - nowMs())));
  };
  tick();
  const flushing = setInterval(() => {
    flush();
    if (!stopping || unanswered.size > 0) return;
    clearInterval(flushing);
    agent.destroy();
    process.disconnect?.();
  }, FLUSH_MS);
}

function flush(): void {
  const oldestDueMs = unanswered.values().next().value;
  const report: Report = { atMs: nowMs(), answers, worstLateMs, oldestDueMs };
  answers = [];
  worstLateMs = 0;
  process.send?.(report);
}

function send(command: Extract<Command, { kind: 'start' }>, agent: Agent, dueMs: number): void {
  sequence += 1;
  const id = sequence;
  const kind = classOf(sequence, command.mix);
  const sentMs = nowMs();
  unanswered.set(id, dueMs);
  let over = false;
  const end = (status: number, pid: number, release: string, error: string | undefined): void => {
    if (over) return;
    over = true;
    unanswered.delete(id);
    answers.push({ kind, dueMs, sentMs, endMs: nowMs(), status, pid, release, error });
  };
  const sent = open(command, agent, kind);
  const deadline = setTimeout(() => {
    end(0, 0, '', 'no answer');
    sent.destroy();
  }, command.giveUpMs);
  sent.on('response', (response) => {
    const { headers } = response;
    const pid = Number(headers['x-bench-pid'] ?? 0);
    const release = String(headers['x-bench-release'] ?? '');
    const status = response.statusCode ?? 0;
    let text = '';
    response.on('data', (chunk: Buffer) => {
      if (status > 299 && text.length < PROBLEM_MAX) text += chunk.toString();
    });
    response.on('end', () => {
      clearTimeout(deadline);
      end(status, pid, release, status > 299 ? `${status} ${reasonIn(text)}`.trim() : undefined);
    });
    response.on('error', (error) => end(0, pid, release, error.message));
  });
  sent.on('error', (error: NodeJS.ErrnoException) => {
    clearTimeout(deadline);
    end(0, 0, '', error.code ?? error.message);
  });
}

/** What a problem document gives as its reason. */
function reasonIn(text: string): string {
  return /"reason":"([a-z-]{1,40})"/u.exec(text)?.[1] ?? '';
}

function open(
  command: Extract<Command, { kind: 'start' }>,
  agent: Agent,
  kind: RequestClass,
): ClientRequest {
  const { host, port, path, headers } = command;
  const method = kind === 'get' ? 'GET' : 'POST';
  const key = kind === 'keyed' ? { 'idempotency-key': `bench-${process.pid}-${sequence}` } : {};
  const body = kind === 'get' ? undefined : '{"note":"a small body"}';
  const length = body === undefined ? {} : { 'content-length': String(body.length) };
  const sent = request({
    agent,
    host,
    port,
    path,
    method,
    headers: { ...headers, ...key, ...length },
  });
  sent.end(body);
  return sent;
}

/** Of each ten requests, so many of each class, always in the same order. */
function classOf(n: number, mix: Mix): RequestClass {
  const place = (n * 7) % 10;
  if (place < mix.keyed) return 'keyed';
  return place < mix.keyed + mix.bare ? 'bare' : 'get';
}
