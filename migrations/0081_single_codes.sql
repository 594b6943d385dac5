-- A code can be withdrawn by itself, as a whole batch can: one that was mailed to the wrong person, say.

alter table codes add column disabled_at timestamptz;
alter table codes add check (disabled_at is null or used_at is null);

-- As before, but for a code that was withdrawn by itself. Whoever redeems it and whoever withdraws it take turns at its row.
create or replace function redeem_code(p_org text, p_digest text, p_key text, p_actor text, p_per_hour integer, p_failures integer,
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
    when code.disabled_at is not null or batch.disabled_at is not null then 'code_disabled'
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
