import { writeFileSync } from 'node:fs';
import { type Fault, NOTHING_ALLOWED, sleep } from '../fault.js';

const HOUR_MS = 3_600_000;
/** Longer than a hold lives without a heartbeat. */
const MOVED_MS = 10_000;

/** The time of day of all processes of the server; Redis and Postgres have machines of their own. */
const moved = (words: string, aheadMs: number): Fault => ({
  id: 'F56',
  name: `the server's clock is set ${words} for 10 s, and right again`,
  allowed: NOTHING_ALLOWED,
  inflict: async ({ clock }) => {
    writeFileSync(clock, String(aheadMs));
    await sleep(MOVED_MS);
    writeFileSync(clock, '0');
  },
});

export const clockFaults: readonly Fault[] = [moved('an hour back', -HOUR_MS), moved('an hour ahead', HOUR_MS)];
