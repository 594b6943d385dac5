import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { recompute } from '../../src/pricing/charge.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, counted, eventually, exchange, expectCleanBooks, post, type Row, requestIdOf, rowOf, scriptOf } from './books.js';

let upstream: up.Upstream;
let farebox: Farebox;
let me: Client;
let will: (...answers: up.Answer[]) => void;

const MODELS = {
  'p-design': { ratio: 1.25, output: '4x', cached: '0.5x' },
  'p-explicit': { per: '1M tokens', input: 250, output: 1000, cached: 125 },
  'p-gemini': { per: '1M tokens', input: 125, output: 1000, cached: 62.5 },
  'p-writes': { ratio: 1, output: '5x', cached: '0.1x', cache_write: '1.25x', cache_write_1h: '2x' },
  'p-above': { ratio: 1, output: '2x', cached: '0.5x', tiers: [{ above: 200_000, ratio: 2, output: '3x', cached: '0.5x' }] },
  'p-from': { ratio: 1, output: '2x', tiers: [{ from: 272_000, ratio: 2, output: '3x' }] },
  'p-reasoning': { ratio: 1, output: '4x', reasoning: '8x' },
  'p-audio': { per: '1M tokens', input: 250, output: 1000, audio: { input: 4000, output: 8000 } },
  'p-dust': { ratio: 0.0001, output: '1x' },
  'p-third': { per: '3 tokens', input: 0.000001, output: 0.000001 },
  'p-fee': { ratio: 1, output: '4x', request: 0.01 },
  'p-flat': { per: 'request', price: 10 },
  'p-free': { free: true },
  'p-embed': { ratio: 0.01, output: 'none' },
  'p-changing': { ratio: 1, output: '4x' },
};

const config = (models: Record<string, unknown>) => ({
  credits: { value: '0.01 USD', base: 200 },
  upstreams: { fake: { base_url: upstream.url, api_key: 'upstream-secret', models: ['p-*'] } },
  groups: { vip: 0.8, odd: 0.333 },
  models,
});

beforeAll(async () => {
  upstream = await up.startUpstream();
  farebox = await startFarebox({ config: JSON.stringify(config(MODELS)) });
  const { orgId, token } = await farebox.customer(1_000_000);
  me = { farebox, orgId, token };
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(() => upstream.stop());

interface Details {
  readonly cached?: number;
  readonly write5m?: number;
  readonly write1h?: number;
  readonly reasoning?: number;
  readonly audioIn?: number;
  readonly audioOut?: number;
}

const reported = (input: number, output: number, details: Details = {}) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  prompt_tokens_details: {
    cached_tokens: details.cached ?? 0,
    cache_write_tokens: details.write5m ?? 0,
    cache_write_1h_tokens: details.write1h ?? 0,
    audio_tokens: details.audioIn ?? 0,
  },
  completion_tokens_details: { reasoning_tokens: details.reasoning ?? 0, audio_tokens: details.audioOut ?? 0 },
});

const chat = (model: string, more: Record<string, unknown> = {}) => ({ model, messages: [{ role: 'user', content: 'hi' }], ...more });

/** Streamed and plain must cost the same, and the row alone must be enough to compute the charge again. */
async function costOf(model: string, usage: unknown, client: Client = me): Promise<number> {
  const costs: number[] = [];
  for (const stream of [false, true]) {
    will(up.says('x', up.usageOf(usage)));
    const { row, result } = await exchange(client, chat(model, { stream }));
    expect(recompute(row.breakdown)).toBe(row.charged.micro);
    if (!stream) expect(result.headers.get('x-credits-charged')).toBe(creditsOf(row.charged.micro));
    costs.push(row.charged.micro);
  }
  expect(costs[0]).toBe(costs[1]);
  return costs[0] ?? Number.NaN;
}

const creditsOf = (micro: number): string => String(micro / 1_000_000);

test('G47: 1,000 tokens of which 200 cached and 500 out at ratio 1.25, 4x and 0.5x are 0.725 credits', async () => {
  expect(await costOf('p-design', reported(1000, 500, { cached: 200 }))).toBe(725_000);
  expect(await costOf('p-explicit', reported(1000, 500, { cached: 200 }))).toBe(725_000);
  expect(await costOf('p-design', reported(1000, 500))).toBe(750_000);
  expect(await costOf('p-design', { prompt_tokens: 1000, completion_tokens: 500, prompt_cache_hit_tokens: 200 })).toBe(725_000);
});

