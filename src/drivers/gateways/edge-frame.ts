// Is this the list of edge counters of a gateway? Each number a count, each text short, each name
// one that is known (FM1 of frames.ts).
import { EDGE_BUCKETS } from '../../model/signal.ts';
import type { EdgeCell, EdgeCount, EdgeLevel } from '../../model/signal.ts';
import { isRecord } from '../../gateway/lines.ts';

const CELLS_MAX = 20_000;
const COUNTS: ReadonlySet<unknown> = new Set<EdgeCount>([
  'log-lines',
  'log-dropped',
  'spans-sent',
  'spans-dropped',
]);
const LEVELS: ReadonlySet<unknown> = new Set<EdgeLevel>([
  'connections',
  'in-flight',
  'table-version',
]);
const ROUTE_COUNTS = ['requests', 'failed', 'retries', 'bytesIn', 'bytesOut', 'totalMs'];
const TENANT_COUNTS = ['requests', 'failed', 'refused', 'bytesIn', 'bytesOut'];

type Fields = Readonly<Record<string, unknown>>;

const isCount = (value: unknown): boolean =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isShort = (value: unknown): boolean => typeof value === 'string' && value.length <= 256;
const areCounts = (value: Fields, names: readonly string[]): boolean =>
  names.every((name) => isCount(value[name]));

export function areEdgeCells(value: unknown): value is EdgeCell[] {
  return Array.isArray(value) && value.length <= CELLS_MAX && value.every(isEdgeCell);
}

function isEdgeCell(value: unknown): boolean {
  if (!isRecord(value)) return false;
  switch (value['kind']) {
    case 'route':
      return isRoute(value);
    case 'tenant':
      return isShort(value['tenant']) && areCounts(value, TENANT_COUNTS);
    case 'refused':
      return (
        isStatus(value['status'], 599) && isShort(value['reason']) && isCount(value['requests'])
      );
    case 'count':
      return COUNTS.has(value['name']) && isCount(value['count']);
    case 'level':
      return LEVELS.has(value['name']) && isCount(value['value']);
    default:
      return false;
  }
}

function isRoute(value: Fields): boolean {
  const { latency } = value as { readonly latency?: unknown };
  if (!isStatus(value['status'], 5) || !areCounts(value, ROUTE_COUNTS)) return false;
  if (!['service', 'route', 'replica'].every((name) => isShort(value[name]))) return false;
  return Array.isArray(latency) && latency.length === EDGE_BUCKETS && latency.every(isCount);
}

function isStatus(value: unknown, most: number): boolean {
  return isCount(value) && Number.isInteger(value) && (value as number) <= most;
}
