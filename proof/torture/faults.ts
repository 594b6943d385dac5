import type { Fault } from './fault.js';
import { clockFaults } from './faults/clock.js';
import { nemesisFaults } from './faults/nemesis.js';
import { otherFaults } from './faults/others.js';
import { postgresFaults } from './faults/postgres.js';
import { processFaults } from './faults/processes.js';
import { redisFaults } from './faults/redis.js';

export const FAULTS: readonly Fault[] = [
  ...processFaults,
  ...redisFaults,
  ...postgresFaults,
  ...otherFaults,
  ...clockFaults,
  ...nemesisFaults,
];

/** Rows of the published matrix that this tool does not inflict, and why. */
export const NOT_INFLICTED: readonly { readonly id: string; readonly name: string; readonly why: string }[] = [
  { id: 'F10', name: 'gateway out of memory', why: 'needs a cgroup; a kill -9 at any moment covers what it leaves behind' },
  { id: 'F31', name: 'Postgres restored from an older backup', why: 'not automated' },
  { id: 'F32', name: 'migration while requests run', why: 'there is one version of the schema so far' },
  { id: 'F56', name: 'clock 40 days ahead', why: 'a worker whose clock says that a month is over ends the month' },
];
