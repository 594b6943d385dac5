import * as up from '../../test/support/answers.js';
import type { Endpoint } from '../oracle/count.js';
import type { Random } from '../random.js';

/** One scripted request of the load: what the upstream will do, and how the client behaves. */
export interface Plan {
  readonly kind: string;
  readonly endpoint: Endpoint;
  readonly stream: boolean;
  readonly answer: up.Answer;
  readonly client: 'reads' | 'leaves' | 'half_closes' | 'reads_slowly' | 'asks_twice';
  /** Statuses this request may end in when nothing else is wrong. */
  readonly statuses: readonly number[];
}

const WORDS = [' alpha', ' beta', ' gamma', ' delta', ' echo', ' fox', ' golf', ' hotel'] as const;

/** Each word is one token wherever the stream is cut, so less delivered never counts as more. */
function paced(random: Random, events: number, pauseMs: number): up.Step[] {
  return Array.from({ length: events }, () => [{ text: random.pick(WORDS) }, up.after(pauseMs)] as const).flat();
}

const reported = (random: Random): up.Step => up.usage(random.whole(5, 60), random.whole(5, 60));

type Make = (random: Random) => Omit<Plan, 'kind'>;
const chat = { endpoint: 'chat', stream: true, client: 'reads', statuses: [200] } as const;

const PLANS: Record<string, Make> = {
  stream: (random) => ({ ...chat, answer: up.says(...paced(random, 6, random.whole(5, 60)), reported(random)) }),
  long_stream: (random) => ({ ...chat, answer: up.says(...paced(random, 25, random.whole(60, 160)), reported(random)) }),
  brief_stream: (random) => ({ ...chat, answer: up.says(...paced(random, random.whole(5, 12), random.whole(200, 500)), reported(random)) }),
  paced_stream: (random) => ({
    ...chat,
    answer: up.says(...paced(random, random.whole(5, 12), random.whole(1_000, 2_000)), reported(random)),
  }),
  uncounted_stream: (random) => ({ ...chat, answer: up.says(...paced(random, 8, 40), up.noUsage()) }),
  plain: (random) => ({ ...chat, stream: false, answer: up.says(up.after(random.whole(20, 500)), ' done', reported(random)) }),
  uncounted_plain: () => ({ ...chat, stream: false, answer: up.says(up.after(100), ' done', up.noUsage()) }),
  completion: (random) => ({ ...chat, endpoint: 'completions', answer: up.says(...paced(random, 4, 50), reported(random)) }),
  embedding: (random) => ({
    ...chat,
    endpoint: 'embeddings',
    stream: false,
    answer: up.says(up.after(30), up.usage(random.whole(1, 90), 0)),
  }),
  failing: () => ({ ...chat, answer: up.fails(503), statuses: [502] }),
  rejected: () => ({ ...chat, answer: up.fails(400), statuses: [400] }),
  cut: (random) => ({ ...chat, answer: up.says(...paced(random, 5, 40), up.reset()) }),
  leaving: (random) => ({ ...chat, client: 'leaves', answer: up.says(...paced(random, 20, 60), reported(random)) }),
  half_closing: (random) => ({ ...chat, client: 'half_closes', answer: up.says(...paced(random, 6, 40), reported(random)) }),
  slow_reader: (random) => ({ ...chat, client: 'reads_slowly', answer: up.says(...paced(random, 10, 10), reported(random)) }),
  twice: (random) => ({ ...chat, client: 'asks_twice', answer: up.says(...paced(random, 5, 30), reported(random)), statuses: [200, 409] }),
};

/** What goes on for longer than a round is only for who asks for it. */
const MIXED = Object.keys(PLANS).filter((kind) => kind !== 'paced_stream' && kind !== 'brief_stream');
const OFTEN = ['stream', 'stream', 'plain', 'long_stream', 'completion', 'embedding', 'uncounted_stream'];

export function makePlan(random: Random): Plan {
  const kind = random.chance(0.6) ? random.pick(OFTEN) : random.pick(MIXED);
  const make = PLANS[kind];
  if (!make) throw new RangeError(`no plan ${kind}`);
  return { kind, ...make(random) };
}

export const planOf = (kind: string, random: Random): Plan => {
  const make = PLANS[kind];
  if (!make) throw new RangeError(`no plan ${kind}`);
  return { kind, ...make(random) };
};

/** The request body: the script for the upstream travels in the user's message. */
export function bodyOf(plan: Plan, tag: string): string {
  const said = up.asking(plan.answer);
  const asked =
    plan.endpoint === 'chat'
      ? { messages: [{ role: 'user', content: said }] }
      : plan.endpoint === 'completions'
        ? { prompt: said }
        : { input: said };
  return JSON.stringify({ model: 'fake-model', user: tag, ...asked, ...(plan.stream ? { stream: true } : {}), max_tokens: 100 });
}

export const pathOf = (plan: Plan): string =>
  ({ chat: '/v1/chat/completions', completions: '/v1/completions', embeddings: '/v1/embeddings' })[plan.endpoint];
