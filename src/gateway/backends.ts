// Which services are there behind the gateway? One backend for each of the table, kept over tables.
//
//   BK1. A backend that left the table takes nothing new; what is inside ends as it ends.
import type { ReplicaId, ServiceName } from '../model/ids.ts';
import type { InFlight, ServiceRoute } from '../model/routing.ts';
import type { GatewayEvent } from '../model/signal.ts';
import { Backend } from './backend.ts';
import type { TenantRules } from './fair/rules.ts';
import type { BackendDeps } from './lane.ts';

export class Backends {
  readonly #deps: BackendDeps;
  readonly #backends = new Map<ServiceName, Backend>();

  constructor(deps: BackendDeps) {
    this.#deps = deps;
  }

  of(service: ServiceName): Backend | undefined {
    return this.#backends.get(service);
  }

  use(services: readonly ServiceRoute[], rules: TenantRules): void {
    const wanted = new Set(services.map((s) => s.name));
    for (const [name, backend] of this.#backends) {
      if (wanted.has(name)) continue;
      backend.close();
      this.#backends.delete(name);
    }
    for (const service of services) {
      const known = this.#backends.get(service.name);
      if (known !== undefined) known.apply(service, rules);
      else this.#backends.set(service.name, new Backend(service, this.#deps, rules));
    }
  }

  forgive(replicas: readonly ReplicaId[]): void {
    const ids = new Set(replicas);
    for (const backend of this.#backends.values()) backend.forgive(ids);
  }

  inFlight(): InFlight[] {
    return [...this.#backends.values()].flatMap((backend) => backend.inFlight());
  }

  ejections(): GatewayEvent[] {
    return [...this.#backends.values()].flatMap((backend) => backend.ejections());
  }

  close(): void {
    for (const backend of this.#backends.values()) backend.close();
  }
}
