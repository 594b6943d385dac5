-- How charges are booked: one call of post_charges takes a whole batch, entirely or not at all.

-- What a batch changed for one organization, token, day, model and endpoint; negative when a correction took back.
create type usage_delta as (
  org_id text, token_id text, day date, model text, endpoint text, requests bigint, errors bigint, input bigint,
  cached_input bigint, output bigint, reasoning bigint, audio bigint, images bigint, seconds bigint, characters bigint,
  cost bigint, operator_loss bigint, last_used_at timestamptz
);
-- What has to be taken from one organization's grants in one transaction.
create type org_burn as (org_id text, tx_id bigint, cost bigint, operator_loss bigint, requests bigint);

-- Writes the rows of requests never seen before. Rows of unknown tokens, and requests already there, are left out.
create function insert_usage(p_events charge_event[], p_burns org_burn[]) returns usage_delta[] language plpgsql as $$
#variable_conflict use_column
declare
  v_deltas usage_delta[];
begin
  with who as materialized (
    select t.token_id, t.org_id, o.time_zone, b.tx_id
    from unnest(p_burns) b join organizations o on o.org_id = b.org_id join tokens t on t.org_id = b.org_id
    where t.token_id = any (array(select distinct e.token_id from unnest(p_events) e))
  ), inserted as (
    insert into usage_records (request_id, ts, org_id, token_id, day, tx_id, kind, status, model, served_model, endpoint,
      upstream, stream, http_status, cost, held, debt, operator_loss, source, input, cached_input, cache_write_5m,
      cache_write_1h, output, reasoning, audio_input, audio_output, images, seconds, characters, meters, price_version,
      breakdown, client_request_id, end_user, agent, conversation, finish_reason, latency_ms, ttft_ms, flags, attempts)
    select substr(e.request_id, 5)::uuid, request_time(e.request_id), w.org_id, w.token_id,
      (request_time(e.request_id) at time zone w.time_zone)::date,
      case when e.cost > 0 or e.operator_loss > 0 then w.tx_id end,
      e.kind, e.status, e.model, e.served_model, e.endpoint, e.upstream, e.stream, e.http_status, e.cost, e.held, e.debt,
      e.operator_loss, e.source, (e.usage).input, (e.usage).cached_input, (e.usage).cache_write_5m, (e.usage).cache_write_1h,
      (e.usage).output, (e.usage).reasoning, (e.usage).audio_input, (e.usage).audio_output, (e.usage).images,
      (e.usage).seconds, (e.usage).characters, (e.usage).meters, e.price_version, e.breakdown, e.client_request_id,
      e.end_user, e.agent, e.conversation, e.finish_reason, e.latency_ms, e.ttft_ms, e.flags, e.attempts
    from unnest(p_events) e join who w on w.token_id = e.token_id and w.org_id = e.org_id
    on conflict do nothing
    returning *
  )
  select array_agg(d::usage_delta) into v_deltas from (
    select org_id, token_id, day, model, endpoint, count(*), count(*) filter (where status in ('failed', 'rejected')),
      sum(input)::bigint, sum(cached_input)::bigint, sum(output)::bigint, sum(reasoning)::bigint,
      sum(audio_input + audio_output)::bigint, sum(images)::bigint, sum(seconds)::bigint, sum(characters)::bigint,
      sum(cost)::bigint, sum(operator_loss)::bigint, max(ts)
    from inserted group by org_id, token_id, day, model, endpoint
  ) d;
  return v_deltas;
end $$;

-- What is known of a request only grows: nothing < floor (the larger wins) < final. Applies those events of a batch that
-- know more than the row does. Answers with what changed, and with the burns, raised by what is owed on top.
create function correct_usage(p_events charge_event[], inout p_burns org_burn[], out p_deltas usage_delta[]) language plpgsql as $$
declare
  best record;
  old usage_records;
  e charge_event;
  burn_tx bigint;
