import { z } from '@hono/zod-openapi';
import { type BooksHealth, readBooksHealth } from '../ledger/health.js';
import type { Pulses } from '../telemetry/pulse.js';
import { priceVersionSince } from '../usage/priceVersion.js';
import type { ApiDeps } from './deps.js';
import { CHECKS, type Facts, HEALTH_STATES, judge, worstOf } from './healthChecks.js';
import { readProviders } from './providers.js';
import { answer, type Route, route } from './route.js';
import { TimeOut, timeOut, timeOutOrNull } from './schemas.js';

const Count = z.int().min(0);

const CheckSchema = z.strictObject({ name: z.enum(CHECKS), state: z.enum(HEALTH_STATES), sentence: z.string() });

const ProcessSchema = z.strictObject({
  part: z.enum(['gateway', 'office', 'whole']),
  /** Which of the gateways it is. */
  slot: z.int(),
  pid: z.int(),
  version: z.string(),
  uptime_seconds: Count,
  /** Of processes that serve requests; as `/readyz` there says. */
  front: z
    .strictObject({
      ready: z.boolean(),
      detail: z.record(z.string(), z.string()),
      open_requests: Count,
      price_version: z.string(),
      journal: z.strictObject({ writable: z.boolean(), bytes: Count, unconfirmed: Count }),
    })
    .nullable(),
});

const HealthSchema = z
  .strictObject({
    /** The worst of the checks. */
    state: z.enum(HEALTH_STATES),
    at: TimeOut,
    checks: z.array(CheckSchema),
    /** Null: it does not answer. */
    database: z.strictObject({ latency_ms: z.number(), version: z.string() }).nullable(),
    hot_store: z
      .strictObject({
        /** Of one look at all shards. */
        latency_ms: z.number(),
        shards: z.array(z.strictObject({ shard: z.string(), state: z.enum(['open', 'filling', 'absent']) })),
      })
      .nullable(),
    /** As in `/metrics`: age of the oldest settled charge that is not in the books, and how many there are. */
    drain: z.strictObject({ lag_seconds: z.number(), waiting: Count }),
    untold: z.strictObject({ organizations: Count, balances: Count, tokens: Count, members: Count }).nullable(),
    set_aside: Count.nullable(),
    live_listeners: Count,
    prices: z.strictObject({ version: z.string(), in_force_since: TimeOut.nullable() }),
    config: z.strictObject({
      from_file: z.boolean(),
      loaded_at: TimeOut,
      /** What is wrong with the file on disk, while something is. */
      bad: z.strictObject({ at: TimeOut, words: z.string() }).nullable(),
    }),
    migrations: z.strictObject({ applied: Count, last: z.string().nullable() }).nullable(),
    processes: z.array(ProcessSchema),
    /** Processes that did not answer in time. */
    silent: Count,
  })
  .openapi('Health');

export const healthRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/admin/health',
    permission: 'operator.any',
    summary: 'How the server is, part by part: a state and a sentence for each',
    tag: 'server',
    answers: { 200: { description: 'All parts', schema: HealthSchema } },
    handle: async () => answer(200, healthOut(deps, await readHealth(deps))),
  }),
];

export interface Health extends Facts {
  readonly since: Date | null;
}

/** One look at everything. Nothing in here waits for long, and nothing fails because a part of the server does. */
export async function readHealth(deps: ApiDeps): Promise<Health> {
  const { server, db } = deps;
  const config = server.config();
  const [books, hot, drain, found, since] = await Promise.all([
    readBooksHealth(db),
    server.hotStore(),
    server.drain(),
    server.pulses(),
    priceVersionSince(db, config.priceVersion).catch(() => null),
  ]);
  const providers = readProviders(deps, found).map(({ out }) => ({ name: out.name, state: out.state }));
  return { books, hot, drain, found, config, providers, listeners: server.listeners(), since };
}

function healthOut(deps: ApiDeps, health: Health): z.input<typeof HealthSchema> {
  const { books, hot, drain, found, config, listeners, since } = health;
  const checks = judge(health);
  const nowMs = deps.clock.nowMs();
  return {
    state: worstOf(checks),
    at: timeOut(new Date(nowMs)),
    checks: [...checks],
    database: books && { latency_ms: books.ms, version: books.version },
    hot_store: hot && { latency_ms: hot.ms, shards: hot.shards.map(({ shard, state }) => ({ shard, state })) },
    drain: { lag_seconds: drain.lagSeconds, waiting: drain.waiting },
    ...booksOut(books),
    live_listeners: listeners,
    prices: { version: config.priceVersion, in_force_since: timeOutOrNull(since) },
    config: {
      from_file: config.fromFile,
      loaded_at: timeOut(new Date(config.loadedAtMs)),
      bad: config.bad && { at: timeOut(new Date(config.bad.atMs)), words: config.bad.words },
    },
    processes: processesOut(found, nowMs),
    silent: found.silent,
  };
}

const booksOut = (books: BooksHealth | null) =>
  books
    ? { untold: books.untold, set_aside: books.set_aside, migrations: books.migrations }
    : { untold: null, set_aside: null, migrations: null };

const processesOut = ({ pulses }: Pulses, nowMs: number): z.input<typeof ProcessSchema>[] =>
  [...pulses]
    .sort((a, b) => a.part.localeCompare(b.part) || a.slot - b.slot || a.pid - b.pid)
    .map(({ part, slot, pid, version, startedAtMs, front }) => ({
      ...{ part, slot, pid, version, uptime_seconds: Math.max(0, Math.floor((nowMs - startedAtMs) / 1_000)) },
      front: front && {
        ready: front.ready,
        detail: { ...front.detail },
        open_requests: front.openRequests,
        price_version: front.priceVersion,
        journal: front.journal,
      },
    }));
