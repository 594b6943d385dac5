import { expect, test } from 'vitest';
import { outageClaim } from '../../../proof/claims/outage.js';
import { newSeed } from '../../../proof/random.js';

const seed = Number(process.env['SEED'] ?? newSeed());

test('R3: Postgres away under load refuses nobody, and a full journal refuses without losing anything', async () => {
  const { facts, violations } = await outageClaim.run({ seed, minutes: 0.15, atOnce: 120, say: () => undefined });
  expect(violations).toEqual([]);
  const fact = new Map(facts);
  expect(fact.get('requests while Postgres was away')).toBeGreaterThan(700);
  expect(fact.get('refused')).toBe(0);
  expect(fact.get('booked in all')).toBe(fact.get('requests while Postgres was away'));
  expect(fact.get('refused with 503')).toBeGreaterThan(0);
}, 300_000);
