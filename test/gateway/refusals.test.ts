import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { monotonicMs } from '../../src/domain/clock.js';
import { newOrgId, newRequestId, newTokenId } from '../../src/domain/ids.js';
import type { RefusedRequest } from '../../src/domain/refused.js';
import { endpointOf } from '../../src/gateway/endpoints.js';
import { forbidden, type GatewayError, unauthorized, unavailable } from '../../src/gateway/errors.js';
import type { Refused } from '../../src/gateway/exchange.js';
import { createRefusals, ROWS_PER_TOKEN } from '../../src/gateway/refusals.js';
import { createMetrics } from '../../src/telemetry/metrics.js';

const MINUTE = 60_000;
const START = 1_000 * MINUTE;
const NOT_ALLOWED = forbidden('This token may not use that.', 'model_not_allowed', 'model');

/** A desk that takes everything, or nothing. */
function opened(answer: { takes: boolean } = { takes: true }) {
  const batches: (readonly RefusedRequest[])[] = [];
  const metrics = createMetrics({ defaults: false });
  const refusals = createRefusals({
    metrics,
    deliver: (batch) => {
      if (answer.takes) batches.push(batch);
      return answer.takes;
    },
  });
  refusals.tick(START);
  const unlisted = async () => (await metrics.refusalsUnlisted.get()).values[0]?.value ?? 0;
  return { refusals, batches, rows: () => batches.flat(), unlisted };
}

const orgId = newOrgId();

function refusedOf(
  caller: { tokenId?: string; orgId?: string; agent?: string | null } = {},
  headers: Record<string, string> = {},
): Refused {
  return {
    id: newRequestId(),
    req: { headers } as unknown as IncomingMessage,
    endpoint: endpointOf('/v1/chat/completions'),
    startedMs: monotonicMs(),
    caller: { tokenId: caller.tokenId ?? newTokenId(orgId), orgId: caller.orgId ?? orgId, token: { agent: caller.agent ?? null } },
    asked: null,
  } as unknown as Refused;
}

const many = (count: number, act: () => void): void => {
  for (let i = 0; i < count; i++) act();
};

test('a refusal becomes a row with the code its client was given, within a second', () => {
  const { refusals, rows } = opened();
  const refused = refusedOf({ agent: 'usual' }, { 'x-request-id': 'mine', 'x-conversation-id': 'talk' });
  refusals.note(refused, NOT_ALLOWED);
  expect(rows()).toEqual([]);
  refusals.tick(START + 1_000);
  expect(rows()).toMatchObject([
    {
      ...{
        request_id: refused.id,
        token_id: refused.caller.tokenId,
        org_id: orgId,
        model: 'unknown',
        stream: false,
        endpoint: '/chat/completions',
      },
      ...{ http_status: 403, code: 'model_not_allowed', agent: 'usual', conversation: 'talk', client_request_id: 'mine', unlisted: 0 },
    },
  ]);
});

test('of a flood of one token the first have rows, and one more row at the end of the minute says how many there were', async () => {
  const { refusals, rows, unlisted } = opened();
  const flooder = refusedOf();
  many(5_000, () => refusals.note({ ...flooder, id: newRequestId() }, NOT_ALLOWED));
  refusals.note(refusedOf(), NOT_ALLOWED);
  refusals.tick(START + 1_000);
  expect(rows()).toHaveLength(ROWS_PER_TOKEN + 1);
  refusals.tick(START + MINUTE);
  const last = rows().at(-1);
  expect(last).toMatchObject({ token_id: flooder.caller.tokenId, unlisted: 5_000 - ROWS_PER_TOKEN - 1 });
  expect(rows().reduce((sum, row) => sum + 1 + row.unlisted, 0)).toBe(5_001);
  expect(await unlisted()).toBe(5_000 - ROWS_PER_TOKEN - 1);
  refusals.note({ ...flooder, id: newRequestId() }, NOT_ALLOWED);
  refusals.tick(START + MINUTE + 1_000);
  expect(rows().at(-1)).toMatchObject({ token_id: flooder.caller.tokenId, unlisted: 0 });
});

test('an organization with a thousand tokens has no more rows for it than a hundred a minute, and one for each token', () => {
  const { refusals, batches, rows } = opened();
  const tokens = Array.from({ length: 300 }, () => refusedOf());
  for (const token of tokens) many(10, () => refusals.note({ ...token, id: newRequestId() }, NOT_ALLOWED));
  refusals.tick(START + 1_000);
  expect(rows()).toHaveLength(100);
  refusals.tick(START + MINUTE);
  expect(rows().length).toBeLessThanOrEqual(100 + 300);
  expect(rows().reduce((sum, row) => sum + 1 + row.unlisted, 0)).toBe(3_000);
  expect(Math.max(...batches.map((batch) => batch.length))).toBeLessThanOrEqual(500);
});

test('while nobody takes them a bounded number waits; the rest is only counted', async () => {
  const desk = { takes: false };
  const { refusals, rows, unlisted } = opened(desk);
  many(200, () => {
    const org = newOrgId();
    many(10, () => refusals.note(refusedOf({ orgId: org, tokenId: newTokenId(org) }), NOT_ALLOWED));
  });
  refusals.tick(START + 1_000);
  expect(rows()).toEqual([]);
  expect(await unlisted()).toBe(1_000);
  desk.takes = true;
  refusals.tick(START + 2_000);
  refusals.tick(START + 3_000);
  refusals.tick(START + 4_000);
  expect(rows()).toHaveLength(1_000);
});

test.each([
  ['trouble of our own', unavailable('Not now.')],
  ['a secret nobody has', unauthorized('Not known.')],
] as [string, GatewayError][])('%s is no row', (_what, error) => {
  const { refusals, rows } = opened();
  refusals.note(refusedOf(), error);
  refusals.close();
  expect(rows()).toEqual([]);
});

test('what has come together is handed over at the end', () => {
  const { refusals, rows } = opened();
  const flooder = refusedOf();
  many(ROWS_PER_TOKEN + 5, () => refusals.note({ ...flooder, id: newRequestId() }, NOT_ALLOWED));
  refusals.close();
  expect(rows().map(({ unlisted }) => unlisted)).toEqual([...Array.from({ length: ROWS_PER_TOKEN }, () => 0), 4]);
});
