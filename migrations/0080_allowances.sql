-- Meters with a monthly allowance: the first units of an organization's own month are free. How much of an event is free is
-- decided here, under the lock of the wallet, because only here it is known what came before it.

-- Free units that were given. What the lines at rate 0 of the month's rows add up to; reconcile computes it again.
create table allowance_use (
  org_id text collate "C" not null references organizations,
  -- Its first day, in the organization's time zone.
  month date not null check (month = date_trunc('month', month)::date),
  meter text not null,
  used bigint not null check (used >= 0),
  primary key (org_id, month, meter)
);

-- Quantity × rate × times, rounded up once: what `charge` in src/pricing/charge.ts computes, from the same exact fractions.
create function metered_cost(p_quantity bigint, p_rate text, p_times text) returns bigint language sql immutable parallel safe as $$
  select least(999999999999999, div(p_quantity * f.n + f.d - 1, f.d))::bigint
  from (select split_part(p_rate, '/', 1)::numeric * split_part(p_times, '/', 1)::numeric as n,
    coalesce(nullif(split_part(p_rate, '/', 2), ''), '1')::numeric * coalesce(nullif(split_part(p_times, '/', 2), ''), '1')::numeric as d) f
$$;

-- An event nobody has booked yet, with what it costs after the allowance; `free` units of it cost nothing.
create type metered_event as (n bigint, event_id text, critical boolean, token_id text, request_id text, cost bigint,
  meter text, month date, free bigint, charge jsonb);

