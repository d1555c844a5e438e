import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  eligibilityText,
  showApprovals,
  showAudit,
  showChanges,
  showDrills,
  showReleases,
  showRuns,
  showTenants,
} from '../../src/cli/show/answers.ts';
import { showStory } from '../../src/cli/show/explain.ts';
import { showStatus } from '../../src/cli/show/status.ts';
import { COLOURED, harmless, paintFor, PLAIN, widthOf } from '../../src/cli/style.ts';
import { bytesText, durationText, table, wrap } from '../../src/cli/text.ts';
import { upReport } from '../../src/cli/up/report.ts';
import * as fake from '../api/fake.ts';

const { T0 } = fake;
const golden = (lines: readonly string[], text: string): void => {
  assert.equal(`\n${lines.join('\n')}\n`, text);
};

test('C2. the status, as it is printed', () => {
  golden(
    showStatus(fake.status(), PLAIN),
    `
clinic · healing 1 incident · up 1 h 1 m
gateway http://127.0.0.1:8080 (1 of 1 worker, table 7) · controller pid 4001, 90 MiB, 1.1 % CPU

SERVICE  READY   MAY LOSE  RELEASE    REQ/S  FAILED  P99
records  2/2 +1  0         r1-4f2a9c  25.0   0.4 %   ≤ 16 ms

REPLICA    STATE          PORT   PID   SINCE  MEMORY  CPU    REQ/S  P99
records-1  ready          41001  4101  1 h    70 MiB  4.2 %  12.5   ≤ 16 ms
records-2  ejected: hung  41002  4102  1 h    70 MiB  4.2 %  –      –
records-3  spare          41003  4103  1 h    70 MiB  4.2 %  –      –

Depends on
  postgres  up  1 h  answered in 2 ms

Controls
  rls-records  satisfied  population 6  4 s ago  hipaa, soc2

Tenants
  north-clinic  eu  standard  active  8.0 req/s  held back: POST /import

Incidents
  inc-01  acting  records-2 is hung  for 2.4 s  replacing records-2 with records-4

Waiting for a person
  apr-01  Enable row-level security on billing.invoices.  (10 m 0 s left)
    the manifest says heal: ask for rls-billing
    kintsugi approve apr-01  |  kintsugi approve apr-01 --deny

ledger 42 entries, root 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
`,
  );
});

test('the story of an incident, as `explain` tells it', () => {
  golden(
    showStory(fake.STORY, PLAIN, 100),
    `
records-2 is hung
inc-01 · healed · took 3.1 s · began 2026-11-20T09:59:57.600Z

What was seen
  +0 ms  replica-hung of records-2 (97 % sure)
      · 2 requests inside for 1.0 s
      · no heartbeat for 900 ms
      · process state T

What it is
   97 %  replica records-2
         it alone stopped answering; its siblings are well
    2 %  dependency postgres
         it answers in 2 ms

What was decided, and why
  +100 ms  nothing done: evidence-too-thin
      one missed heartbeat is not a hang
  +400 ms  plan replace-replica
      Replace records-2 with records-4. (takes no available replica away)

What was done (replace-replica)
  run-01 · done · intent is ledger entry 39
  +400 ms  ✓  start records-4 on r1-4f2a9c   12 ms   pid 4110 on port 41010
  +420 ms  ✓  wait until records-4 is ready  240 ms
  +700 ms  ✓  stop records-2                 31 ms   ended by SIGKILL
  verdict: healed (3.1 s after the first finding)
      · replica-hung:records-2 is gone for 1.5 s
      · no other indicator got worse

How it stands
  healed by replace-replica in 3.1 s

Evidence
  #38  incident.opened
  #39  plan.intent      q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=
  #40  plan.outcome
  #41  plan.verdict
  verify: kintsugi ledger verify · kintsugi ledger prove 38
`,
  );
});

