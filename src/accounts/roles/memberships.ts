import type { Database } from '../../db/client.js';
import type { Permission } from './permissions.js';

/** Where a person belongs, and what the role there allows, at this moment: whoever was removed finds nothing, nor anybody in what was closed. */
export interface Membership {
  readonly org_id: string;
  readonly org_name: string;
  readonly org_kind: 'personal' | 'team';
  readonly role_id: string;
  readonly role_name: string;
  readonly permissions: readonly Permission[];
  /** The organization lets in only members with a second factor. */
  readonly two_factor_required: boolean;
}

const VIEW = `select m.org_id, o.name as org_name, o.kind as org_kind, m.role_id, r.name as role_name, r.permissions,
  coalesce((select s.two_factor_required from org_security s where s.org_id = m.org_id), false) as two_factor_required
  from org_members m join roles r on r.role_id = m.role_id join organizations o on o.org_id = m.org_id and o.closed_at is null`;

export const findMembership = (db: Database, personId: string, orgId: string): Promise<Membership | undefined> =>
  db.one<Membership>(`${VIEW} where m.person_id = $1 and m.org_id = $2`, [personId, orgId], { idempotent: true });

/** In the order in which the person joined. */
export const listMemberships = (db: Database, personId: string, limit: number): Promise<Membership[]> =>
  db.query<Membership>(`${VIEW} where m.person_id = $1 order by m.created_at, m.org_id limit $2::int`, [personId, limit], {
    idempotent: true,
  });
