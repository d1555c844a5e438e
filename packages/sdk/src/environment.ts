// Which replica am I, and what did Kintsugi hand me? The runtime contract, read once at start.
//
// Everything is optional, so that a service also starts by hand on a developer's machine:
// N1. Nothing here throws: a missing variable becomes a sensible default or `undefined`.
// N2. The assertion key never appears in a value that is printed: it lives in a private closure.
import { createSecretKey, type KeyObject } from 'node:crypto';

/** Who this process is. Every field is a plain string, "" is never used. */
export interface Identity {
  /** Name of the Kintsugi instance, e.g. `clinic`. */
  readonly instance: string;
  /** Name of the service, e.g. `records`. Assertions must be made out to it. */
  readonly service: string;
  /** Name of this replica, e.g. `records-3`. */
  readonly replica: string;
  /** Content-addressed name of the release that runs, or `dev`. */
  readonly release: string;
  /** Region in which this replica runs, e.g. `eu`, or `local`. */
  readonly region: string;
}

export interface Environment {
  readonly identity: Identity;
  /** TCP port to listen on; 0 = any free port. */
  readonly port: number;
  readonly host: string;
  /** Path of the controller's unix stream socket; undefined = not supervised. */
  readonly socketPath: string | undefined;
  /** A KeyObject prints as `SecretKeyObject {}`: N2 holds even when somebody logs it. */
  readonly assertionKey: KeyObject | undefined;
}

type Variables = Readonly<Record<string, string | undefined>>;

export function readEnvironment(variables: Variables = process.env): Environment {
  const text = (name: string, fallback: string): string => {
    const value = variables[name];
    return value === undefined || value === '' ? fallback : value;
  };
  const service = text('KINTSUGI_SERVICE', 'service');
  const port = Number(text('PORT', '0'));
  const socketPath = text('KINTSUGI_SOCKET', '');
  return {
    identity: {
      instance: text('KINTSUGI_INSTANCE', 'local'),
      service,
      replica: text('KINTSUGI_REPLICA', `${service}-0`),
      release: text('KINTSUGI_RELEASE', 'dev'),
      region: text('KINTSUGI_REGION', 'local'),
    },
    port: Number.isInteger(port) && port >= 0 && port < 65_536 ? port : 0,
    host: text('HOST', '127.0.0.1'),
    socketPath: socketPath === '' ? undefined : socketPath,
    assertionKey: keyFrom(text('KINTSUGI_ASSERTION_KEY', '')),
  };
}

/** 16 bytes is the least that deserves the name of a key; shorter ones count as absent. */
function keyFrom(encoded: string): KeyObject | undefined {
  const bytes = Buffer.from(encoded, 'base64url');
  return bytes.length < 16 ? undefined : createSecretKey(bytes);
}
