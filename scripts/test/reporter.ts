// Turns the events of node:test into ours; loaded into each test process by `--test-reporter`.
// Node demands the default export of a reporter (its one use in this repository).

import { AssertionError } from 'node:assert';
import { writeSync } from 'node:fs';
import type { TestEvent as NodeEvent } from 'node:test/reporters';
import { inspect } from 'node:util';
import { EVENTS_FD, type TestEvent } from './events.ts';
import { cpuMsOf, descendantsOf } from './leftovers.ts';

const ERROR_CHARS_MAX = 8_000;
/** What failed only because a test inside it failed has been counted with that test. */
const COUNTED_BELOW = 'subtestsFailed';

// oxlint-disable-next-line import/no-default-export -- node:test loads reporters by their default
export default async function* report(source: AsyncIterable<NodeEvent>): AsyncGenerator<string> {
  const path: string[] = [];
  for await (const event of source) {
    const made = translate(event, path);
    if (made !== undefined) send(made);
  }
  send({ kind: 'done' });
  yield '';
}

// Once this process is gone its children have another parent, and nobody can tell whose they were.
process.on('exit', () => {
  const { pid } = process;
  send({ kind: 'leaving', kin: descendantsOf(pid), cpuMs: cpuMsOf(pid) });
});

function send(event: TestEvent): void {
  writeSync(EVENTS_FD, `${JSON.stringify(event)}\n`);
}

function translate(event: NodeEvent, path: string[]): TestEvent | undefined {
  // Starts are reported in the order of results, so only "dequeue" tells what is running now.
  if (event.type === 'test:dequeue') return { kind: 'started', title: event.data.name };
  if (event.type === 'test:start') {
    path.length = event.data.nesting;
    path.push(event.data.name);
    return undefined;
  }
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return undefined;
  const { name, nesting, skip, todo, details } = event.data;
  const title = [...path.slice(0, nesting), name].join(' › ');
  if (event.type === 'test:fail' && todo === undefined) return failure(title, event.data.details);
  if (details.type === 'suite') return undefined;
  if (skip !== undefined) return { kind: 'skipped', title, reason: String(skip) };
  if (todo !== undefined) return { kind: 'skipped', title, reason: `todo: ${String(todo)}` };
  return { kind: 'passed', title, durationMs: details.duration_ms };
}

interface FailureDetails {
  readonly type?: string;
  readonly error: Error & { readonly failureType?: string };
}

function failure(title: string, details: FailureDetails): TestEvent | undefined {
  const { error } = details;
  if (error.failureType === COUNTED_BELOW) return undefined;
  const shown = error.cause ?? error;
  const text = typeof shown === 'string' ? shown : describe(shown);
  return { kind: 'failed', title, error: text.slice(0, ERROR_CHARS_MAX) };
}

/** An assertion's message holds its difference already; frames inside Node say nothing. */
function describe(error: unknown): string {
  const stack = error instanceof AssertionError ? error.stack : undefined;
  const text = stack ?? inspect(error, { depth: 6 });
  const lines = text
    .split('\n')
    .filter((line) => !/^\s+at .*(node:internal|node:async_hooks)/.test(line));
  return lines.join('\n');
}
