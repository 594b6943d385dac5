import { caught, type Fault, NOTHING_ALLOWED, sleep } from '../fault.js';

const TERMINATE = `select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'`;

/** Requests never touch Postgres, so none of these may refuse or break a single one. */
export const postgresFaults: readonly Fault[] = [
  {
    id: 'F26',
    name: 'Postgres stopped at once for 15 s',
    allowed: NOTHING_ALLOWED,
    inflict: async ({ postgres }) => {
      await postgres.stop();
      await sleep(15_000);
      await postgres.start();
    },
  },
  {
    id: 'F29',
    name: 'Postgres frozen 10 s',
    allowed: NOTHING_ALLOWED,
    inflict: async ({ postgres }) => {
      postgres.freeze();
      await sleep(10_000);
      postgres.thaw();
    },
  },
  {
    id: 'F27',
    name: 'every backend of Postgres terminated ten times a second for 4 s',
    allowed: NOTHING_ALLOWED,
    inflict: async ({ postgres }) => {
      for (let i = 0; i < 40; i++) {
        await postgres.query(TERMINATE);
        await sleep(100);
      }
    },
  },
  {
    id: 'F28',
    name: 'a statement committed, its reply swallowed',
    allowed: NOTHING_ALLOWED,
    inflict: async ({ postgresProxy, random }) => {
      let sprung = 0;
      for (let i = 0; i < 5; i++) {
        const moment = random.pick(['before', 'after'] as const);
        sprung += await caught(postgresProxy, { nth: random.whole(1, 15), moment, act: () => undefined });
        await sleep(200);
      }
      return sprung;
    },
  },
  {
    id: 'F30',
    name: 'Postgres read-only for 4 s',
    allowed: NOTHING_ALLOWED,
    inflict: async ({ postgres }) => {
      await postgres.query('alter system set default_transaction_read_only = on');
      await postgres.query('select pg_reload_conf()');
      await postgres.query(TERMINATE);
      await sleep(4_000);
      await postgres.query('alter system reset default_transaction_read_only');
      await postgres.query('select pg_reload_conf()');
      await postgres.query(TERMINATE);
    },
  },
];
