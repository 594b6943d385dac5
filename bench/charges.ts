// A charge letter by letter as a gateway writes it: any other JSON that says the same is read in another, slower way.
import { textUsage } from '../src/domain/charge.js';
import { newRequestId, type OrgId, type TokenId } from '../src/domain/ids.js';
import { chargeEvent, namedOf } from '../src/gateway/event.js';
import type { Exchange, PricedCandidate } from '../src/gateway/exchange.js';

export interface Customer {
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
}

export interface Asked {
  readonly model: string;
  readonly stream: boolean;
  readonly endUser: string | null;
}

export function chargeOf(customer: Customer, asked: Asked): string {
  const exchange = {
    id: newRequestId(),
    asked: { ...asked, agent: null, conversation: null },
    caller: { ...customer, token: { agent: null } },
    endpoint: { path: '/chat/completions' },
    req: { headers: {} },
    who: null,
    trace: null,
  } as unknown as Exchange;
  return chargeEvent(exchange, {
    ...{ kind: 'final', status: 'complete', httpStatus: 200, cost: 3_066, held: 60_000, debt: false, operatorLoss: 0, source: 'upstream' },
    candidate: { named: namedOf(`${asked.model}-2024-07-18`, 'openai') } as PricedCandidate,
    usage: { ...textUsage(1_204, 310), cached_input: 800 },
    priceVersion: '8c1f2b6a9d0e4f73',
    breakdown: {
      lines: [
        { meter: 'input', quantity: 404, rate: '3/2' },
        { meter: 'cached_input', quantity: 800, rate: '3/4' },
        { meter: 'output', quantity: 310, rate: '6' },
      ],
      times: '1',
    },
    ...{ finishReason: 'stop', latencyMs: 840, ttftMs: 210, flags: [], attempts: 1 },
  });
}
