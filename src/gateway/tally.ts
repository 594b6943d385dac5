import type { Metrics } from '../telemetry/metrics.js';

/** What the hot path counts. Every call here is a look-up by a short text and an addition. */
export interface GatewayTally {
  overhead(endpoint: string, ms: number): void;
  firstByte(endpoint: string, ms: number): void;
  ended(request: { readonly endpoint: string; readonly status: number; readonly ending: string; readonly ms: number }): void;
  upstream(name: string, outcome: string): void;
  charged(cost: number, tokens: { readonly input: number; readonly output: number }): void;
}

export function createTally(metrics: Metrics): GatewayTally {
  const one = (endpoint: string) => () => ({ endpoint });
  const input = () => ({ direction: 'input' });
  const output = () => ({ direction: 'output' });
  const none = () => ({});
  return {
    overhead: (endpoint, ms) => metrics.overhead.observe(endpoint, one(endpoint), ms / 1000),
    firstByte: (endpoint, ms) => metrics.firstToken.observe(endpoint, one(endpoint), ms / 1000),
    ended: ({ endpoint, status, ending, ms }) => {
      metrics.requests.add(`${endpoint} ${status} ${ending}`, () => ({ endpoint, status, ending }));
      metrics.latency.observe(endpoint, one(endpoint), ms / 1000);
    },
    upstream: (upstream, outcome) => metrics.upstreamRequests.add(`${upstream} ${outcome}`, () => ({ upstream, outcome })),
    charged: (cost, tokens) => {
      if (cost > 0) metrics.charged.add('', none, metrics.credits(cost));
      if (tokens.input > 0) metrics.tokens.add('input', input, tokens.input);
      if (tokens.output > 0) metrics.tokens.add('output', output, tokens.output);
    },
  };
}
