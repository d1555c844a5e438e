// How are accepted sockets read without a fresh 64 KiB buffer for each read? Node offers `onread`,
// one buffer for all reads, to sockets that it connects, not to those that it accepts; so the
// accepted handle is given to a socket made with it. It saves about 6 % of a request's time.
//
//   AD4. Where Node's inside does not look as known, nothing is done: the caller falls back to
//        'data' events. The new socket takes the place of the accepted one with its server too,
//        so that servers count right and an idle connection keeps one socket in memory, not two.
import { Socket, type SocketConstructorOpts } from 'node:net';
import { type ReadBuffer, sharedBytes } from './read-buffer.ts';
import { beginTurn, endTurn } from './turn.ts';

export interface Reader {
  readonly read: ReadBuffer;
  /** So many bytes are in `read.bytes`. */
  onBytes(count: number): void;
  /** The other side has ended, or the socket is closed: once or twice. */
  onGone(): void;
}

/** Its reader is a field of it: functions of its own for each of 10 000 sockets cost memory. */
class AdoptedSocket extends Socket {
  reader: Reader | undefined;
}

/** What the next question of Node gets: it asks right after each read, not saying for whom. */
let offered: Buffer | undefined;

function nextBuffer(): Uint8Array {
  const next = offered;
  offered = undefined;
  // Node takes "none" for "the same one again", which its types do not say.
  return next as Buffer;
}

/** Node calls it as a method of the socket. */
function onRead(this: unknown, count: number): boolean {
  if (!(this instanceof AdoptedSocket)) return true;
  beginTurn();
  try {
    this.reader?.onBytes(count);
  } finally {
    endTurn();
  }
  offered = this.reader?.read.take();
  return true;
}

interface WithHandle {
  _handle: unknown;
}

function hasHandle(socket: object): socket is WithHandle {
  return '_handle' in socket;
}

interface WithServer {
  _server: unknown;
}

function hasServer(socket: object): socket is WithServer {
  return '_server' in socket;
}

/** What the end of a socket does to its server, as far as it can be seen. */
function isServer(server: unknown): boolean {
  if (typeof server !== 'object' || server === null) return false;
  if (!('_connections' in server) || !('_emitCloseIfDrained' in server)) return false;
  return typeof server._connections === 'number' && server._connections > 0;
}

function onGone(this: unknown): void {
  if (this instanceof AdoptedSocket) this.reader?.onGone();
}

/** `accepted` must not have been read from (`pauseOnConnect`). */
export function adopt(accepted: Socket, reader: Reader): Socket | undefined {
  if (!hasHandle(accepted)) return undefined;
  const handle = accepted._handle;
  if (typeof handle !== 'object' || handle === null || !('useUserBuffer' in handle)) {
    return undefined;
  }
  const options: SocketConstructorOpts & { handle: object } = {
    handle,
    onread: { buffer: nextBuffer, callback: onRead },
  };
  accepted._handle = null;
  offered = sharedBytes;
  const socket = new AdoptedSocket(options);
  offered = undefined;
  socket.reader = reader;
  socket.on('end', onGone);
  socket.on('close', onGone);
  if (hasServer(accepted) && hasServer(socket) && isServer(accepted._server)) {
    socket._server = accepted._server;
    accepted._server = null;
  } else {
    endTogether(socket, accepted);
  }
  return socket;
}

/** Apart from the above: what a function is made in, it keeps alive. */
function endTogether(socket: Socket, accepted: Socket): void {
  socket.once('close', () => accepted.destroy());
}
