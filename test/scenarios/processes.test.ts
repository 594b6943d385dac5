import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Monitor, monitor, type Received } from '../support/redis-monitor.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, errorOf, eventually, expectCleanBooks, post, quiet } from './books.js';

// Two gateway processes on one Redis, and everything they send to it.

const PROCESSES = 2;
/** Ten credits each, no more and no less. */
const config = { models: { 'fake-flat': { per: 'request', price: 10 } } };
const body = JSON.stringify({ model: 'fake-flat', messages: [{ role: 'user', content: 'hi' }] });

let upstream: up.Upstream;
let redis: RedisServer;
let sent: Monitor;
let farebox: Farebox;

beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis()]);
  const { url } = await freshDatabase(inject('databaseUrl'));
  farebox = await startFarebox({ upstream: upstream.url, config, databaseUrl: url, redisUrl: redis.url, processes: PROCESSES });
  sent = await monitor(redis.port);
});
afterAll(async () => {
  sent.stop();
  await Promise.all([upstream.stop(), redis.stop()]);
});

type Customer = Client & { readonly tokenId: string };
/** On a machine with no time to spare Redis may answer too late; then a change is told that it is not in force yet, and repeated. */
const customer = (): Promise<Customer> =>
  eventually('a customer', () =>
    farebox.customer(10_000).then(
      (made) => ({ farebox, ...made }),
      () => undefined,
    ),
  );

const HOLD = 'H'.charCodeAt(0);

/** What is spent with, as `spend.lua` is told it: five bytes of each command, the first of them its verb. */
function isHold({ parts }: Received): boolean {
  const places = parts[3 + Number(parts[2])] ?? '';
  if (!/^eval/i.test(parts[0] ?? '') || isQuestion(places)) return false;
  return Array.from({ length: (places.length - 3) / 5 }, (_, i) => places.charCodeAt(3 + 5 * i)).includes(HOLD);
}

/** `batch.lua` is told first how many shards it is about. */
const isQuestion = (first: string): boolean => /^\d+$/.test(first);

/** Whether a request of the token waits for this before it goes on: its hold, or anything that asks about it. */
function isWaitedFor(one: Received, { tokenId, orgId }: Customer): boolean {
  const { parts } = one;
  if (!parts.some((part) => part.includes(tokenId) || part.includes(orgId))) return false;
  return !/^eval/i.test(parts[0] ?? '') || isHold(one) || parts.some((part) => part.startsWith('lookup|'));
}

interface Asked {
  readonly status: number;
  readonly code: string;
  /** Calls to Redis that the request waited for. */
  readonly calls: number;
  /** Which of the processes took it. */
  readonly gateway: string;
}

async function ask(who: Customer, headers: Record<string, string> = {}): Promise<Asked> {
  await sent.take();
  const result = await post(who, '/v1/chat/completions', body, { headers }).end();
  const asked = (await sent.take()).filter((one) => isWaitedFor(one, who));
  // The office looks at organizations as well; the process that took the request is the one that held its credits.
  const gateways = new Set(asked.filter(isHold).map(({ from }) => from));
  expect([...gateways], 'a request is taken by one process').toHaveLength(1);
  const calls = asked.filter(({ from }) => gateways.has(from));
  if (result.status === 503) return ask(who, headers); // Redis was too late; nothing was decided
  const code = result.status === 200 ? '' : errorOf(result).code;
  return { status: result.status, code, calls: calls.length, gateway: [...gateways][0] ?? '' };
}

/** Requests one after the other until each process has taken one; all of their answers. */
async function askEach(who: Customer): Promise<Asked[]> {
  const answers: Asked[] = [];
  await eventually('each process has taken a request', async () => {
    answers.push(await ask(who));
    return new Set(answers.map(({ gateway }) => gateway)).size === PROCESSES || undefined;
  });
  return answers;
}

/** The first answer of each process. */
const firsts = (answers: readonly Asked[]): Asked[] =>
  answers.filter((one, i) => answers.findIndex(({ gateway }) => gateway === one.gateway) === i);
const kinds = (answers: readonly Asked[]): string[] => [...new Set(answers.map(({ status, code }) => `${status} ${code}`.trim()))];
const calls = (answers: readonly Asked[]): number[] => answers.map((one) => one.calls);

const token = (who: Customer, rest = ''): string => `/api/v1/orgs/${who.orgId}/tokens/${who.tokenId}${rest}`;
async function act(method: string, path: string, input?: unknown): Promise<void> {
  const { status, body } = await eventually('a change in force', async () => {
    const answer = await farebox.api(method, path, input);
    return answer.status === 503 ? undefined : answer;
  });
  expect(status, JSON.stringify(body)).toBeLessThan(300);
}

