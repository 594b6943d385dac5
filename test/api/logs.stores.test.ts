import { beforeAll, describe, expect, test } from 'vitest';
import type { ChargeEvent } from '../../src/domain/charge.js';
import { newRequestId } from '../../src/domain/ids.js';
import { postCharges } from '../../src/ledger/post.js';
import { pointers, type Reply, useApi } from './harness.js';

const api = useApi();
const HOUR = 3_600_000;
const START = Date.now() - 10 * HOUR;
let org = '';
let token = '';
let ids: string[] = [];

/** Ids made in the past; `newRequestId` never goes back. */
const idAt = (ms: number) => `req_${ms.toString(16).padStart(12, '0')}7000${newRequestId().slice(-16)}` as ChargeEvent['request_id'];

function event(index: number, over: Partial<ChargeEvent> = {}): ChargeEvent {
  return {
    request_id: idAt(START + index * HOUR),
    org_id: org as ChargeEvent['org_id'],
    token_id: token as ChargeEvent['token_id'],
    kind: 'final',
    status: 'complete',
    model: index % 2 === 0 ? 'gpt-4o-mini' : 'o3',
    served_model: 'gpt-4o-mini-2024',
    endpoint: 'chat/completions',
    upstream: 'openai',
    stream: false,
    http_status: 200,
    cost: 1_500 + index,
    held: 9_000,
    debt: false,
    operator_loss: 0,
    source: 'upstream',
    usage: {
      ...{ input: 100, cached_input: 20, cache_write_5m: 0, cache_write_1h: 0, output: 10, reasoning: 4 },
      ...{ audio_input: 0, audio_output: 0, images: 0, seconds: 0, characters: 0 },
    },
    price_version: 'pv_0123456789abcdef',
    breakdown: { lines: [{ meter: 'input', quantity: 100, rate: '15' }], times: '1' },
    client_request_id: 'mine-1',
    end_user: null,
    agent: null,
    conversation: null,
    finish_reason: 'stop',
    latency_ms: 1234,
    ttft_ms: null,
    flags: index === 3 ? ['usage_missing'] : [],
    attempts: 1,
    ...over,
  };
}

beforeAll(async () => {
  // The file's own rig is made by a hook of its own, which runs first.
  org = await api.org();
  token = (await api.token(org)).id;
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 100, reason: 'x' });
  const events = [0, 1, 2, 3, 4, 5].map((index) => event(index, index === 5 ? { status: 'failed', http_status: 502 } : {}));
  ids = events.map(({ request_id }) => request_id).reverse();
  await postCharges(
    api.db,
    events.map((one) => JSON.stringify(one)),
  );
});

const idsOf = (reply: Reply): string[] => (reply.body['data'] as unknown as { request_id: string }[]).map(({ request_id }) => request_id);
const logs = (query = '') => api.call('GET', `/api/v1/orgs/${org}/logs${query}`);

