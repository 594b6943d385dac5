import { command } from '../../test/support/redis.js';
import type { Customer, Product } from '../product.js';
import { type Books, checkBooks, quiet } from '../torture/books.js';
import { sleep } from '../torture/fault.js';
import { CREDITS } from '../torture/world.js';
import type { Claim, ClaimOptions, Outcome } from './claim.js';
import { createInstallation, type Installation } from './installation.js';
import { type SoakClients, startSoakClients, type Tally } from './soak-clients.js';
import { checkRows, refusedIn } from './soak-rows.js';
import { type SoakUpstream, startSoakUpstream } from './soak-upstream.js';
import { MemoryWatch } from './watch.js';

const WARM_MS = 5_000;
const DRAINED_MS = 600_000;
const LOOK_EVERY_MS = 100;
/** What is promised when Postgres is back. A backlog of less than two seconds of it says nothing about a rate. */
const PER_SECOND = 10_000;
const JUDGED_FROM = 20_000;
/** Batches overlap by what was on its way when one of them was read. */
const ORDER_MS = 10_000;
const GATEWAY_MB_MAX = 512;

/** Postgres is stopped under load and comes back; then the same with a journal that has room for a few hundred requests. */
export const outageClaim: Claim = {
  id: 'R3',
  name: 'Postgres away: requests go on, memory is bounded, the backlog is booked in order; beyond the bound 503, not loss',
  run: async (options) => {
    const upstream = await startSoakUpstream();
    const clients = startSoakClients();
    try {
      const long = await within(options, upstream, clients);
      const short = await beyond(options, upstream, clients);
      return { facts: [...long.facts, ...short.facts], violations: [...long.violations, ...short.violations] };
    } finally {
      clients.stop();
      upstream.stop();
    }
  },
};

const fake = (url: string) => ({ base_url: url, api_key: 'upstream-secret', models: ['fake-*'] });

interface Stage {
  readonly site: Installation;
  readonly product: Product;
  readonly customer: Customer;
  readonly books: Books;
}

async function onStage(
  config: Readonly<Record<string, Record<string, unknown>>>,
  built: boolean | undefined,
  act: (stage: Stage) => Promise<Outcome>,
): Promise<Outcome> {
  const site = await createInstallation({ config, built: built ?? false });
  try {
    const [product] = site.products;
    if (!product) throw new Error('no server');
    const customer = await product.customer(CREDITS);
    const books = { product, customer, postgres: site.postgres, command: (...words: string[]) => command(site.redis.port, ...words) };
    return await act({ site, product, customer, books });
  } finally {
    await site.remove();
  }
}

/** Everything is served, and booked afterwards. */
function within(options: ClaimOptions, upstream: SoakUpstream, clients: SoakClients): Promise<Outcome> {
  const { minutes = 60, atOnce: perSecond = 300, built, say } = options;
  return onStage({ upstreams: { fake: fake(upstream.url) } }, built, async (stage) => {
    const { site, product, customer, books } = stage;
    const order = { url: product.url, token: customer.token, perSecond };
    const warm = await clients.run({ ...order, forMs: WARM_MS, first: 0 });
    const wrong = await quiet(books);
    const before = await redisMb(site);
    const booked = await bookedBy(stage);
    await site.postgres.stop();
    say(`Postgres is stopped; ${perSecond} requests a second for ${minutes} minutes`);
    const pids = new Map(product.parts().gateways.map((pid, i) => [`gateway ${i}`, pid]));
    const watch = new MemoryWatch(() => pids, 1_000);
    const away = await clients.run({ ...order, forMs: minutes * 60_000, first: warm.next }).finally(() => watch.stop());
    const memory = { gateways: [...watch.slopes(0).values()].map(({ peakMb }) => peakMb), redisMb: (await redisMb(site)) - before };
    await site.postgres.start();
    const drained = await drain(stage, booked, booked + sum(away.sent));
    say(`Postgres is back: ${JSON.stringify(drained)}`);
    wrong.push(...(await quiet(books)), ...(await checkBooks(books)));
    wrong.push(...(await checkRows(site, customer, { tallies: [warm, away] })));
    return outcomeWithin({ warm, away, memory, drained, lateMs: await disorder(stage), wrong });
  });
}

/** A journal with room for little: who comes beyond it is refused with a hint, and nobody is charged wrongly. */
function beyond({ built, say }: ClaimOptions, upstream: SoakUpstream, clients: SoakClients): Promise<Outcome> {
  const config = { upstreams: { fake: fake(upstream.url) }, server: { gateway_processes: 1 }, gateway: { journal_bytes_max: '1MB' } };
  return onStage(config, built, async ({ site, product, customer, books }) => {
    const order = { url: product.url, token: customer.token, perSecond: 150 };
    await site.postgres.stop();
    const over = await clients.run({ ...order, forMs: 12_000, first: 0 });
    const wrong = await whenFull(product, customer);
    await site.postgres.start();
    const started = Date.now();
    while ((await probe(product, customer)).status !== 200 && Date.now() - started < 60_000) await sleep(100);
    const admittedMs = Date.now() - started;
    const after = await clients.run({ ...order, forMs: 3_000, first: over.next });
    const refused = refusedIn(over);
    if (refused === 0) wrong.push('a journal of 1 MB was never full');
    if (refusedIn(after) > 0) wrong.push(`${refusedIn(after)} requests were refused although everything was booked`);
    wrong.push(...(await quiet(books)), ...(await checkBooks(books)));
    wrong.push(...(await checkRows(site, customer, { tallies: [over, after], mayBeRefused: true })));
    say(`with a journal of 1 MB: ${sum(over.sent) - refused} served, ${refused} refused, admitted again after ${admittedMs} ms`);
    return {
      facts: [
        ['with a journal of 1 MB: served', sum(over.sent) - refused],
        ['refused with 503', refused],
        ['admitted again after Postgres was back, ms', admittedMs],
      ],
      violations: wrong,
    };
  });
}

