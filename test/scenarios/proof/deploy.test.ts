import { expect, test } from 'vitest';
import { deployClaim } from '../../../proof/claims/deploy.js';
import { newSeed } from '../../../proof/random.js';

const seed = Number(process.env['SEED'] ?? newSeed());

test(`R7: a restart and a replacement in place with 50 live streams break none and leave none unsettled (seed ${seed})`, async () => {
  const { facts, violations } = await deployClaim.run({ seed, rounds: 1, atOnce: 50, say: () => undefined });
  expect(violations).toEqual([]);
  const fact = new Map(facts);
  expect(fact.get('streams')).toBeGreaterThan(80);
  expect([fact.get('broken'), fact.get('lost'), fact.get('drift µcr')]).toEqual([0, 0, 0]);
}, 240_000);
