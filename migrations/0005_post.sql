-- The only functions that write the ledger. Each is one statement for its caller: it happens entirely or not at all.

-- Takes what was charged from the grants in burn order (priority, soonest expiry, promo before plan before paid, oldest),
-- the rest from `debt`; books the counter entries to `usage` and `operator_loss`. The organizations are locked already.
create function burn_charges(p_burns org_burn[], p_now timestamptz) returns void language plpgsql as $$
begin
  with want as materialized (
    select b.* from unnest(p_burns) b where b.cost <> 0 or b.operator_loss <> 0
  ), txs as (
    insert into ledger_txs (id, org_id, kind, created_at) select tx_id, org_id, 'usage', p_now from want returning id
  ), lined_up as (
    select w.org_id, w.tx_id, a.id as account_id, row_number() over burn as n,
      least(a.balance, w.cost - (sum(a.balance) over burn - a.balance))::bigint as take
    from want w join ledger_accounts a on a.org_id = w.org_id and a.live join grants g on g.grant_id = a.grant_id
    where w.cost > 0
    window burn as (partition by w.org_id order by g.priority, g.expires_at nulls last,
      array_position(array['promo', 'plan', 'paid'], g.category), g.created_at, g.grant_id rows unbounded preceding)
  ), short as (
    select w.org_id, w.tx_id, (w.cost - coalesce(t.taken, 0))::bigint as rest
    from want w left join (select org_id, sum(take) as taken from lined_up where take > 0 group by org_id) t using (org_id)
    where w.cost > coalesce(t.taken, 0)
  ), moves as (
    select tx_id, account_id, -take as amount, n from lined_up where take > 0
    union all
    select s.tx_id, a.id, -s.rest, 9223372036854775807
    from short s join ledger_accounts a on a.org_id = s.org_id and a.kind = 'debt' and a.grant_id is null
  ), moved as (
    update ledger_accounts a set balance = a.balance + m.amount, version = a.version + 1
    from moves m where a.id = m.account_id
    returning m.tx_id, a.id as account_id, m.amount, a.version, a.balance, m.n
  ), system_moves as (
    select 'usage' as kind, tx_id, cost + operator_loss as amount from want where cost + operator_loss <> 0
    union all
    select 'operator_loss', tx_id, -operator_loss from want where operator_loss <> 0
  ), system_sums as (
    select kind, sum(amount)::bigint as amount, count(*) as entries from system_moves group by kind
  ), system_moved as (
    update ledger_accounts a set balance = a.balance + s.amount, version = a.version + s.entries
    from system_sums s where a.kind = s.kind and a.org_id is null
    returning a.id, a.kind, a.balance - s.amount as balance_before, a.version - s.entries as version_before
  ), entries as (
    insert into ledger_entries (tx_id, account_id, amount, account_version, balance_after)
    select tx_id, account_id, amount, version, balance from (
      select tx_id, account_id, amount, version, balance, n from moved
      union all
      select m.tx_id, s.id, m.amount, s.version_before + row_number() over (partition by m.kind order by m.tx_id),
        (s.balance_before + sum(m.amount) over (partition by m.kind order by m.tx_id rows unbounded preceding))::bigint, 0
      from system_moves m join system_moved s on s.kind = m.kind
    ) lines order by tx_id, n
  )
  update org_balances b set avail = b.avail - w.cost, debt = b.debt - coalesce(s.rest, 0)
  from want w left join short s using (org_id) where b.org_id = w.org_id;
end $$;

