import { expect, test } from 'vitest';
import { newSeed } from '../../../proof/random.js';
import { runTorture } from '../../../proof/torture/run.js';

const seed = Number(process.env['SEED'] ?? newSeed());

test(`half a minute in which Redis, Postgres and processes are hurt at once loses nothing and charges nothing twice (seed ${seed})`, async () => {
  const { total, lines } = await runTorture({ seed, minutes: 4, only: ['nemesis-short'], rounds: 1 });
  expect(total.violations).toEqual([]);
  expect(lines).toMatchObject([{ id: 'nemesis-short', times: 1, duplicates: 0, lost: 0, drift: 0 }]);
  expect(lines[0]?.kills).toBeGreaterThanOrEqual(2);
  expect(total.requests).toBeGreaterThan(50);
  expect(total.charges).toBeGreaterThan(10);
}, 400_000);
