// What did a peer on the control socket say? Checks the shape of each frame before anything is done
// with it: the sender may be a replica with a bug, in any language.
//
//   FM1. A frame of an unknown kind or with a field of the wrong type is malformed, never guessed.
import type { ReplicaId } from '../../model/ids.ts';
import { asReplicaId } from '../../model/ids.ts';
import type { FromGateway, InFlight } from '../../model/routing.ts';
import type { GatewayEvent, TrafficCell } from '../../model/signal.ts';
import { areEdgeCells } from './edge-frame.ts';
import type { GatewaySignal } from '../../world/gateways.ts';
import { isRecord } from '../../gateway/lines.ts';

export type GatewayFrame =
  | FromGateway
  | { readonly kind: 'sdk'; readonly signal: GatewaySignal }
  | { readonly kind: 'malformed'; readonly why: string };

/** A table has no more parts. */
const WANTED_MAX = 8_192;

type Fields = Readonly<Record<string, unknown>>;

const EVENTS: ReadonlySet<unknown> = new Set([
  'ejected',
  'returned',
  'died-serving',
  'poison-held',
  'crossed',
  'keys-wanted',
]);

const malformed = (why: string): GatewayFrame => ({ kind: 'malformed', why });
const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= 200;

export function readFrame(value: unknown): GatewayFrame {
  if (!isRecord(value)) return malformed('not an object');
  if (value['t'] !== undefined) return readSdk(value);
  switch (value['kind']) {
    case 'hello':
      return readHello(value);
    case 'applied':
      return isCount(value['version'])
        ? { kind: 'applied', version: value['version'] }
        : malformed('applied without a version');
    case 'want':
      return readWant(value);
    case 'refused':
      return isCount(value['version']) && isText(value['reason'])
        ? { kind: 'refused', version: value['version'], reason: value['reason'] }
        : malformed('refused without a version and a reason');
    case 'flush':
      return readFlush(value);
    case 'event':
      return readEvent(value['event']);
    default:
      return malformed('unknown kind');
  }
}

function readHello(value: Fields): GatewayFrame {
  const { worker, pid, version } = value as Partial<Record<'worker' | 'pid' | 'version', unknown>>;
  if (!isText(worker) || !isCount(pid) || !isCount(version)) return malformed('hello');
  return { kind: 'hello', worker, pid, version };
}

function readWant(value: Fields): GatewayFrame {
  const { version, parts } = value as Partial<Record<'version' | 'parts', unknown>>;
  const areParts = Array.isArray(parts) && parts.length <= WANTED_MAX && parts.every(isText);
  if (!isCount(version) || !areParts) return malformed('want');
  return { kind: 'want', version, parts };
}

function readFlush(value: Fields): GatewayFrame {
  const { cells, inFlight } = value as Partial<Record<'cells' | 'inFlight', unknown>>;
  if (!Array.isArray(cells) || !cells.every(isCell)) return malformed('flush cells');
  if (!Array.isArray(inFlight) || !inFlight.every(isInFlight)) return malformed('flush counts');
  // Gateways of before do not tell it.
  const { edge = [] } = value as { readonly edge?: unknown };
  if (!areEdgeCells(edge)) return malformed('flush edge');
  return { kind: 'flush', cells, inFlight, edge };
}

function isCell(value: unknown): value is TrafficCell {
  if (!isRecord(value) || !Array.isArray(value['latency'])) return false;
  if (!isText(value['service']) || !isText(value['replica']) || !isText(value['release'])) {
    return false;
  }
  const counts = ['requests', 'errors', 'broken', 'timeouts', 'failed'];
  return counts.every((name) => isCount(value[name])) && value['latency'].every(isCount);
}

function isInFlight(value: unknown): value is InFlight {
  if (!isRecord(value)) return false;
  return isText(value['replica']) && isCount(value['count']) && isCount(value['oldestMs']);
}

