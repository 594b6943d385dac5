import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, eventually, expectCleanBooks, post, requestIdOf, rowOf, scriptOf, walletOf } from './books.js';

const CHAT = '/v1/chat/completions';
let upstream: up.Upstream;
let farebox: Farebox;
let me: Client;

beforeAll(async () => {
  upstream = await up.startUpstream();
  const config = { gateway: { heartbeat: '1s' } };
  farebox = await startFarebox({ upstream: upstream.url, config, databaseUrl: (await freshDatabase(inject('databaseUrl'))).url });
  const { orgId, token } = await farebox.customer(100);
  me = { farebox, orgId, token };
});
afterAll(() => upstream.stop());

test('a stream that outgrows its hold says when it grew, and to how much', async () => {
  const words = Array.from({ length: 60 }, (_, i) => `word${i} `);
  scriptOf(upstream)(up.says(...words, up.gate('grown'), 'end', up.usage(10, 61)));
  const body = { model: 'fake-model', messages: [{ role: 'user', content: 'hi' }], stream: true, max_tokens: 20 };
  const call = post(me, CHAT, JSON.stringify(body));
  await call.until('word59');
  const before = (await walletOf(farebox, me.orgId)).inFlight;
  await eventually('the hold grows', async () => ((await walletOf(farebox, me.orgId)).inFlight > before ? true : undefined));
  upstream.open('grown');
  const row = await rowOf(farebox, me.orgId, requestIdOf(await call.end()));
  const { timeline } = row as unknown as {
    timeline: { extensions: { ms: number; held: { micro: number } }[]; first_byte_ms: number; settled_ms: number };
  };
  expect(timeline.extensions.length).toBeGreaterThan(0);
  expect(timeline.extensions.at(-1)?.held.micro).toBe(row.held.micro);
  const times = [timeline.first_byte_ms, ...timeline.extensions.map(({ ms }) => ms), timeline.settled_ms];
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(row).toMatchObject({ counting: { source: 'upstream', upstream: { input: 10, output: 61 }, tokenizer: null } });
  expect(row).toMatchObject({ routing: [{ upstream: 'fake', status: 200, failure: null, ms: null }] });
  await expectCleanBooks(farebox, [me.orgId]);
});