test('G48: cache writes of both lengths and cached reads are parts of the input, each at its own price', async () => {
  const usage = reported(1000, 100, { cached: 300, write5m: 200, write1h: 100 });
  expect(await costOf('p-writes', usage)).toBe((400 + 300 * 0.1 + 200 * 1.25 + 100 * 2) * 200 + 100 * 5 * 200);
});

test('G48: parts that exceed their whole are cut to it, and never make a request cheaper than nothing', async () => {
  const cost = await costOf('p-design', reported(100, 10, { cached: 5000 }));
  expect(cost).toBe(100 * 125 + 10 * 1000);
});

test('G49: with nearly everything cached, and the whole prompt called text too, nothing is paid for twice', async () => {
  const usage = {
    prompt_tokens: 262_960,
    completion_tokens: 1_744,
    total_tokens: 264_704,
    prompt_tokens_details: { text_tokens: 262_960, cached_tokens: 257_955 },
    completion_tokens_details: { reasoning_tokens: 0 },
  };
  const cost = await costOf('p-gemini', usage);
  expect(cost).toBe(18_491_813); // 0.184918125 USD at 0.01 USD a credit, rounded up once
  expect((cost / 1e8).toFixed(4)).toBe('0.1849');
});

test.each([
  ['p-above', 199_999, 1],
  ['p-above', 200_000, 1],
  ['p-above', 200_001, 2],
  ['p-from', 271_999, 1],
  ['p-from', 272_000, 2],
  ['p-from', 272_001, 2],
] as const)('G50: %s with %d tokens of input has rates of tier %d for the whole request', async (model, input, tier) => {
  const [inRate, outRate] = tier === 1 ? [200, 400] : [400, 1200];
  const cached = model === 'p-above' ? 1000 : 0;
  expect(await costOf(model, reported(input, 10, { cached }))).toBe((input - cached) * inRate + (cached * inRate) / 2 + 10 * outRate);
});

test('G51: reasoning is inside output and is not paid for a second time', async () => {
  expect(await costOf('p-design', reported(10, 100, { reasoning: 90 }))).toBe(10 * 250 + 100 * 1000);
  expect(await costOf('p-reasoning', reported(10, 100, { reasoning: 90 }))).toBe(10 * 200 + 10 * 800 + 90 * 1600);
});

test('G52: audio tokens are inside the totals and are priced once', async () => {
  expect(await costOf('p-audio', reported(100, 50, { audioIn: 60, audioOut: 20 }))).toBe(40 * 250 + 60 * 4000 + 30 * 1000 + 20 * 8000);
});

test('G57: group times model times output is rounded once, up, at the end', async () => {
  const client = await member('vip');
  expect(await costOf('p-design', reported(1000, 500, { cached: 200 }), client)).toBe(580_000);
  expect(await costOf('p-design', reported(1, 1), await member('odd'))).toBe(417); // 1,250 × 0.333 = 416.25
  expect(await costOf('p-dust', reported(1, 1))).toBe(1); // 2 × 0.02 = 0.04
  expect(await costOf('p-dust', reported(49, 2))).toBe(2); // 51 × 0.02 = 1.02
  expect(await costOf('p-third', reported(4, 3))).toBe(3); // 7 × 1/3 = 2.33
});

async function member(group: string): Promise<Client> {
  const { orgId, token } = await farebox.customer(1_000);
  expect((await farebox.api('PATCH', `/api/v1/admin/orgs/${orgId}`, { group })).status).toBe(200);
  return { farebox, orgId, token };
}

test('B25: a thousand requests of dust cost a thousand times the smallest amount, not nothing', async () => {
  const client = await member('default');
  upstream.always(up.says('x', up.usage(1, 1)));
  const send = () => post(client, '/v1/chat/completions', JSON.stringify(chat('p-dust'))).end();
  for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 50 }, send));
  const settled = await eventually('a thousand charges', async () => {
    const balance = (await farebox.balance(client.orgId)) as { settled: { micro: number }; pending: { micro: number } };
    return balance.pending.micro === 0 ? balance.settled.micro : undefined;
  });
  expect(settled).toBe(1_000_000_000 - 1_000);
});

