// Does one tenant's request crash whatever serves it? Found by what the deaths have in common: the
// combination of tenant, method and route that was inside every replica when it died.
//
//   PO1. At least two deaths of different replicas within a minute, none a kill from outside
//        (no request sends SIGKILL). The word of a gateway, which knows each combination's share,
//        needs the very same request inside two deaths, or a third death.
//   PO2. Exactly one combination is common to the latest deaths and not there by chance (PO4); with
//        two or more nobody is accused yet.
//   PO3. A combination that is already held back is no finding any more.
//   PO4. Nobody is accused whose presence in all of these deaths could well be chance: more than 1
//        in 100, from the tenant's share of the traffic and the size of each crowd.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import type { DeathRecord, Picture, ServiceView } from '../../model/picture.ts';
import { sumWindows } from '../../model/picture.ts';
import type { Suspect } from '../../model/signal.ts';
import { quarantineId } from '../../model/quarantine.ts';

const RULE = {
  windowMs: 60_000,
  deathsMin: 2,
  deathsUsed: 8,
  heldDeathsMin: 3,
  chanceMax: 0.01,
} as const;

export function detectPoison(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const service of picture.services.values()) {
    for (const [suspect, evidence, sinceMs] of accused(service, picture, nowMs)) {
      const { tenant, method, route } = suspect;
      const view = picture.tenants.get(tenant);
      if (view?.quarantined.has(quarantineId(suspect)) === true) continue;
      const subject = {
        kind: 'tenant-route',
        tenant,
        service: service.spec.name,
        method,
        route,
      } as const;
      found.push(finding('poison-request', subject, sinceMs, 0.95, evidence));
    }
  }
  return found;
}

type Accusation = readonly [Suspect, readonly string[], number];

function accused(service: ServiceView, picture: Picture, nowMs: number): readonly Accusation[] {
  const accusations = new Map<string, Accusation>();
  const killed = new Set(
    service.exits.flatMap(({ exit, replica }) =>
      exit.kind === 'signal' && exit.signal === 'SIGKILL' ? [replica] : [],
    ),
  );
  const deaths = service.deaths
    .filter(
      (d) => d.atMs >= nowMs - RULE.windowMs && d.suspects.length > 0 && !killed.has(d.replica),
    )
    .slice(-RULE.deathsUsed);
  const common = commonSuspect(deaths, (suspect) => couldBeChance(suspect, deaths, picture, nowMs));
  for (const held of service.held) {
    if (held.atMs < nowMs - RULE.windowMs || !isBorneOut(held.suspect, deaths)) continue;
    // A gateway's worker sees its own requests only: a bystander that was sent again may have died
    // twice beside a culprit that another worker sent (PO2).
    const isOther = common !== undefined && quarantineId(common) !== quarantineId(held.suspect);
    if (isOther && couldBeChance(held.suspect, deaths, picture, nowMs)) continue;
    accusations.set(quarantineId(held.suspect), [
      held.suspect,
      [`gateway: its requests broke ${held.deaths} replicas`],
      held.atMs,
    ]);
  }
  const last = deaths.at(-1);
  if (common !== undefined && last !== undefined) {
    accusations.set(quarantineId(common), [
      common,
      [
        `inside ${deaths.length} replicas when they died: ` +
          deaths.map((d) => d.replica).join(', '),
      ],
      last.atMs,
    ]);
  }
  return [...accusations.values()];
}

/** Did one request die twice, or the combination on three replicas? */
function isBorneOut(suspect: Suspect, deaths: readonly DeathRecord[]): boolean {
  const id = quarantineId(suspect);
  const replicas = new Set<string>();
  const requests = new Map<string, string>();
  for (const { replica, suspects } of deaths) {
    for (const each of suspects) {
      if (quarantineId(each) !== id) continue;
      replicas.add(replica);
      const before = requests.get(each.requestId);
      if (before !== undefined && before !== replica) return true;
      requests.set(each.requestId, replica);
    }
  }
  return replicas.size >= RULE.heldDeathsMin;
}

/** The tenant's share stands for the combination's own, which is at most as large. */
function couldBeChance(
  common: Suspect,
  deaths: readonly DeathRecord[],
  picture: Picture,
  nowMs: number,
): boolean {
  let own = 0;
  let all = 0;
  for (const { id, windows } of picture.tenants.values()) {
    const { requests } = sumWindows(windows, nowMs, RULE.windowMs);
    all += requests;
    if (id === common.tenant) own += requests;
  }
  const share = all === 0 ? 1 : own / all;
  let chance = 1;
  // One death, whichever worker tells of it: each saw a part of the crowd.
  const crowds = new Map<string, number>();
  for (const { replica, suspects } of deaths) {
    crowds.set(replica, (crowds.get(replica) ?? 0) + suspects.length);
  }
  for (const crowd of crowds.values()) chance *= 1 - (1 - share) ** crowd;
  return chance > RULE.chanceMax;
}

function commonSuspect(
  deaths: readonly DeathRecord[],
  isChance: (suspect: Suspect) => boolean,
): Suspect | undefined {
  // Two workers may each report the same death: a replica dies once.
  const byReplica = new Map<string, Map<string, Suspect>>();
  for (const death of deaths) {
    const set = byReplica.get(death.replica) ?? new Map<string, Suspect>();
    for (const suspect of death.suspects) set.set(quarantineId(suspect), suspect);
    byReplica.set(death.replica, set);
  }
  if (byReplica.size < RULE.deathsMin) return undefined;
  const [first, ...rest] = [...byReplica.values()];
  const shared = [...(first ?? new Map<string, Suspect>())].filter(
    ([id, suspect]) => rest.every((set) => set.has(id)) && !isChance(suspect),
  );
  return shared.length === 1 ? shared[0]?.[1] : undefined;
}