-- Moves the monthly counter to the month of now (or of the latest row, should a gateway's clock run ahead) and adds to it.
create function count_month(p_deltas usage_delta[], p_now timestamptz) returns void language plpgsql as $$
begin
  with days as (
    select d.org_id, d.day, sum(d.cost)::bigint as cost from unnest(p_deltas) d group by d.org_id, d.day
  ), placed as (
    select d.org_id, d.day, d.cost, o.time_zone, greatest(b.month, date_trunc('month', p_now at time zone o.time_zone)::date,
      date_trunc('month', max(d.day) over (partition by d.org_id))::date) as month
    from days d join org_balances b on b.org_id = d.org_id join organizations o on o.org_id = d.org_id
  ), months as (
    select org_id, time_zone, month, sum(case when date_trunc('month', day) = month then cost else 0 end)::bigint as cost
    from placed group by org_id, time_zone, month
  )
  update org_balances b set version = b.version + 1, month = m.month,
    month_ends_at = (m.month + interval '1 month') at time zone m.time_zone,
    month_spent = m.cost + case when b.month = m.month then b.month_spent else 0 end
  from months m where b.org_id = m.org_id;
end $$;

-- 0 would mean "never ends", so a window nobody has used yet ended in the first millisecond there was.
create function ends_ms(at timestamptz) returns bigint language sql immutable as $$
  select case when at is not null then greatest(1, (extract(epoch from at) * 1000)::bigint) end
$$;
create function token_use_json(u token_use) returns json language sql immutable as $$
  select json_build_object('token_id', u.token_id, 'total', u.total, 'daily', u.daily, 'daily_ends_ms', ends_ms(u.daily_ends_at),
    'weekly', u.weekly, 'weekly_ends_ms', ends_ms(u.weekly_ends_at), 'monthly', u.monthly, 'monthly_ends_ms', ends_ms(u.monthly_ends_at))
$$;

-- Books a JSON array of charge events, in any order and any number of times. Answers one row per organization, known or
-- not; `rejected` lists the rows that were not booked and why. Anything malformed raises, and nothing is booked.
create function post_charges(p_events text, p_now timestamptz default now())
returns table (org_id text, avail bigint, balance_version bigint, month_spent bigint, month_ends_at timestamptz, tokens json, rejected json)
language plpgsql as $$
#variable_conflict use_column
declare
  v_events charge_event[];
  v_orgs text[];
  v_burns org_burn[];
  v_deltas usage_delta[];
  v_more usage_delta[];
  v_inserted bigint;
begin
  with parsed as materialized (
    select e from json_populate_recordset(null::charge_event, p_events::json) e
  ), locked as (
    select b.org_id from org_balances b where b.org_id in (select (e).org_id from parsed) order by b.org_id for no key update
  )
  select (select array_agg(e) from parsed), (select array_agg(org_id) from locked) into v_events, v_orgs;
  if v_events is null then return; end if;
  perform refuse_malformed(v_events, p_now);
  v_burns := array(select row(o, nextval('ledger_txs_id_seq'), 0, 0, 0)::org_burn from unnest(v_orgs) o);
  v_deltas := insert_usage(v_events, v_burns);
  select array_agg(row(b.org_id, b.tx_id, coalesce(s.cost, 0), coalesce(s.operator_loss, 0), coalesce(s.requests, 0))::org_burn),
    coalesce(sum(s.requests), 0)
  into v_burns, v_inserted
  from unnest(v_burns) b left join (
    select d.org_id, sum(d.cost) as cost, sum(d.operator_loss) as operator_loss, sum(d.requests) as requests
    from unnest(v_deltas) d group by d.org_id) s using (org_id);
  if v_inserted < cardinality(v_events) then
    select c.p_burns, c.p_deltas into v_burns, v_more from correct_usage(v_events, v_burns) c;
    v_deltas := v_deltas || v_more;
  end if;
  perform count_usage(v_deltas, p_now);
  perform burn_charges(v_burns, p_now);
  perform count_month(v_deltas, p_now);
  return query
    select b.org_id, b.avail, b.version, b.month_spent, b.month_ends_at, u.tokens, null::json
    from org_balances b left join (
      select t.org_id, json_agg(token_use_json(u)) as tokens
      from token_use u join tokens t using (token_id)
      where u.token_id in (select d.token_id from unnest(v_deltas) d
        union select e.token_id from unnest(v_events) e where v_inserted < cardinality(v_events))
      group by t.org_id) u using (org_id)
    where b.org_id = any (v_orgs);
  if v_inserted < cardinality(v_events) then
    return query select r.org_id, null::bigint, null::bigint, null::bigint, null::timestamptz, null::json, r.rejected
      from rejected_usage(v_events, v_orgs) r;
  end if;
end $$;

-- What no constraint of the table says: ids in the one form we write, and times that are not from the future.
create function refuse_malformed(p_events charge_event[], p_now timestamptz) returns void language plpgsql as $$
declare
  bad text;
begin
  select e.request_id into bad from unnest(p_events) e
  where e.request_id is null or length(e.request_id) <> 36 or left(e.request_id, 4) <> 'req_'
    or e.request_id <> lower(e.request_id) or request_time(e.request_id) > p_now + interval '1 day' limit 1;
  if found then
    raise exception 'request id % is malformed or more than a day in the future', coalesce(bad, '(none)') using errcode = 'data_exception';
  end if;
end $$;
