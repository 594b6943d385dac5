import { expect, test } from 'vitest';
import type { ChargeEvent } from '../../src/domain/charge.js';
import { NO_USAGE } from '../../src/domain/charge.js';
import { newOrgId, newRequestId, newTokenId } from '../../src/domain/ids.js';
import { chargeEvent, orphanNote, rowOf, traceOf } from '../../src/gateway/event.js';
import type { Exchange } from '../../src/gateway/exchange.js';

const orgId = newOrgId(7);
const tokenId = newTokenId(orgId);
const nasty = 'a"b\\c\n\u0000\ud800é😀';

function exchange(part: { model: string; headers?: Record<string, string> }): Exchange {
  const asked = { model: part.model, stream: true, endUser: nasty, agent: null, conversation: null };
  const caller = { orgId, tokenId, token: { agent: 'default-agent' } };
  return {
    id: newRequestId(),
    asked,
    caller,
    endpoint: { path: '/chat/completions' },
    req: { headers: part.headers ?? {} },
    who: null,
    trace: null,
  } as unknown as Exchange;
}

const ending = {
  kind: 'final',
  status: 'complete',
  candidate: undefined,
  httpStatus: 200,
  cost: 725_000,
  held: 800_000,
  debt: false,
  operatorLoss: 0,
  source: 'upstream',
  usage: { ...NO_USAGE, input: 1000, cached_input: 200, output: 500, meters: { 'web"search': 2 } },
  priceVersion: 'pv_0123456789abcdef',
  breakdown: { lines: [{ meter: 'input', quantity: 800, rate: '5/2' }], times: '4/5' },
  finishReason: 'stop',
  latencyMs: 12,
  ttftMs: null,
  flags: ['usage_missing'],
  attempts: 2,
} as const;

test('a row written by hand says what a general writer would say, and nothing of what nobody said', () => {
  const one = exchange({ model: nasty, headers: { 'x-request-id': 'c"1', 'x-conversation-id': nasty } });
  const row = JSON.parse(chargeEvent(one, ending)) as ChargeEvent;
  const clean = 'a"b\\c\n\ufffd\ufffdé😀';
  expect(row).toEqual({
    request_id: one.id,
    org_id: orgId,
    token_id: tokenId,
    model: clean,
    served_model: clean,
    upstream: '',
    endpoint: '/chat/completions',
    stream: true,
    client_request_id: 'c"1',
    end_user: clean,
    agent: 'default-agent',
    conversation: clean,
    kind: 'final',
    status: 'complete',
    http_status: 200,
    cost: 725_000,
    held: 800_000,
    source: 'upstream',
    usage: { input: 1000, cached_input: 200, output: 500, meters: { 'web"search': 2 } },
    price_version: ending.priceVersion,
    breakdown: ending.breakdown,
    finish_reason: 'stop',
    latency_ms: 12,
    flags: ['usage_missing'],
    attempts: 2,
  });
});

test('the short note of a fresh hold grows into the whole row of a request whose owner vanished', () => {
  const one = exchange({ model: 'm' });
  const note = orphanNote(one, { amount: 5_000, priceVersion: 'pv_1', candidate: undefined });
  expect(JSON.parse(rowOf(note, { amount: 5_000, floor: 0 }))).toMatchObject({
    request_id: one.id,
    kind: 'floor',
    status: 'orphaned',
    cost: 0,
    held: 5_000,
    usage: NO_USAGE,
    breakdown: { lines: [], times: '1' },
    flags: ['owner_vanished'],
    price_version: 'pv_1',
  });
});

test('what did not go as usual is told with the row, and text in it cannot break it', () => {
  const one = exchange({ model: 'm' });
  const trace = traceOf(one);
  trace.tries = [{ upstream: nasty, failure: 'connect', ms: 3 }];
  expect(traceOf(one)).toBe(trace);
  const row = JSON.parse(chargeEvent(one, ending)) as ChargeEvent;
  expect(row.trace).toEqual({ tries: [{ upstream: 'a"b\\c\n\ufffd\ufffdé😀', failure: 'connect', ms: 3 }] });
});
