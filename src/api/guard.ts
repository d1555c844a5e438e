// May this request enter at all? Asked before anything of it is read, for every path that there is
// or is not: the API is loopback only, yet any web page in the operator's browser can reach
// loopback.
//
//   GA1. Without a known token every path but /healthz answers 401, unknown ones too.
//   GA2. A Host that is not ours is refused: a name that an attacker rebinds to 127.0.0.1 is no
//        use.
//   GA3. A request that another origin's page made is refused; there is no CORS.
import type { IncomingHttpHeaders } from 'node:http';
import { KinError } from '../model/errors.ts';
import type { Actor } from './port.ts';
import type { Principal } from '../tenancy/principal.ts';
import { principalName } from '../tenancy/principal.ts';

export const PUBLIC_PATHS: ReadonlySet<string> = new Set(['/healthz']);
const CLAIMED_NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/u;

/** GA2, GA3. Answers why the request is refused, or undefined when it may go on to the gate. */
export function refusalOf(headers: IncomingHttpHeaders, port: number): KinError | undefined {
  if (!isOurHost(headers.host, port)) return hostRefused();
  const { origin } = headers;
  return origin !== undefined && !isOurOrigin(origin, port) ? hostRefused() : undefined;
}

export function bearerOf(headers: IncomingHttpHeaders): string | undefined {
  return /^Bearer (\S{1,200})$/iu.exec(headers.authorization ?? '')?.[1];
}

/** GA1. */
export function unauthorized(): KinError {
  return new KinError(
    'KIN_API_UNAUTHORIZED',
    'the token is missing or wrong',
    'Send "Authorization: Bearer …" with the content of operator.token in the state folder, or ' +
      'with the token of an auditor or the API key of a tenant where those may read.',
  );
}

const NAMES = ['localhost', '127.0.0.1', '[::1]'];

function isOurHost(host: string | undefined, port: number): boolean {
  return host !== undefined && NAMES.some((name) => host.toLowerCase() === `${name}:${port}`);
}

function isOurOrigin(origin: string, port: number): boolean {
  return NAMES.some((name) => origin === `http://${name}:${port}`);
}

function hostRefused(): KinError {
  return new KinError(
    'KIN_API_HOST_REFUSED',
    'the request was made for another host or from another origin',
    'Call the API as http://127.0.0.1:PORT, directly, not from a web page of another site.',
  );
}

/**
 * The token proves who it is; the name behind `operator` is what the caller says, kept for the
 * record.
 */
export function actorOf(
  headers: IncomingHttpHeaders,
  requestId: string,
  principal: Principal = { kind: 'operator' },
): Actor {
  if (principal.kind !== 'operator') return { name: principalName(principal), requestId };
  const claimed = headers['kintsugi-actor'];
  if (claimed === undefined) return { name: 'operator', requestId };
  if (typeof claimed === 'string' && CLAIMED_NAME.test(claimed)) {
    return { name: `operator:${claimed}`, requestId };
  }
  throw new KinError(
    'KIN_API_BAD_REQUEST',
    'the Kintsugi-Actor header is not a name',
    'Use 1–64 letters, digits, dots, dashes, underscores or @.',
  );
}
