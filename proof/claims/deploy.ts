import { command } from '../../test/support/redis.js';
import { readJournals } from '../journals.js';
import type { Product } from '../product.js';
import { randomFrom } from '../random.js';
import { checkBooks, quiet } from '../torture/books.js';
import { REFUSALS, sleep } from '../torture/fault.js';
import { type Entry, startLoad } from '../torture/load.js';
import { planOf } from '../torture/plans.js';
import { CREDITS } from '../torture/world.js';
import { type Balancer, startBalancer } from './balancer.js';
import { type Claim, type Outcome, quantile, worst } from './claim.js';
import { createInstallation } from './installation.js';
import { type Prober, startProber } from './prober.js';
import { createSlices } from './slices.js';

/**
 * Two servers behind a balancer, hundreds of live streams at every moment. Each round restarts one of them as a deployment
 * does (SIGTERM, wait, start), then replaces the processes of one in place (SIGUSR2).
 */
export const deployClaim: Claim = {
  id: 'R7',
  name: 'rolling restarts with live streams: none broken, none unsettled',
  run: async (options) => {
    const { seed, say, rounds = 20, atOnce: streams = 500, built = false } = options;
    const site = await createInstallation({ servers: 2, config: { gateway: { drain: '120s' } }, built });
    const balancer = await startBalancer(site.products.map(({ port }) => port));
    const prober = startProber();
    try {
      const [first] = site.products;
      if (!first) throw new Error('no server');
      const customer = await first.customer(CREDITS);
      const random = randomFrom(seed);
      const slices = createSlices(site, REFUSALS);
      const load = startLoad(
        { url: balancer.url, token: customer.token, random },
        {
          prefix: 'deploy',
          atOnce: streams,
          most: Number.MAX_SAFE_INTEGER,
          patienceMs: 120_000,
          plan: (from) => planOf(streams < 100 ? 'brief_stream' : 'paced_stream', from),
        },
      );
      const seen = emptyDeploys();
      let told = 0;
      await sleep(5_000); // everybody arrives at once only in a test
      for (let round = 0; round < rounds; round++) {
        const product = site.products[round % site.products.length] as Product;
        await busy(balancer, product, streams / 3);
        await deploy(product, balancer, prober, seen);
        await busy(balancer, product, streams / 3);
        await replace(product, balancer, seen);
        seen.refused.push(...(await slices.check(load)).filter(({ result }) => result?.status === 503));
        const { requests, broken, drift, violations } = slices.total;
        for (const one of violations.slice(told)) say(`VIOLATION  ${one}`);
        told = violations.length;
        say(`restart ${round + 1} of ${rounds}: ${requests} streams, ${broken} broken, drift ${drift}, ${violations.length} violations`);
      }
      await load.stop();
      const books = {
        product: first,
        customer,
        postgres: site.postgres,
        command: (...words: string[]) => command(site.redis.port, ...words),
      };
      const wrong = await quiet(books);
      seen.refused.push(...(await slices.check(load, true)).filter(({ result }) => result?.status === 503));
      wrong.push(...(await checkBooks(books)), ...misplaced(seen), ...slices.total.violations, ...seen.violations);
      return outcome(rounds, streams, seen, { ...slices.total, violations: wrong });
    } finally {
      prober.stop();
      await balancer.stop();
      await site.remove();
    }
  },
};

/** Its share of the streams runs on this server. */
async function busy(balancer: Balancer, product: Product, share: number): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (balancer.openTo(product.port) < share && Date.now() < deadline) await sleep(100);
}

interface Deploys {
  readonly open: number[];
  readonly unready: number[];
  readonly exits: number[];
  readonly gone: number[];
  /** Lines of the journals that could be read, before and after each end: a check that reads nothing finds nothing. */
  readonly lines: number[];
  readonly windows: [from: number, to: number][];
  readonly refused: Entry[];
  readonly violations: string[];
}

const emptyDeploys = (): Deploys => ({ open: [], unready: [], exits: [], gone: [], lines: [], windows: [], refused: [], violations: [] });

