// Can it be told which rule a token is for?
//
//   CI1. Two issuers with one `iss` have different audiences: keys and claims of the one would be
//        taken for those of the other.
import { problem } from './checking.ts';
import type { Checking } from './checking.ts';

export function checkIdentity(c: Checking): void {
  const seen = new Map<string, number>();
  for (const [i, { issuer, audience }] of c.draft.gateway.jwt.entries()) {
    if (issuer === '' || audience === '') continue;
    const key = JSON.stringify([issuer, audience]);
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, i);
      continue;
    }
    const expected = `an audience of its own: gateway.jwt[${first}] has both already`;
    const found = JSON.stringify(audience.slice(0, 100));
    problem(c, 'KIN_MANIFEST_CONFLICT', `gateway.jwt[${i}].audience`, found, expected);
  }
}
