-- Charges are booked from lines: the drain cuts each event into what is its own and what repeats from request to request,
-- which is said once per batch. `post_charges` stays for meter events, and for a drain of the version before.

-- What is a request's own. `who` and `shape` are places in the lists sent along, `at_ms` is the time inside the id.
create type charge_line as (
  who integer, shape integer, request_id uuid, at_ms bigint, cost bigint, held bigint, operator_loss bigint, input bigint,
  cached_input bigint, cache_write_5m bigint, cache_write_1h bigint, output bigint, reasoning bigint, audio_input bigint,
  audio_output bigint, images bigint, seconds bigint, characters bigint, latency_ms integer, ttft_ms integer, meters json,
  client_request_id text, end_user text, agent text, conversation text
);
create type charge_shape as (
  kind text, status text, model text, served_model text, endpoint text, upstream text, stream boolean, http_status integer,
  debt boolean, source text, price_version text, finish_reason text, flags text[], attempts integer
);
-- A token that is known, and the transaction its organization's charges of this batch are booked in.
create type charge_who as (n integer, org_id text, token_id text, time_zone text, tx_id bigint);
-- What a batch changed for one organization, token, day, model and endpoint; `burn` is what its grants have to pay for it.
create type charge_sum as (
  org_id text, token_id text, time_zone text, tx_id bigint, day date, model text, endpoint text, requests bigint, errors bigint,
  input bigint, cached_input bigint, output bigint, reasoning bigint, audio bigint, images bigint, seconds bigint, characters bigint,
  cost bigint, operator_loss bigint, burn bigint, burn_loss bigint, last_used_at timestamptz
);

-- Whole numbers added up as such; `sum` goes by way of numeric and costs many times as much for a short list.
create aggregate total(bigint) (sfunc = int8pl, stype = bigint, initcond = '0', combinefunc = int8pl, parallel = safe);

-- The planner takes any list for ten long, so lists are joined with lists by hashing, never row by row.
create function insert_lines(p_lines text, p_breakdowns text, p_mark text, p_shapes text, p_who charge_who[])
returns charge_sum[] language plpgsql set work_mem = '64MB' set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  v_sums charge_sum[];
begin
  with inserted as (
    insert into usage_records (request_id, ts, org_id, token_id, day, tx_id, kind, status, model, served_model, endpoint,
      upstream, stream, http_status, cost, held, debt, operator_loss, source, input, cached_input, cache_write_5m,
      cache_write_1h, output, reasoning, audio_input, audio_output, images, seconds, characters, meters, price_version,
      breakdown, client_request_id, end_user, agent, conversation, finish_reason, latency_ms, ttft_ms, flags, attempts)
    select (l).request_id, line_time((l).at_ms), w.org_id, w.token_id, (line_time((l).at_ms) at time zone w.time_zone)::date,
      case when (l).cost > 0 or (l).operator_loss > 0 then w.tx_id end,
      s.kind, s.status, s.model, s.served_model, s.endpoint, s.upstream, s.stream, s.http_status, (l).cost, (l).held, s.debt,
      (l).operator_loss, s.source, (l).input, (l).cached_input, (l).cache_write_5m, (l).cache_write_1h, (l).output, (l).reasoning,
      (l).audio_input, (l).audio_output, (l).images, (l).seconds, (l).characters, (l).meters, s.price_version, breakdown::json,
      (l).client_request_id, (l).end_user, (l).agent, (l).conversation, s.finish_reason, (l).latency_ms, (l).ttft_ms, s.flags, s.attempts
    from (select line::charge_line as l, breakdown
        from rows from (string_to_table(p_lines, p_mark), string_to_table(p_breakdowns, p_mark)) u (line, breakdown) offset 0) x
      join unnest(p_who) w on w.n = (l).who
      join rows from (json_populate_recordset(null::charge_shape, p_shapes::json)) with ordinality s (kind, status, model, served_model,
        endpoint, upstream, stream, http_status, debt, source, price_version, finish_reason, flags, attempts, n) on s.n = (l).shape
    on conflict do nothing
    returning org_id, token_id, tx_id, day, model, endpoint, status, input, cached_input, output, reasoning, audio_input,
      audio_output, images, seconds, characters, cost, operator_loss, ts
  ), summed as (
    select org_id, token_id, max(tx_id) as tx_id, day, model, endpoint, count(*) as requests,
      count(*) filter (where status in ('failed', 'rejected')) as errors, total(input) as input,
      total(cached_input) as cached_input, total(output) as output, total(reasoning) as reasoning,
      total(audio_input + audio_output) as audio, total(images) as images, total(seconds) as seconds,
      total(characters) as characters, total(cost) as cost, total(operator_loss) as operator_loss, max(ts) as ts
    from inserted group by org_id, token_id, day, model, endpoint
  )
  select array_agg(row(s.org_id, s.token_id, w.time_zone, s.tx_id, day, model, endpoint, requests, errors, input, cached_input, output,
    reasoning, audio, images, seconds, characters, cost, operator_loss, cost, operator_loss, ts)::charge_sum order by s.org_id, s.token_id)
  into v_sums from summed s join unnest(p_who) w on w.token_id = s.token_id;
  return v_sums;
