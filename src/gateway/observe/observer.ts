// Who writes down what happened to a request? One observer a worker: it counts each exchange, and
// gives the access log a line and the collector a span where the rule says so.
//
//   OB1. Without a log and a collector an exchange costs its counters and nothing else.
//   OB2. A new rule holds from the next exchange on; what was accepted under the old one is kept.
//   OB3. Nothing that goes wrong here reaches a request.
import { messageOf } from '../../model/errors.ts';
import type { ObserveRule } from '../../model/routing.ts';
import type { EdgeCell, EdgeCount, EdgeLevel } from '../../model/signal.ts';
import type { Head } from '../http/head.ts';
import { AccessLog } from './access-log.ts';
import type { ExchangeFacts } from './facts.ts';
import { noFacts } from './facts.ts';
import { spanOf } from './otlp.ts';
import { ruleFault } from './rule.ts';
import type { TimingMode } from './server-timing.ts';
import { SpanExport, collectorUrl } from './span-export.ts';
import { Tally } from './tally.ts';
import { traceOf } from './trace.ts';
import type { TraceSpan } from './trace.ts';

const NOTHING: ObserveRule = { tracing: { ratio: 1 }, serverTiming: 'never' };

export interface ObserverSetup {
  readonly worker: string;
  readonly version: string;
  /** Where the access log goes. */
  readonly folder: string;
  readonly warn: (text: string) => void;
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /** What is true right now, told with the counters when it has changed. */
  readonly levels: () => Readonly<Record<EdgeLevel, number>>;
}

