import type { Random } from '../random.js';
import type { Endpoint } from './count.js';
import { type Ending, endingFor } from './endings.js';
import type { Price } from './price.js';
import { sentence } from './texts.js';

/** One request of the oracle: what is sent, how it ends, and what its tokens cost. */
export interface Case {
  readonly tag: string;
  readonly endpoint: Endpoint;
  readonly path: string;
  readonly stream: boolean;
  readonly choices: number;
  readonly body: string;
  readonly price: Price;
  readonly ending: Ending;
}

/** Every price of the oracle's configuration is multiplied by this. */
export const MULTIPLIER = '1.1';

interface Model {
  readonly name: string;
  /** As the operator writes it. */
  readonly written: Readonly<Record<string, unknown>>;
  /** As the oracle reads it: micro-credits per token. One credit per 1M tokens is one micro-credit per token. */
  readonly price: Price;
}

const MODELS: readonly Model[] = [
  {
    name: 'ratio',
    written: { ratio: 1, output: '4x', cached: '0.5x' },
    price: { input: '200', output: '800', cached: '100' },
  },
  {
    name: 'odd',
    written: { per: '1M tokens', input: 0.123457, output: 7.7, cached: 0.01, reasoning: 9.1, request: 0.0007 },
    price: { input: '0.123457', output: '7.7', cached: '0.01', reasoning: '9.1', fee: '700' },
  },
  { name: 'flat', written: { per: 'request', price: 0.5 }, price: { fee: '500000' } },
  {
    name: 'long',
    written: { per: '1M tokens', input: 100, output: 300, tiers: [{ above: 50, input: 250, output: 500 }] },
    price: { input: '100', output: '300', above: { tokens: 50, input: '250', output: '500' } },
  },
];
const EMBED: Model = { name: 'embed', written: { per: '1M tokens', input: 13.37, output: 'none' }, price: { input: '13.37' } };

/** The configuration of a server the oracle can judge: its prices, and an upstream that is given up soon when silent. */
export function oracleConfig(upstream: string): Record<string, unknown> {
  const models = [...MODELS, EMBED].flatMap(({ name, written }) => [
    [`fake-${name}`, written],
    [`silent-${name}`, written],
  ]);
  const api_key = 'upstream-secret';
  return {
    credits: { value: '0.01 USD', base: 200 },
    groups: { default: Number(MULTIPLIER) },
    server: { log_level: 'warn' },
    upstreams: {
      fake: { base_url: upstream, api_key, models: ['fake-*'] },
      silent: { base_url: upstream, api_key, models: ['silent-*'], timeouts: { first_byte: '3s', idle: '3s' } },
    },
    models: Object.fromEntries(models),
  };
}

export function makeCase(random: Random, number: number): Case {
  const endpoint = random.pick(['chat', 'chat', 'completions', 'embeddings'] as const);
  const stream = endpoint !== 'embeddings' && random.chance(0.6);
  const choices = endpoint !== 'embeddings' && random.chance(0.15) ? random.whole(2, 3) : 1;
  const tag = `case-${number}`;
  const ending = endingFor({ random, tag, choices }, stream);
  const model = endpoint === 'embeddings' ? EMBED : random.pick(MODELS);
  const asked = {
    model: `${ending.silent ? 'silent' : 'fake'}-${model.name}`,
    user: tag,
    ...content(endpoint, random),
    ...(stream ? { stream: true } : {}),
    ...(stream && random.chance(0.4) ? { stream_options: { include_usage: random.chance(0.8) } } : {}),
    ...(choices > 1 ? { n: choices } : {}),
  };
  const path = { chat: '/v1/chat/completions', completions: '/v1/completions', embeddings: '/v1/embeddings' }[endpoint];
  return { tag, endpoint, path, stream, choices, body: JSON.stringify(asked), price: model.price, ending };
}

function content(endpoint: Endpoint, random: Random): Record<string, unknown> {
  if (endpoint === 'embeddings') return { input: random.pick([sentence(random), [sentence(random), sentence(random)], [1, 2, 3]]) };
  if (endpoint === 'completions') return { prompt: sentence(random), ...(random.chance(0.2) ? { suffix: sentence(random) } : {}) };
  const messages: unknown[] = [{ role: 'user', content: sentence(random) }];
  if (random.chance(0.3)) messages.unshift({ role: 'system', content: sentence(random), name: 'rules' });
  if (random.chance(0.2)) messages.push({ role: 'user', content: [{ type: 'text', text: sentence(random) }] });
  if (random.chance(0.1)) messages.push({ role: 'assistant', tool_calls: [toolCall(random)] });
  const tools = [
    { type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } },
  ];
  return { messages, ...(random.chance(0.2) ? { tools } : {}), ...(random.chance(0.3) ? { max_tokens: random.whole(1, 400) } : {}) };
}

const toolCall = (random: Random) => ({ id: 'call_1', type: 'function', function: { name: 'lookup', arguments: sentence(random) } });
