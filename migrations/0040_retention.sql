-- Single requests of months long over may be let go. What they added up to stays, by the keys of the daily sums and by the
-- transactions that charged them, so that the books go on proving themselves. First a month is sealed: its sums are written
-- down and nothing changes it any more. Then its partition goes. Each is one statement, and safe to repeat.

create table usage_past_months (
  -- Its first day, in UTC: the month of a partition.
  month date primary key check (month = date_trunc('month', month)::date),
  requests bigint not null,
  cost numeric not null,
  operator_loss numeric not null,
  sealed_at timestamptz not null default now(),
  -- Null: its rows are still there, and count themselves.
  gone_at timestamptz,
  -- Covers the sums, the charges and the month sealed before this one.
  previous_hash text not null,
  hash text not null
);
create table usage_past_sums (
  month date not null references usage_past_months deferrable initially deferred,
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
  -- A day at the edge of a month has rows in two partitions.
  primary key (org_id, day, token_id, model, endpoint, month)
);
-- What the rows of a month had first been charged in each transaction; corrections stand in their own table.
create table usage_past_charges (
  tx_id bigint not null,
  month date not null references usage_past_months deferrable initially deferred,
  amount bigint not null,
  primary key (tx_id, month)
);
create trigger usage_past_sums_rows before update or delete on usage_past_sums for each row execute function refuse_change();
create trigger usage_past_sums_table before truncate on usage_past_sums for each statement execute function refuse_change();
create trigger usage_past_charges_rows before update or delete on usage_past_charges for each row execute function refuse_change();
create trigger usage_past_charges_table before truncate on usage_past_charges for each statement execute function refuse_change();
create trigger usage_past_months_rows before delete on usage_past_months for each row execute function refuse_change();
create trigger usage_past_months_table before truncate on usage_past_months for each statement execute function refuse_change();
-- The one thing that ever changes: a sealed month goes, once.
create trigger usage_past_months_once before update on usage_past_months for each row
  when (old.gone_at is not null or new.gone_at is null or (new.month, new.requests, new.cost, new.operator_loss, new.sealed_at, new.hash,
    new.previous_hash) is distinct from (old.month, old.requests, old.cost, old.operator_loss, old.sealed_at, old.hash, old.previous_hash))
  execute function refuse_change();

create function hash_step(state bytea, line text) returns bytea language sql immutable parallel safe as $$
  select sha256(coalesce(state, ''::bytea) || convert_to(line, 'UTF8'))
$$;
-- One hash of any number of lines in their order, in constant memory.
create aggregate hash_lines(text) (sfunc = hash_step, stype = bytea);

create function usage_past_hash(m usage_past_months) returns text language sql stable as $$
  select encode(sha256(convert_to(concat_ws(E'\x1f', m.previous_hash, m.month, m.requests, m.cost, m.operator_loss,
    (select encode(hash_lines(s::text order by s.org_id, s.day, s.token_id, s.model, s.endpoint), 'hex') from usage_past_sums s where s.month = m.month),
    (select encode(hash_lines(c::text order by c.tx_id), 'hex') from usage_past_charges c where c.month = m.month)), 'UTF8')), 'hex')
$$;

create function usage_partition(p_month date) returns text language sql immutable as $$
  select to_char(p_month, '"usage_records_"YYYY_MM')
$$;

-- Months with rows of their own that ended before a moment, oldest first.
create function usage_months_before(p_before timestamptz) returns table (month date, is_sealed boolean) language sql stable as $$
  select x.month, p.month is not null
  from (select to_date(right(c.relname, 7), 'YYYY_MM') as month from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'usage_records'::regclass and c.relname ~ '^usage_records_\d{4}_\d{2}$') x
    left join usage_past_months p on p.month = x.month
  where (x.month + interval '1 month') at time zone 'UTC' <= p_before order by x.month
$$;

-- Whoever comes too late is not charged: without the rows nobody can tell whether they were charged before.
create function refuse_past_usage() returns trigger language plpgsql as $$
begin
  if tg_relid <> 'usage_records_default'::regclass or exists (
    select from usage_past_months m where m.month = date_trunc('month', new.ts at time zone 'UTC')::date) then
    raise exception 'request % is of a month whose single requests are let go, so it cannot be told whether it was charged before',
      'req_' || replace(coalesce(new.request_id, old.request_id)::text, '-', '') using errcode = 'data_exception';
  end if;
  return new;
end $$;
create trigger usage_records_past before insert on usage_records_default for each row execute function refuse_past_usage();

-- The smallest id of a millisecond: ids sort by time, so a stretch of time is a stretch of the primary key.
create function first_id_at(at timestamptz) returns uuid language sql immutable as $$
  select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Writes down what a month added up to, once; from then on its rows cannot change. What does not prove itself is refused:
