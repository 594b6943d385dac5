-- What the quota of a token may be at most, for whoever makes tokens but does not manage the organization.

alter table organizations add column max_token_quota bigint check (max_token_quota between 0 and 999999999999999);

-- Which quotas of a token go beyond a ceiling: those that are above it and were not as high before. `none`: all of them were
-- taken away, or a new token has none, which is without end. Quotas are total, daily, weekly, monthly; p_old is null for a new
-- token. One that was above before stays as it is and may be lowered.
create function quotas_above(p_old bigint[], p_new bigint[], p_ceiling bigint) returns text[] language sql immutable as $$
  select case when p_ceiling is null then '{}' else
    coalesce(array_agg(q.name order by q.n) filter (where q.new > p_ceiling and (q.old is null or q.new > q.old)), '{}')
    || case when count(q.new) = 0 and (p_old is null or count(q.old) > 0) then '{none}'::text[] else '{}' end end
  from (select n, (array['total', 'daily', 'weekly', 'monthly'])[n] as name, p_old[n] as old, p_new[n] as new from generate_series(1, 4) n) q
$$;
