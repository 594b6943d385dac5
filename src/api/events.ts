import { z } from '@hono/zod-openapi';
import type { Reach } from '../accounts/actor.js';
import { readOrg } from '../accounts/readOrg.js';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { monotonicMs } from '../domain/clock.js';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { type Access, createAccess, type Follower } from './access.js';
import type { ApiDeps } from './deps.js';
import type { LiveEvent, Watch } from './live.js';
import { listOf } from './logQuery.js';
import { noSuchOrg } from './orgs.js';
import { tryAgain } from './problem.js';
import { type Caller, idParam, type Route, route, streamed } from './route.js';
import { textStream } from './table.js';

const TYPES = ['balance', 'usage.tick', 'limit.state', 'token.state', 'request.settled', 'requests.skipped'] as const;
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

/** How long a stream says nothing about somebody who was removed meanwhile. */
const LOOK_MS = 400;

/** Server-sent events. First what is so now, then what changes; after a reconnect what was missed, or `resync` when that is gone. */
export function eventRoutes(deps: ApiDeps): readonly Route[] {
  const access = createAccess(deps);
  return [eventRoute(deps, access)];
}

const eventRoute = (deps: ApiDeps, access: Access): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/events',
    permission: 'credits.read',
    summary: 'Balance, limit, tokens and requests as they change',
    tag: 'events',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    query: Query,
    answers: { 200: { description: 'Server-sent events', schema: z.string(), type: 'text/event-stream' } },
    handle: async (call) => {
      const { params, query, lastEventId } = call;
      if (!(await readOrg({ ctx: deps, orgId: params.org }))) return noSuchOrg();
      const watch = deps.live.watch(params.org);
      if (!watch) return tryAgain('too_many_streams', 'Too many live streams are open. Close one, or ask again later.');
      const last = query.last_event_id ?? lastEventId;
      const since = last !== null && /^\d{1,16}$/.test(last) ? Number(last) : null;
      const types = new Set<string>(query.types ?? TYPES);
      const follower = access.follow(call);
      const sight = (caller: Caller): Promise<Sight> => sightOf(deps, { orgId: params.org, caller, types });
      return streamed('text/event-stream; charset=utf-8', textStream(tell(watch, { follower, sight, since }), watch.end), {
        'x-accel-buffering': 'no',
      });
    },
  });

/** Which events somebody may see. */
type Sight = (event: LiveEvent) => boolean;

/** What a stream tells is what the same person could read elsewhere: the requests of the logs, the tokens of the list. */
async function sightOf(
  { db }: ApiDeps,
  { orgId, caller, types }: { readonly orgId: OrgId; readonly caller: Caller; readonly types: ReadonlySet<string> },
): Promise<Sight> {
  const [logs, tokens] = [caller.may('logs.read'), caller.may('tokens.read') ?? caller.may('logs.read')];
  const own = logs?.ownerId ?? tokens?.ownerId ?? null;
  const owned = own === null ? null : new Set(await tokensWithin(db, orgId, { ownerId: own }));
  const isSeen = (reach: Reach | null, data: unknown): boolean => {
    if (reach === null || reach.ownerId === null) return reach !== null;
    return owned?.has(String((data as { readonly token_id?: unknown }).token_id)) ?? false;
  };
  return ({ type, data }) => {
    if (!types.has(type)) return false;
    switch (type) {
      case 'request.settled':
        return isSeen(logs, data);
      case 'requests.skipped':
        return logs !== null && logs.ownerId === null;
      case 'token.state':
        return isSeen(tokens, data);
      case 'usage.tick':
        return caller.may('usage.read')?.ownerId === null;
      case 'limit.state':
        return caller.may('limits.read') !== null;
      default:
        return true;
    }
  };
}

interface Listener {
  readonly follower: Follower;
  readonly sight: (caller: Caller) => Promise<Sight>;
  readonly since: number | null;
}

/** A connection keeps no queue of its own, only how far it has read: one that is too slow is told to read everything again. */
async function* tell(watch: Watch, { follower, sight, since }: Listener): AsyncGenerator<string> {
  const endsAt = monotonicMs() + LIFE_MS;
  let saidAt = monotonicMs();
  try {
    yield 'retry: 1000\n\n';
    await watch.ready;
    let at = since;
    while (monotonicMs() < endsAt && !watch.isOver) {
      const caller = await follower.now();
      if (!caller) return;
      const { events, missed } = at === null ? { events: watch.states(), missed: false } : watch.after(at);
      const news = missed ? watch.states() : events;
      const wanted = news.length === 0 ? [] : news.filter(await sight(caller)).map(textOf);
      // What was seen counts even when it was not wanted; states are the newest of their kind, so nothing is between.
      at = Math.max(at ?? 0, watch.latest(), missed ? 0 : (news.at(-1)?.seq ?? 0));
      const resync = missed ? `id: ${at}\nevent: resync\ndata: {}\n\n` : '';
      const text = resync + wanted.join('') || (monotonicMs() - saidAt >= HEARTBEAT_MS ? ': still here\n\n' : '');
      if (text !== '') {
        saidAt = monotonicMs();
        yield text;
      }
      if (watch.after(at).events.length === 0) await watch.changed(LOOK_MS);
    }
  } finally {
    watch.end();
  }
}

const textOf = ({ seq, type, data }: LiveEvent): string => `id: ${seq}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
