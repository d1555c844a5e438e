// How does the controller answer its API? The control port over the loop, the store and the ledger.
//
//   CP1. Every change is a plan like any heal: budget, run, ledger, story.
//   CP2. Who asked stands in the plan's origin and in the ledger.
import { isAbsolute, resolve } from 'node:path';
import type {
  ApprovalSummary,
  ReleaseList,
  ReleaseSummary,
  RunSummary,
  ScaleAnswer,
} from '../api/contract.ts';
import type { Actor, ControlPort } from '../api/port.ts';
import { rollbackEligibility } from '../loop/decide/playbooks/release.ts';
import type { ChangeRequest } from '../loop/decide/change.ts';
import { KinError } from '../model/errors.ts';
import { approvalId, runId } from '../model/ids.ts';
import type { ReleaseId, ServiceName } from '../model/ids.ts';
import type { Release, RollbackEligibility } from '../model/release.ts';
import type { Approval, Run } from '../model/run.ts';
import type { StoryEvent } from '../model/entry.ts';
import type { CheckResult } from '../model/signal.ts';
import { applyManifest } from './apply.ts';
import type { Controller } from './parts.ts';
import { makeRelease } from './desired.ts';
import { drill, drillList } from './drills.ts';
import { explain, runStory, verdictOf } from './explain.ts';
import { holdTenant, releaseTenant } from './holds.ts';
import { ledgerEntries, ledgerHead, ledgerProve } from './ledger-view.ts';
import { logsOf } from './logs.ts';
import { edgeMetrics } from './observe.ts';
import { shutdown } from './shutdown.ts';
import { controlViews, incidentView, runView, statusOf, timesOf } from './views.ts';

export function controlPort(controller: Controller): ControlPort {
  const { loop, world } = controller;
  const { store } = world;
  const { recorder } = loop.state;
  let storySeq = 0;
  recorder.onStory((event) => {
    storySeq = event.seq;
  });
  return {
    status: () =>
      statusOf(
        controller,
        loop.state.approvals.pending().map(approvalView),
        liveRuns(controller),
        storySeq,
      ),
    edgeMetrics: () => edgeMetrics(controller),
    async incidents(limit) {
      const times = timesOf(controller);
      return (await store.incidents({ limit })).map((stored) =>
        incidentView(loop.state.incidents.get(stored.id) ?? stored, times),
      );
    },
    explain: (id) => explain(controller, id),
    async runs(limit) {
      return (await store.runs({ limit })).map((run) => runView(run, undefined));
    },
    async run(id) {
      const run = await store.run(runId(id));
      if (run === undefined) return undefined;
      const events =
        run.incident === undefined
          ? []
          : await store.story({ incident: run.incident, after: 0, limit: 1_000 });
      return runStory(run, verdictOf(run, events));
    },
    async approvals(limit, pendingOnly) {
      return (await store.approvals({ limit, pendingOnly })).map(approvalView);
    },
    async decideApproval(id, decision, actor) {
      const answer = decision === 'approve' ? 'approved' : 'denied';
      return approvalView(await loop.state.approvals.decide(approvalId(id), answer, actor.name));
    },
    ...changes(controller),
    audit: (actor) => audit(controller, actor),
    story: (after, limit) => store.story({ after, limit }),
    subscribe: (listener: (event: StoryEvent) => void) => recorder.onStory(listener),
    ledgerHead: () => ledgerHead(controller),
    ledgerProve: (index) => ledgerProve(controller, index),
    ledgerEntries: (from, limit) => ledgerEntries(controller, from, limit),
    tenants: async () => statusOf(controller, [], [], storySeq).tenants,
    ...keyActs(controller),
    liftQuarantine: (tenant, route, actor) => liftQuarantine(controller, tenant, route, actor),
    holdTenant: (tenant, order, actor) =>
      holdTenant(controller, tenant, order, actor, (service) => known(controller, service)),
    releaseTenant: (tenant, actor) => releaseTenant(controller, tenant, actor),
    applyManifest: (source, dryRun, actor) => applyManifest(controller, source, dryRun, actor),
    logs: (target, bytes) => logsOf(controller, target, bytes),
    drills: () => drillList(controller),
    drill: (name, target, actor) => drill(controller, name, target, actor),
    shutdown: (mode, actor) => shutdown(controller, mode, actor),
  };
}

function keyActs(controller: Controller): Pick<ControlPort, 'createKey' | 'revokeKey'> {
  const { keys, loop } = controller;
  return {
    async createKey(tenant, actor, roles = []) {
      const made = await keys.create(tenant, roles);
      await loop.state.book.publish();
      const as = roles.length === 0 ? '' : ` as ${roles.join(', ')}`;
      access(controller, 'tenant.key-created', actor, `${tenant}: key ${made.id} created${as}`);
      return { tenant, ...made };
    },
    async revokeKey(id, actor) {
      await keys.revoke(id);
      await loop.state.book.publish();
      access(controller, 'operator.access', actor, `key ${id} revoked`);
    },
  };
}

