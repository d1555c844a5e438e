// How does an operator hold a whole tenant to less, and see it? The orders of the API made into
// changes of the loop, and what is in force told.
//
//   HD1. The answer comes once the run has ended: what it says is in force is in force.
import type { HoldAnswer, HoldOrder, HoldSummary } from '../api/hold-contract.ts';
import type { Actor } from '../api/port.ts';
import type { ChangeRequest } from '../loop/decide/change.ts';
import { KinError } from '../model/errors.ts';
import { holdId, holdText } from '../model/hold.ts';
import type { HoldMode, TenantHold } from '../model/hold.ts';
import { asReplicaId, tenantId } from '../model/ids.ts';
import type { ServiceName, TenantId } from '../model/ids.ts';
import type { Controller } from './parts.ts';

/** `known`: finds a service, or throws. */
export async function holdTenant(
  controller: Controller,
  name: string,
  order: HoldOrder,
  actor: Actor,
  known: (service: string) => ServiceName,
): Promise<HoldAnswer> {
  const tenant = tenantId(name);
  const { reason, forMs } = order;
  const mode = modeOf(order, known);
  const run = await ended(controller, { kind: 'hold-tenant', tenant, mode, reason, forMs }, actor);
  return { tenant, run, hold: holdOf(controller, tenant) };
}

export async function releaseTenant(
  controller: Controller,
  name: string,
  actor: Actor,
): Promise<HoldAnswer> {
  const tenant = tenantId(name);
  const run = await ended(controller, { kind: 'release-tenant', tenant }, actor);
  return { tenant, run, hold: holdOf(controller, tenant) };
}

export function holdOf(controller: Controller, tenant: TenantId): HoldSummary | undefined {
  const hold = controller.loop.state.book.fleet().holds.get(holdId(tenant));
  return hold === undefined ? undefined : summaryOf(hold);
}

function summaryOf(hold: TenantHold): HoldSummary {
  const { mode, reason, actor, sinceMs, untilMs } = hold;
  return { mode: mode.kind, text: holdText(hold), reason, actor, sinceMs, untilMs };
}

function modeOf(order: HoldOrder, known: (service: string) => ServiceName): HoldMode {
  const { mode, ratePerSecond, service, replica } = order;
  switch (mode) {
    case 'deny':
    case 'read-only':
      return { kind: mode };
    case 'throttle':
      if (ratePerSecond === undefined) throw incomplete('throttle needs a rate', '--rate N');
      return { kind: mode, ratePerSecond };
    case 'pin':
      if (service === undefined || replica === undefined) {
        throw incomplete('pin needs a service and its replica', '--service S --replica R');
      }
      return { kind: mode, service: known(service), replica: asReplicaId(replica) };
  }
}

const incomplete = (detail: string, what: string): KinError =>
  new KinError('KIN_HOLD_INCOMPLETE', detail, `Add ${what}.`);

/** HD1. Such a run is one write and one push: milliseconds. */
async function ended(
  controller: Controller,
  request: ChangeRequest,
  actor: Actor,
): Promise<string> {
  const answer = controller.loop.change(request, actor.name);
  if (answer.kind === 'refuse') throw new KinError(answer.code, answer.detail, answer.fix);
  const run = await answer.ended;
  if (run?.state === 'done') return run.id;
  throw new KinError(
    'KIN_RUN_NOT_BEGUN',
    `${answer.plan.summary}: ${run === undefined ? 'the run could not begin' : 'the run failed'}`,
    'See `kintsugi runs` and `kintsugi logs controller`.',
  );
}
