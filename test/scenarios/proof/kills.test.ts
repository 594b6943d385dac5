import { expect, test } from 'vitest';
import { killsClaim } from '../../../proof/claims/kills.js';
import { newSeed } from '../../../proof/random.js';

const seed = Number(process.env['SEED'] ?? newSeed());

test(`R1: ten kills -9 at random moments lose nothing, charge nothing twice and leave no hold behind (seed ${seed})`, async () => {
  const { facts, violations } = await killsClaim.run({ seed, rounds: 10, atOnce: 24, say: () => undefined });
  expect(violations).toEqual([]);
  const fact = new Map(facts);
  expect([fact.get('kills -9'), fact.get('lost'), fact.get('charged twice'), fact.get('drift µcr')]).toEqual([10, 0, 0, 0]);
  expect(fact.get('admitted')).toBeGreaterThan(250);
}, 240_000);
