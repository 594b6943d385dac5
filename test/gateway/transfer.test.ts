import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { monotonicMs } from '../../src/domain/clock.js';
import type { AdmittedExchange, GatewayParts, Outcome } from '../../src/gateway/exchange.js';
import { createOpenRequests } from '../../src/gateway/open.js';
import { Transfer } from '../../src/gateway/transfer.js';
import { freeEntry } from '../../src/pricing/entry.js';
import { ONE } from '../../src/pricing/fraction.js';
import type { Sink } from '../../src/upstreams/forward.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A transfer whose upstream does what it is told at each attempt, and everything it tells others. */
function transferTo(...attempts: ((sink: Sink) => void)[]) {
  const open = createOpenRequests(10);
  const outcomes: Outcome[] = [];
  const endings: string[] = [];
  const answered: { status?: number; body?: string } = {};
  const settings = { name: 'fake', concurrency: 0, retries: attempts.length - 1, includeUsage: true, timeouts: { totalMs: 0 } };
  const dispatch = (_options: unknown, handler: Sink): void => attempts.shift()?.(handler);
  const upstream = { settings, inFlight: 0, basePath: '', headers: [], pool: { dispatch } };
  const entry = freeEntry({}, { pattern: 'm', origin: 'config' });
  const candidate = { upstream, servedModel: 'm', named: '"served_model":"m","upstream":"fake"', entry, times: ONE };
  const checkpoints = vi.fn();
  const parts = {
    open,
    settings: { heartbeatMs: 60_000, writeStallMs: 60_000, backgroundFinishMs: 60_000 },
    journal: { held: checkpoints },
    log: { error: vi.fn(), info: vi.fn(), warn: vi.fn() },
    tally: { upstream: vi.fn(), firstByte: vi.fn() },
    settlements: { finish: (_exchange: unknown, outcome: Outcome) => outcomes.push(outcome) && 0 },
  } as unknown as GatewayParts;
  const res = {
    req: { complete: true, headers: {} },
    writeHead: (status: number) => {
      answered.status = status;
    },
    end: (body: string) => {
      answered.body = body;
    },
    destroy: vi.fn(),
  };
  const exchange = {
    id: 'req_1',
    req: { headers: {} },
    res,
    endpoint: { path: '/chat/completions' },
    asked: { stream: true, includeUsage: true, model: 'm', textBytes: 80 },
    caller: { orgId: 'org_1', tokenId: 'tok_1' },
    who: '{"request_id":"req_1"',
    trace: null,
    bytes: Buffer.from('{"model":"m"}'),
    startedMs: monotonicMs(),
    gone: false,
    admission: { candidates: [candidate], amount: 1, remaining: 0 },
  } as unknown as AdmittedExchange;
  const transfer = new Transfer(parts, exchange, (ending) => {
    endings.push(ending);
    open.remove(transfer);
  });
  open.add(transfer);
  return { transfer, open, outcomes, endings, answered, checkpoints };
}

const throws = (): never => {
  throw new RangeError('a mistake of ours');
};
const breaksOff = (sink: Sink): void => {
  const handler = sink as unknown as { onResponseError(controller: null, error: Error): void };
  handler.onResponseError(null, Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
};

test('a mistake on the way to the upstream gives the hold back once, and the client is told that it was ours', () => {
  const { transfer, open, outcomes, endings, answered } = transferTo(throws);
  transfer.start();
  expect(outcomes).toMatchObject([{ status: 'failed', owed: false, flags: ['internal_error'] }]);
  expect(endings).toEqual(['failed']);
  expect([open.size, answered.status]).toEqual([0, 500]);
  transfer.tick(monotonicMs() + 60_000);
  transfer.cut({ status: 503, type: 'api_error', code: 'shutting_down', message: 'x' });
  expect(outcomes).toHaveLength(1);
});

test('a mistake in a later attempt, which nobody is waiting for, does the same', () => {
  const { transfer, open, outcomes, endings } = transferTo(breaksOff, throws);
  transfer.start();
  expect([open.size, outcomes.length]).toEqual([1, 0]);
  vi.advanceTimersByTime(1_000);
  expect(outcomes).toMatchObject([{ status: 'failed', owed: false }]);
  expect(endings).toEqual(['failed']);
  expect(open.size).toBe(0);
});

test('without a mistake the last reason is the answer', () => {
  const { transfer, outcomes, answered } = transferTo(breaksOff);
  transfer.start();
  expect(answered.status).toBe(502);
  expect(outcomes).toMatchObject([{ status: 'failed', owed: false }]);
});

const accepts = (sink: Sink): void => {
  const handler = sink as unknown as { onResponseStart(controller: null, status: number, headers: object): void };
  handler.onResponseStart(null, 200, {});
};

test('a running request makes its checkpoint once a second, in a moment of its own', () => {
  const { transfer, checkpoints } = transferTo(accepts);
  const startedMs = monotonicMs();
  transfer.start();
  const at: number[] = [];
  checkpoints.mockImplementation(() => at.push(0));
  const made: number[] = [];
  // Everybody is looked at at the same moments; this one began 340 ms after one of them.
  for (let ms = 60; ms <= 3_560; ms += 100) {
    const before = at.length;
    transfer.tick(startedMs + ms);
    if (at.length > before) made.push(ms);
  }
  expect(made).toEqual([1_060, 2_060, 3_060]);
});
