import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

export interface LiveState {
  readonly alert_threshold: number | null;
  /** By token id; the ones used last, up to the bound. */
  readonly tokens: Readonly<Record<string, TokenState>>;
}

export type TokenState = 'active' | 'paused' | 'revoked' | 'expired' | 'quota_used';

const TOKENS_MAX = 500;

/** What an organization's tokens may do at this moment, as the books see it. */
export async function readLiveState(db: Database, orgId: OrgId, nowMs: number): Promise<LiveState | undefined> {
  const row = await db.one<{ state: LiveState }>(STATE, [orgId, new Date(nowMs), TOKENS_MAX], { idempotent: true });
  return row?.state;
}

const STATE = `
  select jsonb_build_object('alert_threshold', o.alert_threshold, 'tokens', coalesce((
    select jsonb_object_agg(s.token_id, s.state) from (
      select t.token_id, case when t.status <> 'active' then t.status when t.expires_at <= $2::timestamptz then 'expired'
        when u.total >= t.quota_total or u.daily >= t.quota_daily and u.daily_ends_at > $2::timestamptz
          or u.weekly >= t.quota_weekly and u.weekly_ends_at > $2::timestamptz
          or u.monthly >= t.quota_monthly and u.monthly_ends_at > $2::timestamptz then 'quota_used' else 'active' end as state
      from tokens t join token_use u using (token_id) where t.org_id = o.org_id
      order by u.last_used_at desc nulls last, t.created_at desc limit $3::int) s), '{}')) as state
  from organizations o where o.org_id = $1`;
