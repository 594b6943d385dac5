import { z } from '@hono/zod-openapi';
import { type Actor, isProved } from '../accounts/actor.js';
import type { AccountsContext } from '../accounts/context.js';
import { createOrg } from '../accounts/createOrg.js';
import { type ListedOrg, listOrgs, readListedOrg } from '../accounts/listOrgs.js';
import type { Org, OrgChanges } from '../accounts/org.js';
import { readOrg } from '../accounts/readOrg.js';
import { type UpdatedOrg, updateOrg } from '../accounts/updateOrg.js';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { isOverride } from '../pricing/multiplier.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import { type ApiDeps, shown } from './deps.js';
import {
  badCursor,
  changedMeanwhile,
  idempotencyMismatch,
  invalid,
  notFound,
  notInForce,
  type Problem,
  stepUpRequired,
} from './problem.js';
import { type Answer, answer, idParam, type Route, route } from './route.js';
import { AmountIn, AmountOutSchema, CursorQuery, LimitQuery, pageSchema, TimeOut, text, timeOut, timeOutOrNull } from './schemas.js';

export const OrgSchema = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    kind: z.enum(['personal', 'team']),
    status: z.enum(['active', 'suspended']),
    overdraft: AmountOutSchema,
    limit: z
      .strictObject({
        amount: AmountOutSchema,
        action: z.enum(['block_all', 'pause_noncritical']),
        critical_ceiling: AmountOutSchema.nullable(),
      })
      .nullable(),
    group: z.string(),
    prices: z.record(z.string(), z.unknown()).nullable(),
    time_zone: z.string(),
    /** What a quota of a token may be at most, for whoever makes tokens but does not manage the organization. */
    max_token_quota: AmountOutSchema.nullable(),
    /** Null while it is open. Closed: suspended, nobody belongs to it, the books stay. */
    closed_at: TimeOut.nullable(),
    created_at: TimeOut,
    updated_at: TimeOut,
  })
  .openapi('Organization');

export const ChangedOrgSchema = OrgSchema.extend({
  /** What another time zone means; null when it did not change. */
  time_zone_change: z
    .strictObject({
      from: z.string(),
      to: z.string(),
      /** The day a request was booked under is never moved. */
      booked_days: z.literal('unchanged'),
      /** Days, weeks and months that run, with what quotas and limits have counted in them, go on and end by the new clock. */
      running_windows: z.literal('end_by_new_clock'),
      /** When the month that runs ends now; null: none has begun. */
      month_ends_at: TimeOut.nullable(),
    })
    .nullable(),
}).openapi('ChangedOrganization');

const ListedOrgSchema = OrgSchema.extend({
  /** As booked; what running requests set aside is in the organization's balance. */
  wallet: z.strictObject({ booked: AmountOutSchema, debt: AmountOutSchema, month_spent: AmountOutSchema }),
  limit_state: z.enum(['ok', 'alert', 'limited']),
  members: z.int(),
  /** Not revoked. */
  tokens: z.int(),
}).openapi('ListedOrganization');

export const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

export const TimeZoneIn = z.string().refine(isTimeZone, 'Name a time zone such as "Europe/Berlin" or "UTC".');

const LimitIn = z
  .union([
    AmountIn,
    z.strictObject({
      amount: AmountIn,
      action: z.enum(['block_all', 'pause_noncritical']).optional(),
      critical_ceiling: AmountIn.nullable().optional(),
    }),
  ])
  .nullable();

const OrgPatch = z.strictObject({
  name: text(200).optional(),
  status: z.enum(['active', 'suspended']).optional(),
  overdraft: AmountIn.optional(),
  limit: LimitIn.optional(),
  group: text(100).optional(),
  prices: z.record(z.string().min(1).max(256), z.unknown()).nullable().optional(),
  time_zone: TimeZoneIn.optional(),
  max_token_quota: AmountIn.nullable().optional(),
  reason: text(500).optional().openapi({ description: 'For the audit log.' }),
});

export function orgRoutes(deps: ApiDeps): readonly Route[] {
  return [createRoute(deps), listRoute(deps), readRoute(deps), updateRoute(deps), ownRoute(deps)];
}

const createRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/admin/orgs',
    permission: 'operator.admin',
    summary: 'Make an organization; it starts with 0 credits',
    tag: 'organizations',
    body: z.strictObject({ name: text(200) }),
    keyed: true,
    answers: { 201: { description: 'The organization', schema: OrgSchema } },
    handle: async ({ body, actor, idempotencyKey }) => {
      const key = idempotencyKey === null ? undefined : { scope: 'orgs', key: idempotencyKey, request: body };
      const made = await createOrg({ ctx: contextFor(deps, actor), input: body, key });
      if (made.kind === 'idempotency_mismatch') return idempotencyMismatch();
      if (made.effect === 'unavailable') return notInForce(`The organization ${made.org.org_id}`);
      return answer(201, orgOut(deps, made.org), { etag: `"${made.org.etag}"`, location: `/api/v1/admin/orgs/${made.org.org_id}` });
    },
  });

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: '/api/v1/admin/orgs',
    permission: 'operator.any',
    summary: 'All organizations, newest first',
    tag: 'organizations',
    query: z.strictObject({
      limit: LimitQuery,
      cursor: CursorQuery,
      status: z.enum(['active', 'suspended']).optional(),
      q: text(200).optional().openapi({ description: 'An id, or a part of the name.' }),
      group: text(100).optional(),
    }),
    answers: { 200: { description: 'A page', schema: pageSchema(ListedOrgSchema) } },
    handle: async ({ query, actor }) => {
      const filter = { status: query.status ?? null, q: query.q ?? null, group: query.group ?? null };
      const filters = ['orgs', filter];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const [createdAt, orgId] = place;
      const after = createdAt && orgId ? { createdAt, orgId } : null;
      const page = await listOrgs({ ctx: contextFor(deps, actor), filter, after, limit: query.limit });
      const last = page.rows.at(-1)?.org;
      return answer(200, {
        data: page.rows.map((one) => listedOut(deps, one)),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.created_at, last.org_id], filters) : null,
      });
    },
  });
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/admin/orgs/{org}',
    permission: 'operator.any',
    summary: 'One organization, with what it has and has spent',
    tag: 'organizations',
    params: OrgParams,
    answers: { 200: { description: 'The organization', schema: ListedOrgSchema } },
    handle: async ({ params, actor }) => {
      const found = await readListedOrg({ ctx: contextFor(deps, actor), orgId: params.org });
      return found ? answer(200, listedOut(deps, found), { etag: `"${found.org.etag}"` }) : noSuchOrg();
    },
  });

/** The same for whoever belongs to it. */
const ownRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}',
    permission: 'org.read',
    summary: 'The organization itself',
    tag: 'organizations',
    params: OrgParams,
    answers: { 200: { description: 'The organization', schema: OrgSchema } },
    handle: async ({ params, actor }) => {
      const org = await readOrg({ ctx: contextFor(deps, actor), orgId: params.org });
      return org ? answer(200, orgOut(deps, org), { etag: `"${org.etag}"` }) : noSuchOrg();
    },
  });

const updateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'patch',
    path: '/api/v1/admin/orgs/{org}',
    permission: 'operator.admin',
    summary: 'Change what an organization may do; in force for the very next request',
    tag: 'organizations',
    params: OrgParams,
    body: OrgPatch,
    conditional: true,
    answers: { 200: { description: 'The organization as it is now', schema: ChangedOrgSchema } },
    handle: async ({ params, body, actor, ifMatch }) => {
      const problem = pricingProblem(deps, body) ?? (await lendingProblem(deps, { orgId: params.org, overdraft: body.overdraft, actor }));
      if (problem) return problem;
      const ctx: AccountsContext = contextFor(deps, actor);
      const { reason = null, ...changes } = body;
      return updatedOut(deps, await updateOrg({ ctx, orgId: params.org, changes: changesOf(changes), ifMatch, reason }));
    },
  });

export async function updatedOut(deps: ApiDeps, updated: UpdatedOrg): Promise<Answer | Problem> {
  switch (updated.kind) {
    case 'unknown_org':
      return noSuchOrg();
    case 'changed':
      return changedMeanwhile(orgOut(deps, updated.org), `"${updated.org.etag}"`);
    case 'updated':
      if (updated.effect === 'unavailable') return notInForce('The change');
      return answer(
        200,
        { ...orgOut(deps, updated.org), time_zone_change: await zoneChange(deps, updated) },
        { etag: `"${updated.org.etag}"` },
      );
  }
}