end $$;

create function line_time(at_ms bigint) returns timestamptz language sql immutable parallel safe as $$
  select to_timestamp(at_ms::float8 / 1000)
$$;

-- Lines that know more than the rows which are there, as whole events. They are few.
create function newer_events(p_lines text, p_breakdowns text, p_mark text, p_shapes text, p_who charge_who[])
returns charge_event[] language plpgsql as $$
#variable_conflict use_column
declare
  v_lines charge_line[] := array(select t::charge_line from string_to_table(p_lines, p_mark) t);
  v_breakdowns text[] := string_to_array(p_breakdowns, p_mark);
  v_shapes charge_shape[] := array(select s from json_populate_recordset(null::charge_shape, p_shapes::json) s);
  v_events charge_event[];
begin
  select array_agg(row('req_' || replace(l.request_id::text, '-', ''), w.org_id, w.token_id, s.kind, s.status, s.model, s.served_model,
    s.endpoint, s.upstream, s.stream, s.http_status, l.cost, l.held, s.debt, l.operator_loss, s.source,
    row(l.input, l.cached_input, l.cache_write_5m, l.cache_write_1h, l.output, l.reasoning, l.audio_input, l.audio_output, l.images,
      l.seconds, l.characters, l.meters)::usage_counts,
    s.price_version, v_breakdowns[l.n]::json, l.client_request_id, l.end_user, l.agent, l.conversation, s.finish_reason, l.latency_ms,
    l.ttft_ms, s.flags, s.attempts)::charge_event order by l.n)
  into v_events
  from unnest(v_lines) with ordinality l (who, shape, request_id, at_ms, cost, held, operator_loss, input, cached_input, cache_write_5m,
      cache_write_1h, output, reasoning, audio_input, audio_output, images, seconds, characters, latency_ms, ttft_ms, meters,
      client_request_id, end_user, agent, conversation, n)
    join usage_records r on r.request_id = l.request_id and r.ts = line_time(l.at_ms) and r.kind = 'floor'
    join unnest(p_who) w on w.n = l.who and w.org_id = r.org_id and w.token_id = r.token_id
    cross join lateral (select (v_shapes[l.shape]).*) s
  where s.kind = 'final' or l.cost > r.cost;
  return v_events;
end $$;

-- What is known of a request only grows: nothing < floor (the larger wins) < final. Answers with what changed.
create function correct_lines(p_events charge_event[], p_who charge_who[]) returns charge_sum[] language plpgsql as $$
declare
  best record;
  old usage_records;
  e charge_event;
  tx bigint;
  burn bigint;
  burn_loss bigint;
  sums charge_sum[];
