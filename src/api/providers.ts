import { z } from '@hono/zod-openapi';
import type { Pulses } from '../telemetry/pulse.js';
import { ATTEMPT_ENDS, firstByteMs, mergeRecent, RECENT_MS, type RecentUpstream, successOf } from '../telemetry/recent.js';
import type { ApiDeps } from './deps.js';
import { notFound } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { TimeOut, timeOut } from './schemas.js';
import type { UpstreamFacts } from './server.js';

const STATES = ['idle', 'ok', 'warn', 'bad'] as const;
type ProviderState = (typeof STATES)[number];

const RecentSchema = z.strictObject({
  /** Attempts that ended in these minutes, by how; together they are `attempts`. */
  attempts: z.int(),
  ...Object.fromEntries(ATTEMPT_ENDS.map((end) => [end, z.int()])),
  /** Answered, of all that the upstream answers for: a client that left or asked for nonsense does not count. Null without any. */
  success: z.number().min(0).max(1).nullable(),
  /** From the beginning of an attempt to its first byte; exact to a tenth. */
  first_byte: z.strictObject({ p50_ms: z.int(), p95_ms: z.int() }).nullable(),
});

const ProviderSchema = z
  .strictObject({
    name: z.string(),
    /** Without path, key or credentials; null for the built-in demo. */
    host: z.string().nullable(),
    builtin: z.boolean(),
    has_key: z.boolean(),
    /** Names only: what they say may be a secret. */
    headers: z.array(z.string()),
    models: z.array(z.strictObject({ pattern: z.string(), as: z.string().nullable() })),
    priority: z.int(),
    retries: z.int(),
    /** Requests at once, in each process; null = no cap. */
    concurrency: z.int().nullable(),
    include_usage: z.boolean(),
    timeouts: z.strictObject({ connect_ms: z.int(), first_byte_ms: z.int(), idle_ms: z.int(), total_ms: z.int() }),
    state: z.enum(STATES),
    sentence: z.string(),
    in_flight: z.int(),
    recent: RecentSchema,
    /** The latest since the processes started: a code of ours, and when. */
    last_error: z.strictObject({ code: z.string(), at: TimeOut }).nullable(),
  })
  .openapi('Provider');

const ProvidersSchema = z.strictObject({
  data: z.array(ProviderSchema),
  /** How far back `recent` goes. */
  window_seconds: z.int(),
  /** Gateway processes of this machine that these numbers are from, and processes that did not answer in time. */
  processes: z.strictObject({ asked: z.int(), silent: z.int() }),
});

const isName = (text: string): text is string => /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);

export const providerRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/admin/providers',
    permission: 'operator.any',
    summary: 'The upstreams in the order of the configuration, and how they have done over the last minutes',
    tag: 'server',
    answers: { 200: { description: 'All of them', schema: ProvidersSchema } },
    handle: async () => {
      const found = await deps.server.pulses();
      return answer(200, {
        data: readProviders(deps, found).map(({ out }) => out),
        window_seconds: RECENT_MS / 1_000,
        processes: { asked: found.pulses.filter(({ front }) => front !== null).length, silent: found.silent },
      });
    },
  }),
  route({
    method: 'get',
    path: '/api/v1/admin/providers/{provider}',
    permission: 'operator.any',
    summary: 'One upstream, and how it has done over the last minutes',
    tag: 'server',
    params: z.object({ provider: idParam(isName, 'openai') }),
    answers: { 200: { description: 'The upstream', schema: ProviderSchema } },
    handle: async ({ params }) => {
      const found = readProviders(deps, await deps.server.pulses()).find(({ out }) => out.name === params.provider);
      return found ? answer(200, found.out) : notFound('The configuration in force has no upstream of this name.');
    },
  }),
];

/** Every upstream in force, with the sum of what the processes have seen of it. */
export function readProviders({ server }: Pick<ApiDeps, 'server'>, { pulses }: Pulses): readonly { out: z.input<typeof ProviderSchema> }[] {
  const seen = pulses.flatMap(({ front }) => front?.upstreams ?? []);
  return server.upstreams().map((facts) => {
    const mine = seen.filter(({ name }) => name === facts.name);
    const inFlight = mine.reduce((sum, one) => sum + one.inFlight, 0);
    return { out: providerOut(facts, mergeRecent(facts.name, mine), inFlight) };
  });
}

function providerOut(facts: UpstreamFacts, recent: RecentUpstream, inFlight: number): z.input<typeof ProviderSchema> {
  const { tried, good } = successOf(recent);
  const [p50, p95] = [firstByteMs(recent, 0.5), firstByteMs(recent, 0.95)];
  return {
    name: facts.name,
    host: facts.builtin ? null : new URL(facts.baseUrl).host,
    builtin: facts.builtin,
    has_key: facts.hasKey,
    headers: [...facts.headerNames],
    models: facts.models.map(({ pattern, as }) => ({ pattern, as })),
    priority: facts.priority,
    retries: facts.retries,
    concurrency: facts.concurrency === 0 ? null : facts.concurrency,
    include_usage: facts.includeUsage,
    timeouts: {
      connect_ms: facts.timeouts.connectMs,
      first_byte_ms: facts.timeouts.firstByteMs,
      idle_ms: facts.timeouts.idleMs,
      total_ms: facts.timeouts.totalMs,
    },
    ...judge(tried, good),
    in_flight: inFlight,
    recent: {
      attempts: ATTEMPT_ENDS.reduce((sum, end) => sum + recent.ended[end], 0),
      ...recent.ended,
      success: tried === 0 ? null : Math.floor((good / tried) * 10_000) / 10_000,
      first_byte: p50 === null || p95 === null ? null : { p50_ms: p50, p95_ms: p95 },
    },
    last_error: recent.lastError && { code: recent.lastError.code, at: timeOut(new Date(recent.lastError.atMs)) },
  };
}

/** One mistake in twenty is worth a look; one in two is an outage. */
function judge(tried: number, good: number): { readonly state: ProviderState; readonly sentence: string } {
  const bad = tried - good;
  if (tried === 0) return { state: 'idle', sentence: 'Nothing was asked of it in the last minutes.' };
  if (bad === 0) return { state: 'ok', sentence: `It answered all of ${tried} attempts.` };
  const state = bad * 2 >= tried ? 'bad' : bad * 20 >= tried ? 'warn' : 'ok';
  return { state, sentence: `It failed in ${bad} of ${tried} attempts.` };
}
