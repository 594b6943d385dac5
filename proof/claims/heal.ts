import { command } from '../../test/support/redis.js';
import { randomFrom } from '../random.js';
import { checkBooks, quiet } from '../torture/books.js';
import { REFUSALS, sleep } from '../torture/fault.js';
import { startLoad } from '../torture/load.js';
import { CREDITS } from '../torture/world.js';
import { type Claim, type Outcome, quantile, worst } from './claim.js';
import { createInstallation, type Installation } from './installation.js';
import { createSlices } from './slices.js';

const ALLOWED_MS = 2_000;

/** A hundred thousand accounts in Postgres, and a Redis that is wiped under load, once and during its own reload. */
export const healClaim: Claim = {
  id: 'R4',
  name: 'a wiped Redis is loaded again from Postgres, with exact balances and only 503 meanwhile',
  run: async ({ seed, say, rounds = 6, atOnce: accounts = 100_000, built = false }) => {
    const site = await createInstallation({ built });
    try {
      const [product] = site.products;
      if (!product) throw new Error('no server');
      const customer = await product.customer(CREDITS);
      say(`making ${accounts} accounts`);
      await makeAccounts(site, accounts);
      const random = randomFrom(seed);
      const load = startLoad(
        { url: product.url, token: customer.token, random },
        { prefix: 'heal', atOnce: 8, most: Number.MAX_SAFE_INTEGER },
      );
      const slices = createSlices(site, REFUSALS);
      const heals: Heals = { once: [], during: [], lost: [] };
      for (let round = 0; round < rounds; round++) {
        await sleep(2_000);
        await command(site.redis.port, 'FLUSHALL');
        const again = round % 2 === 1;
        if (again) await sleep(random.whole(200, 1_800));
        if (again) await command(site.redis.port, 'FLUSHALL');
        const ms = await openedAgain(site);
        (again ? heals.during : heals.once).push(ms);
        const loaded = await accountsInRedis(site);
        if (loaded < accounts) heals.lost.push(`after a reload ${loaded} of ${accounts} accounts are in Redis`);
        say(
          `round ${round + 1} of ${rounds}: ${again ? 'wiped again during the reload' : 'wiped once'}, open after ${ms} ms, ${loaded} accounts`,
        );
        await slices.check(load);
      }
      await load.stop();
      const books = { product, customer, postgres: site.postgres, command: (...words: string[]) => command(site.redis.port, ...words) };
      const wrong = await quiet(books);
      await slices.check(load, true);
      wrong.push(...(await checkBooks(books)), ...slices.total.violations, ...heals.lost);
      return outcome(accounts, heals, slices.total, wrong);
    } finally {
      await site.remove();
    }
  },
};

interface Heals {
  readonly once: number[];
  readonly during: number[];
  readonly lost: string[];
}

/** Straight into the tables: what the API would make, a thousand times faster. Each has a token and a grant of ten credits. */
async function makeAccounts({ postgres }: Installation, count: number): Promise<void> {
  await postgres.query(`
    insert into organizations (org_id, name)
    select 'org_' || lpad((i % 64)::text, 2, '0') || lpad(i::text, 14, '0'), 'account ' || i from generate_series(1, ${count}) i`);
  await postgres.query(`
    insert into tokens (token_id, org_id, name, digest)
    select 'tok_' || lpad((i % 64)::text, 2, '0') || lpad(i::text, 12, '0'), 'org_' || lpad((i % 64)::text, 2, '0') || lpad(i::text, 14, '0'),
      'token ' || i, md5(i::text) || md5('x' || i::text) from generate_series(1, ${count}) i`);
  // In pieces, and with statistics in between: what was planned while the tables were empty looks at every row.
  for (let from = 1; from <= count; from += GRANTS_AT_ONCE) {
    await postgres.query('analyze');
    await postgres.query(`
      select count(*) from generate_series(${from}, ${Math.min(count, from + GRANTS_AT_ONCE - 1)}) i
      cross join lateral (select 'org_' || lpad((i % 64)::text, 2, '0') || lpad(i::text, 14, '0') as org_id) o
      cross join lateral post_grant(p_org => o.org_id, p_key => 'proof:' || o.org_id, p_kind => 'goodwill',
        p_amount => 10000000, p_category => 'promo', p_priority => 50, p_source => 'promo')`);
  }
  await postgres.query('update organizations set projected_version = terms_version');
  await postgres.query('update tokens set projected_version = terms_version');
  await postgres.query('update org_balances set untold_version = null');
  await postgres.query('analyze');
}

const GRANTS_AT_ONCE = 5_000;
const OPEN_MAX_MS = 60_000;

/** Milliseconds until every shard says that it is open: from then on nobody is refused. */
async function openedAgain({ redis }: Installation): Promise<number> {
  const started = Date.now();
  const keys = Array.from({ length: 64 }, (_, i) => `{${String(i).padStart(2, '0')}}:epoch`);
  for (;;) {
    const reply = await command(redis.port, 'MGET', ...keys).catch(() => '');
    if (reply.split(':open\r\n').length - 1 === keys.length) return Date.now() - started;
    if (Date.now() - started > OPEN_MAX_MS) return OPEN_MAX_MS;
    await sleep(10);
  }
}

async function accountsInRedis({ redis }: Installation): Promise<number> {
  const reply = await command(redis.port, 'DBSIZE');
  return Math.floor((Number(reply.slice(1)) - 2 * 64) / 2); // a key for the organization, one for its token; two for each shard
}

function outcome(
  accounts: number,
  heals: Heals,
  total: { requests: number; refused: number; lost: number; drift: number },
  wrong: string[],
): Outcome {
  const violations = [...wrong];
  const slowest = quantile([...heals.once, ...heals.during], 0.5);
  if (slowest > ALLOWED_MS) violations.push(`loaded only after ${slowest} ms`);
  return {
    facts: [
      ['accounts', accounts],
      ['wiped once: open again after ms, median / worst', `${quantile(heals.once, 0.5)} / ${worst(heals.once)}`],
      ['wiped again during the reload: open after ms, median / worst', `${quantile(heals.during, 0.5)} / ${worst(heals.during)}`],
      ['requests meanwhile', total.requests],
      ['refused with 503', total.refused],
      ['lost', total.lost],
      ['drift µcr', total.drift],
    ],
    violations,
  };
}
