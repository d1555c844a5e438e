// What keeps neighbours apart, under one table: the rules of held tenants, the gate of each service
// and the breakers of what routes need.
//
//   IS1. Gates and breakers outlive tables; rules are those of the newest.
import type { TenantId } from '../../model/ids.ts';
import type { RoutingTable, TenantRoute } from '../../model/routing.ts';
import type { Problem } from '../problem.ts';
import type { Entry } from '../routes.ts';
import { Breakers } from './breaker.ts';
import { Gates } from './gates.ts';
import { ruleProblem } from './problems.ts';
import { weightOf } from './queue.ts';
import { compileRules, NO_RULES, ruleVerdict } from './rules.ts';
import type { TenantRules } from './rules.ts';
import { NO_NEEDS } from './stay.ts';
import type { StayTerms } from './stay.ts';

export interface IsolationSetup {
  readonly workers: number;
  readonly nowMs: () => number;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
}

export class Isolation {
  rules: TenantRules = NO_RULES;
  readonly #workers: number;
  readonly #gates: Gates;
  readonly #breakers: Breakers;

  constructor({ workers, nowMs, random }: IsolationSetup) {
    this.#workers = workers;
    this.#gates = new Gates(workers, { nowMs });
    this.#breakers = new Breakers(random);
  }

  use({ tenantRules, services, downDependencies }: RoutingTable): void {
    this.rules = compileRules(tenantRules, this.rules, this.#workers);
    this.#gates.use(services);
    this.#breakers.use(downDependencies);
  }

  /** Is this tenant held to less for now? */
  ruled(tenant: TenantId, method: string, nowMs: number): Problem | undefined {
    const { byTenant } = this.rules;
    const rule = byTenant.size === 0 ? undefined : byTenant.get(tenant);
    if (rule === undefined) return undefined;
    const verdict = ruleVerdict(rule, method, nowMs);
    return verdict === 'pass' ? undefined : ruleProblem(verdict);
  }

  /** For all requests of one tenant on one route, under this table. */
  termsOf(tenant: TenantRoute, { service, route }: Entry): StayTerms {
    const needs = route.dependencies?.map((name) => ({
      name,
      breaker: this.#breakers.of(service.name, name),
    }));
    return {
      tenant: tenant.id,
      weight: weightOf(tenant.priority),
      gate: this.#gates.of(service.name),
      needs: needs ?? NO_NEEDS,
    };
  }

  close(): void {
    this.#gates.close();
  }
}
