import type { Database } from '../db/client.js';
import { type Actor, nameOf } from './actor.js';

/** Whoever looks around in an organization is noted once in a while, not with every page. */
export const VIEW_EVERY_MS = 15 * 60_000;

/**
 * People of the operator, and keys made for programs, who read what belongs to one organization leave a line in its audit
 * log. The first operator key is the server's own: its commands read on behalf of nobody in particular.
 */
export const isViewing = (actor: Actor, orgId: string): boolean =>
  actor.kind === 'operator' ? actor.key !== undefined : actor.kind === 'person' && actor.operatorRole !== null && actor.orgId !== orgId;

/** One line for each quarter of an hour, however many processes serve the pages. */
export async function noteView(what: { readonly db: Database; readonly actor: Actor; readonly orgId: string }): Promise<void> {
  await what.db.query(
    `insert into audit_log (org_id, actor, action, subject)
     select o.org_id, $2::text, 'org.view', o.org_id from organizations o where o.org_id = $1::text and not exists (
       select from audit_log a where a.org_id = o.org_id and a.actor = $2::text and a.action = 'org.view' and a.at > now() - make_interval(secs => $3))`,
    [what.orgId, nameOf(what.actor), VIEW_EVERY_MS / 1_000],
  );
}
