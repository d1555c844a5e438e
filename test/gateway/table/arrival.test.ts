// Does a table arrive whole or not at all, and does only what changed travel? The worker's end, the
// controller's end, and both with a socket in between.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { Delivery, shipmentOf } from '../../../src/drivers/gateways/delivery.ts';
import { openHub } from '../../../src/drivers/gateways/hub.ts';
import { Arrival } from '../../../src/gateway/arrival.ts';
import { TableCutter } from '../../../src/gateway/cut.ts';
import type { CutTable } from '../../../src/gateway/cut.ts';
import { openLines } from '../../../src/gateway/lines.ts';
import { openLink } from '../../../src/gateway/link.ts';
import type { LinkDeps } from '../../../src/gateway/link.ts';
import { FAMILIES } from '../../../src/gateway/parts.ts';
import type { Family, Part } from '../../../src/gateway/parts.ts';
import { TableOfParts, tableOfParts } from '../../../src/gateway/routes.ts';
import { runWhole } from '../../../src/gateway/slices.ts';
import type { RoutingTable } from '../../../src/model/routing.ts';
import type { Gateways } from '../../../src/world/gateways.ts';
import { until } from '../rig.ts';
import { EMPTY, PEPPER, service, tenant, tenants } from './tables.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

const cutOf = (table: RoutingTable): CutTable => runWhole(new TableCutter().cut(table, PEPPER));

function namesIn(cut: CutTable, families: readonly Family[] = FAMILIES): Record<string, string[]> {
  return Object.fromEntries(families.map((f) => [f, cut.parts[f].map(({ digest }) => digest)]));
}

const partsOf = (cut: CutTable): Part[] => FAMILIES.flatMap((family) => [...cut.parts[family]]);

interface Desk {
  readonly arrival: Arrival;
  readonly wanted: (readonly string[])[];
  readonly ready: TableOfParts[];
  readonly refused: string[];
  kept: number;
}

function openDesk(saved?: TableOfParts): Desk {
  const desk = { wanted: [], ready: [], refused: [], kept: 0 } as unknown as Desk;
  const arrival = new Arrival({
    saved,
    version: () => desk.ready.at(-1)?.version ?? saved?.version ?? 0,
    want: (_, digests) => desk.wanted.push(digests),
    ready: (table) => desk.ready.push(table),
    refused: (version, reason) => desk.refused.push(`${version}: ${reason}`),
    kept: () => {
      desk.kept += 1;
    },
  });
  return Object.assign(desk, { arrival });
}

const offer = (cut: CutTable, families?: readonly Family[]): Record<string, unknown> => ({
  kind: 'table',
  version: cut.version,
  parts: namesIn(cut, families),
});

const give = (desk: Desk, parts: readonly Part[]): void => {
  for (const { digest, body } of parts) desk.arrival.body(digest, Buffer.from(body));
};

const SMALL = { ...EMPTY, tenants: tenants(3), services: [service('web')] };