describe('GET /api/v1/orgs/{org}/logs', () => {
  test('200: a row has everything a bill can be recomputed from', async () => {
    const reply = await logs();
    expect(idsOf(reply)).toEqual(ids);
    expect((reply.body['data'] as unknown as unknown[])[2]).toEqual({
      request_id: ids[2],
      time: new Date(START + 3 * HOUR).toISOString(),
      model: 'o3',
      ...{ token_id: token, token_name: 'test', project: null, owner: null },
      status: 'complete',
      stream: false,
      debt: false,
      source: 'upstream',
      usage: { input: 100, cached_input: 20, output: 10, reasoning: 4 },
      charged: { credits: '0.001503', micro: 1_503, money: { amount: '0.00001503', currency: 'USD' } },
      price_version: 'pv_0123456789abcdef',
      held: { credits: '0.009', micro: 9_000, money: { amount: '0.00009', currency: 'USD' } },
      breakdown: { lines: [{ meter: 'input', quantity: 100, rate: '15' }], times: '1' },
      served_model: 'gpt-4o-mini-2024',
      upstream: 'openai',
      endpoint: 'chat/completions',
      http_status: 200,
      attempts: 1,
      latency_ms: 1234,
      ttft_ms: null,
      client_request_id: 'mine-1',
      end_user: null,
      agent: null,
      conversation: null,
      finish_reason: 'stop',
      flags: ['usage_missing'],
      refusal: null,
    });
  });

  test('200: pages of any size show every row once', async () => {
    for (const limit of [1, 2, 4, 6]) {
      const seen: string[] = [];
      let cursor = '';
      do {
        const page = await logs(`?limit=${limit}${cursor}`);
        seen.push(...idsOf(page));
        cursor = page.body['has_more'] ? `&cursor=${page.body['next_cursor']}` : '';
      } while (cursor !== '');
      expect(seen).toEqual(ids);
    }
  });

  test('200: filters by time, model, token and status, also combined', async () => {
    const at = (index: number) => encodeURIComponent(new Date(START + index * HOUR).toISOString());
    expect(idsOf(await logs(`?from=${at(1)}&to=${at(3)}`))).toEqual([ids[3], ids[4]]);
    expect(idsOf(await logs('?model=o3'))).toEqual([ids[0], ids[2], ids[4]]);
    expect(idsOf(await logs('?model=o3,gpt-4o-mini&status=failed'))).toEqual([ids[0]]);
    expect(idsOf(await logs('?status=failed&status=complete'))).toEqual(ids);
    expect(idsOf(await logs(`?token_id=${token}&limit=1`))).toEqual([ids[0]]);
    expect(idsOf(await logs('?token_id=tok_07AAAAAAAAAAAA'))).toEqual([]);
  });

  test('200: what looks like a pattern or a statement is only a name nobody used', async () => {
    for (const text of ['%', '_', '\\', '%25'.repeat(60), "'; drop table tokens; --", 'pg_sleep(5)', '{07}'])
      expect(idsOf(await logs(`?model=${encodeURIComponent(text)}`)), text).toEqual([]);
  });

  test('400: cursors belong to their filters, and filters to a list', async () => {
    const cursor = (await logs('?limit=1&model=o3')).body['next_cursor'];
    expect((await logs(`?limit=1&model=gpt-4o-mini&cursor=${cursor}`)).body['code']).toBe('cursor_mismatch');
    const foreign = await api.org();
    expect((await api.call('GET', `/api/v1/orgs/${foreign}/logs?model=o3&cursor=${cursor}`)).body['code']).toBe('cursor_mismatch');
    const wrong = await logs('?limit=201&status=odd&from=yesterday&order_by=cost&token_id=x');
    expect(pointers(wrong)).toEqual(['?from', '?limit', '?order_by', '?status.0', '?token_id.0']);
    expect(pointers(await logs('?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z'))).toEqual(['?to']);
  });

  test('200 and 404: an organization without requests has an empty page, one that is not there has none', async () => {
    const empty = await api.call('GET', `/api/v1/orgs/${await api.org()}/logs`);
    expect(empty.body).toEqual({ data: [], has_more: false, next_cursor: null });
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/logs')).status).toBe(404);
  });
});

describe('GET /api/v1/orgs/{org}/logs/{request_id}', () => {
  test('200: one request; 404: somebody else’s, one that never was, and nonsense', async () => {
    expect((await api.call('GET', `/api/v1/orgs/${org}/logs/${ids[0]}`)).body).toMatchObject({ request_id: ids[0], status: 'failed' });
    const other = await api.org();
    for (const path of [`${other}/logs/${ids[0]}`, `${org}/logs/${newRequestId()}`, `${org}/logs/req_1`, `${org}/logs/..%2f..`])
      expect((await api.call('GET', `/api/v1/orgs/${path}`)).status, path).toBe(404);
  });
});
