import { sendCrowd } from '../../test/scenarios/crowd.js';
import * as up from '../../test/support/answers.js';
import { type RedisCluster, startRedisCluster } from '../../test/support/redis.js';
import type { Product } from '../product.js';
import { type Random, randomFrom } from '../random.js';
import { sleep } from '../torture/fault.js';
import type { Claim, Outcome } from './claim.js';
import { createInstallation, type Installation } from './installation.js';
import { type Sampled, startSampler } from './sampler.js';

const PRICE = 10_000_000;
const MOST = 500;
const BODY = JSON.stringify({ model: 'fake-flat', messages: [{ role: 'user', content: 'hi' }] });
const DECIDED_MS = 120_000;
const HEALED_MS = 30_000;

/**
 * Crowds at a Redis Cluster through four gateways: with credits for K, never more than K are let in. In every other round
 * the node that has the balance is killed while they come, its replica takes over, and a second crowd tries what is left.
 */
export const overspendClaim: Claim = {
  id: 'R2',
  name: 'of many at once with credits for K, never more than K are let in, also while a node fails over',
  run: async ({ seed, say, rounds = 20, atOnce: crowd = 10_000, built = false }) => {
    const random = randomFrom(seed);
    const cluster = await startRedisCluster(3, { replicas: true });
    const site = await createInstallation({ config: CONFIG, redisUrl: cluster.url, built });
    try {
      const seen: Round[] = [];
      for (let round = 0; round < rounds; round++) {
        const one = await runRound({ site, cluster, random, crowd, failsOver: round % 2 === 1, name: `crowd ${round}` });
        seen.push(one);
        say(
          `round ${round + 1} of ${rounds}: ${one.failsOver ? 'fail-over' : 'steady'}, K ${one.places}, let in ${one.served}, ` +
            `${JSON.stringify(one.statuses)}, lowest ${one.sampled.lowest} µcr in ${one.sampled.samples} looks` +
            one.violations.map((words) => `\nVIOLATION  ${words}`).join(''),
        );
      }
      return outcome(crowd, seen, await product(site).api('GET', '/api/v1/admin/reconciliation'));
    } finally {
      await site.remove();
      await cluster.stop();
    }
  },
};

const CONFIG = {
  server: { gateway_processes: 4, log_level: 'info' },
  gateway: { connections_max: 30_000, requests_max: 30_000 },
};

interface Round {
  readonly failsOver: boolean;
  readonly places: number;
  readonly served: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly sampled: Sampled;
  readonly healMs: number;
  readonly violations: readonly string[];
}

interface Asked {
  readonly site: Installation;
  readonly cluster: RedisCluster;
  readonly random: Random;
  readonly crowd: number;
  readonly failsOver: boolean;
  readonly name: string;
}

const product = ({ products: [first] }: Installation): Product => {
  if (!first) throw new Error('no server');
  return first;
};

async function runRound({ site, cluster, random, crowd, failsOver, name }: Asked): Promise<Round> {
  const server = product(site);
  const places = random.whole(1, MOST);
  const customer = await server.customer((places * PRICE) / 1_000_000);
  const before = site.upstream.requests.length;
  const letIn = (): number => site.upstream.requests.length - before;
  site.upstream.always(up.says(up.gate(name), 'in', up.usage(1, 1)));
  const sampler = startSampler(cluster.url, customer.orgId);
  const order = { url: `${server.url}/v1/chat/completions`, tokens: [customer.token], body: BODY };
  const first = sendCrowd({ ...order, count: crowd });
  let healMs = 0;
  const crowds = [first];
  if (failsOver) {
    await until(() => first.answered() + letIn() > crowd * 0.2, DECIDED_MS);
    healMs = await failOver(cluster, customer.orgId, server);
    crowds.push(sendCrowd({ ...order, count: Math.ceil(crowd / 5) }));
  }
  const total = crowd + (failsOver ? Math.ceil(crowd / 5) : 0);
  const isDecided = () => crowds.reduce((sum, one) => sum + one.answered(), 0) + letIn() >= total;
  const violations: string[] = [];
  if (!(await until(isDecided, DECIDED_MS))) violations.push(`${name}: not everybody was let in or refused after ${DECIDED_MS} ms`);
  await sleep(500);
  const served = letIn();
  site.upstream.open(name);
  const statuses = sum(await Promise.all(crowds.map((one) => one.statuses())));
  const end = await settled(server, customer.orgId);
  const sampled = await sampler.stop();
  if (served > places) violations.push(`${name}: ${served} were let in with credits for ${places}`);
  if (!failsOver && served < places) violations.push(`${name}: only ${served} were let in with credits for ${places}`);
  if (end !== (places - served) * PRICE) violations.push(`${name}: ${end} µcr are left, expected ${(places - served) * PRICE}`);
  if (sampled.lowest < 0) violations.push(`${name}: ${sampled.lowest} µcr could be spent at some moment`);
  if (sampled.mostHeld > places * PRICE) violations.push(`${name}: ${sampled.mostHeld} µcr were set aside of ${places * PRICE}`);
  const odd = Object.keys(statuses).filter((status) => !EXPECTED.test(status));
  if (odd.length > 0) violations.push(`${name}: unexpected answers ${odd.join(', ')}`);
  return { failsOver, places, served, statuses, sampled, healMs, violations };
}

