import { expect, test } from 'vitest';
import type { UpstreamFacts } from '../../src/api/server.js';
import type { Pulse } from '../../src/telemetry/pulse.js';
import { mergeRecent, type RecentUpstream } from '../../src/telemetry/recent.js';
import { useApi } from './harness.js';

const facts = (name: string, more: Partial<UpstreamFacts> = {}): UpstreamFacts => ({
  ...{ name, baseUrl: `https://${name}.example/v1/secret-path`, models: [{ pattern: 'gpt-*', as: null }], priority: 1, retries: 1 },
  ...{ timeouts: { connectMs: 1, firstByteMs: 2, idleMs: 3, totalMs: 4 }, concurrency: 0, includeUsage: true, builtin: false },
  ...{ hasKey: true, headerNames: ['x-team'], ...more },
});
const seen = (name: string, ended: Partial<RecentUpstream['ended']>, atMs?: number): RecentUpstream & { inFlight: number } => {
  const nothing = mergeRecent(name, []);
  const lastError = atMs === undefined ? null : { code: 'status_503', atMs };
  return {
    ...nothing,
    ended: { ...nothing.ended, ...ended },
    firstBytes: ended.answered ? { 40: ended.answered } : {},
    lastError,
    inFlight: 2,
  };
};
const gateway = (
  slot: number,
  upstreams: Pulse['front'] extends infer F ? (F extends { upstreams: infer U } ? U : never) : never,
): Pulse => ({
  ...{ part: 'gateway', slot, pid: 100 + slot, version: '1.0.0', startedAtMs: 0 },
  front: {
    ...{ ready: true, detail: { credits: 'open' }, openRequests: 0, priceVersion: 'pv_0', upstreams },
    journal: { writable: true, bytes: 0, unconfirmed: 0 },
  },
});

const api = useApi({
  server: {
    upstreams: () => [facts('good'), facts('shaky'), facts('down'), facts('unused', { concurrency: 5 })],
    pulses: async () => ({
      pulses: [
        gateway(0, [seen('good', { answered: 10, rejected: 5, aborted: 3 }), seen('shaky', { answered: 9, rate_limited: 1 }, 5_000)]),
        gateway(1, [seen('good', { answered: 20 }), seen('down', { failed: 3, answered: 1 }, 9_000), seen('gone', { failed: 1 })]),
      ],
      silent: 1,
    }),
  },
});

interface Provider {
  readonly name: string;
  readonly state: string;
  readonly sentence: string;
  readonly in_flight: number;
  readonly recent: Record<string, unknown>;
  readonly last_error: { readonly code: string; readonly at: string } | null;
}

test('200: every upstream in force, with the sum over all processes', async () => {
  const { status, body } = await api.call('GET', '/api/v1/admin/providers');
  expect(status).toBe(200);
  const all = body['data'] as unknown as Provider[];
  expect(all.map(({ name, state }) => [name, state])).toEqual([
    ['good', 'ok'],
    ['shaky', 'warn'],
    ['down', 'bad'],
    ['unused', 'idle'],
  ]);
  expect(all[0]).toMatchObject({
    in_flight: 4,
    recent: { attempts: 38, answered: 30, rejected: 5, aborted: 3, success: 1 },
    last_error: null,
  });
  expect(all[1]).toMatchObject({
    recent: { rate_limited: 1, success: 0.9 },
    last_error: { code: 'status_503', at: '1970-01-01T00:00:05.000Z' },
  });
  expect(all[0]?.recent['first_byte']).toEqual({ p50_ms: 45, p95_ms: 45 });
  expect(all[3]).toMatchObject({ in_flight: 0, concurrency: 5, recent: { attempts: 0, success: null, first_byte: null } });
  expect(body['processes']).toEqual({ asked: 2, silent: 1 });
  expect(body['window_seconds']).toBe(300);
});

test('200: hosts and names of headers, never a key, a path or what a header says', async () => {
  const { text, body } = await api.call('GET', '/api/v1/admin/providers/good');
  expect(body).toMatchObject({ name: 'good', host: 'good.example', has_key: true, headers: ['x-team'] });
  expect(text).not.toContain('secret-path');
});

test('404: an upstream that is not in force any more', async () => {
  for (const name of ['gone', 'GOOD', '..']) expect((await api.call('GET', `/api/v1/admin/providers/${name}`)).status, name).toBe(404);
});
