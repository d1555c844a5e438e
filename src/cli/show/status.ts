// How does the status look in a terminal? What runs, where, since when, what is being healed. Pure:
// a view in, lines out; the golden texts of the tests are exactly this.
import { heldText } from '../show/held.ts';
import type {
  ControlSummary,
  IncidentSummary,
  Overall,
  ReplicaSummary,
  ServiceSummary,
  Status,
} from '../../api/contract.ts';
import { harmless } from '../style.ts';
import type { Paint } from '../style.ts';
import {
  ageText,
  bytesText,
  countText,
  durationText,
  indent,
  latencyText,
  percentText,
  rateText,
  sinceText,
  table,
} from '../text.ts';

export function showStatus(status: Status, paint: Paint): string[] {
  const now = status.atMs;
  return [
    ...headLines(status, paint),
    '',
    ...serviceTable(status.services, paint),
    '',
    ...replicaTable(
      status.services.flatMap((service) => service.replicas),
      now,
      paint,
    ),
    ...part('Depends on', dependencyLines(status, paint), paint),
    ...part('Controls', controlLines(status.controls, now, paint), paint),
    ...part('Tenants', tenantLines(status, paint), paint),
    ...part('Incidents', incidentLines(status.incidents, now, paint), paint),
    ...part('Waiting for a person', approvalLines(status, paint), paint),
    '',
    ledgerLine(status, paint),
  ];
}

export function headLines(status: Status, paint: Paint): string[] {
  const { instance, gateway } = status;
  const workers = `${gateway.workers.length} of ${countText(gateway.workersWanted, 'worker')}`;
  const mode = instance.mode === 'acting' ? '' : ` · ${paint.gold(instance.mode)}`;
  const healing = instance.healing === 'automatic' ? '' : ` · healing: ${instance.healing}`;
  return [
    `${paint.bold(instance.name)} · ${overallText(status.overall, paint)} · ` +
      `up ${durationText(status.atMs - instance.startedAtMs)}${mode}${healing}`,
    paint.dim(`gateway ${gateway.url} (${workers}, table ${gateway.tableVersion}) · `) +
      paint.dim(
        `controller pid ${instance.pid}, ${bytesText(instance.rssBytes)}, ` +
          `${percentText(instance.cpu)} CPU`,
      ),
  ];
}

export function overallText(overall: Overall, paint: Paint): string {
  switch (overall.kind) {
    case 'starting':
      return paint.cyan(`starting: waits for ${overall.waitingFor.join(', ')}`);
    case 'healthy':
      return paint.green('healthy');
    case 'healing':
      return paint.gold(`healing ${countText(overall.incidents, 'incident')}`);
    case 'degraded':
      return paint.red(`degraded: ${harmless(overall.reasons.join('; '))}`);
    case 'stopping':
      return paint.gold('stopping');
  }
}

function part(title: string, lines: readonly string[], paint: Paint): string[] {
  return lines.length === 0 ? [] : ['', paint.bold(title), ...indent(lines)];
}

const head = (names: readonly string[], paint: Paint): string[] =>
  names.map((name) => paint.dim(name));

export function serviceTable(services: readonly ServiceSummary[], paint: Paint): string[] {
  const names = ['SERVICE', 'READY', 'MAY LOSE', 'RELEASE', 'REQ/S', 'FAILED', 'P99', ''];
  return table([
    head(names, paint),
    ...services.map((service) => [
      paint.bold(service.name),
      readyText(service, paint),
      service.budget.mayLose === 0 ? paint.gold('0') : String(service.budget.mayLose),
      service.release,
      rateText(service.traffic.requestsPerSecond),
      service.traffic.failedShare > 0
        ? paint.red(percentText(service.traffic.failedShare))
        : percentText(0),
      latencyText(service.traffic.p99Ms),
      [
        service.paused ? paint.gold('paused') : '',
        service.rollingOut ? paint.cyan('rolling out') : '',
        service.blast === undefined ? '' : paint.dim(service.blast),
      ]
        .filter((word) => word !== '')
        .join(' '),
    ]),
  ]);
}

function readyText(service: ServiceSummary, paint: Paint): string {
  const { ready, wanted, spares } = service;
  const text = `${ready}/${wanted}${spares > 0 ? ` +${spares}` : ''}`;
  return ready >= wanted ? paint.green(text) : paint.red(text);
}

export function replicaTable(
  replicas: readonly ReplicaSummary[],
  nowMs: number,
  paint: Paint,
): string[] {
  const names = ['REPLICA', 'STATE', 'PORT', 'PID', 'SINCE', 'MEMORY', 'CPU', 'REQ/S', 'P99'];
  return table([
    head(names, paint),
    ...replicas.map((replica) => [
      replica.id,
      replicaState(replica, paint),
      String(replica.port ?? '–'),
      String(replica.pid ?? '–'),
      sinceText(replica.sinceMs, nowMs),
      bytesText(replica.rssBytes),
      percentText(replica.cpu),
      rateText(replica.traffic.requestsPerSecond),
      latencyText(replica.traffic.p99Ms),
    ]),
  ]);
}

