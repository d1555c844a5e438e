// What does bad input happen to? A tiny shop of two plain HTTP services and two tenants, brought up
// by the real command; it can say at any time whether everything of it is still there.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signalProcess } from '../../../src/cli/processes.ts';
import { ownProcesses } from '../../../src/cli/up/own.ts';
import { placeStoreIn } from '../../store/template.ts';
import { records } from './ledger-damage.ts';
import { kintsugi } from './run.ts';
import type { Ran } from './run.ts';
import { freePort, until } from './wait.ts';

const SERVER = `import { createServer } from 'node:http';
const { KINTSUGI_SERVICE = 'it' } = process.env;
createServer((request, answer) => answer.end(KINTSUGI_SERVICE + ' ' + request.url))
  .listen(process.env.PORT, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
`;

export const MANIFEST = `name: shop
gateway: { workers: 1 }
services:
  web:
    source: web
    command: [node, server.mjs]
    replicas: { min: 1, max: 2 }
    routes: [{ prefix: / }]
  stock:
    source: stock
    command: [node, server.mjs]
    replicas: 1
    routes: [{ prefix: /stock }]
tenants: { acme: {}, umbra: {} }
`;

export interface Shop {
  readonly base: string;
  readonly state: string;
  readonly manifest: string;
  readonly ports: readonly string[];
  readonly segment: string;
  readonly cli: (...args: readonly string[]) => Promise<Ran>;
  /** Writes a manifest beside the good one and answers its path. */
  readonly write: (text: string, name?: string) => string;
  /** A good start, after which everything of before is there. */
  readonly up: () => Promise<void>;
  readonly down: () => Promise<void>;
  /** Every key of the first start serves, and no entry of the ledger was lost or changed. */
  readonly assertWhole: () => Promise<void>;
  readonly assertLedger: () => void;
  readonly pids: () => Promise<readonly number[]>;
  readonly copy: (part: string, to: string) => string;
  readonly restore: (copy: string, part: string) => void;
  readonly close: () => Promise<void>;
}

interface Memory {
  keys: readonly { readonly tenant: string; readonly key: string }[];
  entries: Buffer;
}

export function makeProject(): string {
  const base = mkdtempSync(join(tmpdir(), 'kintsugi-bad-'));
  for (const service of ['web', 'stock']) {
    mkdirSync(join(base, service));
    writeFileSync(join(base, service, 'server.mjs'), SERVER);
  }
  writeFileSync(join(base, 'kintsugi.yaml'), MANIFEST);
  return base;
}

export async function openShop(): Promise<Shop> {
  const base = makeProject();
  const state = join(base, 'state');
  await placeStoreIn(state);
  const manifest = join(base, 'kintsugi.yaml');
  const segment = join(state, 'ledger/log/seg/0000000000000000-0.wal');
  const [gateway, control] = [await freePort(), await freePort()];
  const ports = ['--gateway-port', String(gateway), '--control-port', String(control)];
  const memory: Memory = { keys: [], entries: Buffer.alloc(0) };
  const cli = (...args: readonly string[]): Promise<Ran> =>
    kintsugi(['--state', state, ...ports, ...args], { cwd: base });

  async function assertWhole(): Promise<void> {
    assert.equal(memory.keys.length, 2);
    for (const { tenant, key } of memory.keys) {
      for (const service of ['web', 'stock']) {
        const path = service === 'web' ? '/x' : '/stock';
        await until(`${service} serves ${tenant}`, async () => {
          const headers = { authorization: `Bearer ${key}` };
          const answer = await fetch(`http://127.0.0.1:${gateway}${path}`, { headers });
          return answer.status === 200 && (await answer.text()).endsWith(path);
        });
      }
    }
    assertLedger();
  }

  function assertLedger(): void {
    assert.ok(memory.entries.length > 0);
    const kept = readFileSync(segment).subarray(0, memory.entries.length);
    assert.ok(memory.entries.equals(kept), 'entries of the ledger are gone or changed');
  }

  return {
    base,
    state,
    manifest,
    ports,
    segment,
    cli,
    write(text, name = 'bad.yaml') {
      writeFileSync(join(base, name), text);
      return join(base, name);
    },
    async up() {
      const ran = await cli('--json', 'up', manifest, '--detach');
      assert.equal(ran.code, 0, ran.err + ran.out);
      const answer = JSON.parse(ran.out) as Pick<Memory, 'keys'>;
      if (memory.keys.length === 0) {
        memory.keys = answer.keys;
        memory.entries = entriesOf(segment);
      } else assert.deepEqual(answer.keys, [], 'keys are made once');
      await assertWhole();
    },
    async down() {
      const ran = await cli('down');
      assert.equal(ran.code, 0, ran.err);
      assert.deepEqual(ownProcesses(state), []);
      memory.entries = entriesOf(segment);
    },
    assertWhole,
    assertLedger,
    async pids() {
      const ran = await cli('--json', 'status');
      assert.equal(ran.code, 0, ran.err + ran.out);
      const { services } = JSON.parse(ran.out) as {
        readonly services: readonly { readonly replicas: readonly { readonly pid: number }[] }[];
      };
      return services.flatMap(({ replicas }) => replicas.map(({ pid }) => pid));
    },
    copy(part, to) {
      cpSync(join(state, part), join(base, to), { recursive: true, preserveTimestamps: true });
      return join(base, to);
    },
    restore(copy, part) {
      rmSync(join(state, part), { recursive: true, force: true });
      cpSync(copy, join(state, part), { recursive: true, preserveTimestamps: true });
    },
    async close() {
      await cli('down');
      for (const own of ownProcesses(state)) signalProcess(own.id, 'SIGKILL');
      rmSync(base, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Bytes up to the end of the last whole record. */
function entriesOf(segment: string): Buffer {
  const bytes = readFileSync(segment);
  const last = records(bytes).at(-1);
  return bytes.subarray(0, last === undefined ? 0 : last.offset + last.length);
}