begin
  for best in
    select distinct on (id, ts) c.ev, c.id, c.ts, r as old, b.tx_id as burn_tx
    from (select ev, n, substr((ev).request_id, 5)::uuid as id, request_time((ev).request_id) as ts
          from (select unnest(p_events) as ev, generate_subscripts(p_events, 1) as n) u) c
    join usage_records r on r.request_id = c.id and r.ts = c.ts and r.org_id = (c.ev).org_id and r.token_id = (c.ev).token_id
    join unnest(p_burns) b on b.org_id = r.org_id
    where r.kind = 'floor' and ((c.ev).kind = 'final' or (c.ev).cost > r.cost)
    order by id, ts, (c.ev).kind = 'final' desc, (c.ev).cost desc, n
  loop
    e := best.ev;
    old := best.old;
    burn_tx := best.burn_tx;
    perform replace_usage(old.request_id, old.ts, e);
    if e.cost < old.cost or (e.cost = old.cost and e.operator_loss < old.operator_loss) then
      burn_tx := return_usage(old, e.cost, e.operator_loss);
    elsif e.cost > old.cost or e.operator_loss <> old.operator_loss then
      p_burns := array(select row(b.org_id, b.tx_id, b.cost + e.cost - old.cost,
          b.operator_loss + e.operator_loss - old.operator_loss, b.requests)::org_burn
        from unnest(p_burns) b where b.org_id = old.org_id
        union all select b::org_burn from unnest(p_burns) b where b.org_id <> old.org_id);
    else
      burn_tx := null;
    end if;
    insert into usage_corrections (request_id, ts, org_id, tx_id, old_kind, new_kind, old_cost, new_cost, old_operator_loss, new_operator_loss)
    values (old.request_id, old.ts, old.org_id, burn_tx, old.kind, e.kind, old.cost, e.cost, old.operator_loss, e.operator_loss);
    p_deltas := p_deltas || usage_sides(old, e);
  end loop;
end $$;

-- One correction as two lines of a rollup: the old row taken back, the new one added.
create function usage_sides(old usage_records, e charge_event) returns usage_delta[] language sql immutable as $$
  select array[
    row(old.org_id, old.token_id, old.day, old.model, old.endpoint, -1, -(old.status in ('failed', 'rejected'))::int,
      -old.input, -old.cached_input, -old.output, -old.reasoning, -old.audio_input - old.audio_output, -old.images,
      -old.seconds, -old.characters, -old.cost, -old.operator_loss, old.ts)::usage_delta,
    row(old.org_id, old.token_id, old.day, e.model, e.endpoint, 1, (e.status in ('failed', 'rejected'))::int,
      (e.usage).input, (e.usage).cached_input, (e.usage).output, (e.usage).reasoning,
      (e.usage).audio_input + (e.usage).audio_output, (e.usage).images, (e.usage).seconds, (e.usage).characters,
      e.cost, e.operator_loss, old.ts)::usage_delta]
$$;

create function replace_usage(p_id uuid, p_ts timestamptz, e charge_event) returns void language sql as $$
  update usage_records set kind = e.kind, status = e.status, model = e.model, served_model = e.served_model,
    endpoint = e.endpoint, upstream = e.upstream, stream = e.stream, http_status = e.http_status, cost = e.cost,
    held = e.held, debt = e.debt, operator_loss = e.operator_loss, source = e.source, input = (e.usage).input,
    cached_input = (e.usage).cached_input, cache_write_5m = (e.usage).cache_write_5m,
    cache_write_1h = (e.usage).cache_write_1h, output = (e.usage).output, reasoning = (e.usage).reasoning,
    audio_input = (e.usage).audio_input, audio_output = (e.usage).audio_output, images = (e.usage).images,
    seconds = (e.usage).seconds, characters = (e.usage).characters, meters = (e.usage).meters,
    price_version = e.price_version, breakdown = e.breakdown, client_request_id = e.client_request_id,
    end_user = e.end_user, agent = e.agent, conversation = e.conversation, finish_reason = e.finish_reason,
    latency_ms = e.latency_ms, ttft_ms = e.ttft_ms, flags = e.flags, attempts = e.attempts
  where request_id = p_id and ts = p_ts
$$;

