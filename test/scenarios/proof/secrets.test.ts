import { expect, test } from 'vitest';
import { secretsClaim } from '../../../proof/claims/secrets.js';
import { newSeed } from '../../../proof/random.js';

const seed = Number(process.env['SEED'] ?? newSeed());

test(`C11: at the finest log level, faults included, no secret and no text of a request is written anywhere (seed ${seed})`, async () => {
  const { facts, violations } = await secretsClaim.run({ seed, say: () => undefined });
  expect(violations).toEqual([]);
  const fact = new Map(facts);
  expect(fact.get('secrets and texts looked for')).toBe(14);
  expect(fact.get('found')).toBe(0);
}, 400_000);
