import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import { ask } from '../support/sse.js';
import * as up from '../support/upstream.js';
import { eventually } from './books.js';

// What the operator sees of a server of several processes, and of one that is a single process.

let upstream: up.Upstream;
let redis: RedisServer;
const servers: { readonly kind: string; readonly gateways: number; readonly farebox: Farebox }[] = [];
const tokens = new Map<Farebox, string>();

beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis()]);
  const [one, two] = await Promise.all([freshDatabase(inject('databaseUrl')), freshDatabase(inject('databaseUrl'))]);
  const config = { upstreams: { fake: { headers: { 'x-team': 'a secret of ours' } } } };
  const many = await startFarebox({ upstream: upstream.url, config, databaseUrl: one.url, redisUrl: redis.url, processes: 2 });
  const alone = await startFarebox({ upstream: upstream.url, config, databaseUrl: two.url });
  servers.push({ kind: 'two gateways', gateways: 2, farebox: many }, { kind: 'one process', gateways: 1, farebox: alone });
  for (const { farebox } of servers) tokens.set(farebox, (await farebox.customer(1_000)).token);
});
afterAll(() => Promise.all([upstream.stop(), redis.stop()]));

const post = (farebox: Farebox) =>
  ask(`${farebox.url}/v1/chat/completions`, {
    token: tokens.get(farebox) ?? '',
    json: { model: 'fake-model', messages: [{ role: 'user', content: 'hi' }] },
  });

const counted = async (farebox: Farebox, outcome: string): Promise<number> => {
  const text = await (await fetch(`${farebox.url}/metrics`)).text();
  return Number(new RegExp(`^farebox_upstream_requests_total\\{upstream="fake",outcome="${outcome}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
};

interface Provider {
  readonly host: string;
  readonly state: string;
  readonly in_flight: number;
  readonly recent: {
    readonly attempts: number;
    readonly answered: number;
    readonly rate_limited: number;
    readonly first_byte: object | null;
  };
  readonly last_error: { readonly code: string } | null;
}

test('what upstreams did in the last minutes is the sum over all processes, and the same as in /metrics', async () => {
  for (const { kind, gateways, farebox } of servers) {
    await Promise.all(Array.from({ length: 12 }, () => post(farebox)));
    upstream.will(up.fails(429));
    expect((await post(farebox)).status, kind).toBe(429);
    const { status, body } = await farebox.api('GET', '/api/v1/admin/providers');
    expect(status, kind).toBe(200);
    expect(body['processes'], kind).toEqual({ asked: gateways, silent: 0 });
    const { body: fake } = await farebox.api('GET', '/api/v1/admin/providers/fake');
    const { recent, last_error: lastError, ...rest } = fake as unknown as Provider;
    expect(recent.answered, kind).toBe(12);
    expect(recent.answered, kind).toBe(await counted(farebox, 'answered'));
    expect(recent.rate_limited, kind).toBe(await counted(farebox, 'status_4xx'));
    expect(recent.attempts, kind).toBe(recent.answered + recent.rate_limited);
    expect(recent.first_byte, kind).not.toBeNull();
    expect(lastError?.code, kind).toBe('status_429');
    expect(rest, kind).toMatchObject({ host: new URL(upstream.url).host, state: 'warn', in_flight: 0 });
    expect(JSON.stringify(body), kind).not.toMatch(/upstream-secret|a secret of ours/);
  }
});

interface Health {
  readonly state: string;
  readonly checks: readonly { readonly name: string; readonly state: string; readonly sentence: string }[];
  readonly drain: { readonly waiting: number };
  readonly prices: { readonly version: string };
  readonly migrations: { readonly applied: number };
  readonly hot_store: { readonly shards: readonly { readonly state: string }[] };
  readonly processes: readonly { readonly part: string; readonly version: string; readonly front: { readonly detail: object } | null }[];
}

test('health names every process and says the same as /readyz and /metrics', async () => {
  for (const { kind, gateways, farebox } of servers) {
    const health = await eventually(`everything but the upstream is well: ${kind}`, async () => {
      const { body } = await farebox.api('GET', '/api/v1/admin/health');
      const found = body as unknown as Health;
      return found.checks.every(({ name, state }) => state === 'ok' || name === 'providers') ? found : undefined;
    });
    const parts = health.processes.map(({ part }) => part);
    expect(parts, kind).toEqual(gateways === 1 ? ['whole'] : ['gateway', 'gateway', 'office']);
    expect(new Set(health.processes.map(({ version }) => version)).size, kind).toBe(1);
    const { detail } = (await (await fetch(`${farebox.url}/readyz`)).json()) as { detail: object };
    for (const { front } of health.processes) if (front) expect(front.detail, kind).toEqual(detail);
    const metrics = await (await fetch(`${farebox.url}/metrics`)).text();
    expect(metrics, kind).toContain(`farebox_price_version_info{version="${health.prices.version}"} ${gateways}`);
    expect(health.drain.waiting, kind).toBe(Number(/^farebox_drain_waiting (\d+)$/m.exec(metrics)?.[1]));
    expect(health.migrations.applied, kind).toBeGreaterThan(20);
    expect(health.hot_store.shards.every(({ state }) => state === 'open')).toBe(true);
  }
});

test('a mistake in the file on disk is said, and the last good one stays in force', async () => {
  for (const { kind, farebox } of servers) {
    const file = join(farebox.data, 'config.yaml');
    const good = readFileSync(file, 'utf8');
    const configCheck = async (state: string) =>
      eventually(`the config is ${state}: ${kind}`, async () => {
        const { body } = await farebox.api('GET', '/api/v1/admin/health');
        const { checks } = body as unknown as Health;
        return checks.some((one) => one.name === 'config' && one.state === state) ? body : undefined;
      });
    writeFileSync(file, good.replace('"fake-model"', '"fake model"'));
    const { config } = (await configCheck('warn')) as unknown as { config: { bad: { words: string } | null } };
    expect(config.bad?.words, kind).toContain('models');
    writeFileSync(file, good);
    expect(await configCheck('ok'), kind).toMatchObject({ config: { bad: null } });
  }
});

test('a request that is running is seen to run, whichever process has it', async () => {
  for (const { kind, farebox } of servers) {
    upstream.will(up.says('one', up.gate(kind), ' two'), up.says('one', up.gate(kind), ' two'));
    const running = [post(farebox), post(farebox)];
    await eventually(`two in flight: ${kind}`, async () => {
      const { body } = await farebox.api('GET', '/api/v1/admin/providers/fake');
      return (body as unknown as Provider).in_flight === 2 ? true : undefined;
    });
    upstream.open(kind);
    await Promise.all(running);
  }
});
