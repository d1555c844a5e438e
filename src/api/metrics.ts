// What would a Prometheus want to know? The main gauges of the status, whose labels come from the
// manifest only, and what the gateways counted.
import type { Status } from './contract.ts';
import { expositionOf } from './exposition.ts';
import type { Labels, Metric } from './exposition.ts';

/** `edge`: of an `EdgeBook`. */
export function metricsText(status: Status, edge: readonly Metric[] = []): string {
  return expositionOf([...statusMetrics(status), ...edge]);
}

interface Gauge {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly (readonly [Labels, number])[];
}

export function statusMetrics(status: Status): readonly Metric[] {
  return gaugesOf(status).map(({ name, help, samples }) => ({
    kind: 'gauge',
    name,
    help,
    samples: samples.map(([labels, value]) => ({ labels, value })),
  }));
}

function gaugesOf(status: Status): readonly Gauge[] {
  const perService = (
    name: string,
    help: string,
    value: (service: Status['services'][number]) => number,
  ): Gauge => ({
    name,
    help,
    samples: status.services.map((service) => [{ service: service.name }, value(service)]),
  });
  return [
    one('kintsugi_up', 'The control plane answers.', 1),
    one(
      'kintsugi_acting',
      'It acts (1) or only observes (0).',
      flag(status.instance.mode === 'acting'),
    ),
    perService('kintsugi_replicas_wanted', 'Replicas wanted.', (s) => s.wanted),
    perService('kintsugi_replicas_ready', 'Replicas ready.', (s) => s.ready),
    perService('kintsugi_replicas_available', 'Replicas that answer.', (s) => s.budget.available),
    perService('kintsugi_budget_floor', 'Replicas that must stay.', (s) => s.budget.floor),
    perService('kintsugi_budget_may_lose', 'Replicas above the floor.', (s) => s.budget.mayLose),
    perService('kintsugi_requests_per_second', 'Requests.', (s) => s.traffic.requestsPerSecond),
    perService('kintsugi_failed_share', 'Share of failed requests.', (s) => s.traffic.failedShare),
    perService('kintsugi_latency_p99_ms', 'Upper bound of p99.', (s) => s.traffic.p99Ms),
    perService('kintsugi_service_paused', 'Paused by an operator.', (s) => flag(s.paused)),
    {
      name: 'kintsugi_replica_rss_bytes',
      help: 'Resident memory of a replica.',
      samples: status.services.flatMap((service) =>
        service.replicas.flatMap((replica) =>
          replica.rssBytes === undefined
            ? []
            : [[{ service: service.name, replica: replica.id }, replica.rssBytes] as const],
        ),
      ),
    },
    {
      name: 'kintsugi_dependency_up',
      help: 'The dependency answers the application.',
      samples: status.dependencies.map((d) => [{ dependency: d.name }, flag(d.state === 'up')]),
    },
    ...controlMetrics(status),
    one('kintsugi_incidents_open', 'Incidents not healed.', status.incidents.length),
    one(
      'kintsugi_incidents_escalated',
      'Incidents that wait for a person.',
      status.incidents.filter((incident) => incident.state.kind === 'escalated').length,
    ),
    one('kintsugi_runs_open', 'Runs not at their end.', status.runs.length),
    one('kintsugi_approvals_pending', 'Approvals that wait.', status.approvals.length),
    one('kintsugi_gateway_workers', 'Gateway workers connected.', status.gateway.workers.length),
    one('kintsugi_ledger_entries', 'Entries of the ledger.', status.ledger.size),
  ];
}

/** P11: the population and the age stand beside the verdict. */
function controlMetrics(status: Status): readonly Gauge[] {
  const measured = status.controls.flatMap((control) =>
    control.measuredAtMs === undefined ? [] : [{ control, atMs: control.measuredAtMs }],
  );
  return [
    {
      name: 'kintsugi_control_satisfied',
      help: 'The control was evaluated on a population, recently, and holds.',
      samples: status.controls.map((c) => [{ control: c.id }, flag(c.verdict === 'satisfied')]),
    },
    {
      name: 'kintsugi_control_population',
      help: 'What the last evaluation looked at.',
      samples: status.controls.map(({ id, result }) => [
        { control: id },
        result !== undefined && 'population' in result ? result.population : 0,
      ]),
    },
    {
      name: 'kintsugi_control_age_seconds',
      help: 'Since the last evaluation.',
      samples: measured.map(({ control, atMs }) => [
        { control: control.id },
        Math.max(0, (status.atMs - atMs) / 1000),
      ]),
    },
  ];
}

const flag = (yes: boolean): number => (yes ? 1 : 0);
const one = (name: string, help: string, value: number): Gauge => ({
  name,
  help,
  samples: [[{}, value]],
});
