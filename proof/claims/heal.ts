import { command } from '../../test/support/redis.js';
import type { Customer } from '../product.js';
import { randomFrom } from '../random.js';
import { checkBooks, quiet, RESOLVED_MS } from '../torture/books.js';
import { REFUSALS, sleep } from '../torture/fault.js';
import { startLoad } from '../torture/load.js';
import { CREDITS } from '../torture/world.js';
import { type Claim, type Outcome, quantile, worst } from './claim.js';
import { type Everybody, gather } from './everybody.js';
import { createInstallation, type Installation } from './installation.js';
import { createSlices } from './slices.js';

const ALLOWED_MS = 2_000;
/** The lease of who was killed, and the start of who comes next. */
const KILLED_MAX_MS = 10_000;

/** A hundred thousand accounts in Postgres, and a Redis that is wiped under load, once and during its own reload. */
export const healClaim: Claim = {
  id: 'R4',
  name: 'a wiped Redis serves every account again within two seconds, with exact balances and only 503 meanwhile',
  run: async ({ seed, say, rounds = 6, atOnce: accounts = 100_000, built = false }) => {
    const site = await createInstallation({ built });
    try {
      const [product] = site.products;
      if (!product) throw new Error('no server');
      const customer = await product.customer(CREDITS);
      const customers: Customer[] = [];
      for (let i = 0; i < CUSTOMERS; i++) customers.push(await product.customer(CREDITS));
      say(`making ${accounts} accounts`);
      await makeAccounts(site, accounts);
      const random = randomFrom(seed);
      const load = startLoad(
        { url: product.url, token: customer.token, random },
        { prefix: 'heal', atOnce: 8, most: Number.MAX_SAFE_INTEGER },
      );
      const everybody = gather(product.url, customers, random);
      const slices = createSlices(site, REFUSALS);
      const heals: Heals = { once: [], during: [], later: [], refusedLater: 0, whole: [], killed: [], wrong: [] };
      for (let round = 0; round <= rounds; round++) {
        await sleep(2_000);
        const how = round === rounds ? 'killed' : round % 2 === 1 ? 'during' : 'once';
        const line = await lose(site, { everybody, heals, how, accounts, apartMs: random.whole(200, 1_800) });
        say(`round ${round + 1} of ${rounds + 1}: ${line}`);
        await slices.check(load);
        await slices.check(everybody.load, true);
      }
      await load.stop();
      const books = { product, customer, postgres: site.postgres, command: (...words: string[]) => command(site.redis.port, ...words) };
      const wrong = await quiet(books);
      await slices.check(load, true);
      wrong.push(...(await checkBooks(books, RESOLVED_MS)), ...slices.total.violations, ...heals.wrong);
      return outcome(accounts, heals, slices.total, wrong);
    } finally {
      await site.remove();
    }
  },
};

const CUSTOMERS = 200;
/** About as long as all of them take to be loaded. */
const LATER_MS = 8_000;

interface Heals {
  /** Until the last of those who asked all the time was served: milliseconds, of each round. */
  readonly once: number[];
  readonly during: number[];
  /** How long the slowest of those waited who asked later, while the rest was loaded. */
  readonly later: number[];
  refusedLater: number;
  /** Until nobody was left to be loaded. */
  readonly whole: number[];
  /** The same of those who asked later, when the office was killed in the middle of it. */
  readonly killed: number[];
  readonly wrong: string[];
}

interface Loss {
  readonly everybody: Everybody;
  readonly heals: Heals;
  readonly how: 'once' | 'during' | 'killed';
  readonly accounts: number;
  /** Between two wipes. */
  readonly apartMs: number;
}

const HOW = {
  once: 'wiped once',
  during: 'wiped again during the reload',
  killed: 'wiped, and the office killed in the middle of the reload',
} as const;
/** Those who ask all the time are served by then. */
const KILLED_AFTER_MS = 2_500;

async function lose(site: Installation, { everybody, heals, how, accounts, apartMs }: Loss): Promise<string> {
  await command(site.redis.port, 'FLUSHALL');
  if (how === 'during') {
    await sleep(apartMs);
    await command(site.redis.port, 'FLUSHALL');
  }
  const offices = site.products.flatMap((product) => product.parts().office);
  const killing = how === 'killed' && sleep(KILLED_AFTER_MS).then(() => offices.map((pid) => process.kill(pid, 'SIGKILL')));
  const whole = isWholeAgain(site);
  const waited = await everybody.ask(Date.now(), LATER_MS);
  await killing;
  const wholeMs = await whole;
  (how === 'during' ? heals.during : heals.once).push(worst(waited.atOnce));
  (how === 'killed' ? heals.killed : heals.later).push(worst(waited.later));
  if (how !== 'killed') heals.refusedLater += waited.refusedLater;
  heals.whole.push(wholeMs);
  const loaded = await accountsInRedis(site);
  if (loaded < accounts) heals.wrong.push(`after a reload ${loaded} of ${accounts} accounts are in Redis`);
  const first = `${waited.atOnce.length} customers served after ${worst(waited.atOnce)} ms at most (half of them after ${quantile(waited.atOnce, 0.5)})`;
  const later = `${waited.later.length} who came later waited ${worst(waited.later)} ms at most (${waited.refusedLater} answers were 503)`;
  return `${HOW[how]}, ${first}, ${later}; all ${loaded} accounts loaded after ${wholeMs} ms`;
}

