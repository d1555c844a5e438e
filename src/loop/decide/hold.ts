// How is a whole tenant held to less, because a person says so? Refuse, slow down, read only, or
// one replica of its own; and back again.
//
//   HO1. A pin never takes the only replica that others have, nor one that another tenant is on.
//   HO2. A hold takes the place of the tenant's hold before it, and undoing brings that one back.
//   HO3. A hold with an end is lifted by the loop once that has passed, by a plan like any other.
import { replicasOf } from '../../model/fleet.ts';
import { holdId, holdText } from '../../model/hold.ts';
import type { HoldMode, TenantHold } from '../../model/hold.ts';
import type { TenantId } from '../../model/ids.ts';
import type { PlannedStep, Step } from '../../model/plan.ts';
import type { DecideContext } from './context.ts';

export interface HoldRequest {
  readonly kind: 'hold-tenant';
  readonly tenant: TenantId;
  readonly mode: HoldMode;
  readonly reason: string;
  /** Undefined: until somebody lifts it. */
  readonly forMs: number | undefined;
}

export type HoldAnswer =
  | { readonly kind: 'steps'; readonly summary: string; readonly step: PlannedStep }
  | {
      readonly kind: 'refuse';
      readonly code: `KIN_${string}`;
      readonly detail: string;
      readonly fix: string;
    };

const RATE_MAX = 1_000_000;

export function planHold(request: HoldRequest, actor: string, context: DecideContext): HoldAnswer {
  const { tenant, mode, reason, forMs } = request;
  if (!context.manifest.tenants.has(tenant)) {
    return no('KIN_TENANT_UNKNOWN', `no tenant ${tenant}`, 'See `kintsugi tenants`.');
  }
  const refusal = mode.kind === 'pin' ? refusePin(tenant, mode, context) : refuseRate(mode);
  if (refusal !== undefined) return refusal;
  const id = holdId(tenant);
  const hold: TenantHold = {
    id,
    tenant,
    mode,
    reason,
    actor,
    sinceMs: context.wallMs,
    untilMs: forMs === undefined ? undefined : context.wallMs + forMs,
  };
  const before = context.fleet.holds.get(id);
  const undo: Step =
    before === undefined ? { kind: 'release-tenant', id } : { kind: 'hold-tenant', hold: before };
  return {
    kind: 'steps',
    summary: `${tenant}: ${holdText(hold)}: ${reason}`,
    step: { step: { kind: 'hold-tenant', hold }, undo: [undo] },
  };
}

export function planRelease(tenant: TenantId, context: DecideContext): HoldAnswer {
  const id = holdId(tenant);
  const hold = context.fleet.holds.get(id);
  if (hold === undefined) {
    return no('KIN_HOLD_UNKNOWN', `${tenant} is not under quarantine`, 'See `kintsugi tenants`.');
  }
  return {
    kind: 'steps',
    summary: `${tenant}: no longer ${holdText(hold)}`,
    step: {
      step: { kind: 'release-tenant', id },
      undo: [{ kind: 'hold-tenant', hold }],
    },
  };
}

/** HO3. */
export function expiredHolds(context: DecideContext): readonly TenantHold[] {
  return [...context.fleet.holds.values()].filter(
    ({ untilMs }) => untilMs !== undefined && untilMs <= context.wallMs,
  );
}

function refuseRate(mode: HoldMode): HoldAnswer | undefined {
  if (mode.kind !== 'throttle') return undefined;
  if (mode.ratePerSecond > 0 && mode.ratePerSecond <= RATE_MAX) return undefined;
  return no(
    'KIN_HOLD_RATE',
    `${mode.ratePerSecond} requests a second is no rate`,
    'Give a number above 0 with --rate; to let nothing through: --mode deny.',
  );
}

/** HO1. */
function refusePin(
  tenant: TenantId,
  { service, replica }: Extract<HoldMode, { kind: 'pin' }>,
  context: DecideContext,
): HoldAnswer | undefined {
  const serving = replicasOf(context.fleet, service).filter(
    (r) => r.phase === 'ready' && r.weight > 0,
  );
  const fix = 'See `kintsugi status` for the replicas of the service.';
  if (!serving.some((r) => r.id === replica)) {
    return no('KIN_HOLD_PIN', `${replica} is no replica of ${service} that serves`, fix);
  }
  const taken = [...context.fleet.holds.values()].filter(
    (hold) => hold.tenant !== tenant && hold.mode.kind === 'pin' && hold.mode.service === service,
  );
  const others = new Set(taken.flatMap(({ mode }) => (mode.kind === 'pin' ? [mode.replica] : [])));
  const holder = taken.find(({ mode }) => mode.kind === 'pin' && mode.replica === replica);
  if (holder !== undefined) {
    return no('KIN_HOLD_PIN', `${replica} is kept for ${holder.tenant}`, 'Name another replica.');
  }
  if (serving.length - others.size - 1 >= 1) return undefined;
  return no(
    'KIN_HOLD_PIN',
    `without ${replica} nobody else could be served by ${service}`,
    'Scale the service up first: `kintsugi scale`.',
  );
}

const no = (code: `KIN_${string}`, detail: string, fix: string): HoldAnswer => ({
  kind: 'refuse',
  code,
  detail,
  fix,
});