-- Events in the order they were sent. The free units of an event are a line of their own in its breakdown, at rate 0, so
-- that the row alone still makes its charge.
create function price_metered(p_org text, p_events text) returns setof metered_event language sql stable as $$
  with sent as (
    select distinct on (e.v ->> 'event_id') e.n, e.v ->> 'event_id' as event_id, (e.v ->> 'critical')::boolean as critical,
      e.v -> 'charge' as charge, e.v -> 'allowance' ->> 'meter' as meter, (e.v -> 'allowance' ->> 'units')::bigint as units,
      (e.v -> 'allowance' ->> 'quantity')::bigint as quantity, e.v -> 'allowance' ->> 'rate' as rate
    from jsonb_array_elements(p_events::jsonb) with ordinality e (v, n)
    where not exists (select from meter_events m where m.org_id = p_org and m.event_id = e.v ->> 'event_id')
    order by e.v ->> 'event_id', e.n
  ), placed as (
    select s.*, date_trunc('month', request_time(s.charge ->> 'request_id') at time zone o.time_zone)::date as month,
      s.charge -> 'breakdown' ->> 'times' as times
    from sent s join organizations o on o.org_id = p_org
  ), shared as (
    select p.*, case when p.quantity is null then 0 else greatest(0, least(p.quantity, p.units - coalesce(u.used, 0)
      - coalesce(sum(p.quantity) over (partition by p.month, p.meter order by p.n rows between unbounded preceding and 1 preceding), 0)))
      end::bigint as free
    from placed p left join allowance_use u on u.org_id = p_org and u.month = p.month and u.meter = p.meter
  ), priced as (
    select s.*, case when s.free = 0 then (s.charge ->> 'cost')::bigint else metered_cost(s.quantity - s.free, s.rate, s.times) end as cost
    from shared s
  )
  select p.n, p.event_id, p.critical, p.charge ->> 'token_id', p.charge ->> 'request_id', p.cost, p.meter, p.month, p.free,
    case when p.free = 0 then p.charge else p.charge || jsonb_build_object('cost', p.cost, 'held', p.cost, 'breakdown',
      jsonb_build_object('times', p.times, 'lines', jsonb_build_array(
          jsonb_build_object('meter', l.meter, 'quantity', p.free, 'rate', '0'))
        || case when p.quantity > p.free then jsonb_build_array(
          jsonb_build_object('meter', l.meter, 'quantity', p.quantity - p.free, 'rate', p.rate)) else '[]' end)) end
  from priced p, lateral (select p.charge #>> '{breakdown,lines,0,meter}' as meter) l
$$;

-- Books a JSON array of {event_id, critical, allowance, charge} for one organization, all of it or nothing; takes the place of
-- `post_meter_events`, which stays for a server of the version before. `p_aside` is what the caller has set aside for it in
-- the hot store: a batch that turns out dearer, because others used the allowance up, is answered with scope `aside`.
create function post_metered(p_org text, p_events text, p_aside bigint, p_held bigint, p_token_held jsonb, p_now timestamptz default now())
returns table (scope text, quota_window text, required bigint, available bigint, resets_at timestamptz, events jsonb,
  avail bigint, balance_version bigint, month_spent bigint, month_ends_at timestamptz, tokens json)
language plpgsql as $$
#variable_conflict use_column
declare
  wallet org_balances := lock_wallet(p_org);
  org organizations;
  fresh metered_event[];
  batch record;
  no record;
  used json;
begin
  perform roll_months(p_now, p_org);
  select * into wallet from org_balances b where b.org_id = p_org;
  select * into org from organizations o where o.org_id = p_org;
  fresh := array(select m from price_metered(p_org, p_events) m);
  select coalesce(sum(f.cost), 0)::bigint as total, coalesce(sum(f.cost) filter (where not f.critical), 0)::bigint as plain,
    json_agg(f.charge order by f.n)::text as charges, (select coalesce(jsonb_object_agg(c.token_id, c.cost), '{}')
      from (select x.token_id, sum(x.cost) as cost from unnest(fresh) x group by x.token_id) c) as costs
  into batch from unnest(fresh) f;
  if cardinality(fresh) > 0 then
    select * into no from meter_short(org, wallet, batch.costs, batch.total, batch.plain, p_held, p_token_held, p_now);
    if no.scope is null and batch.total > p_aside then
      select 'aside' as scope, null::text as quota_window, batch.total as required, p_aside as available, null::timestamptz as resets_at into no;
    end if;
    if no.scope is not null then
      return query select no.scope, no.quota_window, no.required, no.available, no.resets_at, null::jsonb, wallet.avail, wallet.version,
        wallet.month_spent, wallet.month_ends_at, null::json;
      return;
    end if;
    insert into meter_events (org_id, event_id, request_id, at) select p_org, f.event_id, f.request_id, p_now from unnest(fresh) f;
    insert into allowance_use as u (org_id, month, meter, used)
      select p_org, f.month, f.meter, sum(f.free) from unnest(fresh) f where f.free > 0 group by f.month, f.meter
      on conflict (org_id, month, meter) do update set used = u.used + excluded.used;
    select c.tokens into used from post_charges(batch.charges, p_now) c where c.org_id = p_org and c.rejected is null;
    if exists (select from jsonb_each_text(batch.costs) c left join tokens t on t.token_id = c.key where t.org_id is distinct from p_org) then
      raise exception 'a meter event names a token of another organization' using errcode = 'data_exception';
    end if;
    -- Until the hot store has been told, the worker knows that it has to be.
    update org_balances b set untold_version = b.version where b.org_id = p_org;
    update tokens t set projected_version = 0 where t.token_id in (select c.key from jsonb_each_text(batch.costs) c)
      and (coalesce(t.quota_total, t.quota_daily, t.quota_weekly, t.quota_monthly) is not null
        or exists (select from member_terms m where m.token_id = t.token_id and m.cap is not null));
  end if;
  return query
    select null::text, null::text, batch.total, null::bigint, null::timestamptz,
      (select jsonb_object_agg(m.event_id, jsonb_build_object('request_id', m.request_id, 'cost', coalesce(r.cost, 0), 'free', coalesce((
          select sum((l ->> 'quantity')::bigint) from json_array_elements(r.breakdown -> 'lines') l where l ->> 'rate' = '0'), 0)))
        from meter_events m left join usage_records r
          on r.request_id = substr(m.request_id, 5)::uuid and r.ts = request_time(m.request_id) and r.org_id = p_org
        where m.org_id = p_org and m.event_id in (select e.v ->> 'event_id' from jsonb_array_elements(p_events::jsonb) e (v))),
      b.avail, b.version, b.month_spent, b.month_ends_at, used
    from org_balances b where b.org_id = p_org;
end $$;
