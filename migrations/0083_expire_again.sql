-- A grant that was booked as expired while a clock ran ahead can come to life again when the clock is right: a cheaper request
-- gives back to it. It then expires a second time, under a key of its own; with the same key nobody's grants would expire any more.
create or replace function expire_grants(p_now timestamptz default now(), p_limit integer default 1000)
returns table (org_id text, grant_id bigint, amount bigint, avail bigint, balance_version bigint) language plpgsql as $$
#variable_conflict use_column
declare
  due record;
  wallet org_balances;
  left_over bigint;
  v_version bigint;
  v_key text;
  tx bigint;
begin
  for due in
    select a.org_id, a.id as account_id, a.grant_id from ledger_accounts a join grants g on g.grant_id = a.grant_id
    where a.live and g.expires_at <= p_now order by a.org_id, a.grant_id limit p_limit
  loop
    wallet := lock_wallet(due.org_id);
    select a.balance, a.version into left_over, v_version from ledger_accounts a where a.id = due.account_id;
    continue when left_over = 0;
    v_key := 'expire:' || due.grant_id;
    if exists (select from ledger_txs t where t.idem_key = v_key) then v_key := v_key || ':' || v_version; end if;
    insert into ledger_txs (org_id, kind, idem_key, ref_type, ref_id, created_at)
    values (due.org_id, 'expire', v_key, 'grant', due.grant_id::text, p_now) returning id into tx;
    perform post_entries(tx, due.org_id, array[row(due.account_id, -left_over, null),
      row(system_account('breakage'), left_over, null)]::ledger_move[]);
    return query select b.org_id, due.grant_id, left_over, b.avail, b.version from org_balances b where b.org_id = due.org_id;
  end loop;
end $$;
