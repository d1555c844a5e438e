// Can a client resume its session with another worker of the port, and a thief of the disk not read
// what was said before? Ticket keys come from a secret in the state folder that goes forward: each
// epoch's secret is a hash of the last one, which is then overwritten.
//
//   TK1. Workers of one state folder have the same key in the same epoch, without talking.
//   TK2. From the secret of an epoch those before it cannot be had.
//   TK3. Without a usable file the worker goes on with a key of its own: resumption is a favour.
import { hkdfSync, randomBytes } from 'node:crypto';
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** How long tickets of one key are issued; they end with it. */
export const EPOCH_MS = 6 * 3_600_000;
const STEPS_MAX = 20_000;
const KEY_BYTES = 48;
const SECRET_BYTES = 32;

export interface TicketKeys {
  /** 48 bytes as OpenSSL wants them, and when they end. */
  at(nowMs: number): { readonly key: Buffer; readonly untilMs: number };
}

interface Secret {
  readonly epoch: number;
  readonly bytes: Buffer;
}

export function openTickets(folder: string, warn: (text: string) => void): TicketKeys {
  let own: Secret | undefined;
  return {
    at(nowMs) {
      const epoch = Math.floor(nowMs / EPOCH_MS);
      try {
        own = shared(folder, epoch);
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? String(error.code) : 'malformed';
        warn(`session tickets are not shared with other workers: ${code}`);
        own = own === undefined ? fresh(epoch) : (advance(own, epoch) ?? fresh(epoch));
      }
      const key = derive(own.bytes, 'kintsugi tls ticket key v1', KEY_BYTES);
      return { key, untilMs: (Math.max(epoch, own.epoch) + 1) * EPOCH_MS };
    },
  };
}

function shared(folder: string, epoch: number): Secret {
  const path = join(folder, 'tls-tickets');
  const known = read(path);
  if (known === undefined) return create(path, epoch);
  const secret = advance(known, epoch);
  if (secret === known) return known;
  // All workers write the same bytes: whoever is last changes nothing.
  write(path, secret ?? fresh(epoch), (temporary) => renameSync(temporary, path));
  return read(path) ?? fresh(epoch);
}

function create(path: string, epoch: number): Secret {
  try {
    // A link fails where another worker was first: then its secret counts.
    write(path, fresh(epoch), (temporary) => linkSync(temporary, path));
  } catch (error) {
    const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    if (!isThere) throw error;
  }
  const made = read(path);
  if (made === undefined) throw new Error('the ticket secret is gone');
  return advance(made, epoch) ?? made;
}

function write(path: string, secret: Secret, place: (temporary: string) => void): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  const text = `v1 ${secret.epoch} ${secret.bytes.toString('base64url')}\n`;
  try {
    writeFileSync(temporary, text, { mode: 0o600, flag: 'wx' });
    place(temporary);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Undefined: there is none, or not one to be trusted. */
function read(path: string): Secret | undefined {
  let text: string;
  try {
    const { mode, uid } = statSync(path);
    if ((mode & 0o077) !== 0 || (uid !== 0 && uid !== process.getuid?.())) {
      rmSync(path);
      return undefined;
    }
    text = readFileSync(path, 'latin1');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const found = /^v1 (\d{1,12}) ([\w-]{43})\n$/u.exec(text);
  if (found === null) {
    rmSync(path, { force: true });
    return undefined;
  }
  return { epoch: Number(found[1]), bytes: Buffer.from(found[2] ?? '', 'base64url') };
}

/** Undefined: too far away. A clock that went back changes nothing. */
function advance(from: Secret, epoch: number): Secret | undefined {
  if (epoch <= from.epoch) return from;
  if (epoch - from.epoch > STEPS_MAX) return undefined;
  let { bytes } = from;
  for (let step = from.epoch; step < epoch; step += 1) {
    bytes = derive(bytes, 'kintsugi tls ticket next v1', SECRET_BYTES);
  }
  return { epoch, bytes };
}

function fresh(epoch: number): Secret {
  return { epoch, bytes: randomBytes(SECRET_BYTES) };
}

function derive(secret: Buffer, info: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), info, bytes));
}
