// How is it written that a tenant is held to less?
import type { HoldSummary } from '../../api/hold-contract.ts';
import type { Paint } from '../style.ts';
import { harmless } from '../style.ts';
import { durationText } from '../text.ts';

/** `throttled to 5/s for 9 m 58 s more: crawls us (operator)` */
export function holdLine(hold: HoldSummary, nowMs: number): string {
  const { text, reason, actor, untilMs } = hold;
  const end = untilMs === undefined ? '' : ` for ${durationText(untilMs - nowMs)} more`;
  return harmless(`${text}${end}: ${reason} (${actor})`);
}

/** Beside a tenant in a table: what is held back of it, and what it is held to. */
export function heldText(
  tenant: { readonly quarantined: readonly string[]; readonly hold?: HoldSummary | undefined },
  nowMs: number,
  paint: Paint,
): string {
  const { quarantined, hold } = tenant;
  const parts = [
    ...(hold === undefined ? [] : [paint.red(holdLine(hold, nowMs))]),
    ...(quarantined.length === 0
      ? []
      : [paint.gold(`held back: ${harmless(quarantined.join(', '))}`)]),
  ];
  return parts.join('; ');
}
