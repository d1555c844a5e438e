// How many signatures are checked at one time, and who is next? So that a flood of bad tokens costs
// a bounded part of the processor, and one sender of them does not keep others out.
//
//   AT1. At most `runningMax` are checked at one time; at most `waitingMax` wait, of one source at
//        most `sourceMax`. Who finds no room is told at once.
//   AT2. Sources take turns: a thousand tokens of one sender delay a token of another by one.

export interface TurnLimits {
  readonly runningMax: number;
  readonly waitingMax: number;
  readonly sourceMax: number;
}

export const TURN_LIMITS: TurnLimits = { runningMax: 16, waitingMax: 2_048, sourceMax: 256 };

export type Turn = 'now' | 'full' | Promise<void>;

type Waiting = () => void;

export class Turns {
  readonly #limits: TurnLimits;
  /** In the order of their turns; a source without anybody waiting is not in it. */
  readonly #sources = new Map<string, Waiting[]>();
  #running = 0;
  #waiting = 0;

  constructor(limits: TurnLimits = TURN_LIMITS) {
    this.#limits = limits;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Each turn that was `now` or came is ended with `done`. */
  take(source: string): Turn {
    const { runningMax, waitingMax, sourceMax } = this.#limits;
    if (this.#running < runningMax) {
      this.#running += 1;
      return 'now';
    }
    const line = this.#sources.get(source);
    if (this.#waiting >= waitingMax || (line?.length ?? 0) >= sourceMax) return 'full';
    this.#waiting += 1;
    return new Promise((resolve) => {
      if (line === undefined) this.#sources.set(source, [resolve]);
      else line.push(resolve);
    });
  }

  done(): void {
    const first = this.#sources.entries().next().value;
    if (first === undefined) {
      this.#running -= 1;
      return;
    }
    const [source, line] = first;
    const next = line.shift();
    // AT2: to the end of the round.
    this.#sources.delete(source);
    if (line.length > 0) this.#sources.set(source, line);
    this.#waiting -= 1;
    next?.();
  }
}
