// A client of HTTP/2 that can say what no well-behaved one does: frames byte by byte.
import type { SecureClient } from '../tls/rig.ts';

export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
export const TYPE = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const FLAG = { endStream: 1, ack: 1, endHeaders: 4 } as const;

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const length = (text: string): Buffer => {
  const bytes = Buffer.byteLength(text, 'latin1');
  if (bytes < 127) return Buffer.from([bytes]);
  const rest = bytes - 127;
  const more: number[] = [];
  for (let left = rest; ; left = Math.floor(left / 128)) {
    more.push(left >= 128 ? (left % 128) | 0x80 : left);
    if (left < 128) break;
  }
  return Buffer.from([127, ...more]);
};

/** Literal fields without indexing, without Huffman. */
export function fields(...list: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    list.flatMap(([name, value]) => [
      Buffer.from([0]),
      length(name),
      Buffer.from(name, 'latin1'),
      length(value),
      Buffer.from(value, 'latin1'),
    ]),
  );
}

export const REQUEST = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/a'],
  [':authority', 'api.example'],
] as const;

export interface Seen {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** The frames in what a client got. */
export function framesOf(client: SecureClient): readonly Seen[] {
  const bytes = Buffer.from(client.text, 'latin1');
  const seen: Seen[] = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const size = bytes.readUIntBE(at, 3);
    if (at + 9 + size > bytes.length) break;
    seen.push({
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + size),
    });
    at += 9 + size;
  }
  return seen;
}

/** Error code of a GOAWAY or RST_STREAM. */
export function errorOf({ type, payload }: Seen): number {
  return payload.readUInt32BE(type === TYPE.goaway ? 4 : 0);
}
