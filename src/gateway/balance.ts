// Which replica gets the next request? Weighted shares, bent by how many requests are inside each:
// smooth weighted round robin over share / (inside + 1)². A canary of weight 10 gets its tenth even
// on a quiet service (plain least-request would give it nothing), and a replica on which requests
// pile up gets next to nothing within some requests, before anybody has judged it.
//
//   BA1. Nobody with share 0 is picked; with one candidate, it is picked.
//   BA2. On idle replicas the picks are proportional to the shares.
//   BA3. A fast-failing replica does not attract traffic: failures in a row count like load.

export interface Lane {
  /** Relative share, 0–100. */
  readonly share: number;
  /** Requests inside right now. */
  readonly inFlight: number;
  /** Failures in a row. */
  readonly failures: number;
  /** Owned by `pick`: what the lane is owed. */
  credit: number;
}

/** Picks that a lane may be owed, or owe. */
const CREDIT_MAX = 2;

function pullOf(lane: Lane): number {
  const load = 1 + lane.inFlight + 4 * lane.failures;
  return lane.share / (load * load);
}

/** Picks one of the candidates and moves their credits; undefined when none has a share. */
export function pick<L extends Lane>(lanes: readonly L[]): L | undefined {
  let total = 0;
  for (const lane of lanes) if (lane.share > 0) total += pullOf(lane);
  let best: L | undefined;
  for (const lane of lanes) {
    if (lane.share <= 0) continue;
    // Parts of one whole, so that credit from quiet times does not outweigh the load of now. The
    // clamp: candidates differ from request to request (region, already tried), and a lane that was
    // left out for a while must be neither owed a burst nor locked out.
    lane.credit = Math.max(-CREDIT_MAX, Math.min(CREDIT_MAX, lane.credit + pullOf(lane) / total));
    if (best === undefined || lane.credit > best.credit) best = lane;
  }
  if (best !== undefined) best.credit -= 1;
  return best;
}
