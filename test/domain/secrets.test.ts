import { expect, test } from 'vitest';
import { newKeyId, newOperatorKeyId, newOrgId, newTokenId } from '../../src/domain/ids.js';
import {
  isOperatorKey,
  keyIdOf,
  newManagementSecret,
  newOperatorKey,
  newOperatorSecret,
  newTokenSecret,
  operatorKeyIdOf,
  sameSecret,
  tokenIdOf,
} from '../../src/domain/secrets.js';

// A24: what a guesser would have to guess.
test('ten thousand secrets of each kind are all different, use every letter in every place, and lead back to their id', () => {
  const org = newOrgId();
  const kinds = [
    { make: () => newTokenSecret(newTokenId(org)), idOf: tokenIdOf },
    { make: () => newManagementSecret(newKeyId()), idOf: keyIdOf },
    { make: () => newOperatorSecret(newOperatorKeyId()), idOf: operatorKeyIdOf },
  ];
  for (const { make, idOf } of kinds) {
    const secrets = Array.from({ length: 10_000 }, make);
    expect(new Set(secrets.map((one) => one.slice(-38, -6))).size).toBe(10_000);
    expect(secrets.every((one) => idOf(one) !== undefined)).toBe(true);
    for (let at = -38; at < -6; at++) expect(new Set(secrets.map((one) => one.at(at))).size, `place ${at}`).toBe(62);
  }
  expect(new Set(Array.from({ length: 1_000 }, newOperatorKey)).size).toBe(1_000);
});

// A5: and what a wrong guess costs us: no look-up anywhere.
test('a secret with one wrong character is of nobody, and one kind is never taken for another', () => {
  const secrets = [newTokenSecret(newTokenId(newOrgId())), newManagementSecret(newKeyId()), newOperatorSecret(newOperatorKeyId())];
  const readers = [tokenIdOf, keyIdOf, operatorKeyIdOf];
  for (const [i, secret] of secrets.entries()) {
    for (let at = 6; at < secret.length; at++) {
      const wrong = `${secret.slice(0, at)}${secret[at] === 'a' ? 'b' : 'a'}${secret.slice(at + 1)}`;
      expect(readers.map((read) => read(wrong))).toEqual([undefined, undefined, undefined]);
    }
    expect(readers.map((read) => read(secret) !== undefined)).toEqual(readers.map((_, other) => other === i));
    for (const text of ['', ' ', `${secret} `, `${secret}\n`, secret.toLowerCase(), secret.toUpperCase(), secret.slice(1)])
      expect(readers.map((read) => read(text))).toEqual([undefined, undefined, undefined]);
  }
  expect(['ok-fb-short', 'ok-fb-', 'sk-fb-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZab'].some(isOperatorKey)).toBe(false);
});

test('texts of any length are compared, and only the same are the same', () => {
  expect([sameSecret('a', 'a'), sameSecret('a', 'b'), sameSecret('a', 'aa'), sameSecret('', 'a'), sameSecret('', '')]).toEqual([
    true,
    false,
    false,
    false,
    true,
  ]);
});
