// How does a browser check signatures for a verifier that is synchronous? It takes the place of
// ../crypto.ts in the browser's bundle. WebCrypto answers with promises, so a verification is run
// again and again: each run notes the signatures that have no answer yet, they are asked about, and
// the run that needed no new answer is the result.
// W1. A signature without an answer is `unchecked`, and that never counts as good. Only a run in
//     which nothing was left to ask is ever returned.

import { concat, toHex } from '../bytes.ts';
import { ED25519_PUBLIC_PREFIX, MLDSA44_PUBLIC_PREFIX } from '../der.ts';
import { sha256 } from './sha256.ts';

export { sha256 } from './sha256.ts';

const ALGORITHMS = {
  ed25519: { name: 'Ed25519', prefix: ED25519_PUBLIC_PREFIX, publicKey: 32, signature: 64 },
  'ml-dsa-44': {
    name: 'ML-DSA-44',
    prefix: MLDSA44_PUBLIC_PREFIX,
    publicKey: 1312,
    signature: 2420,
  },
} as const;
/** Far above what one bundle of evidence holds. */
const ANSWERS_MAX = 4096;

type Algorithm = keyof typeof ALGORITHMS;
type SignatureCheck = 'good' | 'bad' | 'unchecked';

interface Session {
  readonly answers: Map<string, SignatureCheck>;
  readonly open: Map<string, () => Promise<SignatureCheck>>;
}

/** Set only while a verification runs; it is synchronous, so two never meet. */
let current: Session | undefined;

export function checkSignature(
  algorithm: Algorithm,
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): SignatureCheck {
  const { name, publicKey: keyBytes, signature: signatureBytes } = ALGORITHMS[algorithm];
  if (publicKey.length !== keyBytes || signature.length !== signatureBytes) return 'bad';
  if (current === undefined) return 'unchecked';
  const place = `${name} ${toHex(sha256(concat(publicKey, signature, message)))}`;
  const answer = current.answers.get(place);
  if (answer !== undefined) return answer;
  const parts = [publicKey, message, signature].map((part) => Uint8Array.from(part));
  current.open.set(place, () => ask(algorithm, parts));
  return 'unchecked';
}

/**
 * Runs a verification until WebCrypto has answered everything that it asks. It has to check its
 * signatures before its first `await`, as every verifier of this package does.
 */
export async function settle<T>(verify: () => T): Promise<Awaited<T>> {
  const session: Session = { answers: new Map(), open: new Map() };
  while (session.answers.size <= ANSWERS_MAX) {
    session.open.clear();
    const result = runWith(session, verify);
    if (session.open.size === 0) return await result;
    // This run is not the one that counts, so neither does what becomes of it.
    if (result instanceof Promise) result.catch(() => undefined);
    const asked = [...session.open];
    const answers = await Promise.all(asked.map(async ([, question]) => question()));
    for (const [at, [place]] of asked.entries()) {
      session.answers.set(place, answers[at] ?? 'unchecked');
    }
  }
  // Not a LedgerError: its catalogue of fixes would be a quarter of the bundle.
  const code = 'KIN_LEDGER_OVERLOADED';
  throw Object.assign(new Error(`more than ${ANSWERS_MAX} signatures`), { code });
}

function runWith<T>(session: Session, verify: () => T): T {
  const outer = current;
  current = session;
  try {
    return verify();
  } finally {
    current = outer;
  }
}

async function ask(
  algorithm: Algorithm,
  [publicKey, message, signature]: readonly Uint8Array<ArrayBuffer>[],
): Promise<SignatureCheck> {
  const { name, prefix } = ALGORITHMS[algorithm];
  // A page that was not loaded over HTTPS has no `subtle`.
  const subtle: SubtleCrypto | undefined = globalThis.crypto?.subtle;
  if (subtle === undefined || publicKey === undefined) return 'unchecked';
  if (message === undefined || signature === undefined) return 'unchecked';
  try {
    const spki = Uint8Array.from([...prefix, ...publicKey]);
    const key = await subtle.importKey('spki', spki, { name }, false, ['verify']);
    return (await subtle.verify({ name }, key, signature, message)) ? 'good' : 'bad';
  } catch (cause) {
    // The key is no point of the curve; everything else means that the browser lacks something.
    return cause instanceof Error && cause.name === 'DataError' ? 'bad' : 'unchecked';
  }
}
