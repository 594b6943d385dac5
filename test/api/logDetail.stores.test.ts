import { beforeAll, describe, expect, test } from 'vitest';
import { type Reply, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
const NOW = Date.now() - 60_000;
let org = '';
let token = '';

beforeAll(async () => {
  org = await api.org();
  token = (await api.token(org)).id;
});

const grant = async (credits: number | string) =>
  String((await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits, reason: 'x' })).body['id']);
const detail = (id: string): Promise<Reply> => api.call('GET', `/api/v1/orgs/${org}/logs/${id}`);
const amount = (micro: number) => expect.objectContaining({ micro });

describe('GET /api/v1/orgs/{org}/logs/{request_id}', () => {
  test('200: the lines make the cost to the last fraction, and the hold is accounted for', async () => {
    await grant('0.01');
    const event = requestOf({ org, token, atMs: NOW, input: 100, output: 10, rates: { input: '1/3', output: '60' } });
    await post(api.db, event);
    const { body } = await detail(event.request_id);
    expect(body['charges']).toEqual({
      lines: [
        { meter: 'input', quantity: 100, rate: '1/3', micro: '100/3' },
        { meter: 'output', quantity: 10, rate: '60', micro: '600' },
      ],
      times: '1',
      exact_micro: '1900/3',
      rounded_up_micro: 1,
      operator_loss: amount(0),
      charged: amount(634),
    });
    expect(body['hold']).toEqual({
      held: amount(1_634),
      settled: amount(634),
      released: amount(1_000),
      beyond: amount(0),
      settled_after_ms: 1234,
    });
    const counts = { input: 100, output: 10 };
    expect(body['counting']).toEqual({ source: 'upstream', all: counts, upstream: counts, tokenizer: null });
    expect(body['routing']).toEqual([{ upstream: 'openai', status: 200, failure: null, ms: null }]);
    expect(body['timeline']).toEqual({
      ...{ received_at: new Date(NOW).toISOString(), held_ms: null, extensions: [], first_byte_ms: null, settled_ms: 1234 },
    });
    expect(body['corrections']).toEqual([]);
  });

  test('200: a request booked alone names its buckets exactly, even across two of them', async () => {
    await grant(1);
    const event = requestOf({ org, token, atMs: NOW + 1, input: 1_000, output: 0 }); // 15,000: 9,366 are left of the first grant
    await post(api.db, event);
    const [debit] = (await detail(event.request_id)).body['bucket_debits'] as unknown as { exact: boolean; buckets: unknown[] }[];
    expect(debit).toMatchObject({ kind: 'usage', exact: true, amount: { micro: 15_000 } });
    expect(debit?.buckets).toMatchObject([
      { kind: 'manual', amount: { micro: 9_366 } },
      { kind: 'manual', amount: { micro: 5_634 } },
    ]);
  });

  test('200: in a batch paid by one bucket the share is exact; by two it is not claimed to be', async () => {
    const [one, two] = [requestOf({ org, token, atMs: NOW + 2 }), requestOf({ org, token, atMs: NOW + 3, input: 200 })];
    await post(api.db, one, two);
    expect((await detail(one.request_id)).body['bucket_debits']).toMatchObject([
      { exact: true, buckets: [{ amount: { micro: one.cost } }] },
    ]);
    const left = Number((await api.call('GET', `/api/v1/orgs/${org}/balance`)).body['settled']?.['micro']);
    const pair = [left - 100, 200].map((cost, index) =>
      requestOf({
        org,
        token,
        atMs: NOW + 4 + index,
        over: { cost, breakdown: { lines: [{ meter: 'input', quantity: cost, rate: '1' }], times: '1' } },
      }),
    );
    await post(api.db, ...pair);
    const [debit] = (await detail(pair[1]?.request_id ?? '')).body['bucket_debits'] as unknown as {
      exact: boolean;
      buckets: { kind: string; amount: unknown }[];
    }[];
    expect(debit?.exact).toBe(false);
    expect(debit?.buckets.map(({ kind, amount: share }) => [kind, share])).toEqual([
      ['manual', null],
      ['debt', null],
    ]);
  });

  test('200: a correction is told with what came back, and from where', async () => {
    await grant(1);
    const floor = requestOf({ org, token, atMs: NOW + 10, input: 1_000, output: 0, over: { kind: 'floor', status: 'orphaned' } });
    const final = { ...requestOf({ org, token, atMs: NOW, input: 400, output: 0 }), request_id: floor.request_id };
    await post(api.db, floor);
    await post(api.db, final);
    const { body } = await detail(floor.request_id);
    expect(body).toMatchObject({ kind: 'final', charged: { micro: 6_000 } });
    expect(body['corrections']).toMatchObject([{ from_kind: 'floor', to_kind: 'final', from: { micro: 15_000 }, to: { micro: 6_000 } }]);
    expect(body['bucket_debits']).toMatchObject([
      { kind: 'usage', amount: { micro: 15_000 }, exact: true },
      { kind: 'usage_return', amount: { micro: -9_000 }, exact: true, buckets: [{ kind: 'manual', amount: { micro: -9_000 } }] },
    ]);
  });

  test('200: what did not go as usual is told try by try, with both counts, and by the clock', async () => {
    await grant(1);
    const tries = [
      { upstream: 'one', status: 503, ms: 12 },
      { upstream: 'one', failure: 'connect', ms: 3 },
      { upstream: 'openai', status: 200, ms: 40 },
    ];
    const trace = {
      tries,
      held_ms: 1_200,
      extended: [{ ms: 4_000, amount: 9_000 }],
      reported: { input: 1, output: 0 },
      counted: { input: 100, output: 10 },
    };
    const event = requestOf({ org, token, atMs: NOW + 20, over: { attempts: 3, source: 'estimated', stream: true, ttft_ms: 60, trace } });
    await post(api.db, event);
    const { body } = await detail(event.request_id);
    expect(body['routing']).toEqual(tries.map((one) => ({ status: null, failure: null, ...one })));
    expect(body['counting']).toMatchObject({
      source: 'estimated',
      upstream: { input: 1, output: 0 },
      tokenizer: { input: 100, output: 10 },
    });
    expect(body['timeline']).toMatchObject({
      held_ms: 1_200,
      extensions: [{ ms: 4_000, held: { micro: 9_000 } }],
      first_byte_ms: 60,
      settled_ms: 1234,
    });
    const list = await api.call('GET', `/api/v1/orgs/${org}/logs?request_id=${event.request_id}`);
    expect(JSON.stringify(list.body)).not.toContain('trace');
  });

  test('200: what came to nothing was counted by nobody; a final brings its own story along', async () => {
    const failed = requestOf({
      org,
      token,
      atMs: NOW + 30,
      input: 0,
      output: 0,
      over: { status: 'failed', source: 'estimated', http_status: 502 },
    });
    const floor = requestOf({ org, token, atMs: NOW + 31, over: { kind: 'floor', status: 'orphaned', source: 'estimated' } });
    await post(api.db, failed, floor);
    for (const { request_id } of [failed, floor]) {
      expect((await detail(request_id)).body['counting']).toMatchObject({ upstream: null, tokenizer: null });
    }
    const trace = {
      tries: [
        { upstream: 'one', status: 500, ms: 1 },
        { upstream: 'openai', status: 200, ms: 2 },
      ],
    };
    await post(api.db, { ...requestOf({ org, token, atMs: NOW + 31, over: { trace, attempts: 2 } }), request_id: floor.request_id });
    const { body } = await detail(floor.request_id);
    expect(body).toMatchObject({ kind: 'final', attempts: 2 });
    expect(body['routing']).toMatchObject(trace.tries);
  });
});
