import { expect, test } from 'vitest';
import type { ServerPort } from '../../src/api/server.js';
import type { FrontPulse, Pulse } from '../../src/telemetry/pulse.js';
import { useApi } from './harness.js';

const front: FrontPulse = {
  ...{ ready: true, detail: { credits: 'open' }, openRequests: 3, priceVersion: 'pv_running', upstreams: [] },
  journal: { writable: true, bytes: 10, unconfirmed: 2 },
};
const pulse = (more: Partial<FrontPulse> = {}): Pulse => ({
  ...{ part: 'gateway', slot: 0, pid: 7, version: '1.0.0', startedAtMs: Date.now() - 5_000 },
  front: { ...front, ...more },
});
const well: Partial<ServerPort> = {
  pulses: async () => ({ pulses: [pulse()], silent: 0 }),
  config: () => ({ fromFile: true, loadedAtMs: 0, priceVersion: 'pv_running', bad: null }),
};
/** What the server says next. */
const next: { server: Partial<ServerPort> } = { server: well };
const api = useApi({
  server: {
    pulses: () => (next.server.pulses ?? well.pulses ?? never)(),
    config: () => (next.server.config ?? well.config ?? never)(),
    hotStore: () => (next.server.hotStore ?? (async () => ({ ms: 2, shards: [{ shard: '00', state: 'open' as const }] })))(),
    drain: () => (next.server.drain ?? (async () => ({ lagSeconds: 0, waiting: 0 })))(),
    listeners: () => 4,
  },
});
const never = (): never => {
  throw new Error('nothing to say');
};

async function look(
  server: Partial<ServerPort> = {},
): Promise<{ body: Record<string, unknown>; of(name: string): { state: string; sentence: string } }> {
  next.server = server;
  const { status, body } = await api.call('GET', '/api/v1/admin/health');
  expect(status).toBe(200);
  const checks = body['checks'] as unknown as { name: string; state: string; sentence: string }[];
  return {
    body,
    of: (name) => {
      const found = checks.find((one) => one.name === name);
      if (!found) throw new Error(`no check ${name}`);
      return { state: found.state, sentence: found.sentence };
    },
  };
}

test('200: all is well, in sentences', async () => {
  const { body, of } = await look();
  expect(body['state']).toBe('ok');
  expect(of('database').sentence).toMatch(/^Postgres \d+.* answers in [\d.]+ ms\.$/);
  expect(of('processes').sentence).toBe('The serving process is ready.');
  expect(of('journal').sentence).toBe('1 journal can be written; 2 settlements in it not booked yet.');
  expect(body).toMatchObject({ live_listeners: 4, set_aside: 0, silent: 0, prices: { version: 'pv_running', in_force_since: null } });
  expect(body['processes']).toMatchObject([{ part: 'gateway', version: '1.0.0', uptime_seconds: 5, front: { open_requests: 3 } }]);
});

test('200: the hot store that does not answer, or is being loaded, is bad', async () => {
  expect((await look({ hotStore: async () => null })).of('hot_store').state).toBe('bad');
  const { body, of } = await look({ hotStore: async () => ({ ms: 1, shards: [{ shard: '00', state: 'filling' }] }) });
  expect(of('hot_store')).toEqual({ state: 'bad', sentence: '1 of 1 shards are not open: they are being loaded, or wait for Postgres.' });
  expect(body['state']).toBe('bad');
});

test('200: a drain that stays behind warns first', async () => {
  for (const [lagSeconds, state] of [
    [9, 'ok'],
    [10, 'warn'],
    [60, 'bad'],
  ] as const)
    expect((await look({ drain: async () => ({ lagSeconds, waiting: 5 }) })).of('drain').state, `${lagSeconds} s`).toBe(state);
});

test('200: processes that are not ready, silent, of two versions, or with other prices', async () => {
  const of = async (pulses: Pulse[], silent = 0) => (await look({ pulses: async () => ({ pulses, silent }) })).of;
  expect((await of([pulse({ ready: false })]))('processes').state).toBe('bad');
  expect((await of([]))('processes').state).toBe('bad');
  expect((await of([pulse()], 1))('processes').state).toBe('warn');
  expect((await of([pulse(), { ...pulse(), version: '0.9.0' }]))('processes').sentence).toContain('1.0.0, 0.9.0');
  expect((await of([pulse({ priceVersion: 'pv_other' })]))('prices').state).toBe('warn');
  expect((await of([pulse({ journal: { writable: false, bytes: 1, unconfirmed: 1 } })]))('journal').state).toBe('bad');
});

test('200: a file with mistakes is a warning that says since when', async () => {
  const { body, of } = await look({
    config: () => ({ fromFile: true, loadedAtMs: 0, priceVersion: 'pv_running', bad: { atMs: 1_000, words: 'error: line 3' } }),
  });
  expect(of('config').state).toBe('warn');
  expect(body['config']).toMatchObject({ bad: { at: '1970-01-01T00:00:01.000Z', words: 'error: line 3' } });
});

test('200: what the hot store was not told, and what was set aside, is counted', async () => {
  const org = await api.org();
  await api.db.query('update organizations set projected_version = 0 where org_id = $1', [org]);
  await api.db.query(`insert into poison_rows (org_id, event, error) values ($1, '{}', 'a test')`, [org]);
  const { body, of } = await look();
  expect(of('projections').state).toBe('warn');
  expect(of('set_aside')).toEqual({ state: 'bad', sentence: '1 charge could not be booked and waits for a person.' });
  expect(body).toMatchObject({ set_aside: 1, untold: { organizations: 1 } });
});