type Changes = Pick<ControlPort, 'releases' | 'deploy' | 'rollback' | 'scale' | 'pause' | 'resume'>;

function changes(controller: Controller): Changes {
  return {
    releases: async (service) => releaseList(controller, known(controller, service)),
    deploy: (service, path, actor) => deploy(controller, service, path, actor),
    async rollback(service, actor) {
      const name = known(controller, service);
      return { run: await begin(controller, { kind: 'rollback', service: name }, actor) };
    },
    scale: (service, replicas, actor) => scale(controller, service, replicas, actor),
    pause: (service, actor) => setPaused(controller, service, true, actor),
    resume: (service, actor) => setPaused(controller, service, false, actor),
  };
}

export function access(
  controller: Controller,
  entry: 'tenant.key-created' | 'operator.access',
  actor: Actor,
  text: string,
): void {
  controller.loop.state.recorder.tell({
    entry,
    kind: entry,
    text: `${actor.name}: ${text}`,
    data: { actor: actor.name },
  });
}

export function known(controller: Controller, service: string): ServiceName {
  const name = [...controller.settings.manifest.services.keys()].find((s) => s === service);
  if (name !== undefined) return name;
  throw new KinError('KIN_SERVICE_UNKNOWN', `no service ${service}`, 'See `kintsugi status`.');
}

/** Begins the run of a change; resolves once its intent is durable. */
export async function begin(
  controller: Controller,
  request: ChangeRequest,
  actor: Actor,
): Promise<string> {
  const answer = controller.loop.change(request, actor.name);
  if (answer.kind === 'refuse') throw new KinError(answer.code, answer.detail, answer.fix);
  const { live, stop } = controller.loop.state;
  const { clock } = controller.world;
  const untilMs = clock.monotonicMs() + 10_000;
  // Bounded by `untilMs`.
  for (;;) {
    const entry = live.get(answer.plan.id);
    if (entry?.current !== undefined) return entry.current.id;
    if (entry === undefined || clock.monotonicMs() > untilMs) {
      const run = await answer.ended;
      if (run !== undefined) return run.id;
      throw new KinError(
        'KIN_RUN_NOT_BEGUN',
        `${answer.plan.summary}: the run could not begin`,
        'See `kintsugi logs controller`; the ledger or the store may not be writable.',
      );
    }
    await clock.sleep(5, stop.signal);
  }
}

async function deploy(
  controller: Controller,
  service: string,
  path: string,
  actor: Actor,
): Promise<Awaited<ReturnType<ControlPort['deploy']>>> {
  const name = known(controller, service);
  const spec = controller.settings.manifest.services.get(name);
  if (spec === undefined) throw new Error('unreachable: the service is known');
  if (!isAbsolute(path)) {
    throw new KinError('KIN_RELEASE_PATH', `${path} is not absolute`, 'Give the whole path.');
  }
  const release = await makeRelease(spec, resolve(path), {
    root: resolve(controller.stateDir, 'releases'),
    clock: controller.world.clock,
  });
  const { book } = controller.loop.state;
  const before = book.fleet().releases.get(release.id);
  if (before === undefined) {
    await book.change({ releases: [release] });
    controller.loop.state.recorder.tell({
      entry: 'release.created',
      kind: 'release.created',
      service: name,
      text: `${name}: release ${release.id} from ${release.digest}`,
      data: { release: release.id, digest: release.digest, actor: actor.name },
    });
  }
  const rollback = afterDeploy(controller, name);
  const run = await begin(
    controller,
    { kind: 'deploy', service: name, release: release.id },
    actor,
  );
  return { release: releaseView(controller, before ?? release, name), run, rollback };
}

async function scale(
  controller: Controller,
  service: string,
  replicas: number,
  actor: Actor,
): Promise<ScaleAnswer> {
  const name = known(controller, service);
  const from = controller.loop.state.book.fleet().services.get(name)?.replicas ?? 0;
  if (from === replicas) return { service, from, to: replicas, run: undefined };
  const run = await begin(controller, { kind: 'scale', service: name, replicas }, actor);
  return { service, from, to: replicas, run };
}