/** Straight into the tables: what the API would make, a thousand times faster. Each has a token and a grant of ten credits. */
async function makeAccounts({ postgres }: Installation, count: number): Promise<void> {
  const make = (sql: string): Promise<unknown> => persistently(() => postgres.query(sql));
  await make(`
    insert into organizations (org_id, name)
    select 'org_' || lpad((i % 64)::text, 2, '0') || lpad(i::text, 14, '0'), 'account ' || i from generate_series(1, ${count}) i`);
  await make(`
    insert into tokens (token_id, org_id, name, digest)
    select 'tok_' || lpad((i % 64)::text, 2, '0') || lpad(i::text, 12, '0'), 'org_' || lpad((i % 64)::text, 2, '0') || lpad(i::text, 14, '0'),
      'token ' || i, md5(i::text) || md5('x' || i::text) from generate_series(1, ${count}) i`);
  // In pieces, and with statistics in between: what was planned while the tables were empty looks at every row.
  for (let from = 1; from <= count; from += GRANTS_AT_ONCE) {
    await make('analyze');
    await make(`
      select count(*) from generate_series(${from}, ${Math.min(count, from + GRANTS_AT_ONCE - 1)}) i
      cross join lateral (select 'org_' || lpad((i % 64)::text, 2, '0') || lpad(i::text, 14, '0') as org_id) o
      cross join lateral post_grant(p_org => o.org_id, p_key => 'proof:' || o.org_id, p_kind => 'goodwill',
        p_amount => 10000000, p_category => 'promo', p_priority => 50, p_source => 'promo')`);
  }
  await make('update organizations set projected_version = terms_version');
  await make('update tokens set projected_version = terms_version');
  await make('update org_balances set untold_version = null');
  // They have been there for long: nothing is left to be tidied up after them.
  await make('vacuum analyze');
}

/** The server repairs what it finds at the same time; where the two lock each other out, one is told to begin anew. */
async function persistently(act: () => Promise<unknown>): Promise<unknown> {
  for (let tries = 1; ; tries++) {
    try {
      return await act();
    } catch (error) {
      if (tries >= DEADLOCKS_MAX || (error as { code?: string }).code !== '40P01') throw error;
    }
  }
}

const DEADLOCKS_MAX = 20;
const GRANTS_AT_ONCE = 5_000;
const WHOLE_MAX_MS = 90_000;

/** Milliseconds until every shard says that all of it is loaded. */
async function isWholeAgain({ redis }: Installation): Promise<number> {
  const started = Date.now();
  const keys = Array.from({ length: 64 }, (_, i) => `{${String(i).padStart(2, '0')}}:epoch`);
  for (;;) {
    const reply = await command(redis.port, 'MGET', ...keys).catch(() => '');
    const ms = Date.now() - started;
    const open = reply.split('\r\n').filter((line) => line.endsWith(':open'));
    if (open.length === keys.length || ms > WHOLE_MAX_MS) return ms;
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
  if (slowest > ALLOWED_MS) violations.push(`somebody was served only after ${slowest} ms`);
  if (worst(heals.killed) > KILLED_MAX_MS) violations.push(`with the office killed somebody waited ${worst(heals.killed)} ms`);
  return {
    facts: [
      ['accounts', accounts],
      ['wiped once: everybody served again after ms, median / worst', `${quantile(heals.once, 0.5)} / ${worst(heals.once)}`],
      ['wiped again during the reload: after ms, median / worst', `${quantile(heals.during, 0.5)} / ${worst(heals.during)}`],
      ['who asked first while others were loaded waited ms, median / worst', `${quantile(heals.later, 0.5)} / ${worst(heals.later)}`],
      ['of their answers 503', heals.refusedLater],
      ['the same when the office was killed meanwhile: waited ms at most', worst(heals.killed)],
      ['all loaded after ms, median / worst', `${quantile(heals.whole, 0.5)} / ${worst(heals.whole)}`],
      ['requests meanwhile', total.requests],
      ['refused with 503', total.refused],
      ['lost', total.lost],
      ['drift µcr', total.drift],
    ],
    violations,
  };
}
