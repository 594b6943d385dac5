import type { PeopleContext } from './context.js';
import type { OperatorRole } from './session.js';

/** A person as they see themselves. */
export interface Me {
  readonly person_id: string;
  readonly email: string;
  readonly email_verified: boolean;
  readonly name: string;
  readonly two_factor: boolean;
  readonly has_password: boolean;
  /** Names of the houses this person can sign in with. */
  readonly providers: readonly string[];
  readonly operator_role: OperatorRole | null;
  readonly home_org_id: string | null;
  readonly preferences: Preferences;
  readonly created_at: string;
}

export interface Preferences {
  readonly theme?: 'light' | 'dark' | 'system' | undefined;
  readonly unit?: 'credits' | 'money' | 'both' | undefined;
  readonly locale?: string | undefined;
}

const VIEW = `
  jsonb_build_object('person_id', p.person_id, 'email', p.email, 'email_verified', p.email_verified, 'name', p.name,
    'two_factor', p.two_factor, 'operator_role', p.operator_role, 'home_org_id', p.home_org_id, 'preferences', p.preferences,
    'created_at', p.created_at)
    || (select jsonb_build_object('has_password', coalesce(bool_or(l.provider_id = 'credential'), false),
        'providers', coalesce(jsonb_agg(l.provider_id order by l.provider_id) filter (where l.provider_id <> 'credential'), '[]'))
      from logins l where l.person_id = p.person_id)`;

export async function readMe(what: { ctx: Pick<PeopleContext, 'db'>; personId: string }): Promise<Me | undefined> {
  const row = await what.ctx.db.one<{ me: Me }>(`select ${VIEW} as me from people p where p.person_id = $1`, [what.personId], {
    idempotent: true,
  });
  return row?.me;
}

/** Changes what a person says about themselves; of the preferences only those that are named. */
export async function updateMe(what: {
  ctx: Pick<PeopleContext, 'db'>;
  personId: string;
  changes: { readonly name?: string | undefined; readonly preferences?: Preferences | undefined };
}): Promise<Me | undefined> {
  const { name, preferences = {} } = what.changes;
  const row = await what.ctx.db.one<{ me: Me }>(
    `
    with seen as (
      select person_id, name, preferences from people where person_id = $1 for update
    ), p as (
      update people t set name = coalesce($2, t.name), preferences = t.preferences || $3::text::jsonb
      from seen where t.person_id = seen.person_id returning t.*
    ), audited as (
      insert into audit_log (actor, action, subject, details)
      select 'person:' || p.person_id, 'person.update', p.person_id, jsonb_build_object(
        'before', jsonb_build_object('name', seen.name, 'preferences', seen.preferences),
        'after', jsonb_build_object('name', p.name, 'preferences', p.preferences))
      from p join seen using (person_id) where (p.name, p.preferences) is distinct from (seen.name, seen.preferences)
    )
    select ${VIEW} as me from p`,
    [what.personId, name ?? null, JSON.stringify(preferences)],
    { idempotent: true },
  );
  return row?.me;
}
