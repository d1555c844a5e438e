// How are the controller and the gateways kept up? One state a child; deaths are answered by
// `backoff.ts`. IN1 and IN2 stand there.
//
//   IN3. A child outlives init, and the next init adopts it instead of starting a second one.
//   IN4. At the end the controller goes first, so that nobody heals what is being stopped; then all
//        others; each within its deadline, then by SIGKILL. Replicas are never touched.
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { backoffAfter } from './backoff.ts';
import type { ChildSpec } from './config.ts';
import { appendLine, openLog, trimLog, writeWhole } from './files.ts';
import {
  bootId,
  identityOf,
  isSame,
  MARK,
  markedLeaders,
  signalTo,
  type Identity,
} from './identity.ts';
import { lastRunning, statusText, type ChildStatus, type InitStatus } from './status.ts';

const POLL_MS = 200;
const LOG_POLL_MS = 1000;
const TERM_MS = 15_000;
/** Until the kernel has certainly ended it. */
const KILL_MS = 5000;
const CONTROLLER = 'controller';

export interface InitPaths {
  readonly status: string;
  readonly log: string;
  /** Tells this state folder from any other in the marks of its children. */
  readonly stateId: string;
}

type State =
  | {
      readonly kind: 'running';
      readonly who: Identity;
      readonly process: ChildProcess | undefined;
      readonly sinceMs: number;
      readonly bornMs: number;
    }
  | { readonly kind: 'waiting'; readonly untilMs: number; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'stopped' };

interface Child {
  spec: ChildSpec;
  /** With which it was started last. */
  runs: ChildSpec;
  state: State;
  isStopping: boolean;
  failures: number;
  restarts: number;
  lastEnd: ChildStatus['lastEnd'];
  gone: PromiseWithResolvers<void>;
}

export class Supervisor {
  readonly #paths: InitPaths;
  readonly #own: Identity;
  readonly #bootId = bootId();
  readonly #children = new Map<string, Child>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #hurry = Promise.withResolvers<void>();
  #phase: InitStatus['phase'] = 'running';
  #configProblem: string | null = null;

  constructor(paths: InitPaths, own: Identity) {
    this.#paths = paths;
    this.#own = own;
  }

