// A request that waits at the gate: what is owed for it if its client leaves meanwhile.
import { release } from './admission.ts';
import type { Stay } from './fair/stay.ts';
import type { Flow } from './flow.ts';

export class Queued {
  readonly flow: Flow;
  readonly #stay: Stay;

  constructor(flow: Flow, stay: Stay) {
    this.flow = flow;
    this.#stay = stay;
  }

  /** The client is gone. */
  ended(nowMs: number): void {
    this.#stay.end(nowMs);
    release(this.flow.account);
  }
}
