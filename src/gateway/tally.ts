import type { Metrics } from '../telemetry/metrics.js';

/** What the hot path counts. Every call here is a look-up by a short text and an addition. */
export interface GatewayTally {
  overhead(endpoint: string, ms: number): void;
  firstByte(endpoint: string, ms: number): void;
  /** The store's word for its answer, and how long that took. */
  held(outcome: string, ms: number): void;
  ended(request: { readonly endpoint: string; readonly status: number; readonly ending: string; readonly ms: number }): void;
  upstream(name: string, outcome: string, status: number): void;
  /** From the beginning of this attempt. */
  upstreamFirstByte(name: string, ms: number): void;
  charged(cost: number, tokens: { readonly input: number; readonly output: number }): void;
}

export function createTally(metrics: Metrics): GatewayTally {
  const one = (endpoint: string) => () => ({ endpoint });
  const input = () => ({ direction: 'input' });
  const output = () => ({ direction: 'output' });
  const none = () => ({});
  const upstreamKey = joiner();
  const endingKey = joiner();
  return {
    overhead: (endpoint, ms) => metrics.overhead.observe(endpoint, one(endpoint), ms / 1000),
    firstByte: (endpoint, ms) => metrics.firstToken.observe(endpoint, one(endpoint), ms / 1000),
    held: (outcome, ms) => {
      metrics.holds.add(outcome, () => ({ outcome }));
      metrics.holdTime.observe('', none, ms / 1000);
    },
    ended: ({ endpoint, status, ending, ms }) => {
      const key = status === 200 ? endingKey(endpoint, ending) : `${endpoint} ${status} ${ending}`;
      metrics.requests.add(key, () => ({ endpoint, status, ending }));
      metrics.latency.observe(endpoint, one(endpoint), ms / 1000);
    },
    upstream: (upstream, outcome, status) => {
      metrics.upstreamRequests.add(upstreamKey(upstream, outcome), () => ({ upstream, outcome }));
      metrics.recent.ended(upstream, outcome, status);
    },
    upstreamFirstByte: (upstream, ms) => metrics.recent.firstByte(upstream, ms),
    charged: (cost, tokens) => {
      if (cost > 0) metrics.charged.add('', none, metrics.credits(cost));
      if (tokens.input > 0) metrics.tokens.add('input', input, tokens.input);
      if (tokens.output > 0) metrics.tokens.add('output', output, tokens.output);
    },
  };
}

/** Two short texts as one, put together the first time only: a text put together anew has to be hashed anew. */
function joiner(): (first: string, second: string) => string {
  const known = new Map<string, Map<string, string>>();
  return (first, second) => {
    let seconds = known.get(first);
    if (!seconds) {
      seconds = new Map();
      known.set(first, seconds);
    }
    let text = seconds.get(second);
    if (text === undefined) {
      text = `${first} ${second}`;
      seconds.set(second, text);
    }
    return text;
  };
}
