import { expect, test } from 'vitest';
import { runOracle } from '../../../proof/oracle/run.js';
import { newSeed } from '../../../proof/random.js';

const seed = Number(process.env['SEED'] ?? newSeed());

test(`R6: 400 requests that end in every way cost what an independent computation says, to the micro-credit (seed ${seed})`, async () => {
  const report = await runOracle({ seed, runs: 400 });
  expect(report.wrong).toEqual([]);
  expect(report.booksAreClean).toBe(true);
  expect(report.runs).toBe(400);
  expect(report.endings.size).toBeGreaterThan(80);
  expect(report.charged).toBeGreaterThan(0);
});
