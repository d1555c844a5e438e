// How do the smaller answers look? Runs, releases, approvals, audit, tenants, changes, drills.
import { heldText } from '../show/held.ts';
import type {
  KeySummary,
  ApprovalSummary,
  AuditReport,
  DrillSpec,
  ManifestChange,
  ReleaseList,
  RunSummary,
  StoryEvent,
  TenantSummary,
} from '../../api/contract.ts';
import type { RollbackEligibility } from '../../model/release.ts';
import { harmless } from '../style.ts';
import type { Paint } from '../style.ts';
import { ageText, clockText, countText, durationText, indent, sinceText, table } from '../text.ts';
import { populationText, resultLines, verdictText } from './status.ts';

const REASONS = {
  'no-previous-release': 'there is no release before it',
  'previous-release-was-bad': 'the release before it was rolled back as bad',
  'schema-out-of-range': 'the release before it cannot work on the data schema of now',
  'artefact-missing': 'the folder of the release before it is gone',
} as const;

/** `what`: "rollback now", "rollback after this deploy". */
export function eligibilityText(what: string, of: RollbackEligibility, paint: Paint): string {
  return of.kind === 'eligible'
    ? `${what}: ${paint.green('possible')}, to ${of.release}`
    : `${what}: ${paint.red('not possible')}, ${REASONS[of.reason]}`;
}

export function showReleases(list: ReleaseList, nowMs: number, paint: Paint): string[] {
  return [
    ...table([
      ['RELEASE', 'MADE', 'VERDICT', 'DIGEST', ''].map((name) => paint.dim(name)),
      ...list.releases.map((release) => [
        release.id,
        `${sinceText(release.createdAtMs, nowMs)} ago`,
        release.verdict.kind === 'bad'
          ? paint.red(`bad: ${harmless(release.verdict.reason)}`)
          : release.verdict.kind,
        paint.dim(release.digest.slice(0, 19)),
        release.current ? paint.green('current') : '',
      ]),
    ]),
    '',
    eligibilityText('rollback now', list.rollback, paint),
    eligibilityText('rollback after another deploy', list.afterDeploy, paint),
  ];
}

export function showRuns(runs: readonly RunSummary[], nowMs: number, paint: Paint): string[] {
  if (runs.length === 0) return ['no runs yet'];
  return table([
    ['RUN', 'STATE', 'STEPS', 'BEGAN', 'FOR', 'PLAYBOOK', 'SUMMARY'].map((n) => paint.dim(n)),
    ...runs.map((run) => [
      run.id,
      runState(run, paint),
      `${run.stepsDone}/${run.stepsTotal}`,
      `${ageText(nowMs - run.startedAtMs)} ago`,
      run.incident ?? run.origin,
      run.playbook,
      harmless(run.failure === undefined ? run.summary : `${run.summary} (${run.failure})`),
    ]),
  ]);
}

export function runState(run: Pick<RunSummary, 'state'>, paint: Paint): string {
  switch (run.state) {
    case 'done':
      return paint.green('done');
    case 'undone':
    case 'stuck':
    case 'refused':
      return paint.red(run.state);
    case 'waiting':
    case 'running':
    case 'undoing':
      return paint.gold(run.state);
  }
}

export function showApprovals(
  approvals: readonly ApprovalSummary[],
  nowMs: number,
  paint: Paint,
): string[] {
  if (approvals.length === 0) return ['nothing waits for a person'];
  return approvals.flatMap((approval) => [
    `${paint.bold(approval.id)}  ${approvalState(approval, nowMs)}  ${harmless(approval.summary)}`,
    ...indent([paint.dim(`because ${harmless(approval.why)}`)]),
  ]);
}

export function approvalState(approval: ApprovalSummary, nowMs: number): string {
  const { state } = approval;
  switch (state.kind) {
    case 'pending':
      return `pending, ${durationText(approval.deadlineAtMs - nowMs)} left`;
    case 'approved':
    case 'denied':
      return `${state.kind} by ${state.by}`;
    case 'expired':
      return 'expired: nothing was done';
  }
}

