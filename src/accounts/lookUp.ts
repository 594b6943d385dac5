import type { Database } from '../db/client.js';

/** Something that an id or a name stands for, and where it belongs. */
export interface Found {
  readonly kind: 'organization' | 'person' | 'token' | 'request' | 'key';
  readonly id: string;
  /** Null for people, who may belong to several. */
  readonly org_id: string | null;
  readonly name: string;
}

const FOUND_MAX = 10;

/** What the one box of support means: exact ids first, then people by address and organizations by a part of their name. */
export async function lookUp(db: Database, text: string): Promise<readonly Found[]> {
  const request = /^(?:req_)?([0-9a-f]{32})$/.exec(text.replaceAll('-', ''))?.[1] ?? null;
  return db.query<Found>(
    `select kind, id, org_id, name from (
       select 1 as place, 'request' as kind, 'req_' || replace(r.request_id::text, '-', '') as id, r.org_id, r.model as name
         from usage_records r where $2::text is not null and r.request_id = $2::text::uuid
       union all select 2, 'token', t.token_id, t.org_id, t.name from tokens t where t.token_id = $1::text
       union all select 3, 'key', k.key_id, k.org_id, k.name from management_keys k where k.key_id = $1::text
       union all select 4, 'person', p.person_id, null, p.email from people p where p.person_id = $1::text or p.email = lower($1::text)
       union all (select 5, 'organization', o.org_id, o.org_id, o.name from organizations o
         where o.org_id = $1::text or strpos(lower(o.name), lower($1::text)) > 0 order by o.created_at desc limit $3::int)) found
     order by place, id limit $3::int`,
    [text, request, FOUND_MAX],
    { idempotent: true },
  );
}
