import type { Database } from '../db/client.js';
import { tokenState } from '../db/tokenState.js';
import type { OrgId } from '../domain/ids.js';
import type { TokenState } from '../domain/tokenState.js';

export interface LiveState {
  readonly alert_threshold: number | null;
  /** By token id; the ones used last, up to the bound. */
  readonly tokens: Readonly<Record<string, TokenState>>;
}

const TOKENS_MAX = 500;

/** What an organization's tokens may do at this moment, as the books see it. */
export async function readLiveState(db: Database, orgId: OrgId, nowMs: number): Promise<LiveState | undefined> {
  const row = await db.one<{ state: LiveState }>(STATE, [orgId, new Date(nowMs), TOKENS_MAX], { idempotent: true });
  return row?.state;
}

const STATE = `
  select jsonb_build_object('alert_threshold', o.alert_threshold, 'tokens', coalesce((
    select jsonb_object_agg(s.token_id, s.state) from (
      select t.token_id, ${tokenState('$2::timestamptz')} as state
      from tokens t join token_use u using (token_id) where t.org_id = o.org_id
      order by u.last_used_at desc nulls last, t.created_at desc limit $3::int) s), '{}')) as state
  from organizations o where o.org_id = $1`;