test('G58: a success with nothing in it costs nothing, except where a request itself has a price', async () => {
  will(up.says(up.usageOf(reported(0, 0))), up.says(up.usageOf(reported(0, 0))), up.says(up.usageOf(reported(0, 0))));
  expect((await exchange(me, chat('p-design'))).row.charged.micro).toBe(0);
  expect((await exchange(me, chat('p-fee'))).row.charged.micro).toBe(10_000);
  expect((await exchange(me, chat('p-flat'))).row.charged.micro).toBe(10_000_000);
});

test('G8: a free model is served at zero balance, and leaves a row that says zero', async () => {
  const orgId = await farebox.createOrg('poor');
  const { secret } = await farebox.createToken(orgId);
  const { row, result } = await exchange({ farebox, orgId, token: secret }, chat('p-free'));
  expect(result.status).toBe(200);
  expect(row).toMatchObject({ charged: { micro: 0 }, held: { micro: 0 }, status: 'complete' });
});

test('G59: embeddings are priced by their input, counted when nobody reports it, and a flat price is paid per request', async () => {
  const path = '/v1/embeddings';
  const many = { model: 'p-embed', input: ['one text', 'and another', 'und ein dritter'] };
  will(up.says(up.usageOf({ prompt_tokens: 1000, total_tokens: 1000 })), up.says(up.noUsage()), up.says(up.noUsage()));
  const known = await exchange(me, many, { path });
  expect(known.row).toMatchObject({ source: 'upstream', charged: { micro: 2000 }, usage: { input: 1000, output: 0 } });
  const { row, sent, result } = await exchange(me, many, { path });
  const { input } = await counted({ endpoint: 'embeddings', model: 'p-embed', request: sent, response: [result.body], stream: false });
  expect(row).toMatchObject({ source: 'estimated', charged: { micro: input * 2 } });
  expect(input).toBeGreaterThan(5);
  const flat = await exchange(me, { ...many, model: 'p-flat', input: [1, 2, 3] }, { path });
  expect(flat.row.charged.micro).toBe(10_000_000);
});

test('G55, G56: a new price counts from the next request on; a broken file changes nothing and is said loudly', async () => {
  const usage = up.usageOf({ prompt_tokens: 100, completion_tokens: 10 });
  will(up.says('before', up.gate('price change'), usage));
  const running = post(me, '/v1/chat/completions', JSON.stringify(chat('p-changing', { stream: true })));
  await running.until('before');
  const dearer = { ...MODELS, 'p-changing': { ratio: 10, output: '4x' } };
  writeConfig(JSON.stringify(config(dearer)));
  const after = await eventually('a request at the new price', async () => {
    const { row } = await exchange(me, chat('p-changing', { max_tokens: 5 }));
    return row.breakdown.lines.some(({ rate }) => rate === '2000') ? row : undefined;
  });
  upstream.open('price change');
  const old: Row = await rowOf(farebox, me.orgId, requestIdOf(await running.end()));
  expect(old.charged.micro).toBe(100 * 200 + 10 * 800);
  expect(after.price_version).not.toBe(old.price_version);

  writeConfig('models: { p-changing: { ratio: -1 } }\nupstreams: [');
  await eventually('the server says what is wrong', async () => {
    const ready = await fetch(`${farebox.url}/readyz`);
    return (await ready.text()).includes('config') && ready.status === 200 ? true : undefined;
  });
  const { row } = await exchange(me, chat('p-changing'));
  expect(row.price_version).toBe(after.price_version);
  writeConfig(JSON.stringify(config(dearer)));
  await eventually('the complaint is gone', async () =>
    (await (await fetch(`${farebox.url}/readyz`)).text()).includes('config') ? undefined : true,
  );
});

/** As editors do it: the old file, then the whole new one. */
function writeConfig(text: string): void {
  const file = join(farebox.data, 'config.yaml');
  writeFileSync(`${file}.next`, text);
  renameSync(`${file}.next`, file);
}

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(farebox, [me.orgId]);
});
