// What keeps the evidence from being complete and believed right now? Each answer is a part by name
// and why; the loop makes an incident of it, and a person is asked.
//
//   ET1. An intent past its deadline without an outcome is one (P1).
//   ET2. So is proof of another history, a ledger that takes nothing, and a quorum that is missing
//        for longer than witnesses are usually away.
import type { EvidenceLog } from '@kintsugi/ledger';
import type { EvidenceTrouble } from '../model/signal.ts';

const AGAIN = 'no act begins until its cause is gone and the controller is started again';
const QUORUM_MISSING_MS = 600_000;
const SHOWN_MAX = 20;

export function troublesOf(evidence: EvidenceLog, now = Date.now()): readonly EvidenceTrouble[] {
  const at = new Date(now).toISOString();
  const overdue = evidence.core
    .openIntents()
    .filter(({ deadlineAt }) => deadlineAt !== undefined && deadlineAt < at)
    .slice(0, SHOWN_MAX)
    .map(({ index, subject, deadlineAt }) => ({
      part: `intent ${index}`,
      detail: `${subject}: no outcome by ${deadlineAt ?? ''}`,
    }));
  return [...overdue, ...ledgerTrouble(evidence), ...witnessTroubles(evidence, now)];
}

function ledgerTrouble({ core, publisher }: EvidenceLog): readonly EvidenceTrouble[] {
  const { state, lostQueuedEntries } = core.stats();
  const { health } = publisher.state();
  if (health.kind === 'stopped') return [{ part: 'ledger', detail: health.reason }];
  if (state.kind === 'failed') return [{ part: 'ledger', detail: `${state.reason}; ${AGAIN}` }];
  if (state.kind === 'full') {
    const lost = lostQueuedEntries === 0 ? '' : `; ${lostQueuedEntries} access events were lost`;
    return [{ part: 'ledger', detail: `its disk is full since ${state.since}${lost}` }];
  }
  return [];
}

function witnessTroubles({ publisher }: EvidenceLog, now: number): readonly EvidenceTrouble[] {
  const { quorum, witnesses } = publisher.state();
  if (quorum.kind !== 'waiting') return [];
  const away = witnesses.filter(
    ({ state }) => state.kind === 'failing' && now - Date.parse(state.since) > QUORUM_MISSING_MS,
  );
  if (away.length === 0) return [];
  const names = away.map(({ name }) => name).join(', ');
  return [{ part: 'witnesses', detail: `${quorum.got} of ${quorum.needed}; missing: ${names}` }];
}
