import { command } from '../../test/support/redis.js';
import type { Customer, Product } from '../product.js';
import { type Random, randomFrom } from '../random.js';
import { checkBooks, RESOLVED_MS, rest } from '../torture/books.js';
import { CRASH, kill, sleep } from '../torture/fault.js';
import { type Load, startLoad } from '../torture/load.js';
import { type Plan, planOf } from '../torture/plans.js';
import { CREDITS } from '../torture/world.js';
import type { Claim, Outcome } from './claim.js';
import { createInstallation, type Installation } from './installation.js';
import { createSlices, type Slices } from './slices.js';

/** As published for the full form. A handful of kills is for a test suite, which has a minute. */
const requestsPerKill = (kills: number): number => (kills >= 100 ? 1_000 : 40);
const CLIENTS = 48;

/**
 * Requests without a pause, half of them streams, while gateways, the office and the whole server are killed at random
 * moments. Every request is compared with what the upstream wrote down; the settings are the ones a server has by default.
 */
export const killsClaim: Claim = {
  id: 'R1',
  name: 'kill -9 of gateways, office and server at random moments: nothing lost, nothing twice, holds resolved within 30 s',
  run: async ({ seed, say, rounds: kills = 200, atOnce = CLIENTS, built = false }) => {
    const site = await createInstallation({ built });
    try {
      const [product] = site.products;
      if (!product) throw new Error('no server');
      const customer = await product.customer(CREDITS);
      const random = randomFrom(seed);
      const load = startLoad(
        { url: product.url, token: customer.token, random },
        { prefix: 'kills', atOnce, most: Number.MAX_SAFE_INTEGER, plan: cheapPlan },
      );
      const slices = createSlices(site, CRASH);
      const run: Run = { site, product, customer, random, load, slices, say, downs: [], toll: { kills: 0 }, of: new Map() };
      const watched = watchHolds(run);
      const audited = auditAlong(run);
      const started = Date.now();
      await killAll(run, kills, requestsPerKill(kills));
      const elapsedMs = Date.now() - started;
      await load.stop();
      const overdueMs = await watched.stop();
      await audited.stop();
      const books = { product, customer, postgres: site.postgres, command: (...words: string[]) => command(site.redis.port, ...words) };
      const atRest = await rest(books);
      await slices.check(load, true);
      const wrong = [...atRest.wrong, ...(await checkBooks(books, RESOLVED_MS)), ...slices.total.violations];
      return outcome(run, { kills, elapsedMs, overdueMs, resolvedMs: atRest.resolvedMs, wrong });
    } finally {
      await site.remove();
    }
  },
};

interface Run {
  readonly site: Installation;
  readonly product: Product;
  readonly customer: Customer;
  readonly random: Random;
  readonly load: Load;
  readonly slices: Slices;
  /** When the whole server was away: nobody can end a hold then. */
  readonly downs: [from: number, to: number][];
  readonly toll: { kills: number };
  readonly of: Map<Victim, number>;
  say(line: string): void;
}

type Victim = 'gateway' | 'office' | 'server';
const VICTIMS: readonly Victim[] = ['gateway', 'gateway', 'gateway', 'gateway', 'gateway', 'office', 'server'];

const cheapPlan = (random: Random): Plan =>
  planOf(random.chance(0.5) ? 'stream' : random.pick(['embedding', 'embedding', 'embedding', 'plain']), random);

/** Only who was let in counts: while nobody listens, a client is turned away many times a second. */
const soFar = ({ slices, load }: Run): number => slices.total.admitted + load.entries.filter(({ result }) => result?.status === 200).length;

const TELL_MS = 10_000;