begin
  for best in
    select distinct on (id, ts) c.ev, c.id, c.ts, r as old, w.tx_id, w.time_zone
    from (select ev, n, substr((ev).request_id, 5)::uuid as id, request_time((ev).request_id) as ts
          from (select unnest(p_events) as ev, generate_subscripts(p_events, 1) as n) u) c
    join usage_records r on r.request_id = c.id and r.ts = c.ts and r.org_id = (c.ev).org_id and r.token_id = (c.ev).token_id
    join unnest(p_who) w on w.token_id = r.token_id
    order by id, ts, (c.ev).kind = 'final' desc, (c.ev).cost desc, c.n
  loop
    e := best.ev;
    old := best.old;
    tx := null;
    burn := 0;
    burn_loss := 0;
    perform replace_usage(old.request_id, old.ts, e);
    if e.cost < old.cost or (e.cost = old.cost and e.operator_loss < old.operator_loss) then
      tx := return_usage(old, e.cost, e.operator_loss);
    elsif e.cost > old.cost or e.operator_loss <> old.operator_loss then
      tx := best.tx_id;
      burn := e.cost - old.cost;
      burn_loss := e.operator_loss - old.operator_loss;
    end if;
    insert into usage_corrections (request_id, ts, org_id, tx_id, old_kind, new_kind, old_cost, new_cost, old_operator_loss, new_operator_loss)
    values (old.request_id, old.ts, old.org_id, tx, old.kind, e.kind, old.cost, e.cost, old.operator_loss, e.operator_loss);
    sums := sums || array(select row(d.org_id, d.token_id, best.time_zone, best.tx_id, d.day, d.model, d.endpoint, d.requests, d.errors,
        d.input, d.cached_input, d.output, d.reasoning, d.audio, d.images, d.seconds, d.characters, d.cost, d.operator_loss,
        case when d.requests > 0 then burn else 0 end, case when d.requests > 0 then burn_loss else 0 end, d.last_used_at)::charge_sum
      from unnest(usage_sides(old, e)) d);
  end loop;
  return sums;
end $$;

create function merge_sums(p_sums charge_sum[]) returns charge_sum[] language sql stable as $$
  select array_agg(row(s.*)::charge_sum) from (
    select org_id, token_id, max(time_zone), max(tx_id), day, model, endpoint, total(requests), total(errors),
      total(input), total(cached_input), total(output), total(reasoning), total(audio),
      total(images), total(seconds), total(characters), total(cost), total(operator_loss),
      total(burn), total(burn_loss), max(last_used_at)
    from unnest(p_sums) group by org_id, token_id, day, model, endpoint) s
$$;

-- Rollups and token use follow the same differences. A window only ever moves forward, and everything counted in it is of
-- its days, so each counter equals the sum of its records.
create function count_sums(p_sums charge_sum[], p_now timestamptz) returns void language plpgsql as $$
#variable_conflict use_column
begin
  insert into usage_rollups as r (org_id, day, token_id, model, endpoint, requests, errors, input, cached_input, output, reasoning,
    audio, images, seconds, characters, cost, operator_loss)
  select org_id, day, token_id, model, endpoint, requests, errors, input, cached_input, output, reasoning, audio, images, seconds,
    characters, cost, operator_loss from unnest(p_sums)
  on conflict (org_id, day, token_id, model, endpoint) do update set requests = r.requests + excluded.requests,
    errors = r.errors + excluded.errors, input = r.input + excluded.input, cached_input = r.cached_input + excluded.cached_input,
    output = r.output + excluded.output, reasoning = r.reasoning + excluded.reasoning, audio = r.audio + excluded.audio,
    images = r.images + excluded.images, seconds = r.seconds + excluded.seconds, characters = r.characters + excluded.characters,
    cost = r.cost + excluded.cost, operator_loss = r.operator_loss + excluded.operator_loss;

  with days as (
    select token_id, time_zone, day, cost, last_used_at, (p_now at time zone time_zone)::date as now from unnest(p_sums)
  ), uses as (
    select token_id, time_zone, total(cost) as total, max(last_used_at) as last_used_at, greatest(now, max(day)) as today,
      -- A clock may run ahead, but never by more than a day: then the day, week and month are those of tomorrow.
      case when max(day) > now then total(cost) filter (where day > now) else total(cost) filter (where day = now) end as daily,
      total(cost) filter (where day >= date_trunc('week', now::timestamp)) as weekly,
      total(cost) filter (where day >= date_trunc('week', now::timestamp + interval '1 day')) as weekly_ahead,
      total(cost) filter (where day >= date_trunc('month', now::timestamp)) as monthly,
      total(cost) filter (where day >= date_trunc('month', now::timestamp + interval '1 day')) as monthly_ahead, now
    from days group by token_id, time_zone, now
  ), counted as (
    select token_id, time_zone, total, last_used_at, today, daily, date_trunc('week', today::timestamp) as week,
      date_trunc('month', today::timestamp) as month, case when today > now then weekly_ahead else weekly end as weekly,
      case when today > now then monthly_ahead else monthly end as monthly
    from uses
  )
  update token_use u set total = u.total + s.total, day = greatest(u.day, s.today),
    daily = case when u.day >= s.today then u.daily else 0 end + case when u.day <= s.today then s.daily else 0 end,
    daily_ends_at = (greatest(u.day, s.today) + 1)::timestamp at time zone s.time_zone,
    weekly = case when u.day >= s.week then u.weekly else 0 end + case when u.day < s.week + interval '7 days' then s.weekly else 0 end,
    weekly_ends_at = (date_trunc('week', greatest(u.day, s.today)::timestamp) + interval '7 days') at time zone s.time_zone,
    monthly = case when u.day >= s.month then u.monthly else 0 end
      + case when u.day < s.month + interval '1 month' then s.monthly else 0 end,
    monthly_ends_at = (date_trunc('month', greatest(u.day, s.today)::timestamp) + interval '1 month') at time zone s.time_zone,
    last_used_at = greatest(u.last_used_at, s.last_used_at)
  from counted s where u.token_id = s.token_id;
