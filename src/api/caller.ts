// Who made this request, and until when does it count as under way? Until the answer is out, or its
// reader is gone and the work for it is over: hanging up must not make room for more work.
import type { ServerResponse } from 'node:http';
import type { Principal } from '../tenancy/principal.ts';

export interface Caller {
  readonly principal: Principal;
  /** Keeps the place until the work is over, even if nobody waits for the answer any more. */
  readonly whileWorking: <T>(work: () => Promise<T>) => Promise<T>;
}

export function inside(principal: Principal, raw: ServerResponse, leave: () => void): Caller {
  const state = { working: false, closed: raw.destroyed };
  const settle = (): void => {
    if (state.closed && !state.working) leave();
  };
  raw.once('close', () => {
    state.closed = true;
    settle();
  });
  settle();
  return {
    principal,
    async whileWorking(work) {
      state.working = true;
      try {
        return await work();
      } finally {
        state.working = false;
        settle();
      }
    },
  };
}
