import { createHmac } from 'node:crypto';
import type { PeopleContext } from './context.js';
import type { OperatorRole, Sessions, SignedIn } from './session.js';
import { visitorOf } from './visitor.js';

type Reading = Pick<PeopleContext, 'db' | 'engine' | 'publicUrl'>;

/** An operator signs in anew every working day; everybody else stays signed in as long as they come by. */
const OPERATOR_HOURS = 12;
const SLIDE_AFTER_S = 300;

/** Asked for every call: what was ended, disabled or demoted a moment ago counts at once. */
export function createSessions(ctx: Reading): Sessions {
  return {
    read: async (headers) => {
      const { token } = visitorOf(headers, undefined, ctx.publicUrl);
      return token === undefined ? null : readSession(ctx, token);
    },
  };
}

async function readSession(ctx: Reading, token: string): Promise<SignedIn | null> {
  const row = await ctx.db.one<SessionRow>(
    `
    with s as (
      select s.session_id, s.authenticated_at, s.seen_at, p.person_id, p.email, p.name, p.two_factor, p.operator_role
      from sessions s join people p using (person_id)
      where s.token_digest = $1 and s.expires_at > now() and p.disabled_at is null
        and (p.operator_role is null or s.created_at > now() - make_interval(hours => $2))
    ), slid as (
      update sessions t set seen_at = now(), expires_at = now() + (t.expires_at - t.seen_at)
      from s where t.session_id = s.session_id and s.seen_at < now() - make_interval(secs => $3) and t.seen_at = s.seen_at
    )
    select * from s`,
    [ctx.engine.digest(token), OPERATOR_HOURS, SLIDE_AFTER_S],
    { idempotent: true },
  );
  if (!row) return null;
  return {
    personId: row.person_id,
    email: row.email,
    name: row.name,
    sessionId: row.session_id,
    authenticatedAt: row.authenticated_at,
    twoFactor: row.two_factor,
    operatorRole: row.operator_role,
  };
}

interface SessionRow {
  readonly person_id: string;
  readonly email: string;
  readonly name: string;
  readonly session_id: string;
  readonly authenticated_at: Date;
  readonly two_factor: boolean;
  readonly operator_role: OperatorRole | null;
}

/** What a page shows to prove that a change was meant, where a browser sends no Origin. */
export const csrfToken = (pepper: string, sessionId: string): string =>
  createHmac('sha256', pepper).update(`csrf ${sessionId}`).digest('base64url').slice(0, 32);

export interface ListedSession {
  readonly session_id: string;
  readonly created_at: Date;
  readonly seen_at: Date;
  readonly expires_at: Date;
  readonly ip_address: string | null;
  readonly user_agent: string | null;
}

const LISTED_MAX = 200;

/** The newest first. */
export async function listSessions(what: { ctx: Pick<PeopleContext, 'db'>; personId: string }): Promise<readonly ListedSession[]> {
  return what.ctx.db.query<ListedSession>(
    `
    select s.session_id, s.created_at, s.seen_at, s.expires_at, nullif(s.ip_address, '') as ip_address, nullif(s.user_agent, '') as user_agent
    from sessions s where s.person_id = $1 and s.expires_at > now() order by s.created_at desc, s.session_id desc limit $2`,
    [what.personId, LISTED_MAX],
    { idempotent: true },
  );
}

/** Which sessions of a person end; it takes effect with the very next call of each. */
export type Ending =
  | { readonly kind: 'one'; readonly sessionId: string }
  | { readonly kind: 'all_but'; readonly sessionId: string }
  | { readonly kind: 'all' };

/** Ends sessions, and says how many. `actor` is whoever does it, for the audit log. */
export async function endSessions(what: {
  ctx: Pick<PeopleContext, 'db'>;
  personId: string;
  ending: Ending;
  actor: string;
}): Promise<number> {
  const { ending } = what;
  const one = ending.kind === 'all' ? null : ending.sessionId;
  const row = await what.ctx.db.one<{ ended: number }>(
    `
    with ended as (
      delete from sessions s where s.person_id = $1
        and case $2::text when 'one' then s.session_id = $3 when 'all_but' then s.session_id <> $3 else true end
      returning s.session_id
    ), audited as (
      insert into audit_log (actor, action, subject, details)
      select $4, 'session.end', $1, jsonb_build_object('which', $2::text, 'sessions', jsonb_agg(session_id)) from ended having count(*) > 0
    )
    select count(*)::int as ended from ended`,
    [what.personId, ending.kind, one, what.actor],
    { idempotent: true },
  );
  return row?.ended ?? 0;
}

/** Notes that this person has just shown who they are. */
export async function markProved(what: { ctx: Pick<PeopleContext, 'db'>; sessionId: string }): Promise<void> {
  await what.ctx.db.query(
    `
    with s as (
      update sessions set authenticated_at = now() where session_id = $1 returning person_id
    )
    insert into audit_log (actor, action, subject) select 'person:' || person_id, 'session.confirm', person_id from s`,
    [what.sessionId],
  );
}
