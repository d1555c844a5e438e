// Where do the keys of token issuers come from? From a JWKS file or URL named in the manifest, read
// by the controller and pushed to the gateways, which never fetch anything themselves.
//
//   JW1. Only public keys leave: a key with a private part is refused.
//   JW2. An issuer whose keys cannot be had keeps those it had; with none ever had, its tokens are
//        refused, nothing else is.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { messageOf } from '../model/errors.ts';
import type { Manifest } from '../model/manifest.ts';
import type { JwtRule } from '../model/routing.ts';
import type { Log } from '../world/clock.ts';

const JWKS_BYTES_MAX = 1_048_576;
const FETCH_TIMEOUT_MS = 3_000;

export async function loadJwt(
  manifest: Manifest,
  log: Log,
  known: readonly JwtRule[],
): Promise<readonly JwtRule[]> {
  return await Promise.all(
    manifest.gateway.jwt.map(async (issuer): Promise<JwtRule> => {
      const { issuer: name, audience, tenantClaim } = issuer;
      try {
        const jwks = parse(await load(issuer.jwks, manifest.baseDir));
        return { issuer: name, audience, tenantClaim, jwks };
      } catch (error) {
        const before = known.find((rule) => rule.issuer === name)?.jwks ?? { keys: [] };
        log.warn('keys of an issuer could not be read: it keeps those it had', {
          issuer: name,
          keys: before.keys.length,
          error: messageOf(error),
        });
        return { issuer: name, audience, tenantClaim, jwks: before };
      }
    }),
  );
}

async function load(from: string, baseDir: string): Promise<string> {
  if (!/^https?:\/\//u.test(from)) return await readFile(resolve(baseDir, from), 'utf8');
  const answer = await fetch(from, {
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    redirect: 'error',
  });
  if (!answer.ok) throw new Error(`${from} answered ${answer.status}`);
  return await answer.text();
}

function parse(text: string): JwtRule['jwks'] {
  if (text.length > JWKS_BYTES_MAX) throw new Error('the JWKS is larger than 1 MiB');
  const value: unknown = JSON.parse(text);
  if (
    typeof value !== 'object' ||
    value === null ||
    !('keys' in value) ||
    !Array.isArray(value.keys)
  )
    throw new Error('not a JWKS');
  const keys = value.keys.filter(
    (key): key is Record<string, unknown> =>
      typeof key === 'object' && key !== null && !('d' in key) && !('k' in key),
  );
  return { keys };
}

/** What an earlier controller read, from the store: only what is a rule. */
export function knownJwt(value: unknown): readonly JwtRule[] {
  if (!Array.isArray(value)) return [];
  return value.filter(
    (rule): rule is JwtRule =>
      typeof rule === 'object' && rule !== null && 'issuer' in rule && 'jwks' in rule,
  );
}
