import { newPersonId, newTimedId } from '../../domain/ids.js';
import type { PeopleContext } from './context.js';
import { linkDigest } from './links.js';

/** Whether the house that runs this server has anybody who signs in. */
export async function hasOperator({ db }: Pick<PeopleContext, 'db'>): Promise<boolean> {
  const row = await db.one<{ there: boolean }>('select exists (select from people where operator_role is not null) as there', [], {
    idempotent: true,
  });
  return row?.there ?? false;
}

/** Lets whoever has this text make the first operator's account, once. */
export async function openSetup(ctx: Pick<PeopleContext, 'db' | 'pepper'>, token: string): Promise<void> {
  await ctx.db.query(
    `insert into person_links (digest, kind) values ($1, 'setup') on conflict (digest) do nothing`,
    [linkDigest(ctx, token)],
    {
      idempotent: true,
    },
  );
}

export type SetUp = { readonly kind: 'made' } | { readonly kind: 'link_over' } | { readonly kind: 'address_taken' };

/**
 * Makes the first operator: with every right, and owner of the organization of the first start. One statement uses the
 * link up. An account of that address that is there already is not raised: somebody else may know its password.
 */
export async function setUpOperator(what: {
  ctx: Pick<PeopleContext, 'db' | 'pepper' | 'passwords'>;
  token: string;
  input: { readonly email: string; readonly password: string; readonly name: string };
}): Promise<SetUp> {
  const { ctx, input } = what;
  const digest = linkDigest(ctx, what.token);
  const open = await ctx.db.one<{ taken: boolean }>(
    `select exists (select from people where email = $2) as taken from person_links
     where digest = $1 and kind = 'setup' and used_at is null and not exists (select from people where operator_role is not null)`,
    [digest, input.email],
    { idempotent: true },
  );
  if (!open) return { kind: 'link_over' };
  if (open.taken) return { kind: 'address_taken' };
  const hash = await ctx.passwords.hash(input.password);
  const row = await ctx.db.one<{ made: boolean }>(
    `
    with link as (
      update person_links set used_at = now() where digest = $1 and kind = 'setup' and used_at is null
        and not exists (select from people where operator_role is not null) returning digest
    ), first as (
      select o.org_id from organizations o join audit_log a on a.org_id = o.org_id and a.action = 'org.create' and a.actor = 'system:first start'
      where not exists (select from org_members m where m.org_id = o.org_id) order by o.created_at, o.org_id limit 1
    ), made as (
      insert into people (person_id, email, name, email_verified, operator_role, home_org_id, home_ready_at)
      select $2, $3, $4, true, 'operator.admin', (select org_id from first), (select now() from first) from link
      on conflict (email) do nothing returning person_id, home_org_id
    ), login as (
      insert into logins (login_id, person_id, provider_id, account_id, password)
      select $5, person_id, 'credential', person_id, $6 from made
    ), member as (
      insert into org_members (org_id, person_id, role_id) select home_org_id, person_id, 'owner' from made where home_org_id is not null
      returning org_id, person_id, role_id
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select org_id, 'system:set-up', 'member.add', person_id, jsonb_build_object('after', jsonb_build_object('role_id', role_id)) from member
    )
    select exists (select from made) as made from link`,
    [digest, newPersonId(), input.email, input.name, newTimedId('aut'), hash],
  );
  if (!row) return { kind: 'link_over' };
  return { kind: row.made ? 'made' : 'address_taken' };
}
