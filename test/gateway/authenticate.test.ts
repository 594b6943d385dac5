import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import type { CreditStore } from '../../src/credits/store.js';
import { newOrgId, newTokenId } from '../../src/domain/ids.js';
import { newTokenSecret } from '../../src/domain/secrets.js';
import { createAuthenticator } from '../../src/gateway/authenticate.js';

/** A hot store that knows nobody and counts how often it is asked. */
function nobody() {
  const asked = { times: 0 };
  const lookup = async () => {
    asked.times++;
    return { kind: 'unknown_token' } as const;
  };
  const authenticator = createAuthenticator({ store: { lookup } as unknown as CreditStore, pepper: 'p'.repeat(32) });
  const says = async (secret: string) => {
    const found = await authenticator.identify({ headers: { authorization: `Bearer ${secret}` } } as IncomingMessage);
    return found.kind === 'refused' ? found.error.status : found.kind;
  };
  return { asked, says };
}

// E8
test('a hundred thousand secrets that nobody was given cost the hot store no question', async () => {
  const { asked, says } = nobody();
  const real = newTokenSecret(newTokenId(newOrgId()));
  const answers = new Set<unknown>();
  for (let n = 0; n < 100_000; n++) answers.add(await says(`${real.slice(0, -10)}${String(n).padStart(10, '0')}`));
  expect(answers).toEqual(new Set([401]));
  // By chance a few of them have the check digits that a secret would have.
  expect(asked.times).toBeLessThan(100);
});

test('E8: a secret that could be one is asked about once for each try, and refused without being remembered', async () => {
  const { asked, says } = nobody();
  const secrets = Array.from({ length: 2_000 }, () => newTokenSecret(newTokenId(newOrgId())));
  for (const secret of [...secrets, ...secrets]) expect(await says(secret)).toBe(401);
  expect(asked.times).toBe(4_000);
});
