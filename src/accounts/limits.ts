import type { OrgId } from '../domain/ids.js';
import { nameOf } from './actor.js';
import type { AccountsContext, Page, Projected } from './context.js';
import { pageOf } from './context.js';

/** What an organization may spend in a calendar month of its own time zone; amounts are micro-credits. */
export interface LimitTerms {
  /** From here on somebody is told; nothing stops. */
  readonly alert_threshold: number | null;
  readonly allowed_limit: number | null;
  readonly action: 'block_all' | 'pause_noncritical';
  /** Up to here critical tokens go on when `action` is `pause_noncritical`; null = up to the limit. */
  readonly critical_ceiling: number | null;
  /** The share of the threshold from which a first notice is due. */
  readonly approach_ratio: number;
  /** Roles and members, by id. */
  readonly notify: readonly string[];
}

export interface ChangedBy {
  /** As the audit log writes it. */
  readonly actor: string;
  /** Of a member or a management key, as it is now. */
  readonly name: string | null;
}

export interface Limits extends LimitTerms {
  readonly time_zone: string;
  /** When the month that runs ends there. */
  readonly resets_at: string;
  readonly changed_at: string;
  /** Null for what nobody ever set. */
  readonly changed_by: ChangedBy | null;
  readonly etag: string;
}

export type UpdatedLimits =
  | { readonly kind: 'updated'; readonly limits: Limits; readonly effect: Projected }
  | { readonly kind: 'unknown_org' }
  /** These are no roles or members of the organization; nothing was changed. */
  | { readonly kind: 'unknown_recipients'; readonly ids: readonly string[] }
  /** Somebody else was first: this is how it looks now. */
  | { readonly kind: 'changed'; readonly limits: Limits };

/** Replaces the limits. One statement: the row, its version in the history, and the line in the audit log. */
export async function updateLimits(what: {
  ctx: AccountsContext;
  orgId: OrgId;
  terms: LimitTerms;
  ifMatch: string | null;
}): Promise<UpdatedLimits> {
  const { ctx, orgId, terms } = what;
  const rows = await ctx.db.query<{ is_changed: boolean; strangers: readonly string[] }>(
    `
    with o as (
      select * from organizations where org_id = $1 for update
    ), seen as (
      select o.org_id, ${TERMS} as terms from o
    ), strangers as (
      select n as id from unnest($9::text[]) n
      where not exists (select from roles r where r.role_id = n and (r.org_id is null or r.org_id = $1))
        and not exists (select from org_members m where m.org_id = $1 and m.person_id = n)
    ), changed as (
      update organizations t set alert_threshold = $2, monthly_limit = $3, limit_action = $4, critical_ceiling = $5, approach_ratio = $6,
        limit_notify = $9::text[], limits_changed_by = $8
      from seen where t.org_id = seen.org_id and ($7::text is null or ${etagOf('seen.terms')} = $7::text)
        and not exists (select from strangers)
      returning t.*
    ), after as (
      select o.org_id, ${TERMS} as terms from changed o
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select org_id, $8, 'limits.update', org_id, jsonb_build_object('before', seen.terms, 'after', after.terms)
      from after join seen using (org_id) where after.terms <> seen.terms
    )
    select after.org_id is not null as is_changed, array(select id from strangers) as strangers from seen left join after using (org_id)`,
    [
      orgId,
      terms.alert_threshold,
      terms.allowed_limit,
      terms.action,
      terms.critical_ceiling,
      terms.approach_ratio,
      what.ifMatch,
      nameOf(ctx.actor),
      terms.notify,
    ],
    { idempotent: what.ifMatch === null },
  );
  const row = rows[0];
  if (!row) return { kind: 'unknown_org' };
  if (row.strangers.length > 0) return { kind: 'unknown_recipients', ids: row.strangers };
  const effect = row.is_changed ? await ctx.project.org(orgId) : 'projected';
  const limits = await readLimits({ ctx, orgId });
  if (!limits) throw new Error(`the limits of ${orgId} were changed, but cannot be found`);
  return row.is_changed ? { kind: 'updated', limits, effect } : { kind: 'changed', limits };
}

export async function readLimits(what: { ctx: Pick<AccountsContext, 'db' | 'clock'>; orgId: OrgId }): Promise<Limits | undefined> {
  const { db, clock } = what.ctx;
  const rows = await db.query<{ limits: Limits }>(
    `
    select ${TERMS} || jsonb_build_object('time_zone', o.time_zone, 'resets_at', month_end($2::timestamptz, o.time_zone),
      'changed_at', v.from_at, 'changed_by', ${CHANGED_BY}, 'etag', ${etagOf(TERMS)}) as limits
    from organizations o join limit_versions v on v.org_id = o.org_id and v.to_at is null where o.org_id = $1`,
    [what.orgId, new Date(clock.nowMs())],
    { idempotent: true },
  );
  return rows[0]?.limits;
}

export interface LimitVersion extends LimitTerms {
  readonly id: number;
  readonly from_at: string;
  /** null = in force. */
  readonly to_at: string | null;
  readonly changed_by: ChangedBy | null;
}

/** What was in force when, newest first. */
export async function listLimits(what: {
  ctx: Pick<AccountsContext, 'db'>;
  orgId: OrgId;
  before: number | null;
  limit: number;
}): Promise<Page<LimitVersion>> {
  const rows = await what.ctx.db.query<{ version: LimitVersion }>(
    `
    select to_jsonb(v) - 'org_id' || jsonb_build_object('changed_by', ${CHANGED_BY}) as version from limit_versions v
    where org_id = $1 and ($2::bigint is null or id < $2::bigint) order by id desc limit $3::int`,
    [what.orgId, what.before, what.limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ version }) => version),
    what.limit,
  );
}

/** The row `o` of organizations as LimitTerms. */
const TERMS = `
  jsonb_build_object('alert_threshold', o.alert_threshold, 'allowed_limit', o.monthly_limit, 'action', o.limit_action,
    'critical_ceiling', o.critical_ceiling, 'approach_ratio', o.approach_ratio, 'notify', o.limit_notify)`;

/** Of the row `v` of limit_versions. Names are those of members and keys alone: who works for the operator is nobody's business. */
const CHANGED_BY = `
  case when v.changed_by is not null then jsonb_build_object('actor', v.changed_by, 'name', coalesce(
    (select p.name from people p join org_members m using (person_id)
      where p.person_id = substr(v.changed_by, 8) and v.changed_by like 'person:%' and m.org_id = v.org_id),
    (select k.name from management_keys k where k.key_id = substr(v.changed_by, 5) and v.changed_by like 'key:%' and k.org_id = v.org_id))) end`;

/** From the values alone: whoever has seen these values may replace them. */
const etagOf = (terms: string): string => `left(md5((${terms})::text), 16)`;
