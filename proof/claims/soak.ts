import { command } from '../../test/support/redis.js';
import { judge } from '../oracle/judge.js';
import type { Customer, Product } from '../product.js';
import { checkBooks, quiet } from '../torture/books.js';
import { sleep } from '../torture/fault.js';
import { CREDITS } from '../torture/world.js';
import type { Claim, Outcome } from './claim.js';
import { createInstallation, type Installation } from './installation.js';
import { bodyOf, type Kind, type SoakClients, startSoakClients, type Tally } from './soak-clients.js';
import { EVENTS, eventsOf, plain, startSoakUpstream } from './soak-upstream.js';
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
      wrong.push(...(await checkBooks(books)), ...(await checkRows(site, customer, [warm, soaked.tally])));
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

/**
 * What each kind costs: 20 tokens in at 200 µcr and 10 out at 800; failed ones nothing. What the upstream does not report is
 * counted here by the published rule; only of who leaves it is not known how much was on its way.
 */
const WHOLE = 12_000;
const COSTS: Readonly<Record<string, readonly [least: number, most: number]>> = {
  plain: [WHOLE, WHOLE],
  stream: [WHOLE, WHOLE],
  embedding: [30 * 200, 30 * 200],
  uncounted: [counted('uncounted', plain('uncounted')), counted('uncounted', plain('uncounted'))],
  left: [counted('left', eventsOf(1)), Math.max(WHOLE, counted('left', eventsOf(EVENTS)))],
  cut: [counted('cut', eventsOf(EVENTS / 2)), counted('cut', eventsOf(EVENTS / 2))],
  busy: [0, 0],
  broken: [0, 0],
  garbage: [0, 0],
};
function counted(kind: Kind, answer: string): number {
  const isEvents = bodyOf(kind).includes('"stream":true');
  return judge({
    endpoint: 'chat',
    stream: isEvents,
    request: bodyOf(kind),
    choices: 1,
    price: { input: '200', output: '800', cached: '100' },
    multiplier: '1',
    answer: { status: 200, isEvents, delivered: Buffer.from(answer), end: isEvents ? 'broken' : 'clean' },
    clientLeft: false,
  }).cost;
}

const ENDINGS: Readonly<Record<string, string>> = {
  plain: '200 whole',
  embedding: '200 whole',
  uncounted: '200 whole',
  stream: '200 whole',
  left: '200 left',
  cut: '200 error',
  busy: '502 whole',
  broken: '502 whole',
  garbage: '502 whole',
};

/** Every request has one row, and each kind costs what it must. */
async function checkRows(site: Installation, { orgId }: Customer, tallies: readonly Tally[]): Promise<string[]> {
  const wrong: string[] = [];
  const rows = await site.postgres.query<{ kind: string; n: number; least: number; most: number }>(
    `select split_part(client_request_id, '-', 1) as kind, count(*) as n, min(cost) as least, max(cost) as most
     from usage_records where org_id = $1 and status <> 'rejected' group by 1`,
    [orgId],
  );
  const sum = (pick: (tally: Tally) => number | undefined): number => tallies.reduce((total, tally) => total + (pick(tally) ?? 0), 0);
  for (const [kind, [least, most]] of Object.entries(COSTS)) {
    const row = rows.find((one) => one.kind === kind);
    const sent = sum((tally) => tally.sent[kind]);
    const good = sum((tally) => tally.endings[`${kind} ${ENDINGS[kind]}`]);
    if (sent !== Number(row?.n ?? 0)) wrong.push(`${kind}: ${sent} sent, ${row?.n ?? 0} rows`);
    if (good !== sent) wrong.push(`${kind}: ${sent - good} of ${sent} did not end with ${ENDINGS[kind]}: ${others(tallies, kind)}`);
    if (row && (row.least < least || row.most > most))
      wrong.push(`${kind}: charged ${row.least} to ${row.most}, expected ${least} to ${most}`);
  }
  return wrong;
}

function others(tallies: readonly Tally[], kind: string): string {
  const all = tallies.flatMap(({ endings }) => Object.entries(endings)).filter(([ending]) => ending.startsWith(`${kind} `));
  return all.map(([ending, count]) => `${count} × ${ending}`).join(', ');
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
