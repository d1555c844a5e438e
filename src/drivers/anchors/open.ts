// Which anchors does a manifest name? One entry of `ledger.anchors` becomes one `Anchor`.
import { readFile } from 'node:fs/promises';
import type { Anchor } from './anchor.ts';
import { AnchorError, errnoOf } from './errors.ts';
import { type EvmSpec, type EvmWorld, openEvmAnchor } from './evm.ts';
import { type FileSpec, openFileAnchor } from './file.ts';
import { openOpenTimestampsAnchor, type OpenTimestampsSpec } from './opentimestamps.ts';
import { openRfc3161Anchor } from './rfc3161.ts';

export interface Rfc3161FileSpec {
  readonly kind: 'rfc3161';
  readonly name: string;
  readonly url: string;
  /** Absolute path of a PEM file with the certificates that a chain may end in. */
  readonly certificatesFile: string;
  readonly timeoutMs?: number;
}

export type AnchorSpec = Rfc3161FileSpec | EvmSpec | OpenTimestampsSpec | FileSpec;

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

export async function openAnchor(spec: AnchorSpec, world: EvmWorld): Promise<Anchor> {
  if (!NAME.test(spec.name))
    throw new AnchorError('KIN_ANCHOR_CONFIG', 'the name of an anchor is like a tenant id');
  switch (spec.kind) {
    case 'rfc3161': {
      const certificates = await readPem(spec.certificatesFile);
      const { kind, name, url, timeoutMs } = spec;
      const base = { kind, name, url, certificates };
      return openRfc3161Anchor(
        timeoutMs === undefined ? base : { ...base, timeoutMs },
        world.clock,
      );
    }
    case 'evm':
      return openEvmAnchor(spec, world);
    case 'opentimestamps':
      return openOpenTimestampsAnchor(spec, world.clock);
    case 'file':
      return openFileAnchor(spec, world.clock);
  }
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const why = `the TSA certificates cannot be read (${errnoOf(error)})`;
    throw new AnchorError('KIN_ANCHOR_CONFIG', why);
  }
}