describe('at the worker', () => {
  test('AR1: nothing is checked in the event that brings bytes; a table comes whole', async () => {
    const desk = openDesk();
    const cut = cutOf({ ...SMALL, tenants: tenants(2_000) });
    assert.equal(desk.arrival.offer(offer(cut)), undefined);
    assert.equal(desk.wanted[0]?.length, partsOf(cut).length);
    give(desk, partsOf(cut));
    assert.equal(desk.ready.length, 0);
    await until('it is there', () => desk.ready.length === 1);
    assert.equal(desk.ready[0]?.routes.tenants.size, 2_000);
    assert.equal(desk.ready[0]?.pepper, PEPPER);
  });

  test('AR2: only what is not here is wanted, also after a start from disk', async () => {
    const desk = openDesk(tableOfParts(SMALL, PEPPER));
    const next = cutOf({ ...SMALL, version: 2, services: [service('web', { slowMs: 9 })] });
    desk.arrival.offer(offer(next));
    const [part] = next.parts.services;
    assert.ok(part);
    assert.deepEqual(desk.wanted, [[part.digest]]);
    give(desk, [part]);
    await until('it is there', () => desk.ready.length === 1);
    // The same parts under a newer version: nothing to send, and in force at once.
    const same = { ...next, version: 3 };
    desk.arrival.offer({ kind: 'table', version: 3, parts: {} });
    await until('it is there', () => desk.ready.length === 2);
    assert.deepEqual([desk.ready[1]?.version, desk.wanted.length], [same.version, 1]);
  });

  test('AR2: a newer offer wins while the one before is on its way', async () => {
    const desk = openDesk();
    const first = cutOf(SMALL);
    const second = cutOf({ ...SMALL, version: 2, services: [service('web', { slowMs: 9 })] });
    desk.arrival.offer(offer(first));
    const last = first.parts.services[0];
    assert.ok(last);
    give(
      desk,
      partsOf(first).filter((part) => part !== last),
    );
    desk.arrival.offer(offer(second, ['services']));
    const fresh = second.parts.services[0];
    assert.ok(fresh);
    assert.deepEqual(desk.wanted[1], [fresh.digest]);
    // The first table's last part still comes, and is of no use any more.
    give(desk, [last, fresh]);
    await until('the newer is there', () => desk.ready.length === 1);
    assert.deepEqual(
      desk.ready.map(({ version }) => version),
      [2],
    );
    desk.arrival.offer(offer(first));
    assert.deepEqual([desk.kept, desk.ready.length], [1, 1]);
  });

  test('AR2: a newer offer that lacks nothing, amid another, is not forgotten', async () => {
    const saved = tableOfParts({ ...SMALL, tenants: tenants(300) }, PEPPER);
    const desk = openDesk(saved);
    const cut = cutOf({ ...SMALL, tenants: tenants(300) });
    const names = namesIn(cut);
    // At each turn of the loop another one, so that some come while one is being made.
    for (let version = 2; version <= 60; version += 1) {
      desk.arrival.offer({ version, parts: names });
      if (version % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until('the last is there', () => desk.ready.at(-1)?.version === 60);
    assert.deepEqual(desk.wanted, []);
  });

  test('AR3: a damaged or odd part ends its table; the next one is taken', async () => {
    const desk = openDesk();
    const first = cutOf(SMALL);
    desk.arrival.offer(offer(first));
    const [rows] = first.parts.tenants;
    assert.ok(rows);
    const damaged = Buffer.from(rows.body);
    damaged[30] = 0x21;
    give(desk, [...partsOf(first).filter((p) => p !== rows), { ...rows, body: damaged }]);
    await until('refused', () => desk.refused.length === 1);
    assert.match(desk.refused[0] ?? '', /^1: a part of the tenants was damaged$/u);
    const odd = cutOf({ ...SMALL, version: 2, tenants: [tenant('a', { hosts: ['A'] })] });
    desk.arrival.offer(offer(odd));
    give(desk, partsOf(odd));
    await until('refused', () => desk.refused.length === 2);
    assert.match(desk.refused[1] ?? '', /^2: a row of the hosts: odd host A$/u);
    assert.equal(desk.ready.length, 0);
    const good = cutOf({ ...SMALL, version: 3 });
    desk.arrival.offer(offer(good));
    give(desk, partsOf(good));
    await until('there', () => desk.ready.length === 1);
  });

  test('AR3: limits on the number, the size and the names of parts', async () => {
    const desk = openDesk();
    const digests = Array.from({ length: 8_193 }, (_, i) => String(i).padStart(43, '0'));
    desk.arrival.offer({ version: 1, parts: { services: digests } });
    assert.match(desk.refused[0] ?? '', /8193 of at most 8192 parts/u);
    assert.equal(desk.wanted.length, 0);
    for (const frame of [
      {},
      { version: 2 },
      { version: 2, parts: { services: ['short'] } },
      { version: '2', parts: {} },
      { version: 2, parts: { services: 'x' } },
    ]) {
      assert.match(desk.arrival.offer(frame) ?? '', /odd/u);
    }
    const digest = 'a'.repeat(43);
    assert.equal(desk.arrival.expects(digest, 5), undefined);
    for (const bytes of [0, -1, 1.5, 2 ** 21, '5']) assert.ok(desk.arrival.expects(digest, bytes));
    assert.ok(desk.arrival.expects('../x', 5));
  });
});

describe('at the controller', () => {
  test('DE1 DE2: a window at a time, and never a part of an offer that is past', async () => {
    const wire = new PassThrough({ highWaterMark: 16_384 });
    const delivery = new Delivery(wire as unknown as Socket);
    const cut = cutOf({ ...SMALL, tenants: tenants(12_000) });
    const shipment = shipmentOf(cut);
    delivery.offer(shipment);
    delivery.send(7, [...shipment.parts.keys()]);
    assert.ok(wire.writableLength < 100_000, 'a wish for another version is not fulfilled');
    delivery.send(1, [...shipment.parts.keys(), 'x'.repeat(43)]);
    assert.ok(wire.writableLength < 1_200_000, String(wire.writableLength));
    const got = new Map<string, Buffer>();
    const lines = openLines(1_000_000, (value) => {
      const { kind, digest, bytes } = value as { kind: string; digest: string; bytes: number };
      if (kind === 'part') lines.expectBody(bytes, (body) => got.set(digest, body));
    });
    wire.on('data', (bytes: Buffer) => assert.equal(lines.feed(bytes), undefined));
    await until('all are sent', () => got.size === shipment.parts.size);
    for (const [digest, { body }] of shipment.parts) assert.deepEqual(got.get(digest), body);
  });

  test('LI2: frames and bodies arrive whole however the bytes are cut', () => {
    const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 8 });
    fc.assert(
      fc.property(
        bodies,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (all, cuts) => {
          const bytes = Buffer.concat(
            all.flatMap((body) => [Buffer.from(`{"bytes":${body.length}}\n`), Buffer.from(body)]),
          );
          const seen: Buffer[] = [];
          const lines = openLines(40, (value) => {
            lines.expectBody((value as { bytes: number }).bytes, (body) => seen.push(body));
          });
          for (let at = 0, i = 0; at < bytes.length; i += 1) {
            const size = cuts[i % cuts.length] ?? 1;
            assert.equal(lines.feed(bytes.subarray(at, at + size)), undefined);
            at += size;
          }
          assert.deepEqual(
            seen,
            all.map((body) => Buffer.from(body)),
          );
        },
      ),
    );
  });

  test('LI1: garbage ends the reading, wherever it is cut, and nothing is thrown', () => {
    const garbage = fc.uint8Array({ minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(garbage, fc.integer({ min: 1, max: 50 }), (bytes, cut) => {
        const read = (step: number): unknown[] => {
          const seen: unknown[] = [];
          const lines = openLines(100, (value) => seen.push(value));
          let fault;
          for (let at = 0; at < bytes.length; at += step) {
            fault = lines.feed(bytes.subarray(at, at + step));
          }
          return [seen, fault];
        };
        assert.deepEqual(read(cut), read(bytes.length));
      }),
      { numRuns: 300 },
    );
  });
});

async function hubAt(path: string, warnings: unknown[] = []): Promise<Gateways> {
  const silent = (): void => undefined;
  const warn = (text: string, facts?: unknown): void => void warnings.push([text, facts]);
  const log = { debug: silent, info: silent, warn, error: silent };
  const monotonicMs = (): number => performance.now();
  const hub = await openHub({ socketPath: path, pepper: PEPPER, log, monotonicMs });
  cleanups.push(() => hub.close());
  return hub;
}

function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kin-arrival-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'run', 'c.sock');
}

