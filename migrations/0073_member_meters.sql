-- Meter events count in the monthly quota of a member like requests do.

-- The first member without room for a batch: what all of their tokens have used this month, hold and owe, next to the quota.
create function member_short(p_org text, p_costs jsonb, p_token_held jsonb, p_now timestamptz,
  out required bigint, out available bigint, out resets_at timestamptz) language sql stable as $$
  select c.cost, m.monthly_quota - u.taken, u.ends
  from (
    select t.owner_id, sum(x.value::bigint)::bigint as cost from jsonb_each_text(p_costs) x join tokens t on t.token_id = x.key
    where t.org_id = p_org group by t.owner_id
  ) c join org_members m on m.org_id = p_org and m.person_id = c.owner_id,
    lateral (
      select coalesce(sum(case when u.monthly_ends_at > p_now then u.monthly else 0 end + coalesce((p_token_held ->> t.token_id)::bigint, 0)), 0)::bigint
        as taken, max(u.monthly_ends_at) filter (where u.monthly_ends_at > p_now) as ends
      from tokens t join token_use u on u.token_id = t.token_id where t.org_id = p_org and t.owner_id = c.owner_id
    ) u
  where c.cost > 0 and m.monthly_quota - u.taken < c.cost order by m.person_id limit 1
$$;

-- As before, with the quota of the member after those of the token.
create or replace function meter_short(p_org organizations, p_wallet org_balances, p_costs jsonb, p_total bigint, p_plain bigint, p_held bigint,
  p_token_held jsonb, p_now timestamptz, out scope text, out quota_window text, out required bigint, out available bigint,
  out resets_at timestamptz) language plpgsql as $$
declare
  spent bigint := case when p_wallet.month_ends_at > p_now then p_wallet.month_spent else 0 end;
  cap bigint := case when p_org.limit_action = 'pause_noncritical' and p_plain = 0
    then coalesce(p_org.critical_ceiling, p_org.monthly_limit) else p_org.monthly_limit end;
begin
  select 'quota', q.name, c.value::bigint, q.cap - q.used - coalesce((p_token_held ->> t.token_id)::bigint, 0), q.ends
  into scope, quota_window, required, available, resets_at
  from jsonb_each_text(p_costs) c join tokens t on t.token_id = c.key join token_use u on u.token_id = t.token_id,
    lateral (values
      (1, 'total', t.quota_total, u.total, null),
      (2, 'daily', t.quota_daily, case when u.daily_ends_at > p_now then u.daily else 0 end, u.daily_ends_at),
      (3, 'weekly', t.quota_weekly, case when u.weekly_ends_at > p_now then u.weekly else 0 end, u.weekly_ends_at),
      (4, 'monthly', t.quota_monthly, case when u.monthly_ends_at > p_now then u.monthly else 0 end, u.monthly_ends_at)
    ) q (n, name, cap, used, ends)
  where c.value::bigint > 0 and q.cap - q.used - coalesce((p_token_held ->> t.token_id)::bigint, 0) < c.value::bigint
  order by t.token_id, q.n limit 1;
  if found then return; end if;
  select 'member', s.required, s.available, s.resets_at into scope, required, available, resets_at
  from member_short(p_org.org_id, p_costs, p_token_held, p_now) s where s.required is not null;
  if found then return; end if;
  required := p_total;
  if p_total > 0 and cap - spent - p_held < p_total then
    scope := case when p_org.limit_action = 'pause_noncritical' and p_plain > 0 then 'non_critical' else 'limit' end;
    available := cap - spent - p_held;
    resets_at := p_wallet.month_ends_at;
  elsif p_total > 0 and p_wallet.avail + p_org.overdraft - p_held < p_total then
    scope := 'balance';
    available := p_wallet.avail + p_org.overdraft - p_held;
  end if;
end $$;
