import { expect, test } from 'vitest';
import { deployClaim } from '../../../proof/claims/deploy.js';
import { newSeed } from '../../../proof/random.js';

const seed = Number(process.env['SEED'] ?? newSeed());

test(`R7: two restarts and two replacements in place with 50 live streams break none and leave none unsettled (seed ${seed})`, async () => {
  const { facts, violations } = await deployClaim.run({ seed, rounds: 2, atOnce: 50, say: () => undefined });
  expect(violations).toEqual([]);
  const fact = new Map(facts);
  expect(fact.get('streams')).toBeGreaterThan(100);
  expect([fact.get('broken'), fact.get('lost'), fact.get('drift µcr')]).toEqual([0, 0, 0]);
}, 240_000);
