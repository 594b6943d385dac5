import { tokenState } from '../db/tokenState.js';
import type { TokenState } from '../domain/tokenState.js';
import type { QuotaWindow } from './quota.js';

/** A token as the verbs answer it: everything but its digests. Amounts are micro-credits. */
export interface Token {
  readonly token_id: string;
  readonly org_id: string;
  readonly name: string;
  readonly project: string | null;
  readonly agent: string | null;
  readonly created_by: string | null;
  /** The person whose token it is; null = the organization's. */
  readonly owner_id: string | null;
  readonly last_four: string;
  readonly grace_ends_at: string | null;
  readonly status: 'active' | 'paused' | 'revoked';
  /** What that comes to now, with its end and its quotas. */
  readonly state: TokenState;
  readonly expires_at: string | null;
  readonly quota_total: number | null;
  readonly quota_daily: number | null;
  readonly quota_weekly: number | null;
  readonly quota_monthly: number | null;
  readonly requests_per_minute: number;
  readonly tokens_per_minute: number;
  readonly concurrency: number;
  readonly critical: boolean;
  readonly models: readonly string[] | null;
  readonly ips: readonly string[] | null;
  readonly created_at: string;
  readonly updated_at: string;
  readonly last_used_at: string | null;
  /** What was used in each window that has not ended, booked charges only. */
  readonly used: Readonly<Record<QuotaWindow, number>>;
  readonly resets_at: Readonly<Record<QuotaWindow, string | null>>;
  readonly etag: string;
}

/** What may be said about a token when it is made or changed; names are those of the columns. */
export type TokenChanges = Partial<
  Pick<
    Token,
    | 'name'
    | 'project'
    | 'agent'
    | 'status'
    | 'expires_at'
    | 'quota_total'
    | 'quota_daily'
    | 'quota_weekly'
    | 'quota_monthly'
    | 'requests_per_minute'
    | 'tokens_per_minute'
    | 'concurrency'
    | 'critical'
    | 'models'
    | 'ips'
  >
>;

/** How many tokens a member with a monthly quota may have; revoked ones count while they were used this month. */
export const QUOTA_TOKENS_MAX = 100;

/** Columns that say nothing about what a token may do, or must not be seen in an audit log. */
export const QUIET = '{digest,grace_digest,terms_version,projected_version,updated_at}';

/** The row `t` of tokens as JSON, without digests, with its ETag: terms carry a version, names do not. */
export const TOKEN_VIEW = `
  to_jsonb(t) - '{digest,grace_digest}'::text[]
    || jsonb_build_object('etag', concat(t.terms_version, '-', left(md5(concat_ws(chr(31), t.name, t.project)), 8)),
      'state', (select ${tokenState('now()')} from (values (1)) one (n) left join token_use u on u.token_id = t.token_id))
    || (select jsonb_build_object(
        'last_used_at', max(u.last_used_at),
        'used', jsonb_build_object(
          'total', coalesce(max(u.total), 0),
          'daily', coalesce(max(u.daily) filter (where u.daily_ends_at > now()), 0),
          'weekly', coalesce(max(u.weekly) filter (where u.weekly_ends_at > now()), 0),
          'monthly', coalesce(max(u.monthly) filter (where u.monthly_ends_at > now()), 0)),
        'resets_at', jsonb_build_object(
          'total', null,
          'daily', max(u.daily_ends_at) filter (where u.daily_ends_at > now()),
          'weekly', max(u.weekly_ends_at) filter (where u.weekly_ends_at > now()),
          'monthly', max(u.monthly_ends_at) filter (where u.monthly_ends_at > now())))
      from token_use u where u.token_id = t.token_id)`;
