import { expect, test } from 'vitest';
import { overspendClaim } from '../../../proof/claims/overspend.js';
import { newSeed } from '../../../proof/random.js';

const seed = Number(process.env['SEED'] ?? newSeed());

test(`R2: of 2,000 at once on a Redis Cluster nobody is let in beyond the credits, also while a node fails over (seed ${seed})`, async () => {
  const { facts, violations } = await overspendClaim.run({ seed, rounds: 2, atOnce: 2_000, say: () => undefined });
  expect(violations).toEqual([]);
  const fact = new Map(facts);
  expect(fact.get('rounds in which more than K were let in')).toBe(0);
  expect(fact.get('of these with a node killed while the crowd came')).toBe(1);
  expect(fact.get('lowest balance ever seen, µcr')).toBeGreaterThanOrEqual(0);
  expect(fact.get('looks at the balance')).toBeGreaterThan(100);
}, 240_000);