export class Observer {
  /** Filled in anew for each exchange: free again when `ended` returns. */
  readonly facts: ExchangeFacts = noFacts();
  readonly #setup: ObserverSetup;
  readonly #tally = new Tally();
  #rule: ObserveRule = NOTHING;
  #ruleText = '';
  #log: AccessLog | undefined;
  #spans: SpanExport | undefined;
  #closing: Promise<void>[] = [];
  readonly #counts: Record<EdgeCount, number> = {
    'log-lines': 0,
    'log-dropped': 0,
    'spans-sent': 0,
    'spans-dropped': 0,
  };
  readonly #told: Record<EdgeCount, number> = { ...this.#counts };
  readonly #toldLevels = new Map<string, number>();
  #round = 0;

  constructor(setup: ObserverSetup) {
    this.#setup = setup;
  }

  get timing(): TimingMode {
    return this.#rule.serverTiming;
  }

  /** With each table; the same rule again changes nothing. */
  use(rule: ObserveRule | undefined): void {
    const wanted = rule ?? NOTHING;
    const text = JSON.stringify(wanted);
    if (text === this.#ruleText) return;
    this.#ruleText = text;
    const fault = ruleFault(wanted);
    if (fault !== undefined) {
      // A table of another version, say: routing must not fail for the sake of a log.
      this.#setup.warn(`what to log is not understood and stays as it was: ${fault}`);
      return;
    }
    const before = this.#rule;
    this.#rule = wanted;
    this.#useLog(wanted);
    const isSame = JSON.stringify(before.tracing) === JSON.stringify(wanted.tracing);
    if (!isSame) this.#useSpans(wanted);
  }

  #useLog({ accessLog }: ObserveRule): void {
    const log = this.#log;
    if (accessLog === undefined) {
      this.#log = undefined;
      if (log !== undefined) this.#end(log, 'log-lines', 'log-dropped');
      return;
    }
    if (log === undefined) this.#log = new AccessLog(this.#setup, accessLog);
    else log.use(accessLog);
  }

  #useSpans({ tracing }: ObserveRule): void {
    const before = this.#spans;
    this.#spans = undefined;
    if (before !== undefined) this.#end(before, 'spans-sent', 'spans-dropped');
    if (tracing.otlpUrl === undefined) return;
    const { warn, worker, version, random } = this.#setup;
    const found = collectorUrl(tracing.otlpUrl);
    if (found.kind === 'refused') {
      warn(`KIN_GATEWAY_TRACES: the address of the collector is not used: ${found.reason}`);
      return;
    }
    const headers = tracing.otlpHeaders ?? {};
    this.#spans = new SpanExport({ url: found.url, headers, warn, worker, version, random });
  }

  /** What it counted until its end is added to what went before. */
  #end(part: AccessLog | SpanExport, good: EdgeCount, bad: EdgeCount): void {
    const closing = part
      .close()
      .catch((error: unknown) => this.#setup.warn(`observing: ${messageOf(error)}`))
      .finally(() => {
        this.#counts[good] += part instanceof AccessLog ? part.written : part.sent;
        this.#counts[bad] += part.dropped;
        this.#closing = this.#closing.filter((other) => other !== closing);
      });
    this.#closing.push(closing);
  }

  /** At the head of a request. */
  begin(head: Head): TraceSpan {
    return traceOf(head, this.#rule.tracing.ratio, this.#spans !== undefined);
  }

  /** At the end of an exchange. Leaves no trace in `facts`, which are used again. */
  ended(facts: ExchangeFacts): void {
    this.#tally.note(facts);
    const [log, spans] = [this.#log, this.#spans];
    if (log !== undefined || spans !== undefined) {
      // What was refused early has none yet.
      if (facts.trace === undefined && facts.head !== undefined) {
        facts.trace = this.begin(facts.head);
      }
      log?.add(facts);
      if (spans !== undefined && facts.trace?.sampled === true) this.#export(spans, facts);
    }
    facts.trace = undefined;
  }

  #export(spans: SpanExport, facts: ExchangeFacts): void {
    if (!spans.room) {
      spans.dropUnmade();
      return;
    }
    const span = spanOf(facts, this.#rule.accessLog?.paths ?? 'folded');
    if (span !== undefined) spans.add(span);
  }

  /**
   * A message that was no request, or whose body turned out to be none: a line and its reason. It
   * is no exchange; one that had begun ends as any other.
   */
  refused(status: number, reason: string, remoteAddress: string, nowMs: number): void {
    this.#tally.refused(status, reason);
    if (this.#log === undefined) return;
    const facts = { ...noFacts(), kind: 'refused', startMs: nowMs, status } as const;
    this.#log.add({ ...facts, reason, remoteAddress });
  }

  /** For the flush. Levels are repeated now and then: a controller may be new. */
  takeEdge(): EdgeCell[] {
    const cells = this.#tally.take();
    for (const name of Object.keys(this.#counts) as EdgeCount[]) {
      const total = this.#total(name);
      const count = total - this.#told[name];
      if (count <= 0) continue;
      this.#told[name] = total;
      cells.push({ kind: 'count', name, count });
    }
    this.#round = (this.#round + 1) % 10;
    if (this.#round === 1) this.#toldLevels.clear();
    for (const [name, value] of Object.entries(this.#setup.levels()) as [EdgeLevel, number][]) {
      if (this.#toldLevels.get(name) === value) continue;
      this.#toldLevels.set(name, value);
      cells.push({ kind: 'level', name, value });
    }
    return cells;
  }

  #total(name: EdgeCount): number {
    const now = {
      'log-lines': this.#log?.written ?? 0,
      'log-dropped': this.#log?.dropped ?? 0,
      'spans-sent': this.#spans?.sent ?? 0,
      'spans-dropped': this.#spans?.dropped ?? 0,
    };
    return this.#counts[name] + now[name];
  }

  /** Everything that was accepted is written, sent or counted as dropped. */
  async close(): Promise<void> {
    const [log, spans] = [this.#log, this.#spans];
    this.#log = undefined;
    this.#spans = undefined;
    if (log !== undefined) this.#end(log, 'log-lines', 'log-dropped');
    if (spans !== undefined) this.#end(spans, 'spans-sent', 'spans-dropped');
    await Promise.all(this.#closing);
  }
}
