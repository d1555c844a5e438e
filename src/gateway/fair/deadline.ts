// How long may this request take, and how much of that is left for the replica? A client that has
// less time than the route allows says so; the replica is told what is left, so that nobody works
// on an answer that nobody waits for.
//
//   DL1. A client can only shorten its route's time, never lengthen it; what is no whole number of
//        1 to 600 000 ms is ignored.
//   DL2. What is sent upstream never exceeds what is left, and is at least 1.

/** From the client; and upstream, where the client's own is removed. */
export const REQUEST_TIMEOUT = 'x-request-timeout-ms';
export const LEFT_TIMEOUT = 'x-kintsugi-timeout-ms';
const LONGEST_MS = 600_000;

/** The whole time of a request, ms. */
export function totalMs(asked: string | undefined, routeMs: number): number {
  if (asked === undefined || asked.length === 0 || asked.length > 6) return routeMs;
  let ms = 0;
  for (let i = 0; i < asked.length; i += 1) {
    const digit = asked.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return routeMs;
    ms = ms * 10 + digit;
  }
  return ms >= 1 && ms <= LONGEST_MS ? Math.min(ms, routeMs) : routeMs;
}

/** For the field `x-kintsugi-timeout-ms` of this attempt. */
export function leftMs(total: number, startedMs: number, nowMs: number): number {
  return Math.max(1, Math.floor(total - (nowMs - startedMs)));
}