end $$;

-- Takes what was charged from the grants in burn order (priority, soonest expiry, promo before plan before paid, oldest),
-- the rest from `debt`; books the counter entries to `usage` and `operator_loss`; moves balance and monthly counter of each
-- organization at once. The month is that of now, or of the latest row should a gateway's clock run ahead.
create function burn_sums(p_sums charge_sum[], p_now timestamptz) returns void language plpgsql as $$
#variable_conflict use_column
begin
  with months as (
    select org_id, time_zone, tx_id, burn, burn_loss, cost, date_trunc('month', day::timestamp)::date as month,
      date_trunc('month', p_now at time zone time_zone)::date as now
    from unnest(p_sums)
  ), want as materialized (
    select org_id, time_zone, max(tx_id) as tx_id, total(burn) as cost, total(burn_loss) as operator_loss, greatest(now, max(month)) as month,
      case when max(month) > now then total(cost) filter (where month > now) else total(cost) filter (where month = now) end as spent
    from months group by org_id, time_zone, now order by org_id
  ), txs as (
    insert into ledger_txs (id, org_id, kind, created_at)
    select tx_id, org_id, 'usage', p_now from want where cost <> 0 or operator_loss <> 0
  ), lined_up as materialized (
    select w.org_id, w.tx_id, a.id as account_id, row_number() over burn as n,
      least(a.balance, w.cost - (sum(a.balance) over burn - a.balance))::bigint as take
    from want w join ledger_accounts a on a.org_id = w.org_id and a.live join grants g on g.grant_id = a.grant_id
    where w.cost > 0
    window burn as (partition by w.org_id order by g.priority, g.expires_at nulls last,
      array_position(array['promo', 'plan', 'paid'], g.category), g.created_at, g.grant_id rows unbounded preceding)
  ), wallets as materialized (
    select org_id, max(time_zone) as time_zone, max(tx_id) as tx_id, total(cost) as cost, total(cost - take) as rest,
      max(month) as month, max(spent) as spent
    from (
      select org_id, time_zone, tx_id, cost, 0 as take, month, spent from want
      union all
      select org_id, null, null, 0, take, null, null from lined_up where take > 0
    ) both_sides group by org_id
  ), moves as (
    select tx_id, account_id, -take as amount, n from lined_up where take > 0
    union all
    select w.tx_id, a.id, -w.rest, 9223372036854775807
    from wallets w join ledger_accounts a on a.org_id = w.org_id and a.kind = 'debt' and a.grant_id is null where w.rest > 0
  ), moved as (
    update ledger_accounts a set balance = a.balance + m.amount, version = a.version + 1
    from moves m where a.id = m.account_id
    returning m.tx_id, a.id as account_id, m.amount, a.version, a.balance, m.n
  ), system_moves as (
    select 'usage' as kind, tx_id, cost + operator_loss as amount from want where cost + operator_loss <> 0
    union all
    select 'operator_loss', tx_id, -operator_loss from want where operator_loss <> 0
  ), system_sums as (
    select kind, total(amount) as amount, count(*) as entries from system_moves group by kind
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
  update org_balances b set avail = b.avail - w.cost, debt = b.debt - w.rest, version = b.version + 1,
    month = greatest(b.month, w.month),
    month_ends_at = (greatest(b.month, w.month)::timestamp + interval '1 month') at time zone w.time_zone,
    month_spent = case when b.month >= w.month then b.month_spent else 0 end + case when b.month <= w.month then w.spent else 0 end
  from wallets w where b.org_id = w.org_id;
end $$;

-- Why lines were not booked: their organization or token is unknown, or their id belongs to somebody else.
create function rejected_lines(p_lines text, p_mark text, p_orgs text[], p_tokens text[])
returns table (org_id text, request_id text, reason text) language sql stable as $$
  select why.org_id, why.request_id, why.reason from (
    select l.org_id, 'req_' || replace(l.id::text, '-', '') as request_id, case
      when o.org_id is null then format('organization %s is unknown', coalesce(nullif(l.org_id, ''), '(none)'))
      when t.token_id is null then format('token %s is unknown', coalesce(nullif(l.token_id, ''), '(none)'))
      when t.org_id <> l.org_id then format('token %s belongs to another organization', l.token_id)
      when r.org_id <> l.org_id or r.token_id <> l.token_id
        then format('request %s is already booked for another token', 'req_' || replace(l.id::text, '-', ''))
      end as reason
    from (select (x).request_id as id, line_time((x).at_ms) as ts, p_orgs[(x).who] as org_id, p_tokens[(x).who] as token_id
        from (select t::charge_line as x from string_to_table(p_lines, p_mark) t offset 0) u offset 0) l
    left join organizations o on o.org_id = l.org_id
    left join tokens t on t.token_id = l.token_id
    left join usage_records r on r.request_id = l.id and r.ts = l.ts
  ) why where why.reason is not null
$$;

create function epoch_ms(at timestamptz) returns bigint language sql stable parallel safe as $$
  select greatest(1, (date_part('epoch', at) * 1000)::bigint)
$$;

-- Books a batch, in any order and any number of times, entirely or not at all. Lines are records in the form of charge_line,
-- their breakdowns JSON, both divided by `p_mark`; shapes a JSON array; tokens with their organizations, each of which has a
-- transaction in `p_txs`, counted from 1. Answers what each token and its organization have now, then what was not booked and
-- why. Anything malformed raises, and nothing is booked.
create function post_lines(p_lines text, p_breakdowns text, p_mark text, p_count integer, p_shapes text, p_orgs text[],
  p_tokens text[], p_txs integer[], p_now timestamptz default now())
returns table (org_id text, avail bigint, balance_version bigint, month_spent bigint, month_ends_ms bigint, token_id text,
  total bigint, daily bigint, daily_ends_ms bigint, weekly bigint, weekly_ends_ms bigint, monthly bigint, monthly_ends_ms bigint,
  rejected_id text, reason text)
language plpgsql as $$
#variable_conflict use_column
declare
  v_txs bigint[];
  v_who charge_who[];
  v_sums charge_sum[];
  v_inserted bigint;
begin
  perform 1 from org_balances b where b.org_id = any (p_orgs) order by b.org_id for no key update;
  v_txs := array(select nextval('ledger_txs_id_seq') from generate_series(1, (select max(tx) from unnest(p_txs) tx)));
  v_who := array(select row(w.n, t.org_id, t.token_id, o.time_zone, v_txs[w.tx])::charge_who
    from unnest(p_orgs, p_tokens, p_txs) with ordinality w (org_id, token_id, tx, n)
    join tokens t on t.token_id = w.token_id and t.org_id = w.org_id join organizations o on o.org_id = t.org_id);
  v_sums := insert_lines(p_lines, p_breakdowns, p_mark, p_shapes, v_who);
  select coalesce(sum(s.requests), 0) into v_inserted from unnest(v_sums) s;
  if exists (select from unnest(v_sums) s where s.last_used_at > p_now + interval '1 day') then
    raise exception 'a request id is more than a day in the future' using errcode = 'data_exception';
  end if;
  if v_inserted < p_count then
    v_sums := merge_sums(v_sums || correct_lines(newer_events(p_lines, p_breakdowns, p_mark, p_shapes, v_who), v_who));
  end if;
  perform count_sums(v_sums, p_now);
  perform burn_sums(v_sums, p_now);
  return query
    select b.org_id, b.avail, b.version, b.month_spent, epoch_ms(b.month_ends_at), u.token_id, u.total, u.daily,
      epoch_ms(u.daily_ends_at), u.weekly, epoch_ms(u.weekly_ends_at), u.monthly, epoch_ms(u.monthly_ends_at), null, null
    from unnest(v_who) w join org_balances b on b.org_id = w.org_id join token_use u on u.token_id = w.token_id;
  if v_inserted < p_count then
    return query
      select b.org_id, b.avail, b.version, b.month_spent, epoch_ms(b.month_ends_at), null, null::bigint, null::bigint, null::bigint,
        null::bigint, null::bigint, null::bigint, null::bigint, null, null
      from org_balances b where b.org_id in (select unnest(p_orgs) except select w.org_id from unnest(v_who) w);
    return query
      select r.org_id, null::bigint, null::bigint, null::bigint, null::bigint, null, null::bigint, null::bigint, null::bigint,
        null::bigint, null::bigint, null::bigint, null::bigint, r.request_id, r.reason
      from rejected_lines(p_lines, p_mark, p_orgs, p_tokens) r;
  end if;
end $$;

-- Two indexes fewer for every batch: entries are found by their transaction, and only few transactions have a key.
alter table ledger_entries drop constraint ledger_entries_pkey, add primary key (tx_id, id);
drop index ledger_entries_of_tx;
alter table ledger_txs drop constraint ledger_txs_idem_key_key;
create unique index ledger_txs_key on ledger_txs (idem_key) where idem_key is not null;
-- Every new grant looks itself up by its transaction.
create index grants_of_tx on grants (tx_id);

-- What foreign keys said row by row, said once per statement: every entry has its transaction and its account, every
-- transaction its organization. None of those can go away: transactions and accounts are never deleted.
alter table ledger_entries drop constraint ledger_entries_tx_id_fkey, drop constraint ledger_entries_account_id_fkey;
alter table ledger_txs drop constraint ledger_txs_org_id_fkey;
create trigger ledger_accounts_kept before delete on ledger_accounts for each row execute function refuse_change();

create or replace function entries_add_up() returns trigger language plpgsql as $$
declare
  bad record;
begin
  select e.tx_id, total(e.amount) as rest into bad from new_entries e
  group by e.tx_id having total(e.amount) <> 0 or not exists (select from ledger_txs t where t.id = e.tx_id) limit 1;
  if found then
    raise exception 'ledger transaction % does not add up: its entries leave %', bad.tx_id, bad.rest
      using errcode = 'integrity_constraint_violation';
  end if;
  select e.account_id into bad from new_entries e
  group by e.account_id having not exists (select from ledger_accounts a where a.id = e.account_id) limit 1;
  if found then
    raise exception 'there is no ledger account %', bad.account_id using errcode = 'foreign_key_violation';
  end if;
  return null;
end $$;
create function txs_have_an_org() returns trigger language plpgsql as $$
declare
  bad text;
begin
  select t.org_id into bad from new_txs t where not exists (select from organizations o where o.org_id = t.org_id) limit 1;
  if found then
    raise exception 'there is no organization %', bad using errcode = 'foreign_key_violation';
  end if;
  return null;
end $$;
create trigger ledger_txs_org after insert on ledger_txs referencing new table as new_txs
  for each statement execute function txs_have_an_org();

-- The newest row of an organization always comes last in these, where a page is filled before the next one is begun. Newest
-- first is the same index read backwards.
drop index usage_records_of_org, usage_records_of_token, usage_records_of_model, usage_records_of_agent,
  usage_records_of_conversation, usage_records_of_end_user, usage_records_of_status;
create index usage_records_of_org on usage_records (org_id, request_id);
create index usage_records_of_token on usage_records (token_id, request_id);
create index usage_records_of_model on usage_records (org_id, model, request_id);
create index usage_records_of_agent on usage_records (org_id, agent, request_id) where agent is not null;
create index usage_records_of_conversation on usage_records (org_id, conversation, request_id) where conversation is not null;
create index usage_records_of_end_user on usage_records (org_id, end_user, request_id) where end_user is not null;
create index usage_records_of_status on usage_records (org_id, status, request_id) where status <> 'complete';