function linkTo(path: string, change: Partial<LinkDeps>): void {
  const link = openLink({
    socketPath: path,
    worker: 'g1',
    random: () => 0.5,
    version: () => 0,
    onTable: (table) => table.version,
    onForgive: () => undefined,
    onDeath: () => undefined,
    takeCells: () => [],
    inFlight: () => [],
    ejections: () => [],
    warn: () => undefined,
    ...change,
  });
  cleanups.push(() => link.close());
}

/** A worker that tells what it is sent, and counts the bytes. */
async function rawWorker(path: string): Promise<{ frames: Frame[]; socket: Socket }> {
  const socket = connect({ path });
  cleanups.push(() => socket.destroy());
  const frames: Frame[] = [];
  const lines = openLines(1_000_000, (value) => {
    frames.push(value as Frame);
    const { kind, bytes } = value as Frame;
    if (kind === 'part') lines.expectBody(Number(bytes), () => undefined);
  });
  socket.on('data', (bytes: Buffer) => lines.feed(bytes));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(`${JSON.stringify({ kind: 'hello', worker: 'raw', pid: 1, version: 0 })}\n`);
  return { frames, socket };
}

interface Frame {
  readonly kind: string;
  readonly version?: number;
  readonly digest?: string;
  readonly bytes?: number;
  readonly parts?: Readonly<Record<string, readonly string[]>>;
}

