import { type Actor, nameOf } from '../actor.js';
import { type Page, pageOf } from '../context.js';
import type { PeopleContext } from './context.js';
import type { OperatorRole } from './session.js';

/** A person as the house that runs the server sees them. */
export interface ListedPerson {
  readonly person_id: string;
  readonly email: string;
  readonly email_verified: boolean;
  readonly name: string;
  readonly two_factor: boolean;
  readonly operator_role: OperatorRole | null;
  readonly disabled_at: string | null;
  readonly created_at: string;
  readonly last_sign_in_at: string | null;
  readonly organizations: readonly { readonly id: string; readonly name: string; readonly role: string }[];
}

const VIEW = `
  jsonb_build_object('person_id', p.person_id, 'email', p.email, 'email_verified', p.email_verified, 'name', p.name, 'two_factor', p.two_factor,
    'operator_role', p.operator_role, 'disabled_at', p.disabled_at, 'created_at', p.created_at, 'last_sign_in_at', p.last_sign_in_at,
    'organizations', (select coalesce(jsonb_agg(jsonb_build_object('id', o.org_id, 'name', o.name, 'role', m.role_id) order by m.created_at), '[]')
      from org_members m join organizations o using (org_id) where m.person_id = p.person_id))`;

/** Null leaves a dimension open. */
export interface PeopleFilter {
  /** A part of the address. */
  readonly email: string | null;
  readonly disabled: boolean | null;
  /** `none`: no operator. */
  readonly operatorRole: OperatorRole | 'none' | null;
  readonly twoFactor: boolean | null;
}

/** Newest first. */
export async function listPeople(what: {
  ctx: Pick<PeopleContext, 'db'>;
  filter: PeopleFilter;
  after: { readonly createdAt: string; readonly personId: string } | null;
  limit: number;
}): Promise<Page<ListedPerson>> {
  const { after, limit, filter } = what;
  const rows = await what.ctx.db.query<{ person: ListedPerson }>(
    `
    select ${VIEW} as person from people p
    where ($1::text is null or position($1::text in p.email) > 0)
      and ($2::text is null or (p.created_at, p.person_id) < ($3::text::timestamptz, $2::text))
      and ($5::boolean is null or (p.disabled_at is not null) = $5::boolean)
      and ($6::text is null or coalesce(p.operator_role, 'none') = $6::text)
      and ($7::boolean is null or p.two_factor = $7::boolean)
    order by p.created_at desc, p.person_id desc limit $4::int`,
    [
      ...[filter.email, after?.personId ?? null, after?.createdAt ?? null, limit + 1],
      ...[filter.disabled, filter.operatorRole, filter.twoFactor],
    ],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ person }) => person),
    limit,
  );
}

export async function readPerson(what: { ctx: Pick<PeopleContext, 'db'>; personId: string }): Promise<ListedPerson | undefined> {
  const row = await what.ctx.db.one<{ person: ListedPerson }>(
    `select ${VIEW} as person from people p where p.person_id = $1`,
    [what.personId],
    {
      idempotent: true,
    },
  );
  return row?.person;
}

/**
 * Disables or enables a person, or makes an operator of one. Whoever is disabled loses every session by the same
 * statement; whoever becomes an operator has to sign in anew.
 */
export async function changePerson(what: {
  ctx: Pick<PeopleContext, 'db'>;
  actor: Actor;
  personId: string;
  changes: { readonly disabled?: boolean | undefined; readonly operatorRole?: OperatorRole | null | undefined };
}): Promise<ListedPerson | undefined> {
  const { disabled, operatorRole } = what.changes;
  await what.ctx.db.query(
    `
    with seen as (
      select person_id, disabled_at, operator_role from people where person_id = $1 for update
    ), p as (
      update people t set
        disabled_at = case when $2::boolean is null then t.disabled_at when $2::boolean then coalesce(t.disabled_at, now()) end,
        operator_role = case when $3::boolean then $4::text else t.operator_role end
      from seen where t.person_id = seen.person_id returning t.person_id, t.disabled_at, t.operator_role
    ), changed as (
      select p.*, seen.disabled_at as was_disabled_at, seen.operator_role as was_operator_role from p join seen using (person_id)
      where (p.disabled_at is null, p.operator_role) is distinct from (seen.disabled_at is null, seen.operator_role)
    ), ended as (
      delete from sessions s using changed c where s.person_id = c.person_id
        and (c.disabled_at is not null or c.operator_role is distinct from c.was_operator_role)
    )
    insert into audit_log (actor, action, subject, details)
    select $5, 'person.administer', person_id, jsonb_build_object(
      'before', jsonb_build_object('disabled', was_disabled_at is not null, 'operator_role', was_operator_role),
      'after', jsonb_build_object('disabled', disabled_at is not null, 'operator_role', operator_role)) from changed`,
    [what.personId, disabled ?? null, operatorRole !== undefined, operatorRole ?? null, nameOf(what.actor)],
    { idempotent: true },
  );
  return readPerson(what);
}

/** Takes away what nobody can use any more. Any number of servers may do it at once. */
export async function tidyPeople({ db }: Pick<PeopleContext, 'db'>): Promise<void> {
  const texts = [
    "delete from sessions where expires_at < now() - interval '1 day'",
    "delete from auth_challenges where expires_at < now() - interval '1 hour'",
    "delete from person_links where coalesce(used_at, expires_at) < now() - interval '7 days'",
    "delete from auth_attempts where until < now() - interval '1 hour'",
  ];
  for (const text of texts) await db.query(text, [], { idempotent: true });
}
