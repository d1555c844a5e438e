// An open-loop generator in a process of its own: requests start at fixed times, whatever became of
// the earlier ones, over raw sockets, so that it costs little and delays nothing. It tells how late
// it was itself. Speaks with open.ts over IPC.
//
// Each request carries the time at which it was sent (`x-sent`, monotonic ms of the machine): a
// replica that was frozen can tell afterwards which requests had reached it.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { nowMs } from '../heal/clock.ts';
import type { OpenAnswer, OpenPlan, OpenReport, Stream } from './open.ts';

const FLUSH_MS = 25;
const CONNECTIONS_MAX = 2_000;
const LATE_MAX = 1_000_000;

interface Sent {
  readonly stream: number;
  readonly dueMs: number;
  readonly sentMs: number;
  readonly socket: Socket;
}

let answers: OpenAnswer[] = [];
let worstLateMs = 0;
let serial = 0;
let open = 0;
/** Requests without an end, by their connection. */
const inside = new Map<Socket, Sent>();
const idle: Socket[] = [];
let stopping = false;

function record(sent: Sent, status: number, who: string, error: string | undefined): void {
  inside.delete(sent.socket);
  const { stream, dueMs, sentMs } = sent;
  answers.push({ stream, dueMs, sentMs, endMs: nowMs(), status, who, error });
}

/** Undefined: not whole yet. `length` -1: until the connection ends. */
function headOf(
  text: string,
): { status: number; who: string; end: number; length: number } | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = text.slice(0, end + 2).toLowerCase();
  const status = Number(head.slice(9, 12));
  const length = /\r\ncontent-length: *(\d+)\r\n/u.exec(head)?.[1];
  const who = /\r\nx-replica: *(\S+)\r\n/u.exec(head)?.[1] ?? '';
  const isChunked = head.includes('\r\ntransfer-encoding: chunked\r\n');
  const known = length === undefined ? (isChunked ? -2 : -1) : Number(length);
  return { status, who, end: end + 4, length: status === 204 || status === 304 ? 0 : known };
}

function isWhole(text: string, end: number, length: number): boolean {
  if (length === -1) return false;
  if (length === -2) return text.endsWith('\r\n0\r\n\r\n') || text.startsWith('0\r\n\r\n', end);
  return text.length >= end + length;
}

function openSocket(plan: OpenPlan): Socket {
  open += 1;
  const socket = connect({ port: plan.port, host: '127.0.0.1', noDelay: true });
  let text = '';
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    const head = headOf(text);
    if (head === undefined || !isWhole(text, head.end, head.length)) return;
    const sent = inside.get(socket);
    const closes = /\r\nconnection: close\r\n/iu.test(text.slice(0, head.end));
    text = '';
    if (sent !== undefined) record(sent, head.status, head.who, undefined);
    if (closes) socket.destroy();
    else idle.push(socket);
  });
  const over = (error: string): void => {
    const sent = inside.get(socket);
    if (sent === undefined) return;
    const head = headOf(text);
    if (head?.length === -1 && error === 'closed') record(sent, head.status, head.who, undefined);
    else record(sent, 0, '', error);
  };
  socket.on('error', (error: NodeJS.ErrnoException) => over(error.code ?? error.message));
  socket.on('close', () => {
    open -= 1;
    over('closed');
    const at = idle.indexOf(socket);
    if (at >= 0) idle.splice(at, 1);
  });
  return socket;
}

function textOf(stream: Stream, port: number, sentMs: number): string {
  serial += 1;
  const { method, path, body = '' } = stream;
  const fields = stream.fields.map((field) => `${field}\r\n`).join('');
  const key = stream.keyed === true ? `Idempotency-Key: bench-${process.pid}-${serial}\r\n` : '';
  const length = method === 'POST' ? `Content-Length: ${body.length}\r\n` : '';
  return (
    `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${fields}${key}${length}` +
    `x-sent: ${sentMs.toFixed(3)}\r\n\r\n${body}`
  );
}

function send(plan: OpenPlan, stream: number, dueMs: number): void {
  const what = plan.streams[stream];
  if (what === undefined) return;
  const sentMs = nowMs();
  worstLateMs = Math.min(LATE_MAX, Math.max(worstLateMs, sentMs - dueMs));
  if (idle.length === 0 && open >= CONNECTIONS_MAX) {
    answers.push({ stream, dueMs, sentMs, endMs: sentMs, status: 0, who: '', error: 'no socket' });
    return;
  }
  const socket = idle.pop() ?? openSocket(plan);
  inside.set(socket, { stream, dueMs, sentMs, socket });
  socket.write(textOf(what, plan.port, sentMs), 'latin1');
}

function giveUp(plan: OpenPlan): void {
  const now = nowMs();
  for (const sent of inside.values()) {
    // The oldest are first.
    if (now - sent.sentMs < plan.giveUpMs) break;
    record(sent, 0, '', 'no answer');
    sent.socket.destroy();
  }
}

function run(plan: OpenPlan): void {
  const startMs = nowMs() + 5;
  const dueMs = plan.streams.map(() => startMs);
  const tick = (): void => {
    const now = nowMs();
    let nextMs = now + 50;
    for (const [i, stream] of plan.streams.entries()) {
      let due = dueMs[i] ?? now;
      const fromMs = startMs + (stream.fromMs ?? 0);
      const untilMs = startMs + (stream.untilMs ?? plan.lastsMs);
      if (due < fromMs) due = fromMs;
      for (; due <= now && due < untilMs; due += 1_000 / stream.perSecond) send(plan, i, due);
      dueMs[i] = due;
      if (due < untilMs) nextMs = Math.min(nextMs, due);
    }
    if (now - startMs > plan.lastsMs || stopping) {
      stopping = true;
      return;
    }
    setTimeout(tick, Math.max(0, Math.floor(nextMs - nowMs())));
  };
  tick();
  const flushing = setInterval(() => {
    giveUp(plan);
    const oldestDueMs = inside.values().next().value?.dueMs;
    const isOver = stopping && inside.size === 0;
    const report: OpenReport = {
      atMs: nowMs(),
      startMs,
      answers,
      worstLateMs,
      oldestDueMs,
      isOver,
    };
    process.send?.(report);
    answers = [];
    worstLateMs = 0;
    if (!isOver) return;
    clearInterval(flushing);
    for (const socket of idle) socket.destroy();
    process.disconnect?.();
  }, FLUSH_MS);
}

process.on('message', (command: OpenPlan | 'stop') => {
  if (command === 'stop') stopping = true;
  else run(command);
});
process.on('disconnect', () => process.exit(0));
