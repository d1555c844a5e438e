// Where do the keys of token issuers come from? From a JWKS file or URL named in the manifest, read
// by the controller and pushed to the gateways, which never fetch anything themselves.
//
//   JW1. Only public keys leave, and only such as the gateways use: a key with a private part, a
//        weak one and one of another algorithm are left out, with a word in the log.
//   JW2. A rule whose keys cannot be had keeps those it had; with none ever had, its tokens are
//        refused, nothing else is. What was read counts, also when it is empty: an issuer that
//        withdraws a key must not have it kept alive here.
//   JW3. Rules are told apart by issuer and audience: each has its own keys. A document is fetched
//        once, however many rules name it.
//   JW4. An answer is read to 1 MiB at most and for 3 s at most, without redirects.
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { keyFault } from '../gateway/auth-keys.ts';
import { messageOf } from '../model/errors.ts';
import type { JwtIssuer, Manifest } from '../model/manifest.ts';
import type { JwtRule } from '../model/routing.ts';
import type { Log } from '../world/clock.ts';

const JWKS_BYTES_MAX = 1_048_576;
const FETCH_TIMEOUT_MS = 3_000;

type Jwks = JwtRule['jwks'];

export async function loadJwt(
  manifest: Manifest,
  log: Log,
  known: readonly JwtRule[],
): Promise<readonly JwtRule[]> {
  // JW3.
  const loads = new Map<string, Promise<string>>();
  const load = (from: string): Promise<string> => {
    const running = loads.get(from) ?? read(from, manifest.baseDir);
    loads.set(from, running);
    return running;
  };
  return await Promise.all(
    manifest.gateway.jwt.map(async (issuer): Promise<JwtRule> => {
      const before = knownKeys(known, issuer);
      try {
        const { jwks, refused } = publicKeys(await load(issuer.jwks));
        // Many issuers list keys for encryption too; said once, not with each look.
        if (JSON.stringify(jwks) !== JSON.stringify(before)) {
          for (const key of refused) {
            log.info('a key of an issuer is not used', { issuer: issuer.issuer, ...key });
          }
        }
        return ruleOf(issuer, jwks);
      } catch (error) {
        log.warn('keys of an issuer could not be read: it keeps those it had', {
          issuer: issuer.issuer,
          audience: issuer.audience,
          keys: before.keys.length,
          error: messageOf(error),
        });
        return ruleOf(issuer, before);
      }
    }),
  );
}

function ruleOf(from: JwtIssuer, jwks: Jwks): JwtRule {
  const { issuer, audience, tenantClaim, rolesClaim } = from;
  const roles = rolesClaim === undefined ? {} : { rolesClaim };
  return { issuer, audience, tenantClaim, ...roles, jwks };
}

function knownKeys(known: readonly JwtRule[], { issuer, audience }: JwtIssuer): Jwks {
  // What an old controller stored may have no audience.
  const found = known.find(
    (rule: Partial<JwtRule>) =>
      rule.issuer === issuer && (rule.audience === undefined || rule.audience === audience),
  );
  return found?.jwks ?? { keys: [] };
}

async function read(from: string, baseDir: string): Promise<string> {
  if (!/^https?:\/\//u.test(from)) return await readText(resolve(baseDir, from));
  const answer = await fetch(from, {
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    redirect: 'error',
  });
  if (!answer.ok) {
    await answer.body?.cancel();
    throw new Error(`${from} answered ${answer.status}`);
  }
  return await bounded(answer.body ?? []);
}

async function readText(path: string): Promise<string> {
  const file = await open(path);
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new Error(`${path} is not a file`);
    return await bounded(file.createReadStream({ autoClose: false }));
  } finally {
    await file.close();
  }
}

/** JW4. */
async function bounded(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    if (bytes > JWKS_BYTES_MAX) throw new Error('the JWKS is larger than 1 MiB');
    parts.push(piece);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** JW1. */
function publicKeys(text: string): {
  readonly jwks: Jwks;
  readonly refused: readonly { readonly number: number; readonly reason: string }[];
} {
  const value: unknown = JSON.parse(text);
  const isSet = typeof value === 'object' && value !== null && 'keys' in value;
  if (!isSet || !Array.isArray(value.keys)) throw new Error('not a JWKS');
  const keys: Readonly<Record<string, unknown>>[] = [];
  const refused: { readonly number: number; readonly reason: string }[] = [];
  for (const [i, key] of value.keys.entries()) {
    const isObject = typeof key === 'object' && key !== null && !Array.isArray(key);
    const reason = isObject ? keyFault(key as Record<string, unknown>) : 'it is no object';
    if (reason === undefined) keys.push(key as Record<string, unknown>);
    else refused.push({ number: i + 1, reason });
  }
  return { jwks: { keys }, refused };
}

/** What an earlier controller read, from the store: only what is a rule. */
export function knownJwt(value: unknown): readonly JwtRule[] {
  if (!Array.isArray(value)) return [];
  return value.filter(
    (rule): rule is JwtRule =>
      typeof rule === 'object' && rule !== null && 'issuer' in rule && 'jwks' in rule,
  );
}