async function zoneChange(
  deps: ApiDeps,
  { before, org }: Extract<UpdatedOrg, { kind: 'updated' }>,
): Promise<z.input<typeof ChangedOrgSchema>['time_zone_change']> {
  if (before.time_zone === org.time_zone) return null;
  const wallet = await deps.ledger.wallet(org.org_id as OrgId);
  const said = { booked_days: 'unchanged', running_windows: 'end_by_new_clock' } as const;
  return { from: before.time_zone, to: org.time_zone, ...said, month_ends_at: wallet?.monthEndsAt?.toISOString() ?? null };
}

/** To let an organization owe more is to give it credits, so a person has to be proved to be there, as for a grant. */
async function lendingProblem(
  deps: ApiDeps,
  what: { readonly orgId: OrgId; readonly overdraft: number | undefined; readonly actor: Actor },
): Promise<Problem | undefined> {
  const { orgId, overdraft, actor } = what;
  if (overdraft === undefined || isProved(actor)) return undefined;
  const org = await readOrg({ ctx: deps, orgId });
  return org && overdraft > org.overdraft ? stepUpRequired() : undefined;
}

function changesOf(body: Omit<z.output<typeof OrgPatch>, 'reason'>): OrgChanges {
  const { limit, group, ...plain } = body;
  const named = typeof limit === 'object' && limit !== null ? limit : { amount: limit ?? null };
  return {
    ...(Object.fromEntries(Object.entries(plain).filter(([, value]) => value !== undefined)) as OrgChanges),
    ...(group === undefined ? {} : { price_group: group }),
    ...(limit === undefined ? {} : { monthly_limit: named.amount }),
    ...('action' in named && named.action ? { limit_action: named.action } : {}),
    ...('critical_ceiling' in named && named.critical_ceiling !== undefined ? { critical_ceiling: named.critical_ceiling } : {}),
  };
}

/** A group or price that nobody can read would refuse every model of this organization. */
function pricingProblem(deps: ApiDeps, { group, prices }: z.output<typeof OrgPatch>): Problem | undefined {
  const errors = [
    ...(group !== undefined && !deps.prices().group(group)
      ? [{ pointer: '/group', code: 'unknown_group', message: 'The configuration defines no group of this name.' }]
      : []),
    ...Object.entries(prices ?? {}).flatMap(([pattern, value]) =>
      isOverride(value)
        ? []
        : [
            {
              pointer: `/prices/${pattern.slice(0, 100)}`,
              code: 'not_a_price',
              message: 'Write a multiplier such as "0.8", or a price rule.',
            },
          ],
    ),
  ];
  return errors.length > 0 ? invalid(errors) : undefined;
}

export const noSuchOrg = (): Problem => notFound('There is no organization with this id.');

export function orgOut(deps: ApiDeps, org: Org): z.input<typeof OrgSchema> {
  return {
    id: org.org_id,
    name: org.name,
    kind: org.kind,
    status: org.status,
    overdraft: shown(deps, org.overdraft),
    limit:
      org.monthly_limit === null
        ? null
        : {
            amount: shown(deps, org.monthly_limit),
            action: org.limit_action,
            critical_ceiling: org.critical_ceiling === null ? null : shown(deps, org.critical_ceiling),
          },
    group: org.price_group,
    prices: org.prices,
    time_zone: org.time_zone,
    max_token_quota: org.max_token_quota === null ? null : shown(deps, org.max_token_quota),
    closed_at: timeOutOrNull(org.closed_at),
    created_at: timeOut(org.created_at),
    updated_at: timeOut(org.updated_at),
  };
}

function listedOut(deps: ApiDeps, { org, ...listed }: ListedOrg): z.input<typeof ListedOrgSchema> {
  const { avail, debt, month_spent: spent, alert_threshold: alert, members, tokens } = listed;
  return {
    ...orgOut(deps, org),
    wallet: { booked: shown(deps, avail), debt: shown(deps, debt === 0 ? 0 : -debt), month_spent: shown(deps, spent) },
    limit_state: org.monthly_limit !== null && spent >= org.monthly_limit ? 'limited' : alert !== null && spent > alert ? 'alert' : 'ok',
    members,
    tokens,
  };
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return /^[A-Za-z_+\-/0-9]{1,64}$/.test(name) && !/^[+-]/.test(name);
  } catch {
    return false;
  }
}
