import { z } from '@hono/zod-openapi';
import { type Limits, type LimitTerms, listLimits, readLimits, updateLimits } from '../accounts/limits.js';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, changedMeanwhile, type FieldError, invalid, notInForce } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountIn, AmountOutSchema, CursorQuery, LimitQuery, pageSchema, TimeOut, timeOut, timeOutOrNull } from './schemas.js';

const ACTIONS = ['block_all', 'pause_noncritical'] as const;
const MICRO_MAX = 999_999_999_999_999;

const RECIPIENT = /^(?:[a-z]{1,20}|role_[0-9A-Za-z]{14}|usr_[0-9A-Za-z]{1,60})$/;

const LimitsIn = z.strictObject({
  alert_threshold: AmountIn.nullable().optional(),
  allowed_limit: AmountIn.nullable().optional(),
  action: z.enum(ACTIONS).default('block_all'),
  critical_ceiling: AmountIn.nullable().optional(),
  approach_ratio: z.number().min(0.01, 'From 0.01 to 1.').max(1, 'From 0.01 to 1.').default(0.9),
  /** Who is told: roles (owner, billing, role_…) and members (usr_…). */
  notify: z
    .array(z.string().regex(RECIPIENT, 'A role such as owner or role_…, or a member (usr_…).'))
    .max(20, 'At most 20.')
    .default(['owner']),
});

const terms = {
  alert_threshold: AmountOutSchema.nullable(),
  allowed_limit: AmountOutSchema.nullable(),
  action: z.enum(ACTIONS),
  critical_ceiling: AmountOutSchema.nullable(),
  approach_ratio: z.number(),
  notify: z.array(z.string()),
};

/** `actor` as in the audit log; `name` of a member or a management key. */
const ChangedBySchema = z.strictObject({ actor: z.string(), name: z.string().nullable() }).nullable();

const LimitsSchema = z
  .strictObject({
    org_id: z.string(),
    ...terms,
    /** Charged this month, whether booked yet or not; running requests are `in_flight`. */
    used: AmountOutSchema,
    in_flight: AmountOutSchema,
    /** Before the limit; null without one. It is not the balance. */
    remaining: AmountOutSchema.nullable(),
    state: z.enum(['ok', 'alert', 'limited']),
    time_zone: z.string(),
    resets_at: TimeOut,
    changed_at: TimeOut,
    changed_by: ChangedBySchema,
    warning: z.string().optional(),
  })
  .openapi('Limits');

const LimitVersionSchema = z
  .strictObject({ ...terms, from: TimeOut, to: TimeOut.nullable(), changed_by: ChangedBySchema })
  .openapi('LimitVersion');

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

export const limitRoutes = (deps: ApiDeps): readonly Route[] => [readRoute(deps), writeRoute(deps), historyRoute(deps)];

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/limits',
    permission: 'limits.read',
    summary: 'The monthly limit, and how much of it is used',
    tag: 'limits',
    params: OrgParams,
    answers: { 200: { description: 'The limits', schema: LimitsSchema } },
    handle: async ({ params, actor }) => {
      const limits = await readLimits({ ctx: contextFor(deps, actor), orgId: params.org });
      if (!limits) return noSuchOrg();
      return answer(200, await limitsOut(deps, params.org, limits), { etag: `"${limits.etag}"` });
    },
  });

const writeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'put',
    path: '/api/v1/orgs/{org}/limits',
    permission: 'limits.write',
    summary: 'Replace the limits; in force for the very next request',
    tag: 'limits',
    params: OrgParams,
    body: LimitsIn,
    conditional: true,
    answers: { 200: { description: 'The limits as they are now', schema: LimitsSchema } },
    handle: async ({ params, body, actor, ifMatch }) => {
      const wanted = termsOf(body);
      const errors = contradictions(wanted);
      if (errors.length > 0) return invalid(errors);
      const updated = await updateLimits({ ctx: contextFor(deps, actor), orgId: params.org, terms: wanted, ifMatch });
      if (updated.kind === 'unknown_org') return noSuchOrg();
      if (updated.kind === 'unknown_recipients') return invalid(strangers(body.notify, updated.ids));
      const out = await limitsOut(deps, params.org, updated.limits);
      const etag = `"${updated.limits.etag}"`;
      if (updated.kind === 'changed') return changedMeanwhile(out, etag);
      if (updated.effect === 'unavailable') return notInForce('The new limit');
      return answer(200, { ...out, ...warningOf(out) }, { etag });
    },
  });

function historyRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: '/api/v1/orgs/{org}/limits/history',
    permission: 'limits.read',
    summary: 'Which limits were in force when, newest first',
    tag: 'limits',
    params: OrgParams,
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(LimitVersionSchema) } },
    handle: async ({ params, query, actor }) => {
      const filters = ['limits', params.org];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const before = place[0] === undefined ? null : Number(place[0]);
      const page = await listLimits({ ctx: contextFor(deps, actor), orgId: params.org, before, limit: query.limit });
      const last = page.rows.at(-1);
      if (!last && before === null) return noSuchOrg();
      return answer(200, {
        data: page.rows.map((version) => ({
          ...termsOut(deps, version),
          from: timeOut(version.from_at),
          to: timeOutOrNull(version.to_at),
          changed_by: version.changed_by,
        })),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([String(last.id)], filters) : null,
      });
    },
  });
}

/** Whatever is not said is not there: this replaces all of it. Critical tokens may go to 120 % unless said otherwise. */
function termsOf(body: z.output<typeof LimitsIn>): LimitTerms {
  const { action, approach_ratio, notify } = body;
  const allowed = body.allowed_limit ?? null;
  const usual = action === 'pause_noncritical' && allowed !== null ? Math.min(MICRO_MAX, Math.floor((allowed * 6) / 5)) : null;
  return {
    alert_threshold: body.alert_threshold ?? null,
    allowed_limit: allowed,
    action,
    critical_ceiling: body.critical_ceiling === undefined ? usual : body.critical_ceiling,
    approach_ratio,
    notify: [...new Set(notify)].sort(),
  };
}

const strangers = (notify: readonly string[], ids: readonly string[]): FieldError[] =>
  ids.map((id) => ({
    pointer: `/notify/${notify.indexOf(id)}`,
    code: 'unknown',
    message: `This organization has no role or member ${id}.`,
  }));

function contradictions({ alert_threshold, allowed_limit, critical_ceiling }: LimitTerms): FieldError[] {
  const errors: FieldError[] = [];
  const wrong = (name: string, message: string) => errors.push({ pointer: `/${name}`, code: 'contradiction', message });
  if (alert_threshold !== null && allowed_limit !== null && alert_threshold > allowed_limit)
    wrong('alert_threshold', 'The alert threshold cannot be above the allowed limit.');
  if (critical_ceiling !== null && allowed_limit === null) wrong('critical_ceiling', 'A ceiling needs an allowed limit below it.');
  if (critical_ceiling !== null && allowed_limit !== null && critical_ceiling < allowed_limit)
    wrong('critical_ceiling', 'The ceiling for critical tokens cannot be below the allowed limit.');
  return errors;
}

type LimitsOut = z.input<typeof LimitsSchema>;

const termsOut = (deps: ApiDeps, { alert_threshold, allowed_limit, action, critical_ceiling, approach_ratio, notify }: LimitTerms) => ({
  alert_threshold: alert_threshold === null ? null : shown(deps, alert_threshold),
  allowed_limit: allowed_limit === null ? null : shown(deps, allowed_limit),
  action,
  critical_ceiling: critical_ceiling === null ? null : shown(deps, critical_ceiling),
  approach_ratio,
  notify: [...notify],
});

async function limitsOut(deps: ApiDeps, orgId: OrgId, limits: Limits): Promise<LimitsOut> {
  const wallet = await deps.ledger.wallet(orgId);
  const used = (wallet?.monthSpent ?? 0) + (wallet?.hot?.pending ?? 0);
  const { alert_threshold: alert, allowed_limit: limit } = limits;
  return {
    org_id: orgId,
    ...termsOut(deps, limits),
    used: shown(deps, used),
    in_flight: shown(deps, wallet?.hot?.held ?? 0),
    remaining: limit === null ? null : shown(deps, Math.max(0, limit - used)),
    state: limit !== null && used >= limit ? 'limited' : alert !== null && used > alert ? 'alert' : 'ok',
    time_zone: limits.time_zone,
    resets_at: timeOut(limits.resets_at),
    changed_at: timeOut(limits.changed_at),
    changed_by: limits.changed_by,
  };
}

/** A limit below what is used is meant seriously: it is set, and what it does is said. */
function warningOf(out: LimitsOut): { warning?: string } {
  if (out.state !== 'limited') return {};
  const stopped = out.action === 'pause_noncritical' ? 'Non-critical requests are' : 'Requests are';
  return { warning: `${out.used.credits} credits are used already this month. ${stopped} refused from now on, until ${out.resets_at}.` };
}
