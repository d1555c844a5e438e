import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamItem } from '../../src/api/client.ts';
import type { Context } from '../../src/cli/context.ts';
import { showLive } from '../../src/cli/live.ts';
import { PLAIN } from '../../src/cli/style.ts';
import { status, storyEvent } from '../api/fake.ts';

test('LV1. however much happens, at most four pictures a second are drawn', async () => {
  const time = { ms: 0 };
  const pictures: number[] = [];
  const ending = new AbortController();
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const context: Context = {
    term: {
      out: (text) => {
        if (text.includes('footer')) pictures.push(time.ms);
      },
      err: () => undefined,
      isTty: true,
      columns: () => 100,
      rows: () => 40,
    },
    paint: PLAIN,
    globals: {
      json: false,
      state: undefined,
      manifest: undefined,
      gatewayPort: undefined,
      controlPort: undefined,
    },
    env: {},
    cwd: '/',
    nowMs: () => time.ms,
    // Virtual time: 10 ms a turn, until its end or the signal.
    sleep: async (ms, signal) => {
      const untilMs = time.ms + ms;
      while (time.ms < untilMs && signal?.aborted !== true) await turn();
    },
  };
  const stream = async function* (
    _after: number | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<StreamItem> {
    for (let seq = 1; seq <= 1_000 && !signal.aborted; seq += 1) {
      await turn();
      time.ms += 10;
      yield { kind: 'story', event: storyEvent(seq) };
    }
    ending.abort();
  };
  const end = await showLive(context, {
    client: { status: () => Promise.resolve(status()), stream },
    signal: ending.signal,
    footer: 'footer',
    isGone: () => false,
  });
  assert.equal(end, 'interrupted');
  assert.ok(time.ms >= 10_000);
  assert.ok(pictures.length >= 10, `${pictures.length} pictures`);
  for (const at of pictures) {
    const second = pictures.filter((other) => other >= at && other < at + 1_000);
    // The last picture, at the end of the view, comes at once.
    assert.ok(second.length <= 5, `${second.length} pictures in a second`);
  }
});
