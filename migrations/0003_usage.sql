-- What was used: one row per request, sums per day, and what was corrected later.

create type usage_counts as (
  input bigint, cached_input bigint, cache_write_5m bigint, cache_write_1h bigint, output bigint, reasoning bigint,
  audio_input bigint, audio_output bigint, images bigint, seconds bigint, characters bigint, meters json
);

-- A ChargeEvent as the gateway writes it; same names, same order of meaning.
create type charge_event as (
  request_id text, org_id text, token_id text, kind text, status text, model text, served_model text, endpoint text,
  upstream text, stream boolean, http_status integer, cost bigint, held bigint, debt boolean, operator_loss bigint,
  source text, usage usage_counts, price_version text, breakdown json, client_request_id text, end_user text, agent text,
  conversation text, finish_reason text, latency_ms integer, ttft_ms integer, flags text[], attempts integer
);

-- `ts` is the time inside the request id, so duplicates of a request always meet in the same partition.
create table usage_records (
  request_id uuid not null,
  ts timestamptz not null,
  org_id text collate "C" not null,
  token_id text collate "C" not null,
  -- The organization's local day this row was counted on.
  day date not null,
  -- The transaction that charged it first; null when nothing was charged then.
  tx_id bigint,
  kind text not null check (kind in ('floor', 'final')),
  status text not null check (status in ('complete', 'partial', 'cancelled', 'orphaned', 'failed', 'rejected')),
  model text not null,
  served_model text not null,
  endpoint text not null,
  upstream text not null,
  stream boolean not null,
  http_status integer not null,
  cost bigint not null check (cost between 0 and 999999999999999),
  held bigint not null check (held >= 0),
  debt boolean not null,
  operator_loss bigint not null check (operator_loss between 0 and 999999999999999),
  source text not null check (source in ('upstream', 'estimated')),
  input bigint not null check (input >= 0),
  cached_input bigint not null check (cached_input >= 0),
  cache_write_5m bigint not null check (cache_write_5m >= 0),
  cache_write_1h bigint not null check (cache_write_1h >= 0),
  output bigint not null check (output >= 0),
  reasoning bigint not null check (reasoning >= 0),
  audio_input bigint not null check (audio_input >= 0),
  audio_output bigint not null check (audio_output >= 0),
  images bigint not null check (images >= 0),
  seconds bigint not null check (seconds >= 0),
  characters bigint not null check (characters >= 0),
  meters json,
  price_version text not null,
  breakdown json not null,
  client_request_id text,
  end_user text,
  agent text,
  conversation text,
  finish_reason text,
  latency_ms integer not null,
  ttft_ms integer,
  flags text[] not null,
  attempts integer not null,
  primary key (request_id, ts)
) partition by range (ts);
create index usage_records_of_org on usage_records (org_id, request_id desc);
-- Holds a row only when somebody forgot to make partitions; `usage_partitions_alarm` says so.
create table usage_records_default partition of usage_records default;

-- A final that replaced a floor, or a larger floor a smaller one: what changed, and which transaction booked it.
create table usage_corrections (
  id bigint generated always as identity primary key,
  request_id uuid not null,
  ts timestamptz not null,
  org_id text collate "C" not null,
  tx_id bigint,
  old_kind text not null,
  new_kind text not null,
  old_cost bigint not null,
  new_cost bigint not null,
  old_operator_loss bigint not null,
  new_operator_loss bigint not null,
  at timestamptz not null default now()
);
create index usage_corrections_of_request on usage_corrections (request_id);
create trigger usage_corrections_rows before update or delete on usage_corrections for each row execute function refuse_change();

-- Written in the same statement as the rows they sum, so history always equals the ledger.
create table usage_rollups (
  org_id text collate "C" not null,
  day date not null,
  token_id text collate "C" not null,
  model text not null,
  endpoint text not null,
  requests bigint not null,
  errors bigint not null,
  input bigint not null,
  cached_input bigint not null,
  output bigint not null,
  reasoning bigint not null,
  audio bigint not null,
  images bigint not null,
  seconds bigint not null,
  characters bigint not null,
  cost bigint not null,
  operator_loss bigint not null,
  primary key (org_id, day, token_id, model, endpoint)
) with (fillfactor = 60);

-- Events no transaction could take: set aside with the reason, so that the rest flows.
create table poison_rows (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  shard text,
  cursor text,
  org_id text collate "C",
  request_id text,
  event text not null,
  error text not null,
  resolved_at timestamptz,
  unique (shard, cursor)
);

-- How far the drain has read each shard's stream. Kept here, so that it falls back together with what was booked.
create table drain_cursors (
  shard text primary key,
  epoch text not null,
  cursor text not null,
  updated_at timestamptz not null default now()
);

create function request_time(request_id text) returns timestamptz language sql immutable parallel safe as $$
  select to_timestamp((('x' || substr(request_id, 5, 12))::bit(48)::bigint)::float8 / 1000)
$$;

-- Makes this month's partition and the next ones; safe to repeat.
create function ensure_usage_partitions(around timestamptz default now(), ahead integer default 2) returns integer language plpgsql as $$
declare
  month timestamp;
  name text;
  made integer := 0;
begin
  for i in 0..ahead loop
    month := date_trunc('month', around at time zone 'UTC') + make_interval(months => i);
    name := to_char(month, '"usage_records_"YYYY_MM');
    if to_regclass(name) is null then
      execute format('create table if not exists %I partition of usage_records for values from (%L) to (%L)',
        name, month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC');
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;

-- A sentence when rows fell outside the months that were made; null when all is well.
create function usage_partitions_alarm() returns text language sql stable as $$
  select format('%s usage rows from %s to %s lie in usage_records_default: make their monthly partitions',
    count(*), min(ts), max(ts))
  from usage_records_default having count(*) > 0
$$;

select ensure_usage_partitions();