-- rows that are evidence of a mistake must not go.
create function seal_usage_month(p_month date) returns void language plpgsql set lock_timeout = '2s' as $$
declare
  part text := usage_partition(p_month);
  past usage_past_months;
  waiting bigint;
begin
  lock table usage_past_months in share row exclusive mode;
  if exists (select from usage_past_months m where m.month = p_month) or to_regclass(part) is null then return; end if;
  execute format('lock table %I in share row exclusive mode', part);
  select count(*) into waiting from poison_rows p where p.resolved_at is null
    and case when p.request_id ~ '^req_[0-9a-f]{32}$'
      then date_trunc('month', request_time(p.request_id) at time zone 'UTC')::date = p_month end;
  if waiting > 0 then
    raise exception '% requests of % were set aside and wait for a decision', waiting, to_char(p_month, 'YYYY-MM')
      using errcode = 'integrity_constraint_violation';
  end if;
  execute format('insert into usage_past_sums select $1, org_id, day, token_id, model, endpoint, count(*),
      count(*) filter (where status in (''failed'', ''rejected'')), sum(input), sum(cached_input), sum(output), sum(reasoning),
      sum(audio_input + audio_output), sum(images), sum(seconds), sum(characters), sum(cost), sum(operator_loss)
    from %I group by org_id, day, token_id, model, endpoint', part) using p_month;
  execute format('insert into usage_past_charges
    select r.tx_id, $1, sum(r.cost + r.operator_loss + coalesce(c.back, 0)) from %I r
      left join (select request_id, ts, sum(old_cost + old_operator_loss - new_cost - new_operator_loss) as back
        from usage_corrections group by request_id, ts) c on c.request_id = r.request_id and c.ts = r.ts
    where r.tx_id is not null group by r.tx_id', part) using p_month;
  perform refuse_unproved_sums(p_month);
  perform refuse_unproved_charges(p_month);
  select p_month, coalesce(sum(requests), 0), coalesce(sum(cost), 0), coalesce(sum(operator_loss), 0), clock_timestamp(), null,
    coalesce((select m.hash from usage_past_months m order by m.sealed_at desc limit 1), repeat('0', 64)), ''
  into past from usage_past_sums where month = p_month;
  past.hash := usage_past_hash(past);
  insert into usage_past_months select past.*;
  execute format('create trigger usage_records_past before insert or update or delete on %I
    for each row execute function refuse_past_usage()', part);
end $$;

-- The daily sums are what the month says, with what neighbouring months have of the same days.
create function refuse_unproved_sums(p_month date) returns void language plpgsql as $$
declare
  starts timestamptz := p_month::timestamp at time zone 'UTC';
  ends timestamptz := (p_month + interval '1 month') at time zone 'UTC';
  bad record;
begin
  with mine as (
    select * from usage_past_sums where month = p_month
  ), days as (
    select min(day) as first, max(day) as last from mine
  ), parts as (
    select * from mine
    union all
    select o.* from usage_past_sums o join usage_past_months m on m.month = o.month and m.gone_at is not null, days d
    where o.month <> p_month and o.day between d.first and d.last
    union all
    select p_month, r.org_id, r.day, r.token_id, r.model, r.endpoint, count(*), count(*) filter (where r.status in ('failed', 'rejected')),
      sum(r.input), sum(r.cached_input), sum(r.output), sum(r.reasoning), sum(r.audio_input + r.audio_output), sum(r.images),
      sum(r.seconds), sum(r.characters), sum(r.cost), sum(r.operator_loss)
    from usage_records r, days d
    where r.day between d.first and d.last
      and (r.request_id >= first_id_at(starts - interval '2 days') and r.request_id < first_id_at(starts) and r.ts >= starts - interval '2 days' and r.ts < starts
        or r.request_id >= first_id_at(ends) and r.request_id < first_id_at(ends + interval '2 days') and r.ts >= ends and r.ts < ends + interval '2 days')
    group by r.org_id, r.day, r.token_id, r.model, r.endpoint
  ), made as (
    select org_id, day, token_id, model, endpoint, sum(requests) as requests, sum(errors) as errors, sum(input) as input,
      sum(cached_input) as cached_input, sum(output) as output, sum(reasoning) as reasoning, sum(audio) as audio, sum(images) as images,
      sum(seconds) as seconds, sum(characters) as characters, sum(cost) as cost, sum(operator_loss) as operator_loss
    from parts group by org_id, day, token_id, model, endpoint
  )
  select m.org_id, m.day, m.cost, coalesce(s.cost, 0) as said into bad
  from made m join mine using (org_id, day, token_id, model, endpoint)
    left join usage_rollups s using (org_id, day, token_id, model, endpoint)
  where (m.requests, m.errors, m.input, m.cached_input, m.output, m.reasoning, m.audio, m.images, m.seconds, m.characters, m.cost, m.operator_loss)
    is distinct from (s.requests, s.errors, s.input, s.cached_input, s.output, s.reasoning, s.audio, s.images, s.seconds, s.characters,
      s.cost, s.operator_loss) limit 1;
  if found then
    raise exception 'on % the rows of % make %, its sums say %', bad.day, bad.org_id, bad.cost, bad.said
      using errcode = 'integrity_constraint_violation';
  end if;
end $$;

-- What each transaction booked is what its rows were charged; rows of other months that it paid for are looked for nearby
-- first, and everywhere only when that is not enough.
create function refuse_unproved_charges(p_month date) returns void language plpgsql as $$
declare
  starts timestamptz := p_month::timestamp at time zone 'UTC';
  ends timestamptz := (p_month + interval '1 month') at time zone 'UTC';
  reach interval;
  open_txs bigint[];
begin
  open_txs := array(
    with mine as (
      select tx_id, amount from usage_past_charges where month = p_month
    ), booked as (
      select e.tx_id, sum(e.amount) as amount from mine join ledger_entries e using (tx_id) join ledger_accounts a on a.id = e.account_id
      where a.kind = 'usage' and a.org_id is null group by e.tx_id
    )
    select m.tx_id from mine m left join booked b using (tx_id)
    where m.amount <> coalesce(b.amount, 0));
  foreach reach in array array['2 days', '1000 years']::interval[] loop
    exit when cardinality(open_txs) = 0;
    open_txs := array(
      with asked as (
        select unnest(open_txs) as tx_id
      ), parts as (
        select c.tx_id, c.amount from usage_past_charges c join asked using (tx_id)
          left join usage_past_months m using (month) where c.month = p_month or m.gone_at is not null
        union all
        select c.tx_id, c.new_cost + c.new_operator_loss - c.old_cost - c.old_operator_loss from usage_corrections c join asked using (tx_id)
        union all
        select r.tx_id, r.cost + r.operator_loss + coalesce((select sum(c.old_cost + c.old_operator_loss - c.new_cost - c.new_operator_loss)
            from usage_corrections c where c.request_id = r.request_id and c.ts = r.ts), 0)
        from usage_records r where r.tx_id = any (open_txs) and (r.ts < starts or r.ts >= ends)
          and r.request_id >= first_id_at(greatest(starts - reach, 'epoch')) and r.request_id < first_id_at(ends + reach)
          and r.ts >= starts - reach and r.ts < ends + reach
      ), booked as (
        select e.tx_id, sum(e.amount) as amount from asked join ledger_entries e using (tx_id) join ledger_accounts a on a.id = e.account_id
        where a.kind = 'usage' and a.org_id is null group by e.tx_id
      )
      select a.tx_id from asked a left join booked b using (tx_id)
        left join (select tx_id, sum(amount) as amount from parts group by tx_id) p using (tx_id)
      where coalesce(p.amount, 0) <> coalesce(b.amount, 0));
  end loop;
  if cardinality(open_txs) > 0 then
    raise exception '% transactions did not book what their rows make, the first of them is %', cardinality(open_txs), open_txs[1]
      using errcode = 'integrity_constraint_violation';
  end if;
end $$;

-- The rows of a sealed month go. False when they have gone already.
create function let_go_usage_month(p_month date) returns boolean language plpgsql set lock_timeout = '2s' as $$
declare
  part text := usage_partition(p_month);
  past usage_past_months;
  left_over record;
begin
  lock table usage_past_months in share row exclusive mode;
  select * into past from usage_past_months m where m.month = p_month and m.gone_at is null;
  if not found then return false; end if;
  execute format('select count(*) as requests, coalesce(sum(cost), 0) as cost, coalesce(sum(operator_loss), 0) as operator_loss from %I', part)
  into left_over;
  if (left_over.requests, left_over.cost, left_over.operator_loss) is distinct from (past.requests, past.cost, past.operator_loss)
    or past.hash <> usage_past_hash(past) then
    raise exception 'the rows of % are not those it was sealed with', to_char(p_month, 'YYYY-MM') using errcode = 'integrity_constraint_violation';
  end if;
  execute format('drop table %I', part);
  update usage_past_months m set gone_at = clock_timestamp() where m.month = p_month;
  return true;
end $$;

-- As before, but a month that is let go never gets a partition again.
create or replace function ensure_usage_partitions(around timestamptz default now(), ahead integer default 2) returns integer language plpgsql as $$
declare
  starts timestamp;
  name text;
  made integer := 0;
begin
  for i in 0..ahead loop
    starts := date_trunc('month', around at time zone 'UTC') + make_interval(months => i);
    name := usage_partition(starts::date);
    if to_regclass(name) is null and not exists (select from usage_past_months p where p.month = starts::date) then
      execute format('create table if not exists %I partition of usage_records for values from (%L) to (%L)',
        name, starts at time zone 'UTC', (starts + interval '1 month') at time zone 'UTC');
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;
