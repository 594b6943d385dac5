-- How an unusual request came to its answer: several attempts, a count of our own, a hold that grew, a slow start. Null for all
-- others, so that the usual row is as long as before. It travels with what repeats from row to row, because a drain of the
-- version before says nothing of it and must go on being understood.
alter table usage_records add column trace json;
alter type charge_shape add attribute trace json;
alter type charge_event add attribute trace json;

create or replace function insert_lines(p_lines text, p_breakdowns text, p_mark text, p_shapes text, p_who charge_who[])
returns charge_sum[] language plpgsql set work_mem = '64MB' set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  v_sums charge_sum[];
begin
  with inserted as (
    insert into usage_records (request_id, ts, org_id, token_id, day, tx_id, kind, status, model, served_model, endpoint,
      upstream, stream, http_status, cost, held, debt, operator_loss, source, input, cached_input, cache_write_5m,
      cache_write_1h, output, reasoning, audio_input, audio_output, images, seconds, characters, meters, price_version,
      breakdown, client_request_id, end_user, agent, conversation, finish_reason, latency_ms, ttft_ms, flags, attempts, trace)
    select (l).request_id, line_time((l).at_ms), w.org_id, w.token_id, (line_time((l).at_ms) at time zone w.time_zone)::date,
      case when (l).cost > 0 or (l).operator_loss > 0 then w.tx_id end,
      s.kind, s.status, s.model, s.served_model, s.endpoint, s.upstream, s.stream, s.http_status, (l).cost, (l).held, s.debt,
      (l).operator_loss, s.source, (l).input, (l).cached_input, (l).cache_write_5m, (l).cache_write_1h, (l).output, (l).reasoning,
      (l).audio_input, (l).audio_output, (l).images, (l).seconds, (l).characters, (l).meters, s.price_version, breakdown::json,
      (l).client_request_id, (l).end_user, (l).agent, (l).conversation, s.finish_reason, (l).latency_ms, (l).ttft_ms, s.flags, s.attempts,
      s.trace
    from (select line::charge_line as l, breakdown
        from rows from (string_to_table(p_lines, p_mark), string_to_table(p_breakdowns, p_mark)) u (line, breakdown) offset 0) x
      join unnest(p_who) w on w.n = (l).who
      join rows from (json_populate_recordset(null::charge_shape, p_shapes::json)) with ordinality s (kind, status, model, served_model,
        endpoint, upstream, stream, http_status, debt, source, price_version, finish_reason, flags, attempts, trace, n) on s.n = (l).shape
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

create or replace function newer_events(p_lines text, p_breakdowns text, p_mark text, p_shapes text, p_who charge_who[])
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
    l.ttft_ms, s.flags, s.attempts, s.trace)::charge_event order by l.n)
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

create or replace function replace_usage(p_id uuid, p_ts timestamptz, e charge_event) returns void language sql as $$
  update usage_records set kind = e.kind, status = e.status, model = e.model, served_model = e.served_model,
    endpoint = e.endpoint, upstream = e.upstream, stream = e.stream, http_status = e.http_status, cost = e.cost,
    held = e.held, debt = e.debt, operator_loss = e.operator_loss, source = e.source, input = (e.usage).input,
    cached_input = (e.usage).cached_input, cache_write_5m = (e.usage).cache_write_5m,
    cache_write_1h = (e.usage).cache_write_1h, output = (e.usage).output, reasoning = (e.usage).reasoning,
    audio_input = (e.usage).audio_input, audio_output = (e.usage).audio_output, images = (e.usage).images,
    seconds = (e.usage).seconds, characters = (e.usage).characters, meters = (e.usage).meters,
    price_version = e.price_version, breakdown = e.breakdown, client_request_id = e.client_request_id,
    end_user = e.end_user, agent = e.agent, conversation = e.conversation, finish_reason = e.finish_reason,
    latency_ms = e.latency_ms, ttft_ms = e.ttft_ms, flags = e.flags, attempts = e.attempts, trace = e.trace
  where request_id = p_id and ts = p_ts
$$;
