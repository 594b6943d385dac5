import * as up from '../../test/support/answers.js';
import type { Random } from '../random.js';
import { randomUsage, sentence, wordsOf } from './texts.js';

/** How one request will end: what the upstream does at each attempt, and whether the client stays. */
export interface Ending {
  readonly name: string;
  readonly answers: readonly up.Answer[];
  /** The client leaves when the upstream waits at this gate (and the text before it has arrived). */
  readonly leavesAt?: string;
  /** Text whose arrival the client waits for before it leaves. */
  readonly after?: string;
  /** Asked of an upstream with short time limits. */
  readonly silent?: boolean;
}

export interface Shape {
  readonly random: Random;
  readonly tag: string;
  readonly choices: number;
}

type Make = (shape: Shape) => Omit<Ending, 'name'>;

const good = ({ random, choices }: Shape): up.Answer => {
  const pieces = wordsOf(random, random.whole(1, 8)).map((text) => up.onChoice(random.whole(0, choices - 1), text));
  return up.says(...pieces, randomUsage(random));
};

const some = ({ random }: Shape): string[] => wordsOf(random, random.whole(1, 8));

/** Endings of streams and of plain answers alike. */
const BOTH: Record<string, Make> = {
  complete: (shape) => ({ answers: [good(shape)] }),
  complete_again: (shape) => ({ answers: [good(shape)] }),
  no_usage: (shape) => ({ answers: [up.says(...some(shape), up.noUsage())] }),
  zero_usage: (shape) => ({ answers: [up.says(...some(shape), up.usage(0, 0))] }),
  zero_output: (shape) => ({ answers: [up.says(...some(shape), up.usage(shape.random.whole(1, 90), 0))] }),
  nothing_said: () => ({ answers: [up.says(up.usage(0, 0))] }),
  absurd_usage: (shape) => ({ answers: [up.says(...some(shape), up.usageOf(shape.random.pick(ABSURD)))] }),
  rejected: ({ random }) => ({ answers: [up.fails(random.pick([400, 401, 403, 404, 409, 413, 422, 429]))] }),
  failing: ({ random }) => ({ answers: [up.fails(random.pick([500, 502, 503, 529]))] }),
  failing_once: (shape) => ({ answers: [up.fails(shape.random.pick([500, 502, 503])), good(shape)] }),
  reset_before_head: () => ({ answers: [up.says(up.reset())] }),
  reset_once: (shape) => ({ answers: [up.says(up.reset()), good(shape)] }),
  closed_after_head: () => ({ answers: [up.says(up.headers(), up.close())] }),
  reset_after_head: () => ({ answers: [up.says(up.headers(), up.reset())] }),
  html: () => ({ answers: [up.returns('<html>maintenance</html>', { type: 'text/html' })] }),
  empty: () => ({ answers: [up.returns('')] }),
  error_in_200: () => ({ answers: [up.returns('{"error":{"message":"overloaded","type":"server_error"}}')] }),
  gzip: (shape) => ({ answers: [up.over(good(shape), { encoding: 'gzip' })] }),
  split: (shape) => ({ answers: [up.over(good(shape), { split: shape.random.whole(1, 40) })] }),
};

const ABSURD: readonly unknown[] = [
  { prompt_tokens: -1, completion_tokens: 1 },
  { prompt_tokens: '12', completion_tokens: 1 },
  { prompt_tokens: 1.5, completion_tokens: 1 },
  { prompt_tokens: 10, completion_tokens: 1e15 },
  { prompt_tokens: 1e300, completion_tokens: 1 },
  { completion_tokens: 3 },
  { prompt_tokens: 3, completion_tokens: -7 },
  {},
];

const gateOf = (shape: Shape): string => `gate ${shape.tag}`;

