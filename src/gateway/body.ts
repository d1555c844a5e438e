// What of a request's body must be kept? Small bodies are read whole before the request is sent, so
// that it can be repeated; larger ones are streamed through, and are then sent once.
//
//   BO1. Never more than 64 KiB a request is kept.
//   BO2. A body past the tenant's limit is refused: by its declared length at once, else when it
//        passes the limit.
import { Readable } from 'node:stream';
import type { RequestBody } from './exchange.ts';
import { REPLAY_BYTES_MAX } from './retry.ts';

export type TakenBody =
  | { readonly kind: 'kept'; readonly bytes: Buffer | undefined }
  | { readonly kind: 'streamed'; readonly length: number | undefined; open(): Readable }
  | { readonly kind: 'too-large' }
  | { readonly kind: 'gone' };

const EMPTY: TakenBody = { kind: 'kept', bytes: undefined };
const TOO_LARGE: TakenBody = { kind: 'too-large' };

/** `onOverflow`: the limit was passed while the body streamed. A promise only if it must read. */
export function takeBody(
  body: RequestBody,
  bytesMax: number,
  onOverflow: () => void,
): TakenBody | Promise<TakenBody> {
  if (body.kind === 'none') return EMPTY;
  if (body.kind === 'chunked') return readSome(body.stream, undefined, bytesMax, onOverflow);
  if (body.bytes > bytesMax) return TOO_LARGE;
  if (body.bytes === 0) return EMPTY;
  if (body.bytes > REPLAY_BYTES_MAX) {
    return {
      kind: 'streamed',
      length: body.bytes,
      open: () => limited([], body.stream, bytesMax, onOverflow),
    };
  }
  return readSome(body.stream, body.bytes, bytesMax, onOverflow);
}

function readSome(
  stream: Readable,
  length: number | undefined,
  bytesMax: number,
  onOverflow: () => void,
): Promise<TakenBody> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const done = (taken: TakenBody): void => {
      stream.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      // The stream stays ours: an error after this must not become an uncaught one.
      stream.on('error', () => undefined);
      resolve(taken);
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > bytesMax) done(TOO_LARGE);
      else if (size > REPLAY_BYTES_MAX) {
        stream.pause();
        const open = (): Readable => limited(chunks, stream, bytesMax, onOverflow);
        done({ kind: 'streamed', length, open });
      }
    };
    const onEnd = (): void => done({ kind: 'kept', bytes: Buffer.concat(chunks, size) });
    const onClose = (): void => done({ kind: 'gone' });
    stream.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}

function limited(
  head: readonly Buffer[],
  rest: Readable,
  bytesMax: number,
  onOverflow: () => void,
): Readable {
  async function* parts(): AsyncGenerator<Buffer> {
    let size = 0;
    for (const chunk of head) {
      size += chunk.length;
      yield chunk;
    }
    // Not destroyed on return: the connection belongs to the front, which may still answer on it.
    const iterator = rest.iterator({ destroyOnReturn: false });
    for await (const chunk of iterator) {
      if (!Buffer.isBuffer(chunk)) continue;
      size += chunk.length;
      if (size > bytesMax) {
        onOverflow();
        throw new Error('body past its limit');
      }
      yield chunk;
    }
  }
  return Readable.from(parts(), { objectMode: false });
}