describe('round trips to Redis before a request goes on', () => {
  test('a process that has not seen the token asks for it and its organization at once; from then on the hold is all', async () => {
    const me = await customer();
    const cold = await askEach(me);
    expect(calls(firsts(cold))).toEqual(Array(PROCESSES).fill(2));
    const warm = [...(await askEach(me)), ...(await askEach(me)), ...(await askEach(me))];
    expect(new Set(calls(warm))).toEqual(new Set([1]));
    expect(kinds([...cold, ...warm])).toEqual(['200']);
  });

  test('one with every limit at once', async () => {
    const me = await customer();
    const limits = { quotas: { total: '5000', daily: '4000', monthly: '4500' }, rate: { rpm: 1_000, tpm: 10_000_000 } };
    await act('PATCH', token(me), limits);
    await act('PATCH', `/api/v1/admin/orgs/${me.orgId}`, { limit: '3000' });
    await askEach(me);
    const keyed = await ask(me, { 'Idempotency-Key': `only once ${me.tokenId}` });
    expect([keyed.status, keyed.calls]).toEqual([200, 1]);
    expect(new Set(calls(await askEach(me)))).toEqual(new Set([1]));
  });

  test('one more, once, after the terms of the token were changed', async () => {
    const me = await customer();
    await askEach(me);
    await act('PATCH', token(me), { name: 'another', quota: '900' });
    expect(calls(firsts(await askEach(me)))).toEqual(Array(PROCESSES).fill(2));
    expect(new Set(calls(await askEach(me)))).toEqual(new Set([1]));
  });

  test('one for a refusal as well', async () => {
    const me = await customer();
    await act('PATCH', token(me), { quota: '15' });
    await askEach(me);
    const refused = await askEach(me);
    expect(kinds(refused)).toEqual(['402 token_quota_exceeded']);
    expect(new Set(calls(refused))).toEqual(new Set([1]));
  });
});

describe('on two processes that know the token', () => {
  // A7, B29
  test('a lower quota, a pause and a revocation count for the very next request on each', async () => {
    const me = await customer();
    await act('PATCH', token(me), { quota: '1000' });
    expect(kinds([...(await askEach(me)), ...(await askEach(me))])).toEqual(['200']);
    await quiet(farebox, me.orgId);

    await act('PATCH', token(me), { quota: '1' });
    expect(kinds(await askEach(me))).toEqual(['402 token_quota_exceeded']);
    await act('PATCH', token(me), { quota: '1000' });
    expect(kinds(await askEach(me))).toEqual(['200']);

    await act('POST', token(me, '/pause'), {});
    expect(kinds(await askEach(me))).toEqual(['403 token_paused']);
    await act('POST', token(me, '/resume'), {});
    expect(kinds(await askEach(me))).toEqual(['200']);

    await act('DELETE', token(me));
    expect(kinds(await askEach(me))).toEqual(['401 token_revoked']);
  });

  test('so does a lower limit of the organization, and its suspension', async () => {
    const me = await customer();
    expect(kinds([...(await askEach(me)), ...(await askEach(me))])).toEqual(['200']);
    await quiet(farebox, me.orgId);
    await act('PATCH', `/api/v1/admin/orgs/${me.orgId}`, { limit: '1' });
    expect(kinds(await askEach(me))).toEqual(['402 monthly_limit_reached']);
    await act('PATCH', `/api/v1/admin/orgs/${me.orgId}`, { limit: null });
    expect(kinds(await askEach(me))).toEqual(['200']);
    await act('PATCH', `/api/v1/admin/orgs/${me.orgId}`, { status: 'suspended' });
    expect(kinds(await askEach(me))).toEqual(['403 organization_suspended']);
    await act('PATCH', `/api/v1/admin/orgs/${me.orgId}`, { status: 'active' });
    expect(kinds(await askEach(me))).toEqual(['200']);
  });
});

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(farebox, []);
});

test('a Redis that may throw balances away is not started on, and the refusal says what to set', async () => {
  const lossy = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
  const { url } = await freshDatabase(inject('databaseUrl'));
  const refused = await startFarebox({ databaseUrl: url, redisUrl: lossy.url, processes: 1, waitForReady: false });
  const exit = await new Promise((resolve) => refused.child.once('exit', resolve));
  expect(exit).toBe(1);
  expect(refused.stderr()).toContain(
    `Farebox cannot start: Redis at 127.0.0.1:${lossy.port} may throw balances away (maxmemory-policy is allkeys-lru). Set maxmemory-policy to noeviction.`,
  );
  await lossy.stop();
});