test('an undone run shows which step failed, what was undone, and that a person was asked', () => {
  const [run] = fake.STORY.runs;
  assert.ok(run);
  const story = {
    ...fake.STORY,
    decisions: [
      {
        kind: 'refusal' as const,
        atMs: T0,
        reason: 'ineffective-too-often' as const,
        detail: 'three attempts did not help',
        escalate: true,
      },
    ],
    runs: [
      {
        ...run,
        run: { ...run.run, state: 'undone' as const, failure: 'records-4 never became ready' },
        steps: [
          ...run.steps.slice(0, 1),
          {
            key: 'do:1',
            text: 'wait until records-4 is ready',
            record: {
              key: 'do:1',
              state: 'failed' as const,
              detail: 'deadline',
              atWallMs: T0,
              tookMs: 30_000,
            },
          },
          { key: 'do:2', text: 'stop records-2', record: undefined },
          {
            key: 'undo:0.0',
            text: 'stop records-4',
            record: {
              key: 'undo:0.0',
              state: 'done' as const,
              detail: '',
              atWallMs: T0 + 1,
              tookMs: 9,
            },
          },
        ],
      },
    ],
  };
  const text = showStory(story, PLAIN, 100).join('\n');
  assert.match(text, /nothing done: ineffective-too-often, a person is asked/u);
  assert.match(text, /✗ {2}wait until records-4 is ready {2}30\.0 s/u);
  assert.match(text, /· {2}stop records-2$/mu);
  assert.match(text, /✓ {2}undo: stop records-4 +9 ms/u);
  assert.match(text, /failed: records-4 never became ready/u);
});

test('P11: an audit without checks, or with one that was not evaluated, is not green', () => {
  golden(
    showAudit(fake.AUDIT, PLAIN),
    `
CONTROL      VERDICT    POPULATION    MEASURED  ON        FRAMEWORKS
rls-records  satisfied  population 6  4 s ago   postgres  hipaa, soc2

satisfied over 1 check · ledger 42 entries, root 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
`,
  );
  const none = showAudit({ ...fake.AUDIT, verdict: 'incomplete', controls: [] }, PLAIN).join('\n');
  assert.match(none, /no checks: nothing can be said/u);
  assert.match(none, /incomplete.* over 0 checks/u);
  const violated = showAudit(
    {
      ...fake.AUDIT,
      verdict: 'violated',
      controls: [
        {
          ...fake.CONTROL,
          verdict: 'not-satisfied',
          result: {
            kind: 'not-satisfied',
            population: 6,
            violations: [{ subject: 'records.notes', detail: 'row-level security is off' }],
          },
        },
        { ...fake.CONTROL, id: 'x', verdict: 'error', result: { kind: 'error', reason: 'down' } },
      ],
    },
    PLAIN,
  ).join('\n');
  assert.match(violated, /rls-records {2}VIOLATED {2}population 6/u);
  assert.match(violated, /records\.notes: row-level security is off/u);
  assert.match(violated, /^x +error +population – /mu);
});

test('the smaller answers, as they are printed', () => {
  golden(
    [
      ...showReleases(fake.RELEASES, T0, PLAIN),
      ...showRuns([fake.RUN], T0, PLAIN),
      ...showApprovals([fake.APPROVAL], T0, PLAIN),
      ...showTenants([fake.TENANT], T0, PLAIN),
      ...showChanges([{ kind: 'change', what: 'service', name: 'a', detail: '2 → 3' }], PLAIN),
    ],
    `
RELEASE    MADE     VERDICT  DIGEST
r1-4f2a9c  1 h ago  proved   sha256:4f2a9c004f2a  current

rollback now: not possible, there is no release before it
rollback after another deploy: possible, to r1-4f2a9c
RUN     STATE    STEPS  BEGAN    FOR     PLAYBOOK         SUMMARY
run-01  running  1/3    2 s ago  inc-01  replace-replica  Replace records-2 with records-4.
apr-01  pending, 10 m 0 s left  Enable row-level security on billing.invoices.
  because the manifest says heal: ask for rls-billing
TENANT        STATUS  REGION  PLAN      ISOLATION  FRAMEWORKS  KEYS
north-clinic  active  eu      standard  pool       hipaa       k1 (1 d)  held back: POST /import
~  service  a  2 → 3
1 change
`,
  );
  assert.match(showDrills([], PLAIN).join(), /no drills here/u);
  assert.match(
    eligibilityText('x', { kind: 'ineligible', reason: 'schema-out-of-range' }, PLAIN),
    /not possible, .* data schema/u,
  );
});