  /** IN3. What runs is adopted, the rest started; what is ours and not wanted is ended. */
  open(specs: readonly ChildSpec[]): void {
    const last = lastRunning(this.#paths.status, this.#bootId);
    const marked = markedLeaders(this.#paths.stateId);
    for (const spec of specs) {
      const known = last.get(spec.name);
      const candidates = [
        ...(known === undefined ? [] : [known]),
        ...(marked.get(spec.name) ?? []),
      ];
      const who = candidates.find(isSame);
      const child = this.#add(spec);
      if (who === undefined) this.#start(child);
      else this.#adopt(child, who);
      for (const twin of candidates) if (twin.pid !== who?.pid) this.#endStranger(spec.name, twin);
    }
    for (const [name, all] of new Map([...[...last].map(([n, w]) => [n, [w]] as const), ...marked]))
      if (!this.#children.has(name)) for (const who of all) this.#endStranger(name, who);
    this.#timers.push(setInterval(() => this.#lookAtAdopted(), POLL_MS));
    this.#timers.push(setInterval(() => this.#trimLogs(), LOG_POLL_MS));
    this.#show();
  }

  /** Starts the new, stops the removed; a changed one changes when it is started next. */
  reload(specs: readonly ChildSpec[]): void {
    if (this.#phase !== 'running') return;
    this.#configProblem = null;
    for (const child of this.#children.values())
      if (!specs.some(({ name }) => name === child.spec.name))
        void this.#stop(child).then(() => this.#forget(child));
    for (const spec of specs) {
      const child = this.#children.get(spec.name);
      if (child === undefined) this.#start(this.#add(spec));
      else if (child.isStopping) void child.gone.promise.then(() => this.#renew(child, spec));
      else child.spec = spec;
    }
    this.#say('configuration read again');
    this.#show();
  }

  refuse(why: string): void {
    this.#configProblem = why;
    this.#say(`configuration refused, the old one stays: ${why}`);
    this.#show();
  }

  /**
   * IN4. True when all have ended. A second call makes the first kill at once, and answers false.
   */
  async close(): Promise<boolean> {
    if (this.#phase !== 'running') {
      this.#hurry.resolve();
      return false;
    }
    this.#phase = 'stopping';
    this.#show();
    const all = [...this.#children.values()];
    const isController = (child: Child): boolean => child.spec.name === CONTROLLER;
    await Promise.all(all.filter(isController).map((child) => this.#stop(child)));
    await Promise.all(
      all.filter((child) => !isController(child)).map((child) => this.#stop(child)),
    );
    for (const timer of this.#timers) clearInterval(timer);
    this.#phase = 'stopped';
    this.#say('all children have ended');
    this.#show();
    return true;
  }

  #add(spec: ChildSpec): Child {
    const child: Child = {
      spec,
      runs: spec,
      state: { kind: 'stopped' },
      isStopping: false,
      failures: 0,
      restarts: 0,
      lastEnd: null,
      gone: Promise.withResolvers(),
    };
    this.#children.set(spec.name, child);
    return child;
  }

  #forget(child: Child): void {
    if (this.#children.get(child.spec.name) === child) this.#children.delete(child.spec.name);
    this.#show();
  }

  /** Wanted again while its removal was still under way. */
  #renew(child: Child, spec: ChildSpec): void {
    if (this.#phase !== 'running') return;
    this.#forget(child);
    if (!this.#children.has(spec.name)) this.#start(this.#add(spec));
    this.#show();
  }

  #start(child: Child): void {
    const { spec } = child;
    child.runs = spec;
    const started = this.#spawn(spec);
    if (typeof started === 'string') {
      this.#died(child, `not started (${started})`, undefined, false, 0);
      return;
    }
    const { pid } = started;
    const bornMs = performance.now();
    if (pid === undefined) {
      started.once('error', (error: NodeJS.ErrnoException) =>
        this.#died(child, `not started (${error.code ?? 'unknown'})`, undefined, false, 0),
      );
      return;
    }
    const who = identityOf(pid) ?? { pid, start: '' };
    child.state = { kind: 'running', who, process: started, sinceMs: Date.now(), bornMs };
    started.on('error', (error) => this.#say(`${spec.name}: ${error.message}`));
    started.once('exit', (code, signal) => {
      const how = signal === null ? `exit code ${code}` : `ended by ${signal}`;
      this.#died(child, how, code ?? undefined, true, performance.now() - bornMs);
    });
    this.#say(`${spec.name} started, pid ${pid}`);
    this.#show();
  }

  /** Or the code of the error that Node throws at once (an argument list that is too long, say). */
  #spawn(spec: ChildSpec): ChildProcess | string {
    const [file = '', ...args] = spec.argv;
    const logFd = this.#openLog(spec);
    const output = logFd ?? 'ignore';
    try {
      return spawn(file, args, {
        detached: true,
        env: { ...spec.env, [MARK]: `${this.#paths.stateId}:${spec.name}` },
        stdio: ['ignore', output, output],
      });
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unknown';
    } finally {
      if (logFd !== undefined) closeSync(logFd);
    }
  }

  #adopt(child: Child, who: Identity): void {
    const bornMs = performance.now();
    child.state = { kind: 'running', who, process: undefined, sinceMs: Date.now(), bornMs };
    this.#say(`${child.spec.name} adopted, pid ${who.pid}`);
  }

  #died(
    child: Child,
    how: string,
    code: number | undefined,
    hasRun: boolean,
    livedMs: number,
  ): void {
    const death = { code, hasRun, livedMs, failures: child.failures };
    const { delayMs, failures, isConfiguration } = backoffAfter(death, Math.random());
    child.failures = failures;
    child.lastEnd = { atMs: Date.now(), how, isConfiguration };
    this.#say(`${child.spec.name} ${how}`);
    if (child.isStopping || this.#phase !== 'running') {
      child.state = { kind: 'stopped' };
      child.gone.resolve();
      return this.#show();
    }
    child.restarts += 1;
    if (delayMs === 0) return this.#start(child);
    const timer = setTimeout(() => this.#start(child), delayMs);
    child.state = { kind: 'waiting', untilMs: Date.now() + delayMs, timer };
    this.#show();
  }

  async #stop(child: Child): Promise<void> {
    if (child.isStopping) return child.gone.promise;
    child.isStopping = true;
    const { state } = child;
    if (state.kind === 'waiting') clearTimeout(state.timer);
    if (state.kind !== 'running') {
      child.state = { kind: 'stopped' };
      return child.gone.resolve();
    }
    signalTo(state.who, 'SIGTERM');
    this.#show();
    await this.#within(TERM_MS, [child.gone.promise, this.#hurry.promise]);
    if (child.state.kind === 'running' && signalTo(state.who, 'SIGKILL'))
      this.#say(`${child.spec.name} did not end by SIGTERM: killed`);
    await this.#within(KILL_MS, [child.gone.promise]);
    child.gone.resolve();
  }

  async #within(ms: number, first: readonly Promise<void>[]): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, ms);
    await Promise.race([...first, late.promise]);
    clearTimeout(timer);
  }

  #endStranger(name: string, who: Identity): void {
    if (!signalTo(who, 'SIGTERM')) return;
    this.#say(`${name}, pid ${who.pid}, is not wanted any more: ended`);
    this.#timers.push(setTimeout(() => signalTo(who, 'SIGKILL'), TERM_MS));
  }

  #lookAtAdopted(): void {
    for (const child of this.#children.values()) {
      const { state } = child;
      if (state.kind !== 'running' || state.process !== undefined || isSame(state.who)) continue;
      const livedMs = performance.now() - state.bornMs;
      this.#died(child, 'ended (status not seen)', undefined, true, livedMs);
    }
  }

  #openLog(spec: ChildSpec): number | undefined {
    try {
      return openLog(spec.logFile);
    } catch (error) {
      // Better a child without a log than no child.
      const { code } = error as NodeJS.ErrnoException;
      this.#say(`${spec.name}: its log cannot be opened (${code ?? 'not a plain file'})`);
      return undefined;
    }
  }

  #trimLogs(): void {
    const logs = [...this.#children.values()].map((child) => child.runs.logFile);
    for (const path of [this.#paths.log, ...logs]) {
      try {
        trimLog(path);
      } catch {
        // Said when it was opened; tried again in a second.
      }
    }
  }

  #say(text: string): void {
    appendLine(this.#paths.log, `${new Date().toISOString()} ${text}`);
  }

  #show(): void {
    const children = [...this.#children.values()].map(statusOf);
    const text = statusText({
      ...this.#own,
      bootId: this.#bootId,
      updatedAtMs: Date.now(),
      phase: this.#phase,
      configProblem: this.#configProblem,
      children,
    });
    try {
      writeWhole(this.#paths.status, text);
    } catch (error) {
      this.#say(`the status cannot be written: ${(error as NodeJS.ErrnoException).code ?? ''}`);
    }
  }
}

function statusOf(child: Child): ChildStatus {
  const { spec, state, restarts, lastEnd } = child;
  const running = state.kind === 'running' ? state : undefined;
  const kind = running !== undefined && child.isStopping ? 'stopping' : state.kind;
  return {
    name: spec.name,
    state: kind,
    pid: running?.who.pid ?? null,
    start: running?.who.start ?? null,
    sinceMs: running?.sinceMs ?? null,
    restarts,
    lastEnd,
    nextStartAtMs: state.kind === 'waiting' ? state.untilMs : null,
    isStale: running !== undefined && JSON.stringify(spec) !== JSON.stringify(child.runs),
  };
}
