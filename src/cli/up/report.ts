// What does `up` say once everything is ready? Where it listens, who may call, and what to try
// next: every line can be copied and run as it stands.
import { dirname, relative } from 'node:path';
import type { ServiceSummary, Status } from '../../api/contract.ts';
import type { FirstKeysFile } from '../../api/state-folder.ts';
import type { Context } from '../context.ts';
import { overallText } from '../show/status.ts';
import { countText, durationText, indent, table } from '../text.ts';
import { examplePath } from './example-path.ts';

export interface UpReport {
  readonly status: Status;
  readonly controlUrl: string;
  readonly stateDir: string;
  readonly keys: FirstKeysFile['keys'];
  readonly tookMs: number;
  readonly cwd: string;
  /** How this user calls the program: `kintsugi` or `npx kintsugi`. */
  readonly command: string;
}

export function upReport(report: UpReport, context: Pick<Context, 'paint'>): string[] {
  const { status, controlUrl, stateDir } = report;
  const { paint } = context;
  const replicas = status.services.flatMap((service) => service.replicas).length;
  return [
    '',
    `${paint.bold(status.instance.name)} is up after ${durationText(report.tookMs)}: ` +
      `${countText(status.services.length, 'service')}, ${countText(replicas, 'replica')}, ` +
      `${countText(status.tenants.length, 'tenant')}, ${overallText(status.overall, paint)}`,
    ...indent(
      table([
        ['gateway', paint.bold(status.gateway.url)],
        ['control API', `${controlUrl}  (token in ${shown(stateDir, report.cwd)}/operator.token)`],
        ['limits', status.instance.limits],
      ]),
    ),
    ...keyLines(report, context),
    ...tryLines(report, context),
    '',
  ];
}

function keyLines({ keys, status }: UpReport, { paint }: Pick<Context, 'paint'>): string[] {
  if (keys.length === 0) {
    const tenants = status.tenants.map((tenant) => tenant.id).join(', ');
    return tenants === ''
      ? []
      : ['', `tenants: ${tenants} (another key: kintsugi tenants key create TENANT)`];
  }
  const region = (id: string): string => status.tenants.find((t) => t.id === id)?.region ?? '';
  return [
    '',
    paint.gold('API keys of the tenants, shown this once:'),
    ...indent(table(keys.map((key) => [key.tenant, region(key.tenant), key.key]))),
  ];
}

function tryLines(report: UpReport, { paint }: Pick<Context, 'paint'>): string[] {
  const { status, keys } = report;
  const service = status.services.find((s) => s.kind === 'stateless' && s.routes.length > 0);
  if (service === undefined) return [];
  const flag = stateFlag(report);
  const { command: word } = report;
  const key = keys[0]?.key ?? '$KEY';
  const route = service.routes[0] ?? '/';
  const path = examplePath(dirname(status.instance.manifestPath), route);
  const note = path === undefined ? `        # or another path below ${route}` : '';
  return [
    '',
    paint.bold('try this:'),
    ...indent([
      `curl -s -H 'Authorization: Bearer ${key}' ${status.gateway.url}${path ?? route}${note}`,
      ...killLines(service),
      `${word} explain${flag}        # what was seen, decided, done, and its proof`,
      `${word} ledger verify${flag}  # check the evidence without trusting us`,
    ]),
  ];
}

function killLines(service: ServiceSummary): string[] {
  const victim = service.replicas.find((replica) => replica.role === 'active');
  return victim?.pid === undefined
    ? []
    : [`kill -9 ${victim.pid}        # ${victim.id}: watch it being replaced, no request fails`];
}

/** Commands in another folder need to be told which instance they are about. */
function stateFlag({ stateDir, cwd }: UpReport): string {
  return stateDir.startsWith(`${cwd}/.kintsugi`) ? '' : ` --state ${shown(stateDir, cwd)}`;
}

function shown(path: string, cwd: string): string {
  const near = relative(cwd, path);
  return near.startsWith('..') ? path : near;
}
