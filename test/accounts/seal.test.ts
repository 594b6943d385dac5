import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { type Place, seal, unseal } from '../../src/accounts/seal.js';

const HERE: Place = ['idempotency_keys', 'tokens:org_a', 'once'];

// C8: what is encrypted in the database.
test('sealed texts come back with the same secret only, and never look alike', () => {
  const [one, two] = [seal('sk-fb-secret', 'pepper', HERE), seal('sk-fb-secret', 'pepper', HERE)];
  expect(one).not.toBe(two);
  expect([unseal(one, 'pepper', HERE), unseal(two, 'pepper', HERE)]).toEqual(['sk-fb-secret', 'sk-fb-secret']);
  expect(() => unseal(one, 'other', HERE)).toThrow('FAREBOX_SECRET');
  expect(() => unseal(`${one.slice(0, -4)}AAAA`, 'pepper', HERE)).toThrow('cannot be opened');
  expect(() => unseal('', 'pepper', HERE)).toThrow('cannot be opened');
});

test('one that was moved to another row, scope or table is not opened there', () => {
  const sealed = seal('sk-fb-secret', 'pepper', HERE);
  for (const place of [
    ['idempotency_keys', 'tokens:org_b', 'once'],
    ['idempotency_keys', 'tokens:org_a', 'twice'],
    ['idempotency_keys', 'tokens:org_a once', ''],
    ['webhooks', 'tokens:org_a', 'once'],
  ] as const)
    expect(() => unseal(sealed, 'pepper', place), place.join(' ')).toThrow('moved');
  expect(() => unseal(sealed.slice('p1.'.length), 'pepper', HERE), 'nor as one of those from before').toThrow('cannot be opened');
});

test('what an earlier version sealed can still be read', () => {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(hkdfSync('sha256', 'pepper', '', 'farebox idempotency', 32)), iv);
  const body = Buffer.concat([cipher.update('sk-fb-secret', 'utf8'), cipher.final()]);
  expect(unseal(Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64'), 'pepper', HERE)).toBe('sk-fb-secret');
});