async function liftQuarantine(
  controller: Controller,
  tenant: string,
  route: string | undefined,
  actor: Actor,
): Promise<{ readonly lifted: readonly string[] }> {
  const rules = [...controller.loop.state.book.fleet().quarantines.values()].filter(
    (r) => r.tenant === tenant && (route === undefined || route === `${r.method} ${r.route}`),
  );
  if (rules.length === 0 && route !== undefined) {
    throw new KinError(
      'KIN_QUARANTINE_UNKNOWN',
      `${route} of ${tenant} is not held back`,
      'See `kintsugi tenants` for what is.',
    );
  }
  for (const rule of rules) {
    await begin(controller, { kind: 'lift-quarantine', id: rule.id }, actor);
  }
  return { lifted: rules.map((r) => `${r.method} ${r.route}`) };
}

async function setPaused(
  controller: Controller,
  service: string | undefined,
  paused: boolean,
  actor: Actor,
): Promise<{ readonly changed: readonly string[] }> {
  const { book } = controller.loop.state;
  const wanted = service === undefined ? undefined : known(controller, service);
  const rows = [...book.fleet().services.values()].filter(
    (s) => (wanted === undefined || s.name === wanted) && s.paused !== paused,
  );
  if (rows.length > 0) {
    await book.change((fleet) => ({
      services: rows.map((s) => ({ ...(fleet.services.get(s.name) ?? s), paused })),
    }));
    const what = `${paused ? 'paused' : 'resumed'} ${rows.map((s) => s.name).join(', ')}`;
    access(controller, 'operator.access', actor, what);
  }
  controller.loop.state.inbox.nudge();
  return { changed: rows.map((s) => s.name) };
}

/** Were a release deployed now: could it come back to the one that runs? */
function afterDeploy(controller: Controller, service: ServiceName): RollbackEligibility {
  const fleet = controller.loop.state.book.fleet();
  const book = fleet.services.get(service);
  const current = book === undefined ? undefined : fleet.releases.get(book.release);
  if (current === undefined) return { kind: 'ineligible', reason: 'no-previous-release' };
  if (current.verdict.kind === 'bad') {
    return { kind: 'ineligible', reason: 'previous-release-was-bad' };
  }
  return { kind: 'eligible', release: current.id };
}

function releaseList(controller: Controller, service: ServiceName): ReleaseList {
  const fleet = controller.loop.state.book.fleet();
  const releases = [...fleet.releases.values()]
    .filter((r) => r.service === service)
    .sort((a, b) => b.createdAtMs - a.createdAtMs)
    .map((r) => releaseView(controller, r, service));
  return {
    service,
    releases,
    rollback: rollbackEligibility(fleet, service),
    afterDeploy: afterDeploy(controller, service),
  };
}

function releaseView(
  controller: Controller,
  release: Release,
  service: ServiceName,
): ReleaseSummary {
  const current: ReleaseId | undefined = controller.loop.state.book
    .fleet()
    .services.get(service)?.release;
  const { id, digest, createdAtMs, verdict } = release;
  return { id, service, digest, createdAtMs, verdict, current: current === id };
}

async function audit(
  controller: Controller,
  actor: Actor,
): Promise<Awaited<ReturnType<ControlPort['audit']>>> {
  const { world, loop, settings } = controller;
  const measured = new Map<string, CheckResult>();
  for (const check of settings.manifest.compliance.checks) {
    const result = await world.controls.measure(check.id);
    const proof = await world.controls.prove(check.id);
    const atMs = world.clock.monotonicMs();
    loop.state.inbox.put({ kind: 'check', atMs, check: check.id, result });
    // P11: what could not be tried is not satisfied, whatever the catalogue says.
    const worst = result.kind === 'satisfied' ? proof : result;
    measured.set(check.id, worst);
    loop.state.recorder.tell({
      entry: 'control.result',
      kind: 'control.result',
      text: `${check.id}: ${worst.kind}`,
      data: { check: check.id, result, proof, actor: actor.name },
    });
  }
  loop.look();
  const measuredAtMs = world.clock.nowMs();
  const controls = controlViews(controller, timesOf(controller)).map((control) => {
    const result = measured.get(control.id);
    if (result === undefined) return control;
    return { ...control, result, verdict: result.kind, measuredAtMs };
  });
  const violated = controls.some((c) => c.verdict === 'not-satisfied');
  const incomplete = controls.length === 0 || controls.some((c) => c.verdict !== 'satisfied');
  return {
    atMs: measuredAtMs,
    verdict: violated ? 'violated' : incomplete ? 'incomplete' : 'satisfied',
    controls,
    ledger: ledgerHead(controller),
  };
}

function liveRuns(controller: Controller): readonly RunSummary[] {
  const runs: Run[] = [];
  for (const entry of controller.loop.state.live.values()) {
    if (entry.current !== undefined) runs.push(entry.current);
  }
  return runs.map((run) => runView(run, undefined));
}

function approvalView(approval: Approval): ApprovalSummary {
  const { id, run, summary, why, deadlineAtMs, state } = approval;
  return { id, run, summary, why, deadlineAtMs, state };
}
