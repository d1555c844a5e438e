// May one more replica be taken away? The one disruption budget (P2), computed on the state after
// the act, exact for small sets. Read at decision time and again right before each disruptive step.
//
//   B1. A replica that serves nobody (dead, hung, ejected, unready) costs nothing to remove.
//   B2. After the act, available ≥ max(1, wanted − maxUnavailable), whoever took the others.
//   B3. The budget never forbids an act that takes no available replica away.
import type { Picture, ReplicaView } from './picture.ts';
import { isAvailable } from './picture.ts';
import type { ReplicaId, ServiceName } from './ids.ts';
import type { HealingSpec } from './manifest.ts';

export type BudgetAnswer =
  | { readonly kind: 'granted'; readonly availableAfter: number; readonly floor: number }
  | { readonly kind: 'denied'; readonly availableAfter: number; readonly floor: number };

export function serviceReplicas(picture: Picture, service: ServiceName): ReplicaView[] {
  return [...picture.replicas.values()].filter((r) => r.service === service);
}

/** Would availability hold if `removing` went away now? */
export function askBudget(
  picture: Picture,
  service: ServiceName,
  removing: readonly ReplicaId[],
  budget: HealingSpec['budget'],
): BudgetAnswer {
  const view = picture.services.get(service);
  // A service that the manifest no longer names has nothing left to protect.
  if (view === undefined) return { kind: 'granted', availableAfter: 0, floor: 0 };
  const wanted = view.replicas;
  const floor = Math.max(1, wanted - budget.maxUnavailable);
  const available = serviceReplicas(picture, service).filter(isAvailable);
  const taken = available.filter((r) => removing.includes(r.id)).length;
  const availableAfter = available.length - taken;
  if (taken === 0 || availableAfter >= floor) return { kind: 'granted', availableAfter, floor };
  return { kind: 'denied', availableAfter, floor };
}
