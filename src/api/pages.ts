// How much does one page of entries hold? As many as were asked for, while they stay small: entries
// come from the port in short pieces, so that one request never holds a big part of the log.
//
//   PA1. A page never has more than 4 MiB, and at least one entry where there is one; whoever gets
//        fewer than asked for goes on behind the last.
//   PA2. A page with private fields has at most 100 entries for others than the operator.
import type { Principal } from '../tenancy/principal.ts';

const PAGE_BYTES_MAX = 4 * 1024 * 1024;
const PIECE = 50;
const REVEALED_MAX = 100;

interface Wanted {
  readonly from: number;
  readonly limit: number;
}

/** PA1. */
export async function pageOf<T extends { readonly index: number }>(
  { from, limit }: Wanted,
  read: (piece: Wanted) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  const page: T[] = [];
  let bytes = 0;
  let next = from;
  while (page.length < limit) {
    const asked = Math.min(PIECE, limit - page.length);
    const piece = await read({ from: next, limit: asked });
    for (const entry of piece) {
      bytes += Buffer.byteLength(JSON.stringify(entry)) + 1;
      if (bytes > PAGE_BYTES_MAX && page.length > 0) return page;
      page.push(entry);
    }
    const last = piece.at(-1);
    if (last === undefined || piece.length < asked) break;
    next = last.index + 1;
  }
  return page;
}

/** PA2. */
export function pageLimit(principal: Principal, limit: number, reveal: boolean): number {
  return reveal && principal.kind !== 'operator' ? Math.min(limit, REVEALED_MAX) : limit;
}
