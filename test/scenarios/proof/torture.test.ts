import { beforeAll, describe, expect, test } from 'vitest';
import { newSeed } from '../../../proof/random.js';
import { runTorture, type TortureReport } from '../../../proof/torture/run.js';

/** The short form: each of these once, on one installation of its own. `npm run torture` has all of them, for as long as you like. */
const FAULTS = [
  'twelve kills in a row: gateways, office, the whole server',
  'FLUSHALL twice within a second',
  'Postgres stopped at once for 15 s',
  'gateway frozen for longer than its lease, then woken',
  'SIGTERM with 50 live streams, then started again',
  'office killed while streams run',
] as const;

const seed = Number(process.env['SEED'] ?? newSeed());
let report: TortureReport;

beforeAll(async () => {
  process.stdout.write(`torture seed ${seed}\n`);
  report = await runTorture({ seed, minutes: 4, only: FAULTS, rounds: FAULTS.length });
}, 290_000);

describe(`with seed ${seed}`, () => {
  test.each(FAULTS)('%s: nothing is lost, nothing is charged twice, every amount is right', (name) => {
    const line = report.lines.find((one) => one.name === name);
    expect(line).toMatchObject({ times: 1, duplicates: 0, lost: 0, drift: 0, violations: [] });
    expect(line?.requests).toBeGreaterThan(20);
    expect(line?.charges).toBeGreaterThan(10);
  });

  test('Postgres away and the office killed refuse nobody', () => {
    const quiet = report.lines.filter(({ name }) => name.startsWith('Postgres') || name.startsWith('office'));
    expect(quiet.map(({ refused, broken }) => ({ refused, broken }))).toEqual([
      { refused: 0, broken: 0 },
      { refused: 0, broken: 0 },
    ]);
  });
});