const STREAM: Record<string, Make> = {
  cut_after_events: (shape) => ({ answers: [up.says(...some(shape), up.reset())] }),
  closed_after_events: (shape) => ({ answers: [up.says(...some(shape), up.close())] }),
  cut_with_usage: (shape) => ({ answers: [up.says(...some(shape), eventUsage(shape), up.reset())] }),
  cut_anywhere: (shape) => ({
    answers: [up.over(good(shape), { cut: { after: shape.random.whole(1, 900), how: shape.random.pick(['fin', 'reset']) } })],
  }),
  ended_without_done: (shape) => ({ answers: [up.says(...some(shape), up.finish(null), up.noDone())] }),
  finished_without_done: (shape) => ({ answers: [up.says(...some(shape), up.finish('stop'), randomUsage(shape.random), up.noDone())] }),
  error_event: (shape) => ({ answers: [up.says(...some(shape), up.errorEvent('overloaded'), 'never', up.finish('stop'))] }),
  error_first: () => ({ answers: [up.says(up.errorEvent('overloaded'))] }),
  usage_on_each_chunk: (shape) => ({
    answers: [up.says(...some(shape).map((text, i) => up.withUsage(text, { prompt_tokens: 31, completion_tokens: i + 1 })))],
  }),
  usage_twice: (shape) => ({ answers: [up.says(...some(shape), up.finish('stop'), up.usageOf(plain(9, 5)), up.usageOf(plain(9, 6)))] }),
  noise: (shape) => ({
    answers: [up.says(up.comment(), 'a', up.raw('data: {broken\n\n'), up.raw('event: ping\nid: 7\n\n'), ...some(shape), up.noUsage())],
  }),
  line_ends: (shape) => ({ answers: [up.over(good(shape), { eol: shape.random.pick(['\r\n', '\r']), bom: shape.random.chance(0.3) })] }),
  reasoning: (shape) => ({ answers: [up.says(up.reasons('Let me think'), ...some(shape), shape.random.pick([up.noUsage(), thought()]))] }),
  tools: (shape) => ({ answers: [up.says(up.calls('get_weather', '{"city":"Zürich"}'), ...some(shape), up.noUsage())] }),
  client_leaves: (shape) => {
    const texts = some(shape);
    const last = `¶${shape.tag}¶`;
    return { answers: [up.says(...texts, last, up.gate(gateOf(shape)), 'never read')], leavesAt: gateOf(shape), after: last };
  },
  client_leaves_before_answer: (shape) => ({ answers: [up.says(up.gate(gateOf(shape)), 'never')], leavesAt: gateOf(shape) }),
  silence_after_events: (shape) => ({ answers: [up.says(...some(shape), up.hang())], silent: true }),
  silence: () => ({ answers: [up.says(up.hang())], silent: true }),
};

const plain = (input: number, output: number) => ({ prompt_tokens: input, completion_tokens: output });
const thought = (): up.Step => up.usage(40, 30, { reasoning: 20 });
const eventUsage = ({ random }: Shape): up.Step => up.usageOf(plain(random.whole(1, 99), random.whole(1, 60)));

const PLAIN: Record<string, Make> = {
  cut_body: (shape) => ({ answers: [up.over(good(shape), { cut: { after: shape.random.whole(1, 260), how: 'reset' } })] }),
  cut_body_fin: (shape) => ({ answers: [up.over(good(shape), { cut: { after: shape.random.whole(1, 260), how: 'fin' } })] }),
  large: (shape) => ({ answers: [up.says(up.huge(1_200_000), randomUsage(shape.random))] }),
  client_leaves_plain: (shape) => {
    const answer = good(shape);
    return { answers: [{ ...answer, steps: [up.gate(gateOf(shape)), ...answer.steps] }], leavesAt: gateOf(shape) };
  },
  tools: (shape) => ({ answers: [up.says(up.calls('lookup', sentence(shape.random)), 'done', up.noUsage())] }),
  reasoning: (shape) => ({ answers: [up.says(up.reasons('Let me think'), ...some(shape), shape.random.pick([up.noUsage(), thought()]))] }),
};

/** Rare, because each costs seconds. */
const RARE = new Set(['silence', 'silence_after_events', 'large']);

export function endingFor(shape: Shape, stream: boolean): Ending {
  const table = { ...BOTH, ...(stream ? STREAM : PLAIN) };
  const names = Object.keys(table);
  for (;;) {
    const name = shape.random.pick(names);
    if (RARE.has(name) && !shape.random.chance(0.05)) continue;
    const made = table[name]?.(shape);
    if (made) return { name, ...made };
  }
}
