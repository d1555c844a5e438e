// How long did the gateway and the replica take, as a browser's tools show it? One line, on demand.
import type { Head } from '../http/head.ts';
import { fieldName } from '../http/names.ts';

export type TimingMode = 'always' | 'never' | 'on-demand';

const FIELD = fieldName('x-kintsugi-timing');

/** `known`: the tenant is. Others learn nothing of what is behind us, unless all do. */
export function wantsTiming(mode: TimingMode, head: Head, known: boolean): boolean {
  if (mode !== 'on-demand') return mode === 'always';
  return known && head.value(FIELD) === '1';
}

/**
 * `tookMs`: from the request to the head of its answer; `upstreamMs`: of that, waiting for the
 * replicas; `attempts`: how many were asked.
 */
export function serverTiming(tookMs: number, upstreamMs: number, attempts: number): string {
  const up = Math.max(0, upstreamMs);
  const own = Math.max(0, tookMs - up);
  const parts = [`gw;dur=${own.toFixed(2)}`];
  if (attempts > 0) parts.push(`up;dur=${up.toFixed(2)}`);
  parts.push(`tries;desc="${Math.max(0, Math.trunc(attempts))}"`);
  return `server-timing: ${parts.join(', ')}\r\n`;
}
