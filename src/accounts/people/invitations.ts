import type { PeopleContext } from './context.js';
import { linkDigest } from './links.js';

export interface OpenInvitation {
  readonly invitation_id: string;
  readonly org_id: string;
  readonly org_name: string;
  readonly email: string;
  readonly role_id: string;
  readonly expires_at: Date;
}

/** The invitation a link stands for, as long as it can be accepted. */
export async function openInvitation(ctx: Pick<PeopleContext, 'db' | 'pepper'>, token: string): Promise<OpenInvitation | undefined> {
  return ctx.db.one<OpenInvitation>(
    `
    select i.invitation_id, i.org_id, o.name as org_name, i.email, i.role_id, i.expires_at
    from invitations i join organizations o using (org_id)
    where i.digest = $1 and i.accepted_at is null and i.revoked_at is null and i.expires_at > now()`,
    [linkDigest(ctx, token)],
    { idempotent: true },
  );
}