/** 402 when everything has been charged already, 503 while the node fails over or the machine is too small for the crowd. */
const EXPECTED = /^(?:200|429 credits_in_flight|402 \w+|503 billing_unavailable|503 request_ended)$/;

/** Kills the node that has this organization, waits until another one does and requests are served, and brings it back. */
async function failOver(cluster: RedisCluster, orgId: string, server: Product): Promise<number> {
  const tag = orgId.slice(4, 6);
  const victim = await cluster.ownerOf(tag);
  const started = Date.now();
  await victim.kill();
  const moved = async (): Promise<boolean> => (await cluster.ownerOf(tag).catch(() => victim)) !== victim;
  if (!(await until(moved, HEALED_MS))) throw new Error('the replica did not take over');
  await sleep(600); // the gateways' own look at the shards
  await server.ready(HEALED_MS);
  const healMs = Date.now() - started;
  await victim.restart();
  return healMs;
}

async function until(isSo: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while (!(await isSo())) {
    if (Date.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}

/** What is available once nothing is held and everything is booked. */
async function settled(server: Product, orgId: string): Promise<number> {
  let available = Number.NaN;
  await until(async () => {
    const { body } = await server.api('GET', `/api/v1/orgs/${orgId}/balance`);
    const micro = (field: string) => (body[field] as { micro?: number } | undefined)?.micro;
    available = micro('available') ?? Number.NaN;
    return micro('in_flight') === 0 && micro('pending') === 0;
  }, 60_000);
  return available;
}

function sum(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const one of all) for (const [status, count] of Object.entries(one)) total[status] = (total[status] ?? 0) + count;
  return total;
}

function outcome(crowd: number, rounds: readonly Round[], report: { status: number; body: Record<string, unknown> }): Outcome {
  const violations = rounds.flatMap((round) => round.violations);
  if (report.status !== 200 || report.body['clean'] !== true) violations.push(`reconcile: ${JSON.stringify(report.body).slice(0, 400)}`);
  const failed = rounds.filter(({ failsOver }) => failsOver);
  const exact = rounds.filter(({ places, served }) => served === places).length;
  return {
    facts: [
      ['rounds', rounds.length],
      ['of these with a node killed while the crowd came', failed.length],
      ['requests at once', crowd],
      ['rounds in which exactly K were let in', exact],
      ['rounds in which more than K were let in', rounds.filter(({ places, served }) => served > places).length],
      ['lowest balance ever seen, µcr', Math.min(...rounds.map(({ sampled }) => sampled.lowest))],
      ['looks at the balance', rounds.reduce((total, { sampled }) => total + sampled.samples, 0)],
      ['looks a second, least', Math.min(...rounds.map(({ sampled }) => sampled.perSecond))],
      ['from the kill until served again, worst ms', Math.max(0, ...failed.map(({ healMs }) => healMs))],
    ],
    violations,
  };
}
