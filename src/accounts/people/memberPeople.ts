import type { AccountsContext } from '../context.js';

/** What an organization sees of the people who belong to it. */
export interface MemberPerson {
  readonly person_id: string;
  readonly email: string;
  readonly name: string;
  readonly two_factor: boolean;
  readonly last_active_at: Date | null;
}

export async function peopleOf(ctx: Pick<AccountsContext, 'db'>, personIds: readonly string[]): Promise<ReadonlyMap<string, MemberPerson>> {
  const rows = await ctx.db.query<MemberPerson>(
    `
    select p.person_id, p.email, p.name, p.two_factor,
      greatest(p.last_sign_in_at, (select max(s.seen_at) from sessions s where s.person_id = p.person_id)) as last_active_at
    from people p where p.person_id = any ($1::text[])`,
    [personIds],
    { idempotent: true },
  );
  return new Map(rows.map((row) => [row.person_id, row]));
}
