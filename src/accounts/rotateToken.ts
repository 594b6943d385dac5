import type { OrgId, TokenId } from '../domain/ids.js';
import { digestOf, newTokenSecret } from '../domain/secrets.js';
import type { AccountsContext } from './context.js';
import { type UpdatedToken, updateToken } from './updateToken.js';

export type RotatedToken =
  | (UpdatedToken & { readonly kind: 'updated'; readonly secret: string })
  | Exclude<UpdatedToken, { kind: 'updated' }>;

/** A new secret for the same token. The old one works on for `graceSeconds`, so that nobody has to redeploy in a hurry. */
export async function rotateToken(what: {
  ctx: AccountsContext;
  orgId: OrgId;
  tokenId: TokenId;
  ownerId: string | null;
  graceSeconds: number;
}): Promise<RotatedToken> {
  const { ctx, orgId, tokenId, ownerId, graceSeconds } = what;
  const secret = newTokenSecret(tokenId);
  const changes = {
    digest: digestOf(secret, ctx.pepper),
    last_four: secret.slice(-4),
    grace_digest: null, // the statement puts the digest of that moment here, so that two rotations cannot mix
    grace_ends_at: graceSeconds > 0 ? new Date(ctx.clock.nowMs() + graceSeconds * 1_000).toISOString() : null,
  };
  const updated = await updateToken({ ctx, orgId, tokenId, ownerId, action: 'token.rotate', changes, ifMatch: null });
  return updated.kind === 'updated' ? { ...updated, secret } : updated;
}