async function deploy(product: Product, balancer: Balancer, prober: Prober, seen: Deploys): Promise<void> {
  seen.open.push(balancer.openTo(product.port));
  // What a question takes on this machine just now says nothing about the server.
  const usualMs = quantile((await prober.times(`${product.url}/readyz`, 600)).ms, 0.9);
  const before = readJournals(product.data);
  if (before.unsettled.size === 0) seen.violations.push('the journal of a server with live streams has no open request');
  const from = Date.now();
  const unready = prober.untilBad(`${product.url}/readyz`);
  const ended = product.terminate();
  seen.unready.push(Math.max(0, Math.round((await unready) - usualMs)));
  seen.windows.push([from - 50, from + 1_000]);
  const code = await ended;
  seen.exits.push(Math.max(0, Date.now() - Math.max(from, balancer.lastEndOf(product.port))));
  if (code !== 0) seen.violations.push(`SIGTERM ended with exit code ${code}`);
  if (product.heard('unsettled').count > 0) seen.violations.push('a server ended before everything was settled');
  const { lines, unsettled } = readJournals(product.data);
  seen.lines.push(before.lines, lines);
  if (unsettled.size > 0) seen.violations.push(`${unsettled.size} requests of the journal were not settled when the server ended`);
  await product.start();
}

const REPLACED_MS = 150_000;

/** Every process of the server is a new one, and the old ones have ended by themselves. */
async function replace(product: Product, balancer: Balancer, seen: Deploys): Promise<void> {
  seen.open.push(balancer.openTo(product.port));
  const from = Date.now();
  const before = [...product.parts().gateways, ...product.parts().office];
  product.signal('SIGUSR2');
  for (;;) {
    const now = product.parts();
    const left = [...now.gateways, ...now.office].filter((pid) => before.includes(pid));
    if (left.length === 0 && now.gateways.length === 2 && now.office.length === 1) break;
    if (Date.now() - from > REPLACED_MS) {
      seen.violations.push(`of ${before.length} processes ${left.length} were not replaced`);
      break;
    }
    await sleep(100);
  }
  seen.gone.push(Date.now() - from);
  await product.ready();
}

/** Only a server that is ending may refuse, and only until the balancer has noticed. */
function misplaced({ refused, windows }: Deploys): string[] {
  return refused
    .filter(({ startedMs, endedMs }) => !windows.some(([from, to]) => endedMs >= from && startedMs <= to))
    .map(({ tag, result }) => `${tag} was refused while nothing ended: ${result?.body.toString().slice(0, 200)}`);
}

const UNREADY_MS = 50;

function outcome(
  rounds: number,
  streams: number,
  seen: Deploys,
  total: { requests: number; broken: number; drift: number; lost: number; violations: string[] },
): Outcome {
  const violations = [...total.violations];
  const unready = quantile(seen.unready, 0.5);
  if (unready > UNREADY_MS) violations.push(`/readyz said so only after ${unready} ms`);
  return {
    facts: [
      ['restarts by SIGTERM', rounds],
      ['replacements in place by SIGUSR2', rounds],
      ['live streams wanted', streams],
      ['live streams on the restarted server', `${Math.min(...seen.open)} to ${worst(seen.open)}`],
      ['streams', total.requests],
      ['broken', total.broken],
      ['lost', total.lost],
      ['drift µcr', total.drift],
      ['refused with a retry hint before the balancer noticed', seen.refused.length],
      ['lines of the journals looked at for what is not settled', seen.lines.reduce((sum, lines) => sum + lines, 0)],
      ['/readyz 503 after, median ms', unready],
      ['/readyz 503 after, worst ms', worst(seen.unready)],
      ['exit after the last stream, median ms', quantile(seen.exits, 0.5)],
      ['exit after the last stream, worst ms', worst(seen.exits)],
      ['replaced in place within, worst ms', worst(seen.gone)],
    ],
    violations,
  };
}
