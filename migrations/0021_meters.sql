-- What is sold outside /v1: events reported by the customer's own systems, charged without a hold, once per event id.

create table meter_events (
  org_id text collate "C" not null references organizations,
  event_id text collate "C" not null check (length(event_id) between 1 and 200),
  request_id text collate "C" not null,
  at timestamptz not null default now(),
  primary key (org_id, event_id)
);

-- Events that name no token are booked under one of the organization's own, which can never spend.
create unique index tokens_meter on tokens (org_id) where created_by = 'system:meters';

-- Events may be reported late, so the month before needs its partition too.
select ensure_usage_partitions(now() - interval '1 month', 3);

-- The first cap without room for a batch, in the order in which the gateway reports them: quotas, monthly limit, wallet.
-- `p_held` is what the hot store has set aside or not booked yet, `p_token_held` the same by token.
create function meter_short(p_org organizations, p_wallet org_balances, p_costs jsonb, p_total bigint, p_plain bigint, p_held bigint,
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

-- Books a JSON array of {event_id, critical, charge} for one organization, all of it or nothing. Events whose id was booked
-- before are left out. Answers the request id under which each event stands, and what the hot store must be told.
create function post_meter_events(p_org text, p_events text, p_held bigint, p_token_held jsonb, p_now timestamptz default now())
returns table (scope text, quota_window text, required bigint, available bigint, resets_at timestamptz, ids jsonb,
  avail bigint, balance_version bigint, month_spent bigint, month_ends_at timestamptz, tokens json)
language plpgsql as $$
#variable_conflict use_column
declare
  wallet org_balances := lock_wallet(p_org);
  org organizations;
  batch record;
  no record;
  used json;
begin
  perform roll_months(p_now, p_org);
  select * into wallet from org_balances b where b.org_id = p_org;
  select * into org from organizations o where o.org_id = p_org;
  with sent as (
    select e.n, e.v ->> 'event_id' as event_id, (e.v ->> 'critical')::boolean as critical, e.v -> 'charge' as charge,
      (e.v -> 'charge' ->> 'cost')::bigint as cost, e.v -> 'charge' ->> 'token_id' as token_id
    from json_array_elements(p_events::json) with ordinality e (v, n)
  ), fresh as (
    select distinct on (s.event_id) s.* from sent s
    where not exists (select from meter_events m where m.org_id = p_org and m.event_id = s.event_id) order by s.event_id, s.n
  )
  select count(*) as events, json_agg(f.charge order by f.n)::text as charges, coalesce(sum(f.cost), 0)::bigint as total,
    coalesce(sum(f.cost) filter (where not f.critical), 0)::bigint as plain,
    (select coalesce(jsonb_object_agg(c.token_id, c.cost), '{}')
      from (select x.token_id, sum(x.cost) as cost from fresh x group by x.token_id) c) as costs,
    coalesce(jsonb_object_agg(f.event_id, f.charge ->> 'request_id'), '{}') as ids
  into batch from fresh f;
  if batch.events > 0 then
    select * into no from meter_short(org, wallet, batch.costs, batch.total, batch.plain, p_held, p_token_held, p_now);
    if no.scope is not null then
      return query select no.scope, no.quota_window, no.required, no.available, no.resets_at, null::jsonb, wallet.avail, wallet.version,
        wallet.month_spent, wallet.month_ends_at, null::json;
      return;
    end if;
    insert into meter_events (org_id, event_id, request_id, at) select p_org, i.key, i.value, p_now from jsonb_each_text(batch.ids) i;
    select c.tokens into used from post_charges(batch.charges, p_now) c where c.org_id = p_org and c.rejected is null;
    if exists (select from jsonb_each_text(batch.costs) c left join tokens t on t.token_id = c.key where t.org_id is distinct from p_org) then
      raise exception 'a meter event names a token of another organization' using errcode = 'data_exception';
    end if;
    -- Until the hot store has been told, the worker knows that it has to be.
    update org_balances b set untold_version = b.version where b.org_id = p_org;
    update tokens t set projected_version = 0 where t.token_id in (select c.key from jsonb_each_text(batch.costs) c)
      and coalesce(t.quota_total, t.quota_daily, t.quota_weekly, t.quota_monthly) is not null;
  end if;
  return query
    select null::text, null::text, batch.total, null::bigint, null::timestamptz,
      (select jsonb_object_agg(m.event_id, m.request_id) from meter_events m where m.org_id = p_org
        and m.event_id in (select e.v ->> 'event_id' from json_array_elements(p_events::json) e (v))),
      b.avail, b.version, b.month_spent, b.month_ends_at, used
    from org_balances b where b.org_id = p_org;
end $$;
