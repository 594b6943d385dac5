import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, post, requestIdOf, rowOf, scriptOf } from './books.js';

let upstream: up.Upstream;
let farebox: Farebox;
let plain: Client;
let usual: Client;
let will: (...answers: up.Answer[]) => void;

beforeAll(async () => {
  upstream = await up.startUpstream();
  farebox = await startFarebox({ upstream: upstream.url, databaseUrl: (await freshDatabase(inject('databaseUrl'))).url });
  const orgId = await farebox.createOrg();
  await farebox.grant(orgId, 100);
  const clientOf = async (token: Record<string, unknown>) => ({ farebox, orgId, token: (await farebox.createToken(orgId, token)).secret });
  [plain, usual] = await Promise.all([clientOf({}), clientOf({ agent_id: 'usual' })]);
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(() => upstream.stop());

const NONE = { agent: null, conversation: null, end_user: null };
const EVERY = { agent_id: 'of metadata', agent: 'also of metadata', conversation_id: 'talk of metadata' };
const HEADERS = { 'x-agent-id': 'of the header', 'x-conversation-id': 'talk of the header' };

test.each([
  ['says nothing', () => plain, {}, {}, NONE],
  ['has a token with an agent', () => usual, {}, {}, { ...NONE, agent: 'usual' }],
  ['names an agent in metadata', () => usual, { metadata: { agent: 'sorter' } }, {}, { ...NONE, agent: 'sorter' }],
  [
    'names an agent twice in metadata',
    () => usual,
    { metadata: EVERY },
    {},
    { ...NONE, agent: 'of metadata', conversation: 'talk of metadata' },
  ],
  ['names an agent in a header', () => usual, {}, { 'x-agent-id': 'of the header' }, { ...NONE, agent: 'of the header' }],
  ['names a conversation in a header', () => plain, {}, { 'x-conversation-id': 'talk' }, { ...NONE, conversation: 'talk' }],
  ['names a conversation in metadata', () => plain, { metadata: { conversation_id: 'talk' } }, {}, { ...NONE, conversation: 'talk' }],
  ['names an end user', () => plain, { user: 'u-7' }, {}, { ...NONE, end_user: 'u-7' }],
  [
    'says everything',
    () => usual,
    { metadata: EVERY, user: 'u' },
    HEADERS,
    { agent: 'of the header', conversation: 'talk of the header', end_user: 'u' },
  ],
  [
    'sends empty headers',
    () => plain,
    { metadata: EVERY },
    { 'x-agent-id': '', 'x-conversation-id': '' },
    { ...NONE, agent: 'of metadata', conversation: 'talk of metadata' },
  ],
  ['sends nonsense', () => usual, { metadata: { agent_id: 7, agent: {}, conversation_id: [] }, user: 9 }, {}, { ...NONE, agent: 'usual' }],
  ['sends metadata that are none', () => plain, { metadata: 'agent_id' }, {}, NONE],
  ['says too much', () => plain, { metadata: { agent_id: 'a'.repeat(300) } }, {}, { ...NONE, agent: 'a'.repeat(256) }],
] as const)('a request that %s is a row of exactly that', async (_what, client, body, headers, expected) => {
  will(up.says('ok', up.usage(3, 1)));
  const sent = { model: 'fake-model', messages: [{ role: 'user', content: 'hi' }], max_tokens: 10, ...body };
  const result = await post(client(), '/v1/chat/completions', JSON.stringify(sent), { headers }).end();
  expect(result.status).toBe(200);
  expect(await rowOf(farebox, plain.orgId, requestIdOf(result))).toMatchObject(expected);
  const seen = upstream.requests.at(-1);
  expect(seen?.json).toMatchObject(body);
  expect([seen?.headers.has('x-agent-id'), seen?.headers.has('x-conversation-id')]).toEqual([false, false]);
});
