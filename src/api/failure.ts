// What kind of failure is a code of the catalogue, and how is it told over HTTP and by an exit
// code? One table for the API (status) and the CLI (exit code), so that both always agree.
//
//   FA1. What is not a KinError is a bug: its text never leaves the process.
//   FA2. Others than the operator get the code of a failure inside, and no path of this machine.
import { KinError } from '../model/errors.ts';
import type { KinErrorCode } from '../model/errors.ts';
import type { Problem } from './contract.ts';

export type FailureClass =
  | 'unauthorized'
  | 'bad-request'
  | 'missing'
  | 'refused'
  | 'configuration'
  | 'not-running'
  | 'unavailable'
  | 'failed'
  | 'bug';

/** First match wins. */
const CLASSES: readonly (readonly [RegExp, FailureClass])[] = [
  [/^KIN_API_UNAUTHORIZED$/u, 'unauthorized'],
  [/^KIN_API_HOST_REFUSED$/u, 'refused'],
  [/^KIN_API_INTERNAL$/u, 'bug'],
  [/^KIN_API_(?:ROUTE_UNKNOWN|NOT_FOUND)$/u, 'missing'],
  [/^KIN_API_(?:TOO_MANY|TOO_MANY_STREAMS|STOPPING|UNREACHABLE)$/u, 'unavailable'],
  [/^KIN_ACCESS_UNRECORDED$/u, 'unavailable'],
  [/^KIN_(?:API_|NAME_INVALID|USAGE)/u, 'bad-request'],
  [/^KIN_NOT_RUNNING$/u, 'not-running'],
  [/^KIN_KEY_ROLE_INVALID$/u, 'bad-request'],
  [/^KIN_(?:MANIFEST|POLICY|STATE|PORT|PLATFORM|SETUP|SECRET|CONFIG|POSTGRES)/u, 'configuration'],
  [/^KIN_ANCHOR_(?:CONFIG|KEY|CHAIN|CONTRACT)$/u, 'configuration'],
  [/^KIN_ANCHOR_(?:UNREACHABLE|ANSWER|REFUSED|MISMATCH|FEE|STUCK|IO)$/u, 'unavailable'],
  [/_(?:UNKNOWN|NOT_FOUND)$|^KIN_LEDGER_(?:RANGE|PRUNED)$/u, 'missing'],
  [/^KIN_(?:LEDGER_OPTION|AUDITOR)_INVALID$/u, 'bad-request'],
  [/^KIN_LEDGER_HELD$/u, 'refused'],
  [/^KIN_LEDGER_(?:ERASING|KEY_UNAVAILABLE|NO_PROOF|PAYLOAD_FULL)$/u, 'unavailable'],
  [/_(?:REFUSED|INELIGIBLE|FORBIDDEN|FROZEN|DENIED|BUSY|PAUSED)$/u, 'refused'],
  [/^KIN_LEDGER_(?:DEADLINE|OVERLOADED|FULL|POISONED|CLOSED|LOCKED|IO)$/u, 'unavailable'],
  [/^KIN_STORE_(?:CORRUPT|NEWER|NOT_WRITABLE|SERVER_TOO_OLD)$/u, 'configuration'],
  [/^KIN_(?:STORE|STARTING|STOPPING|STANDBY)/u, 'unavailable'],
];

const STATUS: Readonly<Record<FailureClass, number>> = {
  unauthorized: 401,
  'bad-request': 400,
  missing: 404,
  refused: 403,
  configuration: 422,
  'not-running': 503,
  unavailable: 503,
  failed: 409,
  bug: 500,
};

const EXIT: Readonly<Record<FailureClass, number>> = {
  unauthorized: 4,
  'bad-request': 2,
  missing: 1,
  refused: 4,
  configuration: 78,
  'not-running': 3,
  unavailable: 69,
  failed: 1,
  bug: 1,
};

export function failureClass(code: KinErrorCode): FailureClass {
  return CLASSES.find(([pattern]) => pattern.test(code))?.[1] ?? 'failed';
}

export const exitCodeOf = (code: KinErrorCode): number => EXIT[failureClass(code)];

const SPECIAL: Readonly<Partial<Record<KinErrorCode, number>>> = {
  KIN_API_TOO_LARGE: 413,
  KIN_API_MEDIA_TYPE: 415,
  KIN_API_TOO_MANY: 429,
};

export const httpStatusOf = (code: KinErrorCode): number =>
  SPECIAL[code] ?? STATUS[failureClass(code)];

/** Anything with a code of the catalogue and a fix counts: the ledger has its own error class. */
export function asKinError(error: unknown): KinError | undefined {
  if (error instanceof KinError) return error;
  if (!(error instanceof Error) || !('code' in error) || !('fix' in error)) return undefined;
  const { code, fix } = error;
  if (typeof code !== 'string' || typeof fix !== 'string' || !isCode(code)) return undefined;
  return new KinError(code, error.message, fix, { cause: error });
}

export const isCode = (code: string): code is KinErrorCode => /^KIN_[A-Z0-9_]{2,60}$/u.test(code);

/** FA1. */
export function problemOf(error: unknown, requestId: string): Problem {
  const known = asKinError(error) ?? internal();
  return {
    type: `urn:kintsugi:error:${known.code}`,
    title: known.code,
    status: httpStatusOf(known.code),
    detail: known.message,
    code: known.code,
    fix: known.fix,
    requestId,
  };
}

/** Their texts speak of what was asked, never of where it lies. */
const TELLING: ReadonlySet<FailureClass> = new Set([
  'unauthorized',
  'bad-request',
  'missing',
  'refused',
]);
const TELLING_CODES: readonly RegExp[] = [
  /^KIN_(?:API|ACCESS)_/u,
  /^KIN_LEDGER_(?:HELD|ERASING|NO_PROOF|OPTION_INVALID|PRUNED|RANGE|TENANT_UNKNOWN)$/u,
];

/** FA2. */
export function toldOutside(error: KinError): KinError {
  const { code } = error;
  if (TELLING_CODES.some((pattern) => pattern.test(code))) return error;
  if (TELLING.has(failureClass(code)) && !code.startsWith('KIN_LEDGER_')) return error;
  return new KinError(
    code,
    'the control plane cannot answer this now',
    'Try again later, or tell the operator the request id: the reason is in the log.',
    { cause: error },
  );
}

function internal(): KinError {
  return new KinError(
    'KIN_API_INTERNAL',
    'the control plane met an error of its own',
    'Look for the request id in the log of the controller (kintsugi logs controller).',
  );
}