-- Rollups and token use follow the same differences. A window only ever moves forward, and everything counted in it is
-- of its days, so each counter equals the sum of its records.
create function count_usage(p_deltas usage_delta[], p_now timestamptz) returns void language plpgsql as $$
begin
  with sums as (
    select org_id, day, token_id, model, endpoint, sum(requests)::bigint as requests, sum(errors)::bigint as errors,
      sum(input)::bigint as input, sum(cached_input)::bigint as cached_input, sum(output)::bigint as output,
      sum(reasoning)::bigint as reasoning, sum(audio)::bigint as audio, sum(images)::bigint as images,
      sum(seconds)::bigint as seconds, sum(characters)::bigint as characters, sum(cost)::bigint as cost,
      sum(operator_loss)::bigint as operator_loss
    from unnest(p_deltas) group by org_id, day, token_id, model, endpoint
  ), rolled as (
    insert into usage_rollups as r (org_id, day, token_id, model, endpoint, requests, errors, input, cached_input, output,
      reasoning, audio, images, seconds, characters, cost, operator_loss)
    select * from sums
    on conflict (org_id, day, token_id, model, endpoint) do update set requests = r.requests + excluded.requests,
      errors = r.errors + excluded.errors, input = r.input + excluded.input,
      cached_input = r.cached_input + excluded.cached_input, output = r.output + excluded.output,
      reasoning = r.reasoning + excluded.reasoning, audio = r.audio + excluded.audio, images = r.images + excluded.images,
      seconds = r.seconds + excluded.seconds, characters = r.characters + excluded.characters, cost = r.cost + excluded.cost,
      operator_loss = r.operator_loss + excluded.operator_loss
  ), days as (
    select d.token_id, o.time_zone, d.day, d.cost, d.last_used_at,
      greatest(u.day, (p_now at time zone o.time_zone)::date, max(d.day) over (partition by d.token_id)) as today
    from unnest(p_deltas) d join token_use u on u.token_id = d.token_id join organizations o on o.org_id = d.org_id
  ), uses as (
    select token_id, time_zone, today, sum(cost)::bigint as total, max(last_used_at) as last_used_at,
      coalesce(sum(cost) filter (where day = today), 0)::bigint as daily,
      coalesce(sum(cost) filter (where date_trunc('week', day) = date_trunc('week', today)), 0)::bigint as weekly,
      coalesce(sum(cost) filter (where date_trunc('month', day) = date_trunc('month', today)), 0)::bigint as monthly
    from days group by token_id, time_zone, today
  )
  update token_use u set total = u.total + s.total, day = s.today,
    daily = s.daily + case when u.day = s.today then u.daily else 0 end,
    daily_ends_at = (s.today + 1)::timestamp at time zone s.time_zone,
    weekly = s.weekly + case when date_trunc('week', u.day) = date_trunc('week', s.today) then u.weekly else 0 end,
    weekly_ends_at = (date_trunc('week', s.today::timestamp) + interval '7 days') at time zone s.time_zone,
    monthly = s.monthly + case when date_trunc('month', u.day) = date_trunc('month', s.today) then u.monthly else 0 end,
    monthly_ends_at = (date_trunc('month', s.today::timestamp) + interval '1 month') at time zone s.time_zone,
    last_used_at = greatest(u.last_used_at, s.last_used_at)
  from uses s where u.token_id = s.token_id;
end $$;

-- Why rows of a batch were not booked: their organization or token is unknown, or their id belongs to somebody else.
create function rejected_usage(p_events charge_event[], p_orgs text[]) returns table (org_id text, rejected json) language sql stable as $$
  select why.org_id, json_agg(json_build_object('request_id', why.request_id, 'reason', why.reason))
  from (
    select e.org_id, e.request_id, case
      when e.org_id is null or e.org_id <> all (p_orgs) then format('organization %s is unknown', coalesce(e.org_id, '(none)'))
      when t.token_id is null then format('token %s is unknown', coalesce(e.token_id, '(none)'))
      when t.org_id <> e.org_id then format('token %s belongs to another organization', e.token_id)
      when r.org_id <> e.org_id or r.token_id <> e.token_id then format('request %s is already booked for another token', e.request_id)
      end as reason
    from unnest(p_events) e
    left join tokens t on t.token_id = e.token_id
    left join usage_records r on r.request_id = substr(e.request_id, 5)::uuid and r.ts = request_time(e.request_id)
  ) why where why.reason is not null group by why.org_id
$$;
