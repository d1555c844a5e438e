import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clip, frame, redraw } from '../../src/cli/lines.ts';
import { pictureOf } from '../../src/cli/live.ts';
import type { Context } from '../../src/cli/context.ts';
import { COLOURED, PLAIN, widthOf } from '../../src/cli/style.ts';
import { service, status, storyEvent, T0, replica } from '../api/fake.ts';

const context = (columns: number, rows: number, paint = PLAIN): Context => ({
  term: {
    out: () => undefined,
    err: () => undefined,
    isTty: true,
    columns: () => columns,
    rows: () => rows,
  },
  paint,
  globals: {
    json: false,
    state: undefined,
    manifest: undefined,
    gatewayPort: undefined,
    controlPort: undefined,
  },
  env: {},
  cwd: '/',
  nowMs: () => T0,
  sleep: () => Promise.resolve(),
});

test('FR1. a picture never has more rows or columns than the terminal', () => {
  const replicas = Array.from({ length: 60 }, (_, i) => replica({ id: `records-${i}` }));
  const many = status({ services: [service({ replicas }), service({ name: 'billing' })] });
  const story = Array.from({ length: 50 }, (_, i) =>
    storyEvent(i, `event ${i} ${'x'.repeat(200)}`),
  );
  for (const [columns, rows] of [
    [40, 10],
    [80, 24],
    [200, 100],
    [41, 12],
  ] as const) {
    for (const lost of [true, false]) {
      const state = { status: many, story, lost };
      const picture = pictureOf(context(columns, rows, COLOURED), state, 'Ctrl-C stops everything');
      assert.ok(picture.length < rows, `${columns}x${rows}: ${picture.length} rows`);
      assert.ok(picture.every((line) => widthOf(line) <= columns));
      assert.match(picture.at(-1) ?? '', /Ctrl-C/u);
    }
  }
});

test('LV2. the picture says when the control plane does not answer', () => {
  const state = { status: status(), story: [storyEvent(1, 'records-2 is hung')], lost: true };
  const text = pictureOf(context(100, 40), state, 'footer').join('\n');
  assert.match(text, /does not answer; replicas and gateway go on without it/u);
  assert.match(text, /records-2 is hung/u);
  assert.match(text, /doing Replace records-2/u);
  assert.match(text, /approve\? Enable row-level security/u);
});

test('the newest story lines are kept and the replicas are cut when there is no room', () => {
  const picture = frame(
    {
      top: ['top'],
      middle: Array.from({ length: 30 }, (_, i) => `replica ${i}`),
      story: ['old', 'older', 'new 1', 'new 2', 'new 3'],
      footer: 'footer',
    },
    { columns: 80, rows: 12 },
  );
  assert.deepEqual(picture.slice(-4), ['new 1', 'new 2', 'new 3', 'footer']);
  assert.match(picture.at(-5) ?? '', /more lines: kintsugi status/u);
});

test('a cut line keeps its colours closed', () => {
  const line = `${COLOURED.red('abcdef')}ghi`;
  assert.equal(clip(line, 9), line);
  assert.equal(clip(line, 4), '\u{1b}[31mabc\u{1b}[39m…');
});

test('a picture is drawn over the last one', () => {
  assert.equal(redraw(0, ['a']), '\r\u{1b}[2Ka\n\u{1b}[J');
  assert.equal(redraw(2, ['a']), '\r\u{1b}[2A\u{1b}[2Ka\n\u{1b}[J');
});