test('what `up` prints can be copied and run as it stands', () => {
  golden(
    upReport(
      {
        status: fake.status({ overall: { kind: 'healthy' } }),
        controlUrl: 'http://127.0.0.1:8081',
        stateDir: '/srv/clinic/.kintsugi',
        keys: [{ tenant: 'north-clinic', id: 'k1', key: 'kin_x' }],
        tookMs: 2345,
        cwd: '/srv',
        command: 'npx kintsugi',
      },
      { paint: PLAIN },
    ),
    `

clinic is up after 2.3 s: 1 service, 3 replicas, 1 tenant, healthy
  gateway      http://127.0.0.1:8080
  control API  http://127.0.0.1:8081  (token in clinic/.kintsugi/operator.token)
  limits       cgroup-v2

API keys of the tenants, shown this once:
  north-clinic  eu  kin_x

try this:
  curl -s -H 'Authorization: Bearer kin_x' http://127.0.0.1:8080/records        # or another path below /records
  kill -9 4101        # records-1: watch it being replaced, no request fails
  npx kintsugi explain --state clinic/.kintsugi        # what was seen, decided, done, and its proof
  npx kintsugi ledger verify --state clinic/.kintsugi  # check the evidence without trusting us

`,
  );
});

test('STY1. without colour not one escape is printed, with it the columns stay the same', () => {
  const plain = showStatus(fake.status(), PLAIN);
  assert.ok(!plain.join('').includes('\u{1b}'));
  const coloured = showStatus(fake.status(), COLOURED);
  assert.ok(coloured.join('').includes('\u{1b}'));
  assert.deepEqual(coloured.map(widthOf), plain.map(widthOf));
  assert.equal(paintFor(true, { NO_COLOR: '1' }), PLAIN);
  assert.equal(paintFor(true, { NO_COLOR: '1', FORCE_COLOR: '1' }), PLAIN);
  assert.equal(paintFor(true, { TERM: 'dumb' }), PLAIN);
  assert.equal(paintFor(false, {}), PLAIN);
  assert.equal(paintFor(true, { TERM: 'xterm' }), COLOURED);
  assert.equal(paintFor(false, { FORCE_COLOR: '1' }), COLOURED);
});

test('text of others cannot repaint the terminal', () => {
  const evil = '\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{9b}31mroot# ';
  assert.equal(harmless(evil), String.raw`\x1b[2J\x1b]0;owned\x07\x0d\x9b31mroot# `);
  const story = { ...fake.STORY, incident: { ...fake.STORY.incident, title: evil, now: evil } };
  assert.ok(!showStory(story, PLAIN, 80).join('').includes('\u{1b}'));
  const incidents = [{ ...fake.INCIDENT, title: evil, now: evil }];
  assert.ok(!showStatus(fake.status({ incidents }), PLAIN).join('').includes('\u{1b}'));
});

test('times, sizes and tables are short and stable', () => {
  const durations = [0, 999, 1000, 59_900, 60_000, 3_599_400, 3_600_000, 90_000_000];
  assert.deepEqual(durations.map(durationText), [
    '0 ms',
    '999 ms',
    '1.0 s',
    '59.9 s',
    '1 m 0 s',
    '59 m 59 s',
    '1 h 0 m',
    '1 d 1 h',
  ]);
  assert.deepEqual([undefined, 512, 70_000, 73_400_320, 3 * 1024 ** 3].map(bytesText), [
    '–',
    '512 B',
    '68 KiB',
    '70 MiB',
    '3.0 GiB',
  ]);
  assert.deepEqual(
    table([
      ['a', 'bb'],
      ['ccc', ''],
    ]),
    ['a    bb', 'ccc'],
  );
  assert.deepEqual(wrap('one two three', 7), ['one two', 'three']);
});
