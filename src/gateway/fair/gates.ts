// Which gate stands before which service? One for each, kept over tables, with the bounds of the
// newest.
//
//   GS1. A service's limit is shared out evenly over the workers of one port, never below 1.
import type { ServiceName } from '../../model/ids.ts';
import type { ServiceRoute } from '../../model/routing.ts';
import { CEILING_DEFAULT, Gate } from './gate.ts';
import type { GateOptions } from './gate.ts';

export class Gates {
  readonly #gates = new Map<ServiceName, Gate>();
  readonly #workers: number;
  readonly #options: Pick<GateOptions, 'nowMs' | 'later'>;

  constructor(workers: number, options: Pick<GateOptions, 'nowMs' | 'later'>) {
    this.#workers = Math.max(1, workers);
    this.#options = options;
  }

  /** Undefined: no table has this service. */
  of(service: ServiceName): Gate | undefined {
    return this.#gates.get(service);
  }

  use(services: readonly ServiceRoute[]): void {
    const wanted = new Set(services.map(({ name }) => name));
    for (const [name, gate] of this.#gates) {
      if (wanted.has(name)) continue;
      gate.close();
      this.#gates.delete(name);
    }
    for (const { name, concurrencyMax, replicas } of services) {
      const share = (of: number): number => Math.max(1, Math.floor(of / this.#workers));
      const ceiling = concurrencyMax === undefined ? CEILING_DEFAULT : share(concurrencyMax);
      const count = replicas.filter((r) => r.weight > 0).length;
      const gate = this.#gates.get(name);
      if (gate === undefined) {
        this.#gates.set(name, new Gate({ ceiling, replicas: count, ...this.#options }));
      } else {
        gate.setBounds(ceiling, count);
      }
    }
  }

  close(): void {
    for (const gate of this.#gates.values()) gate.close();
    this.#gates.clear();
  }
}