function replicaState(replica: ReplicaSummary, paint: Paint): string {
  if (replica.ejected !== undefined) return paint.red(`ejected: ${replica.ejected.reason}`);
  if (replica.phase === 'starting') return paint.cyan('starting');
  if (replica.phase === 'draining') return paint.gold('draining');
  if (replica.phase === 'gone') return paint.dim('gone');
  if (replica.role === 'spare') return paint.dim('spare');
  const share = replica.weight === 100 ? '' : ` ${replica.weight} %`;
  return replica.available ? paint.green(`ready${share}`) : paint.red(`unavailable${share}`);
}

function dependencyLines(status: Status, paint: Paint): string[] {
  return table(
    status.dependencies.map((dependency) => [
      dependency.name,
      dependency.state === 'up'
        ? paint.green('up')
        : dependency.state === 'down'
          ? paint.red('down')
          : paint.dim('unknown'),
      sinceText(dependency.sinceMs, status.atMs),
      paint.dim(harmless(dependency.detail)),
    ]),
  );
}

/** P11: never a verdict without its population and its age. */
export function controlLines(
  controls: readonly ControlSummary[],
  nowMs: number,
  paint: Paint,
): string[] {
  return table(
    controls.map((control) => [
      control.id,
      verdictText(control, paint),
      populationText(control),
      control.measuredAtMs === undefined
        ? paint.dim('never measured')
        : `${ageText(nowMs - control.measuredAtMs)} ago`,
      paint.dim(control.frameworks.join(', ')),
    ]),
  );
}

export function verdictText(control: ControlSummary, paint: Paint): string {
  switch (control.verdict) {
    case 'satisfied':
      return paint.green('satisfied');
    case 'not-satisfied':
      return paint.red('VIOLATED');
    case 'not-evaluated':
      return paint.gold('not evaluated');
    case 'error':
      return paint.red('error');
    case 'stale':
      return paint.gold('stale');
  }
}

export function populationText(control: ControlSummary): string {
  const { result } = control;
  if (result === undefined || !('population' in result)) return 'population –';
  return `population ${result.population}`;
}

/** Why the verdict is what it is. */
export function resultLines(control: ControlSummary): string[] {
  const { result } = control;
  switch (result?.kind) {
    case 'satisfied':
      return [harmless(result.detail)];
    case 'not-satisfied':
      return result.violations.map((v) => harmless(`${v.subject}: ${v.detail}`));
    case 'not-evaluated':
    case 'error':
      return [harmless(result.reason)];
    case undefined:
      return [];
  }
}

function tenantLines(status: Status, paint: Paint): string[] {
  return table(
    status.tenants.map((tenant) => [
      tenant.id,
      tenant.region,
      tenant.plan,
      tenant.status === 'active' ? paint.green('active') : paint.gold('suspended'),
      `${rateText(tenant.traffic.requestsPerSecond)} req/s`,
      heldText(tenant, status.atMs, paint),
    ]),
  );
}

export function incidentLines(
  incidents: readonly IncidentSummary[],
  nowMs: number,
  paint: Paint,
): string[] {
  return table(
    incidents.map((incident) => [
      incident.id,
      stateText(incident, paint),
      paint.bold(harmless(incident.title)),
      incident.healedAtMs === undefined
        ? `for ${durationText(nowMs - incident.openedAtMs)}`
        : `took ${durationText(incident.healedAtMs - incident.openedAtMs)}`,
      harmless(incident.now),
    ]),
  );
}

export function stateText(incident: IncidentSummary, paint: Paint): string {
  const { kind } = incident.state;
  switch (kind) {
    case 'healed':
      return paint.green(kind);
    case 'escalated':
      return paint.red(kind);
    case 'open':
    case 'waiting':
    case 'acting':
    case 'verifying':
      return paint.gold(kind);
  }
}

function approvalLines(status: Status, paint: Paint): string[] {
  return status.approvals.flatMap((approval) => [
    `${approval.id}  ${harmless(approval.summary)}  ` +
      paint.dim(`(${durationText(approval.deadlineAtMs - status.atMs)} left)`),
    ...indent([
      paint.dim(harmless(approval.why)),
      `kintsugi approve ${approval.id}  |  kintsugi approve ${approval.id} --deny`,
    ]),
  ]);
}

export function ledgerLine(status: Status, paint: Paint): string {
  const { size, root } = status.ledger;
  return `${paint.gold('ledger')} ${countText(size, 'entry', 'entries')}, root ${root}`;
}