async function killAll(run: Run, kills: number, perKill: number): Promise<void> {
  const { random, toll, slices, say } = run;
  let told = Date.now();
  const asked = async (requests: number): Promise<void> => {
    while (soFar(run) < requests) {
      await sleep(50);
      if (Date.now() - told < TELL_MS) continue;
      told = Date.now();
      const { refused, broken, drift, violations } = slices.total;
      say(
        `${toll.kills} of ${kills} kills · ${soFar(run)} served · ${refused} refused · ${broken} broken off · drift ${drift} µcr · ` +
          `${violations.length} violations`,
      );
    }
  };
  while (toll.kills < kills) {
    const share = random.whole(300, 1_700) / 1_000;
    await asked(Math.max(toll.kills * perKill, soFar(run)) + perKill * share);
    await sleep(random.whole(0, 100));
    await strike(run, random.pick(VICTIMS));
  }
  await asked(kills * perKill);
}

async function strike(run: Run, victim: Victim): Promise<void> {
  const { product, random, of } = run;
  const { gateways, office } = product.parts();
  const pids = victim === 'gateway' ? gateways : victim === 'office' ? office : [product.pid];
  const from = Date.now();
  // Between two lives there may be nobody to kill.
  if (pids.length === 0 || !kill(run, random.pick(pids))) return;
  of.set(victim, (of.get(victim) ?? 0) + 1);
  if (victim !== 'server') return;
  await product.kill();
  await product.start();
  run.downs.push([from, Date.now()]);
}

/** Checks what has ended while the rest goes on, so that a long run needs no more memory than a short one. */
function auditAlong(run: Run): { stop(): Promise<void> } {
  let isOver = false;
  const loop = async (): Promise<void> => {
    while (!isOver) {
      await sleep(500);
      if (!isOver) await run.slices.check(run.load);
    }
  };
  const over = loop();
  return {
    stop: () => {
      isOver = true;
      return over;
    },
  };
}

const LEASE_MS = 20_000;

/** The longest that credits of a request without an owner were still set aside after its lease, not counting when nobody was there. */
function watchHolds(run: Run): { stop(): Promise<number> } {
  const key = `{${run.customer.orgId.slice(4, 6)}}:deadlines`;
  let worst = 0;
  const look = async (): Promise<void> => {
    const reply = await command(run.site.redis.port, 'ZRANGE', key, '0', '0', 'WITHSCORES').catch(() => '');
    const deadline = Number(reply.trim().split('\r\n').at(-1));
    if (!(deadline > 0) || deadline === Number.POSITIVE_INFINITY) return;
    const away = run.downs.reduce((sum, [from, to]) => sum + Math.max(0, to - Math.max(from, deadline)), 0);
    worst = Math.max(worst, Date.now() - deadline - away);
  };
  let isOver = false;
  const loop = async (): Promise<void> => {
    while (!isOver) {
      await look();
      await sleep(500);
    }
  };
  const over = loop();
  return {
    stop: async () => {
      isOver = true;
      await over;
      return worst;
    },
  };
}

interface Ended {
  readonly kills: number;
  readonly elapsedMs: number;
  readonly overdueMs: number;
  readonly resolvedMs: number;
  readonly wrong: readonly string[];
}

function outcome({ slices: { total }, toll, of }: Run, { kills, elapsedMs, overdueMs, resolvedMs, wrong }: Ended): Outcome {
  const violations = [...wrong];
  if (overdueMs > RESOLVED_MS - LEASE_MS) violations.push(`credits were still set aside ${overdueMs} ms after the lease of their request`);
  return {
    facts: [
      ['kills -9', toll.kills],
      ...(['gateway', 'office', 'server'] as const).map((victim) => [`of these the ${victim}`, of.get(victim) ?? 0] as const),
      ['requests', total.requests],
      ['admitted', total.admitted],
      ['charged', total.charges],
      ['refused with a retry hint', total.refused],
      ['broken off, or nobody listened', total.broken],
      ['lost', total.lost],
      ['charged twice', total.duplicates],
      ['drift µcr', total.drift],
      ['open after the lease of an orphan, worst ms', overdueMs],
      ['open after the last request, ms', resolvedMs],
      ['kills wanted', kills],
      ['minutes', Math.round(elapsedMs / 6_000) / 10],
    ],
    violations,
  };
}
