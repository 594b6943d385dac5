-- Monthly limits with their history, and the ends of days, weeks and months in an organization's own time zone.

create function month_end(p_at timestamptz, p_zone text) returns timestamptz language sql stable as $$
  select (date_trunc('month', p_at at time zone p_zone) + interval '1 month') at time zone p_zone
$$;
create function week_end(p_at timestamptz, p_zone text) returns timestamptz language sql stable as $$
  select (date_trunc('week', p_at at time zone p_zone) + interval '7 days') at time zone p_zone
$$;
create function day_end(p_at timestamptz, p_zone text) returns timestamptz language sql stable as $$
  select (date_trunc('day', p_at at time zone p_zone) + interval '1 day') at time zone p_zone
$$;

alter table organizations
  add column alert_threshold bigint check (alert_threshold between 0 and 999999999999999),
  -- The share of the alert threshold from which a first notice is due.
  add column approach_ratio numeric not null default 0.9 check (approach_ratio > 0 and approach_ratio <= 1);

-- The limits as they were: a month that is over is shown with what was in force then. `to_at` is null for today's.
create table limit_versions (
  id bigint generated always as identity primary key,
  org_id text collate "C" not null references organizations,
  from_at timestamptz not null,
  to_at timestamptz,
  alert_threshold bigint,
  allowed_limit bigint,
  action text not null,
  critical_ceiling bigint,
  approach_ratio numeric not null
);
create index limit_versions_of_org on limit_versions (org_id, id desc);
create unique index limit_versions_now on limit_versions (org_id) where to_at is null;

-- A limit set elsewhere below the threshold takes the threshold with it, so that alert ≤ limit always holds.
create function keep_alert_below_limit() returns trigger language plpgsql as $$
begin
  new.alert_threshold := new.monthly_limit;
  return new;
end $$;
create trigger organizations_alert before update on organizations for each row
  when (new.alert_threshold > new.monthly_limit) execute function keep_alert_below_limit();

create function keep_limit_version() returns trigger language plpgsql as $$
declare
  at timestamptz := clock_timestamp();
begin
  update limit_versions set to_at = at where org_id = new.org_id and to_at is null;
  insert into limit_versions (org_id, from_at, alert_threshold, allowed_limit, action, critical_ceiling, approach_ratio)
  values (new.org_id, at, new.alert_threshold, new.monthly_limit, new.limit_action, new.critical_ceiling, new.approach_ratio);
  return null;
end $$;
create trigger organizations_first_limit after insert on organizations for each row execute function keep_limit_version();
create trigger organizations_limit after update on organizations for each row
  when ((old.alert_threshold, old.monthly_limit, old.limit_action, old.critical_ceiling, old.approach_ratio)
    is distinct from (new.alert_threshold, new.monthly_limit, new.limit_action, new.critical_ceiling, new.approach_ratio))
  execute function keep_limit_version();

insert into limit_versions (org_id, from_at, alert_threshold, allowed_limit, action, critical_ceiling, approach_ratio)
select org_id, created_at, alert_threshold, monthly_limit, limit_action, critical_ceiling, approach_ratio from organizations;

create index org_balances_month_end on org_balances (month_ends_at);

-- Starts the month anew where it has ended: the counter at 0, and the moment when it ends next. A month only ever moves
-- forward, so repeating this, or running it twice at once, changes nothing.
create function roll_months(p_now timestamptz, p_org text default null, p_limit integer default 500) returns setof text language sql as $$
  with due as materialized (
    select b.org_id, o.time_zone, greatest(b.month, date_trunc('month', p_now at time zone o.time_zone)::date) as month
    from org_balances b join organizations o on o.org_id = b.org_id
    where b.month_ends_at <= p_now and (p_org is null or b.org_id = p_org)
    order by b.org_id limit p_limit for no key update of b
  )
  update org_balances b set month = due.month, month_ends_at = (due.month + interval '1 month') at time zone due.time_zone,
    month_spent = case when b.month = due.month then b.month_spent else 0 end,
    version = b.version + 1, untold_version = b.version + 1
  from due where b.org_id = due.org_id and b.month_ends_at <= p_now returning b.org_id
$$;

-- The same for the quota windows of tokens. Their rows are marked as untold, so that a crash before the hot store has
-- heard of it is repaired like any other. The organization's version rises, because the hot store takes nothing older.
create function roll_windows(p_now timestamptz, p_token text default null, p_limit integer default 500) returns setof text language plpgsql as $$
declare
  v_tokens text[];
begin
  v_tokens := array(select u.token_id from token_use u join tokens t on t.token_id = u.token_id
    where (p_token is null or u.token_id = p_token) and t.status <> 'revoked'
      and (u.daily_ends_at <= p_now and t.quota_daily is not null or u.weekly_ends_at <= p_now and t.quota_weekly is not null
        or u.monthly_ends_at <= p_now and t.quota_monthly is not null)
    order by t.org_id, u.token_id limit p_limit);
  if cardinality(v_tokens) = 0 then return; end if;
  perform 1 from org_balances b where b.org_id in (select t.org_id from tokens t where t.token_id = any (v_tokens))
    order by b.org_id for no key update;
  return query
    with days as (
      select u.token_id, t.org_id, o.time_zone, greatest(u.day, (p_now at time zone o.time_zone)::date) as today
      from token_use u join tokens t on t.token_id = u.token_id join organizations o on o.org_id = t.org_id
      where u.token_id = any (v_tokens)
    ), rolled as (
      update token_use u set day = d.today,
        daily = case when u.day = d.today then u.daily else 0 end,
        daily_ends_at = (d.today + 1)::timestamp at time zone d.time_zone,
        weekly = case when date_trunc('week', u.day) = date_trunc('week', d.today) then u.weekly else 0 end,
        weekly_ends_at = (date_trunc('week', d.today::timestamp) + interval '7 days') at time zone d.time_zone,
        monthly = case when date_trunc('month', u.day) = date_trunc('month', d.today) then u.monthly else 0 end,
        monthly_ends_at = (date_trunc('month', d.today::timestamp) + interval '1 month') at time zone d.time_zone
      from days d where u.token_id = d.token_id and (u.day < d.today or u.daily_ends_at <= p_now) returning u.token_id, d.org_id
    ), raised as (
      update org_balances b set version = b.version + 1, untold_version = b.version + 1
      where b.org_id in (select r.org_id from rolled r)
    )
    update tokens t set projected_version = 0 from rolled r where t.token_id = r.token_id returning t.token_id;
end $$;

-- Whoever moves to another time zone keeps the day and month that run, which then end by the new clock.
create function move_windows() returns trigger language plpgsql as $$
begin
  update org_balances b set month_ends_at = (b.month + interval '1 month') at time zone new.time_zone,
    version = b.version + 1, untold_version = b.version + 1
  where b.org_id = new.org_id and b.month_ends_at > 'epoch';
  update token_use u set daily_ends_at = (u.day + 1)::timestamp at time zone new.time_zone,
    weekly_ends_at = (date_trunc('week', u.day::timestamp) + interval '7 days') at time zone new.time_zone,
    monthly_ends_at = (date_trunc('month', u.day::timestamp) + interval '1 month') at time zone new.time_zone
  from tokens t where t.token_id = u.token_id and t.org_id = new.org_id and u.daily_ends_at > 'epoch';
  update tokens t set projected_version = 0 where t.org_id = new.org_id and t.status <> 'revoked';
  return null;
end $$;
create trigger organizations_windows after update of time_zone on organizations for each row
  when (old.time_zone <> new.time_zone) execute function move_windows();