function readEvent(value: unknown): GatewayFrame {
  if (isRecord(value) && value['kind'] === 'certificate') return readCertificate(value);
  if (!isRecord(value) || !EVENTS.has(value['kind'])) return malformed('event of no known kind');
  if (value['kind'] === 'crossed' || value['kind'] === 'keys-wanted') {
    if (!isIdentityEvent(value)) return malformed('event of identity');
  } else if (value['kind'] === 'poison-held') {
    if (!isSuspect(value['suspect'])) return malformed('event suspect');
  } else if (!isText(value['replica'])) {
    return malformed('event without a replica');
  }
  if (value['kind'] === 'died-serving') {
    const { suspects } = value as { readonly suspects?: unknown };
    if (!Array.isArray(suspects) || !suspects.every(isSuspect)) return malformed('event suspects');
  }
  return { kind: 'event', event: value as unknown as GatewayEvent };
}

function readCertificate(value: Fields): GatewayFrame {
  const { worker, file, hosts, notAfterMs, daysLeft, trouble } = value as Partial<
    Record<'worker' | 'file' | 'hosts' | 'notAfterMs' | 'daysLeft' | 'trouble', unknown>
  >;
  const isLong = (text: unknown): boolean => typeof text === 'string' && text.length <= 4_096;
  const areHosts = Array.isArray(hosts) && hosts.length <= 1_000 && hosts.every(isLong);
  const isDays = typeof daysLeft === 'number' && Number.isInteger(daysLeft);
  if (!isText(worker) || !isLong(file) || !areHosts || !isCount(notAfterMs) || !isDays) {
    return malformed('event certificate');
  }
  if (trouble !== undefined && !isLong(trouble)) return malformed('event certificate trouble');
  return { kind: 'event', event: value as unknown as GatewayEvent };
}

const CROSSINGS: ReadonlySet<unknown> = new Set([
  'host-of-another',
  'path-of-another',
  'route-of-others',
]);

function isIdentityEvent(value: Fields): boolean {
  if (value['kind'] === 'keys-wanted') return isText(value['issuer']);
  const isOfTenant = isText(value['tenant']) && isText(value['service']);
  return isOfTenant && CROSSINGS.has(value['crossing']) && isCount(value['requests']);
}

function isSuspect(value: unknown): boolean {
  if (!isRecord(value)) return false;
  return (
    ['tenant', 'service', 'method', 'requestId'].every((name) => isText(value[name])) &&
    typeof value['route'] === 'string'
  );
}

function readSdk(value: Fields): GatewayFrame {
  const replica = replicaOf(value['replica']);
  if (replica === undefined) return malformed('sdk frame without a replica');
  switch (value['t']) {
    case 'ready':
      return { kind: 'sdk', signal: { kind: 'ready', replica } };
    case 'audit':
      return { kind: 'sdk', signal: { kind: 'audit', replica, event: value['event'] } };
    case 'hb':
      return readBeat(value, replica);
    default:
      return malformed('unknown sdk frame');
  }
}

function readBeat(value: Fields, replica: ReplicaId): GatewayFrame {
  const { lagMs, inFlight, oldestMs, rssBytes } = value as Partial<
    Record<'lagMs' | 'inFlight' | 'oldestMs' | 'rssBytes', unknown>
  >;
  if (!isCount(lagMs) || !isCount(inFlight) || !isCount(oldestMs) || !isCount(rssBytes)) {
    return malformed('heartbeat numbers');
  }
  const beat = { lagMs, inFlight, oldestMs, rssBytes };
  return { kind: 'sdk', signal: { kind: 'heartbeat', replica, beat } };
}

function replicaOf(value: unknown): ReplicaId | undefined {
  return isText(value) ? asReplicaIdOrNone(value) : undefined;
}

function asReplicaIdOrNone(text: string): ReplicaId | undefined {
  return /^[\x21-\x7e]{1,200}$/u.test(text) ? asReplicaId(text) : undefined;
}
