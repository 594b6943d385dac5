import { beforeAll, describe, expect, test } from 'vitest';
import { newSeed } from '../../../proof/random.js';
import { runTorture, type TortureReport } from '../../../proof/torture/run.js';

/** The short form: each of these once, on one installation of its own. `npm run torture` has all of them, for as long as you like. */
const SHOWN = [
  ['G19, G20', 'twelve kills in a row: gateways, office, the whole server'],
  ['G11, G12', 'FLUSHALL twice within a second'],
  ['G24', 'Postgres stopped at once for 15 s'],
  ['G23', 'gateway frozen for longer than its lease, then woken'],
  ['G21', 'SIGTERM with 50 live streams, then started again'],
  ['G22', 'office killed while streams run'],
] as const;
const FAULTS = SHOWN.map(([, name]) => name);

const seed = Number(process.env['SEED'] ?? newSeed());
let report: TortureReport;

beforeAll(async () => {
  process.stdout.write(`torture seed ${seed}\n`);
  report = await runTorture({ seed, minutes: 4, only: FAULTS, rounds: FAULTS.length });
}, 290_000);

describe(`with seed ${seed}`, () => {
  test.each(SHOWN)('%s: %s: nothing is lost, nothing is charged twice, every amount is right', (_numbers, name) => {
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
