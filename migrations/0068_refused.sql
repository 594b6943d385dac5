-- Requests of known tokens that were refused before anything was set aside: rows of the logs that cost nothing. Nothing of the
-- ledger, no balance and no counter of a token moves; the daily sums count them in the same statement, as everywhere.

-- A JSON array of refused requests. Those of unknown tokens, those that have a row, and those that come an hour late are left
-- out. Wallets are locked in the order in which the drain locks them, because both write the same daily sums; whoever cannot
-- have them soon gives up. Answers which requests have a row now.
create function post_refused(p_rows json, p_price_version text, p_now timestamptz default now()) returns setof text
language plpgsql set lock_timeout = '2s' as $$
#variable_conflict use_column
begin
  perform 1 from org_balances b where b.org_id in (select r ->> 'org_id' from json_array_elements(p_rows) r)
    order by b.org_id for no key update;
  return query
  with sent as (
    select r.*, substr(r.request_id, 5)::uuid as id, request_time(r.request_id) as ts
    from json_to_recordset(p_rows) r (request_id text, org_id text, token_id text, model text, endpoint text, stream boolean,
      http_status integer, code text, latency_ms integer, client_request_id text, end_user text, agent text, conversation text,
      unlisted bigint)
  ), inserted as (
    insert into usage_records (request_id, ts, org_id, token_id, day, tx_id, kind, status, model, served_model, endpoint,
      upstream, stream, http_status, cost, held, debt, operator_loss, source, input, cached_input, cache_write_5m,
      cache_write_1h, output, reasoning, audio_input, audio_output, images, seconds, characters, meters, price_version,
      breakdown, client_request_id, end_user, agent, conversation, finish_reason, latency_ms, ttft_ms, flags, attempts)
    select s.id, s.ts, t.org_id, t.token_id, (s.ts at time zone o.time_zone)::date, null, 'final', 'rejected', s.model, s.model,
      s.endpoint, '', s.stream, s.http_status, 0, 0, false, 0, 'estimated', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, null, p_price_version,
      '{"lines":[],"times":"1"}', s.client_request_id, s.end_user, s.agent, s.conversation, null, s.latency_ms, null,
      array[s.code] || case when s.unlisted > 0 then array['unlisted:' || s.unlisted] else '{}' end, 0
    from sent s join tokens t on t.token_id = s.token_id and t.org_id = s.org_id join organizations o on o.org_id = t.org_id
    where s.ts between p_now - interval '1 hour' and p_now + interval '1 hour'
    on conflict do nothing
    returning request_id, org_id, token_id, day, model, endpoint
  ), rolled as (
    insert into usage_rollups as r (org_id, day, token_id, model, endpoint, requests, errors, input, cached_input, output,
      reasoning, audio, images, seconds, characters, cost, operator_loss)
    select org_id, day, token_id, model, endpoint, count(*), count(*), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    from inserted group by org_id, day, token_id, model, endpoint order by org_id, day, token_id, model, endpoint
    on conflict (org_id, day, token_id, model, endpoint) do update set requests = r.requests + excluded.requests,
      errors = r.errors + excluded.errors
  )
  select 'req_' || replace(i.request_id::text, '-', '') from inserted i;
end $$;
