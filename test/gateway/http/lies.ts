// Do lying replicas ever make one tenant's bytes reach another? Tenants with a canary each send
// mixed requests over shared upstream connections to replicas that answer as the path tells them:
// rightly, or with one of the lies below. Every byte that a client gets is looked at.
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { dice } from './grammar.ts';
import type { Dice } from './grammar.ts';
import { readAnswer, readRequests } from './reading.ts';
import { forwardTo, openReplica, openRig } from './rig.ts';
import type { Peer, Replica, Rig } from './rig.ts';

const TENANTS = ['alder', 'birch', 'cedar', 'dogwood'];

const whole = (canary: string, pad = 0): string => {
  const body = `${canary}${'.'.repeat(pad)}`;
  return `HTTP/1.1 200 OK\r\nX-Echo: ${canary}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
};

/** An answer of exactly so many bytes. */
const fitted = (canary: string, total: number): string => {
  let pad = total - whole(canary, total - 200).length + total - 200;
  while (whole(canary, pad).length > total) pad -= 1;
  return whole(canary, pad);
};

const chunked = (canary: string): string =>
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${canary.length.toString(16)};e=1\r\n` +
  `${canary}\r\n0\r\nX-T: ${canary}\r\n\r\n`;

type Lie = (peer: Peer, canary: string) => void;

const say =
  (text: (canary: string) => string): Lie =>
  (peer, canary) =>
    void peer.socket.write(text(canary), 'latin1');
const sayAndEnd =
  (text: (canary: string) => string): Lie =>
  (peer, canary) =>
    void peer.socket.end(text(canary), 'latin1');

/** What each path does. The first four are honest. */
const WAYS: Readonly<Record<string, Lie>> = {
  plain: say((c) => whole(c)),
  large: say((c) => whole(c, 40_000)),
  chunks: say(chunked),
  close: sayAndEnd((c) => `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${c}`),
  lengthShort: say((c) => `HTTP/1.1 200 OK\r\nContent-Length: ${c.length}\r\n\r\n${c}${whole(c)}`),
  lengthLong: sayAndEnd((c) => `HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n${c}`),
  twoAnswers: say((c) => whole(c) + whole(c)),
  /** More than one read takes: the rest comes when the connection may be in use again. */
  flood: say((c) => fitted(c, 512).repeat(300)),
  /** One read is full to the last byte of the answer: what lies behind it is not seen yet. */
  aligned: say((c) => fitted(c, 65_536) + fitted(c, 512)),
  answerAndJunk: say((c) => `${whole(c)}${c}`),
  chunksAndMore: say((c) => chunked(c) + chunked(c)),
  halfHead: sayAndEnd((c) => `HTTP/1.1 200 OK\r\nX-Echo: ${c}`),
  silence: (peer) => void peer.socket.destroy(),
  reset: (peer, canary) => {
    peer.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n${canary}`);
    peer.socket.resetAndDestroy();
  },
  junk: say((c) => `${c}\r\n\r\n${c}`),
  twoLengths: say((c) => `HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 90\r\n\r\n${c}`),
  both: say(
    (c) => `HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n${c}`,
  ),
  endlessHead: say((c) => `HTTP/1.1 200 OK\r\n${`X-Echo: ${c}\r\n`.repeat(900)}`),
  endlessLine: say((c) => `HTTP/1.1 200 OK\r\nX-Echo: ${c.repeat(3_000)}`),
  badChunk: say(
    (c) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n${c}\r\n0\r\n\r\n`,
  ),
  chunkCut: sayAndEnd((c) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n${c}`),
  bodyOn204: say((c) => `HTTP/1.1 204 No Content\r\n\r\n${whole(c)}`),
  bodyOn304: say((c) => `HTTP/1.1 304 x\r\nContent-Length: 30\r\n\r\n${c}`),
  interims: say((c) => `HTTP/1.1 103 x\r\nX-Echo: ${c}\r\n\r\n`.repeat(20)),
  switches: say((c) => `HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n${c}`),
  lf: say((c) => `HTTP/1.1 200 OK\nX-Echo: ${c}\nContent-Length: 2\n\nok`),
  fold: say((c) => `HTTP/1.1 200 OK\r\nA: b\r\n ${c}\r\nContent-Length: 0\r\n\r\n`),
  nul: say((c) => `HTTP/1.1 200 OK\r\nA: \u0000${c}\r\nContent-Length: 0\r\n\r\n`),
};
const HONEST = ['plain', 'large', 'chunks', 'close'];
const LIES = Object.keys(WAYS).filter((way) => !HONEST.includes(way));

/** Bytes after an answer, when the next request may be on its way: HTTP/1.1 cannot tell. */
const lateExtra: Lie = (peer, canary) => {
  peer.socket.write(whole(canary));
  setImmediate(() => setImmediate(() => peer.socket.write(whole(canary))));
};

function openLiar(): Promise<Replica> {
  return openReplica((peer) => {
    const target = /^\w+ \/(\w+)\/([\w-]+) /u.exec(peer.text);
    if (target === null) return;
    const [, way = '', canary = ''] = target;
    // Some answer before the request is whole.
    const isEarly = way.startsWith('early');
    const { messages } = readRequests(Buffer.from(peer.text, 'latin1'));
    if (messages.length === 0 && !isEarly) return;
    peer.text = '';
    const lie = way === 'lateExtra' ? lateExtra : WAYS[isEarly ? 'plain' : way];
    lie?.(peer, canary);
  });
}

export interface LiesReport {
  requests: number;
  /** With an honest answer, whole. */
  right: number;
  /** 502, 503 and 504. */
  refused: number;
  /** Cut inside an answer. */
  cut: number;
  /** Another tenant's canary in what a client got. */
  readonly leaks: string[];
  /** The answer to another request, or more answers than requests. */
  readonly desyncs: string[];
}

interface Plan {
  readonly requests: number;
  readonly seed: number;
  readonly clients: number;
  /** Connections per tenant: then even late lies stay with their tenant. */
  readonly partitioned: boolean;
}

interface Asked {
  readonly canary: string;
  readonly text: string;
  readonly toHead: boolean;
  readonly isHonest: boolean;
}

export async function runLies(plan: Plan): Promise<LiesReport> {
  const liars = await Promise.all([openLiar(), openLiar()]);
  let turn = 0;
  const rig = await openRig(
    {
      onRequestHead: ({ head }, gate) => {
        turn += 1;
        // Fewer connections than clients: they change hands at once, which is when lies leak.
        const pool = gate.pool(liars[turn % liars.length]?.port ?? 0, { connectionsMax: 3 });
        return { ...forwardTo(pool), partition: plan.partitioned ? head.host : '' };
      },
    },
    { connectionsMax: 1_000 },
  );
  const report: LiesReport = { requests: 0, right: 0, refused: 0, cut: 0, leaks: [], desyncs: [] };
  await Promise.all(
    Array.from({ length: plan.clients }, (_, i) => runClient(plan, i, rig, report)),
  );
  const left = liars.map(({ port }) => rig.pool(port).inFlight);
  if (left.some((count) => count !== 0))
    report.desyncs.push(`in flight at the end: ${left.join()}`);
  if (rig.bugs.length > 0) report.desyncs.push(`bugs: ${String(rig.bugs[0])}`);
  await rig.close();
  for (const liar of liars) await liar.close();
  return report;
}

async function runClient(plan: Plan, index: number, rig: Rig, report: LiesReport): Promise<void> {
  const roll = dice(plan.seed * 7_919 + index);
  const tenant = TENANTS[index % TENANTS.length] ?? '';
  const share = Math.ceil(plan.requests / plan.clients);
  let serial = 0;
  while (serial < share) {
    const socket = connect({ port: rig.port, host: '127.0.0.1', noDelay: true });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    let isOpen = true;
    while (isOpen && serial < share) {
      const asked: Asked[] = [];
      for (let i = roll.chance(0.2) ? 3 : 1; i > 0; i -= 1) {
        serial += 1;
        asked.push(ask(roll, plan, tenant, `${tenant}-${index}-${serial}-end`));
      }
      report.requests += asked.length;
      isOpen = await exchange(socket, asked, tenant, report);
    }
    socket.destroy();
  }
}

function ask(roll: Dice, plan: Plan, tenant: string, canary: string): Asked {
  let way = roll.chance(0.55) ? roll.one(HONEST) : roll.one(LIES);
  if (plan.partitioned && roll.chance(0.05)) way = 'lateExtra';
  if (roll.chance(0.04)) way = 'early';
  const isHonest = HONEST.includes(way);
  const kind = roll.next();
  const head = (method: string, lines: string): string =>
    `${method} /${way}/${canary} HTTP/1.1\r\nHost: ${tenant}\r\n${lines}\r\n`;
  if (way !== 'early' && kind < 0.6)
    return { canary, text: head('GET', ''), toHead: false, isHonest };
  const body = `${canary} ${'b'.repeat(roll.below(2_000))}`;
  if (kind < 0.8) {
    const text = head('POST', `Content-Length: ${body.length}\r\n`) + body;
    return { canary, text, toHead: false, isHonest };
  }
  const size = body.length.toString(16);
  const text = `${head('POST', 'Transfer-Encoding: chunked\r\n')}${size};x\r\n${body}\r\n0\r\n\r\n`;
  return { canary, text, toHead: false, isHonest };
}

/** False: the connection is over. */
async function exchange(
  socket: Socket,
  asked: readonly Asked[],
  tenant: string,
  report: LiesReport,
): Promise<boolean> {
  let got = Buffer.alloc(0);
  let done = 0;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const onData = (chunk: Buffer): void => {
    got = Buffer.concat([got, chunk]);
    look(got, tenant, report);
    for (;;) {
      // Bounded by the answers in it.
      if (got.length === 0) break;
      const one = asked[done];
      const answer = readAnswer(got, one?.toHead ?? false);
      if (answer.kind === 'partial') break;
      if (one === undefined || answer.kind !== 'whole') {
        report.desyncs.push(`${answer.kind}: ${got.toString('latin1', 0, 200)}`);
        resolve(false);
        break;
      }
      const text = got.toString('latin1', 0, got.length - answer.extra);
      judge(one, answer.status, text, report);
      got = got.subarray(got.length - answer.extra);
      done += 1;
      if (done === asked.length) resolve(true);
      if (/\r\nconnection: close\r\n/u.test(text)) resolve(false);
    }
  };
  const onClose = (): void => {
    if (done < asked.length) report.cut += 1;
    resolve(false);
  };
  socket.on('data', onData).once('close', onClose);
  socket.write(asked.map(({ text }) => text).join(''), 'latin1');
  const isOpen = await promise;
  // One more look: what comes late still counts.
  if (isOpen && got.length > 0) report.desyncs.push(`more: ${got.toString('latin1', 0, 200)}`);
  socket.off('data', onData).off('close', onClose);
  return isOpen && !socket.destroyed;
}

function look(bytes: Buffer, tenant: string, report: LiesReport): void {
  for (const other of TENANTS) {
    if (other !== tenant && bytes.includes(other)) {
      report.leaks.push(`${tenant} got ${bytes.toString('latin1', 0, 300)}`);
    }
  }
}

function judge(asked: Asked, status: number, text: string, report: LiesReport): void {
  if (status >= 500) report.refused += 1;
  else if (asked.isHonest && text.includes(asked.canary)) report.right += 1;
  // A lie may be passed on as far as it is valid HTTP; another request's canary never is.
  const foreign = [...text.matchAll(/[a-z]+-\d+-\d+-end/gu)].some(
    ([found]) => found !== asked.canary,
  );
  if (foreign && !asked.text.includes('/lateExtra/')) {
    report.desyncs.push(`asked ${asked.canary}, got ${text.slice(0, 300)}`);
  }
}
