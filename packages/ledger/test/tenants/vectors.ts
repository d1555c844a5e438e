// Vectors of docs/reference/ledger-tenant-proof.md, computed from fixed inputs. Run as a program,
// it prints what vectors.json must hold:  node test/tenants/vectors.ts > test/tenants/vectors.json

import { pathToFileURL } from 'node:url';
import { toBase64, toHex, utf8 } from '../../src/bytes.ts';
import { mapKeyDigest, mapPosition } from '../../src/tenants/map-key.ts';
import { mapLeaf, mapRoot, mapValue, proveInMap, updateMap } from '../../src/tenants/sparse-map.ts';
import type { MapLeaf } from '../../src/tenants/sparse-map.ts';
import {
  epochEntry,
  logStartEntry,
  mapKeyEntry,
  minimumEntry,
} from '../../src/tenants/tenant-entries.ts';
import { tenantOf } from '../../src/tenants/tenant-of.ts';
import { verifyTenantProof } from '../../src/tenants/tenant-verify.ts';
import { signer } from '../support.ts';
import { AT, MAP_KEY, Model, saltAt, trust } from './model.ts';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const of = (tenant: string, size: number): MapLeaf =>
  mapLeaf(mapPosition(MAP_KEY, tenant), size, new Uint8Array(32).fill(size));

function mapVector(heads: readonly MapLeaf[], asked: readonly Uint8Array[]): object {
  const map = updateMap(undefined, heads);
  const proofs = asked.map((position) => {
    const { found, siblings } = proveInMap(map, position);
    const shown =
      found.kind === 'leaf' ? { position: toHex(found.position), value: toHex(found.value) } : null;
    return { position: toHex(position), found: shown, siblings: siblings.map(toHex) };
  });
  const list = heads.map(({ position, size, root, hash }) => {
    const value = toHex(mapValue(BigInt(size), root));
    return { position: toHex(position), size, root: toHex(root), value, leaf: toHex(hash) };
  });
  return { heads: list, root: toHex(mapRoot(map)), proofs };
}

function mapVectors(): readonly object[] {
  const absent = mapPosition(MAP_KEY, 'nobody');
  const near = (last: number): MapLeaf =>
    mapLeaf(new Uint8Array(32).fill(last, 31), last + 1, new Uint8Array(32).fill(last));
  const many = ['acme', 'b', 'clinic-7', 'd', 'e'].map((id, at) => of(id, at + 1));
  return [
    mapVector([], [absent]),
    mapVector([of('acme', 1)], [mapPosition(MAP_KEY, 'acme'), absent]),
    mapVector(many, [...many.slice(0, 2).map(({ position }) => position), absent]),
    mapVector([near(0), near(1)], []),
  ];
}

const TENANT_OF = [
  `{"a":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA","tenant":"acme","v":1}`,
  `{"a":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA","subject":"x","tenant":"acme","v":1}`,
  `{"a":1,"tenant":"acme","v":1}`,
  `{"a":",\\"tenant\\":\\"evil\\",\\"v\\":1}","v":1}`,
  `{"a":{"tenant":"evil","v":1}}`,
  `{"a":1,"tenant":"Acme","v":1}`,
  `{"a":1,"tenant":"acme","v":2}`,
  `{"a":1,"tenant":"acme","v":1} `,
  `{"tenant":"acme","v":1}`,
];

/** Three tenants, an epoch, and the evidence for one entry of one of them. */
async function proofVector(): Promise<object> {
  const model = new Model();
  model.sayKey();
  for (let at = 0; at < 9; at++) model.add(['acme', 'b', 'clinic-7'][at % 3] ?? '', `event ${at}`);
  model.epoch(() => model.add('acme', 'after the epoch'));
  const proof = await model.proof('acme', { kind: 'entry', index: 2 });
  const entry = model.entriesOf('acme')[2] ?? utf8('');
  const verdict = verifyTenantProof(proof, entry, { trust, tenant: 'acme' });
  return {
    vkey: signer.vkey,
    tenant: 'acme',
    entries: model.entries.map(text),
    entry: text(entry),
    proof,
    head: await model.proof('acme', { kind: 'head' }),
    after2: await model.proof('acme', { kind: 'after', index: 2 }),
    verdict: verdict.kind,
  };
}

export async function vectors(): Promise<object> {
  const owner = { at: AT, salt: saltAt(1), tenant: 'acme' };
  const position = mapPosition(MAP_KEY, 'acme');
  return {
    format: 1,
    mapKey: toHex(MAP_KEY),
    positions: ['acme', 'b', 'clinic-7'].map((tenant) => ({
      tenant,
      position: toHex(mapPosition(MAP_KEY, tenant)),
    })),
    tenantOf: TENANT_OF.map((entry) => ({ entry, tenant: tenantOf(utf8(entry)) ?? null })),
    entries: {
      mapKey: text(mapKeyEntry(AT, mapKeyDigest(MAP_KEY))),
      log: text(logStartEntry({ ...owner, position })),
      minimum: text(minimumEntry({ ...owner, index: 20 })),
      epoch: text(epochEntry(AT, { logs: 3, map: new Uint8Array(32).fill(9), size: 12 })),
    },
    map: mapVectors(),
    proof: await proofVector(),
    positionBase64: toBase64(position),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.stdout.write(`${JSON.stringify(await vectors(), null, 2)}\n`);
}
