import { command } from '../../test/support/redis.js';
import type { Product } from '../product.js';
import { checkBooks, quiet } from '../torture/books.js';
import { sleep } from '../torture/fault.js';
import { CREDITS } from '../torture/world.js';
import type { Claim, Outcome } from './claim.js';
import { createInstallation, type Installation } from './installation.js';
import { type SoakClients, startSoakClients, type Tally } from './soak-clients.js';
import { checkRows } from './soak-rows.js';
import { startSoakUpstream } from './soak-upstream.js';
import { footprintOf, MemoryWatch } from './watch.js';

const WARM_MS = 60_000;
/** Kept connections and caches of a minute are gone after this. */
const COOL_MS = 80_000;
const SLOPE_MAX = 2;
/** Shorter runs say nothing about an hour. */
const JUDGED_MINUTES = 30;

/** The same mixture for an hour: memory, files and keys must be where they were, and every charge exact. */
export const soakClaim: Claim = {
  id: 'R8',
  name: 'flat memory: 30 % streams, 10 % clients that leave, 5 % upstream faults',
  run: async ({ say, minutes = 60, atOnce: perSecond = 300, built = false }) => {
    const upstream = await startSoakUpstream();
    const clients = startSoakClients();
    const site = await createInstallation({ config: { upstreams: { fake: fake(upstream.url) } }, built });
    try {
      const [product] = site.products;
      if (!product) throw new Error('no server');
      const customer = await product.customer(CREDITS);
      const order = { url: product.url, token: customer.token, perSecond };
      const warm = await clients.run({ ...order, forMs: Math.min(WARM_MS, minutes * 20_000), first: 0 });
      const books = { product, customer, postgres: site.postgres, command: (...words: string[]) => command(site.redis.port, ...words) };
      const warmed = await quiet(books);
      say(`warm: ${JSON.stringify(warm.endings)}${warmed.map((one) => `; ${one}`).join('')}`);
      await sleep(COOL_MS);
      const before = await restOf(site, product);
      const soaked = await soak({ product, clients, order: { ...order, forMs: minutes * 60_000, first: warm.next }, say });
      const wrong = await quiet(books);
      await sleep(COOL_MS);
      const after = await restOf(site, product);
      wrong.push(...(await checkBooks(books)), ...(await checkRows(site, customer, { tallies: [warm, soaked.tally] })));
      wrong.push(...compare(before, after), ...surprises(product));
      return outcome({ minutes, perSecond, before, after, ...soaked, wrong });
    } finally {
      clients.stop();
      upstream.stop();
      await site.remove();
    }
  },
};

const fake = (url: string) => ({ base_url: url, api_key: 'upstream-secret', models: ['fake-*'] });

/** What a server has when nobody asks it anything. */
interface Rest {
  readonly files: ReadonlyMap<string, number>;
  readonly keys: number;
  readonly backends: number;
}

function partsOf(product: Product): Map<string, number> {
  const { gateways, office } = product.parts();
  return new Map([
    ['primary', product.pid],
    ...gateways.map((pid, i) => [`gateway ${i}`, pid] as const),
    ...office.map((pid) => ['office', pid] as const),
  ]);
}

async function restOf(site: Installation, product: Product): Promise<Rest> {
  const files = new Map([...partsOf(product)].map(([name, pid]) => [name, footprintOf(pid).files]));
  const keys = Number((await command(site.redis.port, 'DBSIZE')).slice(1));
  const [row] = await site.postgres.query<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity where backend_type = 'client backend'`,
  );
  return { files, keys, backends: Number(row?.n) };
}

interface Soaked {
  readonly tally: Tally;
  readonly slopes: ReturnType<MemoryWatch['slopes']>;
}

async function soak(parts: {
  product: Product;
  clients: SoakClients;
  order: Parameters<SoakClients['run']>[0];
  say(line: string): void;
}): Promise<Soaked> {
  const { product, clients, order, say } = parts;
  const pids = partsOf(product);
  const watch = new MemoryWatch(() => pids);
  const started = Date.now();
  const steadyMs = started + Math.min(10 * 60_000, order.forMs / 4);
  const tell = setInterval(() => {
    const now = [...watch.slopes(steadyMs)].map(
      ([name, { lastMb, mbPerHour }]) => `${name} ${lastMb.toFixed(0)} MB (${mbPerHour.toFixed(1)}/h)`,
    );
    say(`${Math.round((Date.now() - started) / 60_000)} min · ${now.join(' · ')}`);
  }, 60_000);
  try {
    const tally = await clients.run(order);
    const slopes = watch.slopes(steadyMs);
    const same = [...partsOf(product).values()].every((pid) => [...pids.values()].includes(pid));
    if (!same) throw new Error('a process of the server died during the run');
    return { tally, slopes };
  } finally {
    clearInterval(tell);
    watch.stop();
  }
}

function compare(before: Rest, after: Rest): string[] {
  const wrong = [...after.files].filter(([name, files]) => files > (before.files.get(name) ?? 0));
  const said = wrong.map(([name, files]) => `${name} has ${files} files open, ${before.files.get(name)} before`);
  if (after.keys !== before.keys) said.push(`${after.keys} keys in Redis, ${before.keys} before`);
  return said;
}

function surprises(product: Product): string[] {
  const { count, examples } = product.heard('surprise');
  return count > 0 ? [`the log says so ${count} times: ${examples[0]}`] : [];
}

function outcome(all: Soaked & { minutes: number; perSecond: number; before: Rest; after: Rest; wrong: string[] }): Outcome {
  const { minutes, perSecond, before, after, tally, slopes, wrong } = all;
  const violations = [...wrong];
  for (const [name, { mbPerHour, error }] of slopes) {
    if (minutes >= JUDGED_MINUTES && mbPerHour - 2 * error > SLOPE_MAX)
      violations.push(`${name} grows by ${mbPerHour.toFixed(1)} MB an hour`);
  }
  const requests = Object.values(tally.sent).reduce((sum, count) => sum + count, 0);
  const memory = [...slopes].map(([name, one]) => {
    const words = `${one.mbPerHour.toFixed(1)} ± ${one.error.toFixed(1)} MB/h, peak ${one.peakMb.toFixed(0)}, at the end ${one.lastMb.toFixed(0)} MB`;
    return [`memory of ${name}`, words] as const;
  });
  const files = [...after.files].map(([name, count]) => [`files of ${name}`, `${before.files.get(name)} before, ${count} after`] as const);
  return {
    facts: [
      ['minutes', minutes],
      ['requests a second', perSecond],
      ['requests', requests],
      ['plain, median ms (the upstream takes 120)', tally.p50],
      ['plain, p99 ms', tally.p99],
      ...memory,
      ...files,
      ['keys in Redis', `${before.keys} before, ${after.keys} after`],
      ['connections to Postgres', `${before.backends} before, ${after.backends} after`],
    ],
    violations,
  };
}
