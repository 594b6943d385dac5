-- Redemption codes: made in batches, shown once, kept as keyed digests, good for one organization each.

create table code_batches (
  batch_id text collate "C" primary key check (batch_id ~ '^batch_[0-9A-Za-z]{16}$'),
  name text not null check (length(name) between 1 and 200),
  amount bigint not null check (amount between 1 and 999999999999999),
  codes integer not null check (codes between 1 and 10000),
  -- Until when a code can be redeemed, and for how long its credits last afterwards. Null: for ever.
  valid_until timestamptz,
  credits_last_s bigint check (credits_last_s between 1 and 3155760000),
  -- Who may redeem: one organization, or only those that never bought or redeemed anything. Neither: everybody.
  for_org text collate "C" references organizations,
  for_new boolean not null default false,
  disabled_at timestamptz,
  created_by text not null,
  created_at timestamptz not null default now()
);
create index code_batches_newest on code_batches (created_at desc, batch_id desc);

create table codes (
  digest text collate "C" primary key check (digest ~ '^[0-9a-f]{64}$'),
  batch_id text collate "C" not null references code_batches,
  last_four text not null check (length(last_four) = 4),
  used_at timestamptz,
  used_org text collate "C" references organizations,
  used_by text,
  -- What the redemption was asked under, so that asking again after a lost answer is not refused.
  used_key text,
  grant_id bigint references grants,
  check ((used_at is null) = (used_org is null))
);
create index codes_used on codes (batch_id, used_at desc) where used_at is not null;
create index codes_of_batch on codes (batch_id);

-- Who tried and failed, for the pause after too many guesses. Pruned by the worker.
create table code_attempts (
  id bigint generated always as identity primary key,
  org_id text collate "C" not null,
  actor text not null,
  at timestamptz not null,
  good boolean not null
);
create index code_attempts_of on code_attempts (org_id, actor, at desc);
create index code_attempts_at on code_attempts (at);

-- 0 when this actor may try a code for this organization now, else how long to wait. Whoever asks is serialized by the
-- caller. Ten tries in any hour; after five failures in a row a pause that starts with the last of them.
create function code_wait_ms(p_org text, p_actor text, p_per_hour integer, p_failures integer, p_pause interval, p_now timestamptz)
returns bigint language sql stable as $$
  with tries as materialized (
    select a.at, a.good, row_number() over (order by a.at desc, a.id desc) as n from code_attempts a
    where a.org_id = p_org and a.actor = p_actor and a.at > p_now - interval '1 hour'
    order by a.at desc, a.id desc limit greatest(p_per_hour, p_failures)
  )
  select greatest(0,
    (select case when count(*) >= p_per_hour then ceil(extract(epoch from min(at) + interval '1 hour' - p_now) * 1000) else 0 end
      from tries where n <= p_per_hour),
    (select case when count(*) >= p_failures and not bool_or(good) then ceil(extract(epoch from max(at) + p_pause - p_now) * 1000) else 0 end
      from tries where n <= p_failures))::bigint
$$;

create type redemption as (outcome text, wait_ms bigint, amount bigint, credits_expire_at timestamptz, grant_id bigint,
  used_at timestamptz, used_by text, repeated boolean, avail bigint);

-- Redeems a code, or says why not; the failure is remembered too. One call does all of it: the code is marked, the credits
-- are granted and the audit log says so, or none of that.
create function redeem_code(p_org text, p_digest text, p_key text, p_actor text, p_per_hour integer, p_failures integer,
  p_pause interval, p_now timestamptz) returns redemption language plpgsql as $$
declare
  answer redemption;
  code codes;
  batch code_batches;
  posted record;
begin
  -- Tries of one actor take turns, so that a hundred at once are counted one by one.
  perform pg_advisory_xact_lock(7220612, hashtext(p_org || chr(31) || p_actor));
  select * into code from codes c where c.digest = p_digest for update;
  select * into batch from code_batches b where b.batch_id = code.batch_id;
  if code.used_org = p_org and code.used_key = p_key then
    select g.amount, g.expires_at, g.grant_id into answer.amount, answer.credits_expire_at, answer.grant_id
    from grants g where g.grant_id = code.grant_id;
    select b.avail into answer.avail from org_balances b where b.org_id = p_org;
    answer.outcome := 'redeemed';
    answer.repeated := true;
    return answer;
  end if;
  answer.wait_ms := code_wait_ms(p_org, p_actor, p_per_hour, p_failures, p_pause, p_now);
  if answer.wait_ms > 0 then
    answer.outcome := 'too_many_attempts';
    return answer;
  end if;
  answer.outcome := case
    when code.digest is null then 'code_not_found'
    when code.used_at is not null then 'code_already_used'
    when batch.disabled_at is not null then 'code_disabled'
    when batch.valid_until <= p_now then 'code_expired'
    when batch.for_org <> p_org then 'code_not_for_you'
    when batch.for_new and exists (select from grants g where g.org_id = p_org and g.kind in ('topup', 'auto_topup', 'redeem'))
      then 'code_not_for_you'
    else 'redeemed' end;
  insert into code_attempts (org_id, actor, at, good) values (p_org, p_actor, p_now, answer.outcome = 'redeemed');
  if answer.outcome <> 'redeemed' then
    -- By whom, only to the organization that used it.
    answer.used_at := case when code.used_org = p_org then code.used_at end;
    answer.used_by := case when code.used_org = p_org then code.used_by end;
    return answer;
  end if;
  answer.credits_expire_at := p_now + make_interval(secs => batch.credits_last_s);
  select * into posted from post_grant(p_org => p_org, p_key => 'code:' || p_digest, p_kind => 'redeem', p_amount => batch.amount,
    p_category => 'promo', p_priority => 30, p_source => 'promo', p_expires_at => answer.credits_expire_at,
    p_source_type => 'code', p_source_id => p_digest, p_reason => format('code …%s of %s', code.last_four, batch.name), p_now => p_now);
  update codes c set used_at = p_now, used_org = p_org, used_by = p_actor, used_key = p_key, grant_id = posted.grant_id
  where c.digest = p_digest;
  insert into audit_log (org_id, actor, action, subject, details)
  values (p_org, p_actor, 'code.redeem', batch.batch_id,
    jsonb_build_object('grant_id', posted.grant_id, 'micro', batch.amount, 'last_four', code.last_four));
  answer.amount := batch.amount;
  answer.grant_id := posted.grant_id;
  answer.avail := posted.avail;
  answer.repeated := false;
  return answer;
end $$;