describe('over the socket', () => {
  test('a table of many parts is applied, whole, and answered once it is in force', async () => {
    const path = socketPath();
    const hub = await hubAt(path);
    const got: RoutingTable[] = [];
    linkTo(path, {
      version: () => got.at(-1)?.version ?? 0,
      onTable: (table) => got.push(table) && table.version,
    });
    await until('joined', () => hub.connected().length === 1);
    const table = { ...EMPTY, tenants: tenants(3_000), services: [service('web')] };
    assert.deepEqual(await hub.push(table, 10_000), { kind: 'applied', workers: 1 });
    const [first] = got;
    assert.ok(first instanceof TableOfParts);
    assert.equal(first.routes.key('key0tenant-2999')?.tenant.id, 'tenant-2999');
    // Pushed at once, one after the other: the last one is in force in the end, none goes back.
    const pushes = [2, 3, 4, 5].map((version) => hub.push({ ...table, version }, 10_000));
    for (const answer of await Promise.all(pushes)) assert.equal(answer.kind, 'applied');
    const versions = got.map(({ version }) => version);
    assert.equal(versions.at(-1), 5);
    assert.deepEqual(
      versions,
      versions.toSorted((a, b) => a - b),
    );
  });

  test('HU6: after a changed replica one part is sent, no family that is the same', async () => {
    const path = socketPath();
    const hub = await hubAt(path);
    const services = Array.from({ length: 20 }, (_, i) => service(`s${i}`));
    const table = { ...EMPTY, tenants: tenants(3_000), services };
    await hub.push(table, 0);
    const { frames, socket } = await rawWorker(path);
    await until('offered', () => frames.length === 1);
    const all = Object.values(frames[0]?.parts ?? {}).flat();
    socket.write(`${JSON.stringify({ kind: 'want', version: 1, parts: all })}\n`);
    await until('sent', () => frames.length === 1 + new Set(all).size);
    const before = socket.bytesRead;
    const changed = services.with(3, service('s3', { slowMs: 1 }));
    await hub.push({ ...table, version: 2, services: changed }, 0);
    await until('offered', () => frames.at(-1)?.kind === 'table');
    const { parts = {} } = frames.at(-1) ?? {};
    assert.deepEqual(Object.keys(parts), ['services']);
    const [fresh] = (parts['services'] ?? []).filter((digest) => !all.includes(digest));
    socket.write(`${JSON.stringify({ kind: 'want', version: 2, parts: [fresh] })}\n`);
    await until('sent', () => frames.at(-1)?.digest === fresh);
    assert.ok(socket.bytesRead - before < 3_000, String(socket.bytesRead - before));
  });

  test('a table past a limit is told and not sent; the one before stays', async () => {
    const path = socketPath();
    const warnings: unknown[] = [];
    const hub = await hubAt(path, warnings);
    const got: number[] = [];
    linkTo(path, {
      version: () => got.at(-1) ?? 0,
      onTable: ({ version }) => got.push(version) && version,
    });
    await until('joined', () => hub.connected().length === 1);
    assert.equal((await hub.push(EMPTY, 10_000)).kind, 'applied');
    const services = Array.from({ length: 1_001 }, (_, i) => service(`s${i}`));
    const answer = await hub.push({ ...EMPTY, version: 2, services }, 10_000);
    assert.deepEqual(answer, { kind: 'partial', missing: ['g1'] });
    assert.match(JSON.stringify(warnings), /KIN_GATEWAY_TABLE_LIMIT/u);
    assert.equal((await hub.push({ ...EMPTY, version: 3 }, 10_000)).kind, 'applied');
    assert.deepEqual(got, [1, 3]);
  });

  test('a table that the worker refuses is told to the controller, with the reason', async () => {
    const path = socketPath();
    const warnings: unknown[] = [];
    const hub = await hubAt(path, warnings);
    const said: string[] = [];
    linkTo(path, { warn: (text) => said.push(text) });
    await until('joined', () => hub.connected().length === 1);
    const odd = { ...EMPTY, version: 2, tenants: [tenant('acme', { hosts: ['ACME'] })] };
    const push = hub.push(odd, 300);
    await until('told', () => warnings.length === 1);
    assert.match(JSON.stringify(warnings), /KIN_GATEWAY_TABLE_REFUSED.*odd host ACME/u);
    assert.match(said.join(), /table 2 refused: .*odd host/u);
    assert.deepEqual(await push, { kind: 'partial', missing: ['g1'] });
  });

  test('AR3: what the gateway cannot use is not said to be applied, and told', async () => {
    const path = socketPath();
    const warnings: unknown[] = [];
    const hub = await hubAt(path, warnings);
    linkTo(path, { onTable: ({ version }) => (version === 2 ? 1 : version) });
    await until('joined', () => hub.connected().length === 1);
    assert.equal((await hub.push(EMPTY, 10_000)).kind, 'applied');
    assert.equal((await hub.push({ ...EMPTY, version: 2 }, 100)).kind, 'partial');
    assert.match(JSON.stringify(warnings), /KIN_GATEWAY_TABLE_REFUSED/u);
    assert.equal((await hub.push({ ...EMPTY, version: 3 }, 10_000)).kind, 'applied');
  });

  test('LI1 AR3: a controller that sends garbage harms nothing, another is heard', async () => {
    const path = socketPath();
    mkdirSync(dirname(path), { recursive: true });
    const cut = cutOf({ ...SMALL, tenants: tenants(20) });
    const stream = Buffer.concat([
      Buffer.from(`${JSON.stringify(offer(cut))}\n`),
      ...partsOf(cut).flatMap(({ digest, body }) => [
        Buffer.from(`${JSON.stringify({ kind: 'part', digest, bytes: body.length })}\n`),
        body,
      ]),
    ]);
    const rounds = fc.sample(
      fc.array(fc.tuple(fc.nat(stream.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      12,
    );
    const spoiled = rounds.map((changes) => {
      const bytes = Buffer.from(stream);
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
    spoiled.push(Buffer.from('null\n[]\n{"kind":"table"}\n'), Buffer.alloc(70_000, 0x7b), stream);
    let served = 0;
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(spoiled[served] ?? stream);
      socket.resume();
      served += 1;
    });
    cleanups.push(() => server.close());
    server.listen(path);
    const got: RoutingTable[] = [];
    linkTo(path, { random: () => 0, onTable: (table) => got.push(table) && table.version });
    await until('all are sent', () => served >= spoiled.length, 20_000);
    await until('the good one is there', () => got.length > 0);
    for (const table of got) {
      assert.ok(table instanceof TableOfParts);
      assert.equal(table.routes.tenant('tenant-3')?.ratePerSecond, 100);
    }
  });

  test('HU4 FM1: garbage on the socket ends its connection, the gateway stays', async () => {
    const path = socketPath();
    const hub = await hubAt(path);
    linkTo(path, {});
    await until('joined', () => hub.connected().length === 1);
    const frame = fc.oneof(
      fc.json().map((text) => `${text}\n`),
      fc.string().map((text) => `${text}\n`),
      fc
        .record({
          kind: fc.constantFrom('want', 'refused', 'applied', 'flush'),
          version: fc.anything(),
        })
        .map((value) => `{"kind":"hello","worker":"x","pid":1,"version":0}\n${textOf(value)}\n`),
    );
    for (const text of fc.sample(frame, 40)) {
      const socket = connect({ path });
      socket.on('error', () => undefined);
      socket.resume();
      socket.end(text);
      await once(socket, 'close');
    }
    assert.ok(hub.connected().includes('g1'));
    await hub.push({ ...EMPTY, version: 9 }, 100);
    assert.ok(hub.connected().includes('g1'));
  });
});

function textOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch {
    return '{}';
  }
}