/** P11: the population and the age of each, and no green for an empty list. */
export function showAudit(report: AuditReport, paint: Paint): string[] {
  const words = {
    satisfied: paint.green('satisfied'),
    violated: paint.red('VIOLATED'),
    incomplete: paint.gold('incomplete: something was not evaluated'),
  };
  const rows = report.controls.map((control) => [
    control.id,
    verdictText(control, paint),
    populationText(control),
    control.measuredAtMs === undefined
      ? 'never'
      : `${ageText(report.atMs - control.measuredAtMs)} ago`,
    control.dependency,
    control.frameworks.join(', '),
  ]);
  const head = ['CONTROL', 'VERDICT', 'POPULATION', 'MEASURED', 'ON', 'FRAMEWORKS'];
  const details = report.controls.flatMap((control) =>
    control.verdict === 'satisfied' ? [] : [control.id, ...indent(resultLines(control))],
  );
  return [
    ...(rows.length === 0
      ? ['the manifest has no checks: nothing can be said']
      : table([head.map((name) => paint.dim(name)), ...rows])),
    ...(details.length === 0 ? [] : ['', ...details]),
    '',
    `${words[report.verdict]} over ${countText(report.controls.length, 'check')} · ` +
      `ledger ${countText(report.ledger.size, 'entry', 'entries')}, root ${report.ledger.root}`,
  ];
}

function keyText({ id, createdAtMs, roles = [] }: KeySummary, nowMs: number): string {
  const as = roles.length === 0 ? '' : ` as ${roles.join('+')}`;
  return harmless(`${id}${as} (${ageText(nowMs - createdAtMs)})`);
}

export function showTenants(
  tenants: readonly TenantSummary[],
  nowMs: number,
  paint: Paint,
): string[] {
  const head = ['TENANT', 'STATUS', 'REGION', 'PLAN', 'ISOLATION', 'FRAMEWORKS', 'KEYS', ''];
  return table([
    head.map((name) => paint.dim(name)),
    ...tenants.map((tenant) => [
      paint.bold(tenant.id),
      tenant.status,
      tenant.region,
      tenant.plan,
      tenant.isolation,
      tenant.frameworks.join(', '),
      tenant.keys.map((key) => keyText(key, nowMs)).join(', '),
      heldText(tenant, nowMs, paint),
    ]),
  ]);
}

export function showChanges(changes: readonly ManifestChange[], paint: Paint): string[] {
  if (changes.length === 0) return ['nothing would change'];
  const marks = { add: paint.green('+'), change: paint.gold('~'), remove: paint.red('−') };
  return [
    ...table(
      changes.map((change) => [
        marks[change.kind],
        change.what,
        paint.bold(change.name),
        harmless(change.detail),
      ]),
    ),
    paint.dim(countText(changes.length, 'change')),
  ];
}

export function showDrills(drills: readonly DrillSpec[], paint: Paint): string[] {
  if (drills.length === 0) return ['no drills here: the manifest says production'];
  return [
    ...table([
      ['DRILL', 'ON A', 'DOES', 'SHOULD'].map((name) => paint.dim(name)),
      ...drills.map((d) => [paint.bold(d.name), d.targets, harmless(d.does), harmless(d.expect)]),
    ]),
    '',
    paint.dim(`for example: ${exampleText(drills[0]?.example ?? '')}`),
  ];
}

const exampleText = (example: string): string =>
  example.startsWith('kintsugi') ? example : `kintsugi drill ${example}`;

export function eventLine(event: StoryEvent, paint: Paint): string {
  const proof = event.ledgerIndex === undefined ? '' : paint.gold(` #${event.ledgerIndex}`);
  return `${paint.dim(clockText(event.atMs))}  ${harmless(event.text)}${proof}`;
}