async function probe(product: Product, customer: Customer): Promise<Response> {
  const answer = await fetch(`${product.url}/v1/embeddings`, {
    method: 'POST',
    headers: { authorization: `Bearer ${customer.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'fake-model', input: 'a probe', user: 'embedding' }),
  });
  await answer.arrayBuffer();
  return answer;
}

async function whenFull(product: Product, customer: Customer): Promise<string[]> {
  const { status, headers } = await probe(product, customer);
  return status === 503 && headers.has('retry-after')
    ? []
    : [`with a full journal the answer is ${status}, Retry-After ${headers.get('retry-after')}`];
}

const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((total, one) => total + one, 0);

async function redisMb({ redis }: Installation): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await command(redis.port, 'INFO', 'memory'))?.[1]) / 1024 / 1024;
}

async function bookedBy({ site, customer }: Stage): Promise<number> {
  const [row] = await site.postgres.query<{ n: number }>('select coalesce(sum(requests), 0) as n from usage_rollups where org_id = $1', [
    customer.orgId,
  ]);
  return Number(row?.n);
}

interface Drained {
  readonly charges: number;
  readonly firstMs: number;
  readonly perSecond: number;
}

/** From the first look that finds more than before, to the look that finds all. */
async function drain(stage: Stage, from: number, to: number): Promise<Drained> {
  const started = Date.now();
  let first: { readonly atMs: number; readonly booked: number } | null = null;
  for (;;) {
    const booked = await bookedBy(stage);
    const atMs = Date.now();
    if (booked > from) first ??= { atMs, booked };
    if (booked >= to || atMs - started > DRAINED_MS) {
      const seconds = (atMs - (first?.atMs ?? started)) / 1_000;
      const perSecond = seconds > 0 ? Math.round((booked - (first?.booked ?? from)) / seconds) : booked - from;
      return { charges: booked - from, firstMs: (first?.atMs ?? atMs) - started, perSecond };
    }
    await sleep(LOOK_EVERY_MS);
  }
}

/** By how much a batch has charges that ended before others of an earlier batch, in ms. */
async function disorder({ site, customer }: Stage): Promise<number> {
  const [row] = await site.postgres.query<{ late: number }>(
    `with batches as (
       select tx_id, min(ts + latency_ms * interval '1 ms') as first, max(ts + latency_ms * interval '1 ms') as last
       from usage_records where org_id = $1 and tx_id is not null group by tx_id),
     pairs as (select first, max(last) over (order by tx_id rows between unbounded preceding and 1 preceding) as before from batches)
     select coalesce(max(extract(epoch from before - first)) * 1000, 0)::float8 as late from pairs`,
    [customer.orgId],
  );
  return Math.max(0, Math.round(Number(row?.late)));
}

interface Within {
  readonly warm: Tally;
  readonly away: Tally;
  readonly memory: { readonly gateways: readonly number[]; readonly redisMb: number };
  readonly drained: Drained;
  readonly lateMs: number;
  readonly wrong: readonly string[];
}

function outcomeWithin({ warm, away, memory, drained, lateMs, wrong }: Within): Outcome {
  const violations = [...wrong];
  const requests = sum(away.sent);
  const most = Math.round(Math.max(...memory.gateways));
  if (most > GATEWAY_MB_MAX) violations.push(`a gateway took ${most} MB`);
  if (drained.charges >= JUDGED_FROM && drained.perSecond < PER_SECOND)
    violations.push(`${drained.perSecond} charges a second were booked`);
  if (lateMs > ORDER_MS) violations.push(`a charge was booked ${lateMs} ms after others that ended later`);
  return {
    facts: [
      ['requests while Postgres was away', requests],
      ['refused', refusedIn(away)],
      ['plain, p50 / p99 ms before', `${warm.p50} / ${warm.p99}`],
      ['plain, p50 / p99 ms while it was away', `${away.p50} / ${away.p99}`],
      ['most memory of a gateway, MB', most],
      ['Redis grew by, bytes a request', Math.round((memory.redisMb * 1024 * 1024) / Math.max(1, requests))],
      ['first charge booked after it was back, ms', drained.firstMs],
      ['booked in all', drained.charges],
      ['booked a second', drained.perSecond],
      ['out of order by, ms', lateMs],
    ],
    violations,
  };
}
