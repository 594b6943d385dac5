import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { isOrgId } from '../domain/ids.js';
import type { ApiDeps } from './deps.js';
import type { LiveEvent, Watch } from './live.js';
import { listOf } from './logQuery.js';
import { noSuchOrg } from './orgs.js';
import { tryAgain } from './problem.js';
import { idParam, type Route, route, streamed } from './route.js';
import { textStream } from './table.js';

const TYPES = ['balance', 'limit.state', 'token.state', 'request.settled', 'requests.skipped'] as const;
const HEARTBEAT_MS = 15_000;
const LIFE_MS = 30 * 60_000;

const Query = z.strictObject({
  types: listOf(z.enum(TYPES)),
  /** For clients that cannot send `Last-Event-ID`. */
  last_event_id: z
    .string()
    .regex(/^\d{1,16}$/, 'The id of an event.')
    .optional(),
});

/** Server-sent events. First what is so now, then what changes; after a reconnect what was missed, or `resync` when that is gone. */
export const eventRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/events',
    permission: 'credits.read',
    summary: 'Balance, limit, tokens and requests as they change',
    tag: 'events',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    query: Query,
    answers: { 200: { description: 'Server-sent events', schema: z.string(), type: 'text/event-stream' } },
    handle: async ({ params, query, lastEventId }) => {
      if (!(await readOrg({ ctx: deps, orgId: params.org }))) return noSuchOrg();
      const watch = deps.live.watch(params.org);
      if (!watch) return tryAgain('too_many_streams', 'Too many live streams are open. Close one, or ask again later.');
      const last = query.last_event_id ?? lastEventId;
      const since = last !== null && /^\d{1,16}$/.test(last) ? Number(last) : null;
      const types = new Set<string>(query.types ?? TYPES);
      return streamed('text/event-stream; charset=utf-8', textStream(tell(watch, types, since), watch.end), { 'x-accel-buffering': 'no' });
    },
  }),
];

/** A connection keeps no queue of its own, only how far it has read: one that is too slow is told to read everything again. */
async function* tell(watch: Watch, types: ReadonlySet<string>, since: number | null): AsyncGenerator<string> {
  const endsAt = Date.now() + LIFE_MS;
  try {
    yield 'retry: 1000\n\n';
    await watch.ready;
    let at = since;
    while (Date.now() < endsAt && !watch.isOver) {
      const { events, missed } = at === null ? { events: watch.states(), missed: false } : watch.after(at);
      const news = missed ? watch.states() : events;
      const wanted = news.filter(({ type }) => types.has(type)).map(textOf);
      // What was seen counts even when it was not wanted; states are the newest of their kind, so nothing is between.
      at = Math.max(at ?? 0, watch.latest(), missed ? 0 : (news.at(-1)?.seq ?? 0));
      const resync = missed ? `id: ${at}\nevent: resync\ndata: {}\n\n` : '';
      if (resync || wanted.length > 0) yield resync + wanted.join('');
      if (watch.after(at).events.length > 0) continue;
      const before = Date.now();
      await watch.changed(HEARTBEAT_MS);
      if (Date.now() - before >= HEARTBEAT_MS - 50) yield ': still here\n\n';
    }
  } finally {
    watch.end();
  }
}

const textOf = ({ seq, type, data }: LiveEvent): string => `id: ${seq}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
