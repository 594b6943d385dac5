import { expect, test } from 'vitest';
import { type ChargeEvent, NO_USAGE } from '../../src/domain/charge.js';
import { newOrgId, newRequestId, newTokenId } from '../../src/domain/ids.js';
import { chargeEvent, type Ending } from '../../src/gateway/event.js';
import type { Exchange } from '../../src/gateway/exchange.js';
import { linesOf } from '../../src/ledger/lines.js';

const orgId = newOrgId(7);
const tokenId = newTokenId(orgId);

interface Asked {
  readonly model?: string;
  readonly endUser?: string | null;
  readonly headers?: Record<string, string>;
}

function written(asked: Asked = {}, ending: Partial<Ending> = {}): string {
  const exchange = {
    id: newRequestId(),
    asked: { model: asked.model ?? 'gpt-4o', stream: true, endUser: asked.endUser ?? null, conversation: null },
    caller: { orgId, tokenId, token: { agent: null } },
    endpoint: { path: '/chat/completions' },
    req: { headers: asked.headers ?? {} },
    who: null,
    trace: null,
  } as unknown as Exchange;
  return chargeEvent(exchange, {
    ...{ kind: 'final', status: 'complete', candidate: undefined, httpStatus: 200, cost: 725, held: 800, debt: false, operatorLoss: 0 },
    ...{ source: 'upstream', usage: { ...NO_USAGE, input: 1000, output: 500 }, priceVersion: 'pv_0123456789abcdef' },
    ...{ breakdown: { lines: [{ meter: 'input', quantity: 800, rate: '5/2' }], times: '4/5' }, finishReason: 'stop' },
    ...{ latencyMs: 12, ttftMs: 3, flags: [], attempts: 1, ...ending },
  });
}

/** The same JSON in another order, which is read member by member. */
const shuffled = (event: string): string => JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(event) as ChargeEvent).reverse()));

/** What Postgres makes of a batch with one line, as far as that can be said without it. */
function meant(event: string): unknown {
  const { lines, breakdowns, shapes, orgs, tokens } = linesOf([event]);
  const cells = [...lines.slice(1, -1).matchAll(/"((?:[^"\\]|\\.)*)"(?:,|$)|([^,]*)(?:,|$)/gs)].map(([, text, plain]) =>
    text === undefined ? plain : text.replace(/\\(.)/gs, '$1'),
  );
  const line = cells.map((cell) => (cell?.startsWith('{') ? (JSON.parse(cell) as unknown) : cell));
  return { line, breakdown: JSON.parse(breakdowns) as unknown, shapes: JSON.parse(shapes) as unknown, orgs, tokens };
}

const nasty = 'a"b\\c\n\t,(){}[]\u0000\ud800é😀","kind":"floor';

test.each<[string, string]>([
  ['a plain one', written()],
  [
    'with everything said that can be',
    written({ model: nasty, endUser: nasty, headers: { 'x-request-id': nasty, 'x-conversation-id': 'c' } }),
  ],
  ['with an agent', written({ headers: { 'x-agent-id': 'a,b' } })],
  ['with meters of its own', written({}, { usage: { ...NO_USAGE, meters: { 'web"search': 2, pages: 1 } } })],
  ['that failed', written({}, { status: 'failed', httpStatus: 502, finishReason: null, ttftMs: null, flags: ['usage_missing'], cost: 0 })],
  ['beyond its hold', written({}, { debt: true, operatorLoss: 17, kind: 'floor' })],
])('an event as the gateway writes it, %s, says the same cut as read', (_, event) => {
  expect(meant(event)).toEqual(meant(shuffled(event)));
});

test('the gateway’s own form is cut, not read', () => {
  const parse = JSON.parse;
  let read = 0;
  JSON.parse = (text: string) => {
    read += 1;
    return parse(text) as unknown;
  };
  try {
    linesOf([written({ endUser: 'user-1', headers: { 'x-request-id': 'abc' } }), written({}, { flags: ['x'], debt: true, ttftMs: null })]);
  } finally {
    JSON.parse = parse;
  }
  expect(read).toBe(0);
});

test('members that are 0, false or empty may be left out', () => {
  const lean = written();
  const { usage } = JSON.parse(lean) as { usage: object };
  const event = lean
    .replace(/"usage":\{[^}]*\}/, `"usage":${JSON.stringify({ ...NO_USAGE, ...usage })}`)
    .replace('"source":', '"debt":false,"operator_loss":0,"source":')
    .replace('"attempts":', '"flags":[],"attempts":');
  expect(lean.length).toBeLessThan(event.length - 150);
  expect(meant(lean)).toEqual(meant(event));
  expect(meant(shuffled(lean))).toEqual(meant(event));
});

test('who pays and what repeats is said once', () => {
  const other = newOrgId(8);
  const events = [written(), written({ endUser: 'x' }), written({ model: 'b' }), written().replaceAll(orgId, other)];
  const { count, orgs, tokens, txs, shapes, lines } = linesOf(events);
  expect({ count, orgs, tokens, txs }).toEqual({ count: 4, orgs: [orgId, other], tokens: [tokenId, tokenId], txs: [1, 2] });
  expect(JSON.parse(shapes)).toHaveLength(2);
  expect(lines.split('\n').map((line) => /^\((\d+),(\d+),/.exec(line)?.slice(1).join())).toEqual(['1,1', '1,1', '1,2', '2,1']);
});

test('how an unusual request came to its answer travels with what repeats, and usual ones say nothing of it', () => {
  const trace = { tries: [{ upstream: 'a', status: 503, ms: 4 }] };
  const told = written().replace(/\}$/, `,"trace":${JSON.stringify(trace)}}`);
  const { shapes, lines } = linesOf([written(), told]);
  expect((JSON.parse(shapes) as { trace?: unknown }[]).map((shape) => shape.trace)).toEqual([undefined, trace]);
  expect(new Set(lines.split('\n').map((line) => line.split(',').length)).size).toBe(1);
});

test('no text can end a line', () => {
  const { lines, breakdowns, mark, count } = linesOf([written({ endUser: 'a\nb' }), written({ endUser: '\n' }), written()]);
  expect(lines.split(mark)).toHaveLength(count);
  expect(breakdowns.split(mark)).toHaveLength(count);
});

test.each(['', 'null', '7', '{"request_id":', '{"request_id":"req_1"}\u0000'])('%j is no record either', (event) => {
  expect(linesOf([event])).toMatchObject({ lines: 'this is not a charge event', count: 1 });
});
