-- Operators take credits back by hand: never more than is free, so never into debt.

-- `p_reserved` is what the hot store has set aside or not booked yet. With `p_grant_id` only that grant is taken from.
-- `outcome`: taken, short (nothing was booked; `room` is what could be taken) or unknown_grant.
create function post_deduction(p_org text, p_key text, p_amount bigint, p_reserved bigint, p_grant_id bigint, p_reason text,
  p_actor text, p_now timestamptz default now())
returns table (outcome text, tx_id bigint, repeated boolean, room bigint, avail bigint, debt bigint, balance_version bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  wallet org_balances := lock_wallet(p_org);
  tx ledger_txs := booked_before(p_org, p_key);
  free bigint := wallet.avail - p_reserved;
  left_over bigint;
  posted record;
begin
  if tx.id is null then
    if p_grant_id is not null then
      select a.balance into left_over from ledger_accounts a where a.grant_id = p_grant_id and a.org_id = p_org;
      if left_over is null then
        return query select 'unknown_grant', null::bigint, false, 0::bigint, wallet.avail, wallet.debt, wallet.version;
        return;
      end if;
      free := least(free, left_over);
    end if;
    if free < p_amount then
      return query select 'short', null::bigint, false, greatest(free, 0), wallet.avail, wallet.debt, wallet.version;
      return;
    end if;
  end if;
  select * into posted from post_adjustment(p_org => p_org, p_key => p_key, p_kind => 'adjust', p_amount => -p_amount,
    p_counter => 'void', p_grant_id => p_grant_id, p_reason => p_reason, p_meta => jsonb_build_object('actor', p_actor), p_now => p_now);
  if not posted.repeated then
    insert into audit_log (org_id, actor, action, subject, details)
    values (p_org, p_actor, 'credits.deduct', p_org, jsonb_strip_nulls(jsonb_build_object('tx_id', posted.tx_id, 'micro', p_amount,
      'grant_id', p_grant_id, 'reason', p_reason)));
  end if;
  return query select 'taken', posted.tx_id, posted.repeated, free, posted.avail, posted.debt, posted.balance_version;
end $$;
