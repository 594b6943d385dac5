-- Credits in, credits back, credits gone: grants, adjustments, returns and expiry. All of them lock the organization first.

create type ledger_move as (account_id bigint, amount bigint, returns_entry_id bigint);

-- Writes all entries of one transaction at once and moves accounts and the organization's balance with them.
create function post_entries(p_tx bigint, p_org text, p_moves ledger_move[]) returns void language plpgsql as $$
begin
  with moves as (
    select m.account_id, m.amount, m.returns_entry_id, n,
      row_number() over so_far as k, (sum(m.amount) over so_far)::bigint as running
    from unnest(p_moves) with ordinality m (account_id, amount, returns_entry_id, n) where m.amount <> 0
    window so_far as (partition by m.account_id order by n rows unbounded preceding)
  ), sums as (
    select account_id, sum(amount)::bigint as amount, count(*) as entries from moves group by account_id
  ), moved as (
    update ledger_accounts a set balance = a.balance + s.amount, version = a.version + s.entries
    from sums s where a.id = s.account_id
    returning a.id, a.org_id, a.kind, s.amount, a.balance - s.amount as balance_before, a.version - s.entries as version_before
  ), entries as (
    insert into ledger_entries (tx_id, account_id, amount, account_version, balance_after, returns_entry_id)
    select p_tx, m.account_id, m.amount, a.version_before + m.k, a.balance_before + m.running, m.returns_entry_id
    from moves m join moved a on a.id = m.account_id order by m.n
  )
  update org_balances b set version = b.version + 1, untold_version = b.version + 1,
    avail = b.avail + coalesce((select sum(amount) from moved where org_id = p_org and kind in ('grant', 'debt')), 0),
    debt = b.debt + coalesce((select sum(amount) from moved where org_id = p_org and kind = 'debt'), 0)
  where b.org_id = p_org;
end $$;

create function lock_wallet(p_org text) returns org_balances language plpgsql as $$
declare
  wallet org_balances;
begin
  select * into wallet from org_balances where org_id = p_org for no key update;
  if not found then
    raise exception 'organization % is unknown', p_org using errcode = 'no_data_found';
  end if;
  return wallet;
end $$;

-- The account of a kind; `cash:<provider>` accounts open themselves.
create function system_account(p_kind text) returns bigint language plpgsql as $$
declare
  found_id bigint;
begin
  if p_kind like 'cash:_%' then
    insert into ledger_accounts (kind) values (p_kind) on conflict do nothing;
  end if;
  select id into found_id from ledger_accounts where kind = p_kind and org_id is null;
  if found_id is null then
    raise exception 'there is no system account %', p_kind using errcode = 'no_data_found';
  end if;
  return found_id;
end $$;

create function org_account(p_org text, p_kind text) returns bigint language sql stable as $$
  select id from ledger_accounts where org_id = p_org and kind = p_kind and grant_id is null
$$;

-- A new grant and its empty account; answers with the account. The caller books the entries.
create function open_grant(p_org text, p_tx bigint, p_kind text, p_category text, p_priority integer, p_amount bigint,
  p_expires_at timestamptz, p_source_type text, p_source_id text, p_currency text, p_unit_cost text, p_reason text,
  p_now timestamptz) returns bigint language sql as $$
  with made as (
    insert into grants (org_id, kind, category, priority, amount, expires_at, source_type, source_id, currency, unit_cost,
      reason, tx_id, created_at)
    values (p_org, p_kind, p_category, p_priority, p_amount, p_expires_at, p_source_type, p_source_id, p_currency, p_unit_cost,
      p_reason, p_tx, p_now) returning grant_id
  )
  insert into ledger_accounts (org_id, kind, grant_id, min_balance, max_balance)
  select p_org, 'grant', grant_id, 0, p_amount from made returning id
$$;

-- The transaction already booked under this key, if any. A key that means something else is refused.
create function booked_before(p_org text, p_key text) returns ledger_txs language plpgsql as $$
declare
  tx ledger_txs;
begin
  select * into tx from ledger_txs where idem_key = p_key;
  if found and tx.org_id <> p_org then
    raise exception 'key % was used for another organization', p_key using errcode = 'unique_violation';
  end if;
  return tx;
end $$;

-- Adds credits, once per key. Debt is paid first; what is left of the grant is what can be spent.
create function post_grant(p_org text, p_key text, p_kind text, p_amount bigint, p_category text, p_priority integer,
  p_source text, p_expires_at timestamptz default null, p_source_type text default null, p_source_id text default null,
  p_currency text default null, p_unit_cost text default null, p_reason text default null, p_meta jsonb default null,
  p_now timestamptz default now())
returns table (tx_id bigint, grant_id bigint, amount bigint, repeated boolean, avail bigint, debt bigint, balance_version bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  wallet org_balances := lock_wallet(p_org);
  tx ledger_txs := booked_before(p_org, p_key);
  again boolean := tx.id is not null;
  account bigint;
  pays bigint;
begin
  if not again then
    insert into ledger_txs (org_id, kind, idem_key, ref_type, ref_id, meta, created_at)
    values (p_org, p_kind, p_key, p_source_type, p_source_id, p_meta, p_now) returning * into tx;
    account := open_grant(p_org, tx.id, p_kind, p_category, p_priority, p_amount, p_expires_at, p_source_type, p_source_id,
      p_currency, p_unit_cost, p_reason, p_now);
    pays := least(p_amount, -wallet.debt);
    perform post_entries(tx.id, p_org, array[
      row(system_account(p_source), -p_amount, null), row(account, p_amount, null),
      row(account, -pays, null), row(org_account(p_org, 'debt'), pays, null)]::ledger_move[]);
  end if;
  return query
    select tx.id, (select g.grant_id from grants g where g.tx_id = tx.id order by g.grant_id limit 1),
      (select g.amount from grants g where g.tx_id = tx.id order by g.grant_id limit 1), again, b.avail, b.debt, b.version
    from org_balances b where b.org_id = p_org;
end $$;

-- Live grants in burn order, `p_first` before all others: what to take to collect an amount, the rest from debt.
create function moves_to_take(p_org text, p_amount bigint, p_first bigint default null) returns ledger_move[] language plpgsql as $$
declare
  moves ledger_move[];
  rest bigint := p_amount;
  a record;
begin
  for a in
    select l.id, l.balance from ledger_accounts l join grants g on g.grant_id = l.grant_id
    where l.org_id = p_org and l.live
    order by g.grant_id = p_first desc nulls last, g.priority, g.expires_at nulls last,
      array_position(array['promo', 'plan', 'paid'], g.category), g.created_at, g.grant_id
  loop
    exit when rest = 0;
    moves := moves || row(a.id, -least(rest, a.balance), null)::ledger_move;
    rest := rest - least(rest, a.balance);
  end loop;
  return moves || row(org_account(p_org, 'debt'), -rest, null)::ledger_move;
end $$;

-- Corrects a balance by hand, refund, void or dispute, once per key. Taking: from the named grant, then in burn order, the
-- rest becomes debt. Giving: pays debt, refills the named grant while it lives, the rest is a new goodwill grant.
create function post_adjustment(p_org text, p_key text, p_kind text, p_amount bigint, p_counter text,
  p_grant_id bigint default null, p_reason text default null, p_meta jsonb default null, p_now timestamptz default now())
returns table (tx_id bigint, repeated boolean, avail bigint, debt bigint, balance_version bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  wallet org_balances := lock_wallet(p_org);
  tx ledger_txs := booked_before(p_org, p_key);
  again boolean := tx.id is not null;
  counter bigint;
  moves ledger_move[];
begin
  if not again then
    if p_amount = 0 then raise exception 'an adjustment of 0 changes nothing' using errcode = 'data_exception'; end if;
    insert into ledger_txs (org_id, kind, idem_key, meta, created_at)
    values (p_org, p_kind, p_key, coalesce(p_meta, '{}') || jsonb_strip_nulls(jsonb_build_object('reason', p_reason)), p_now)
    returning * into tx;
    counter := case when p_counter = 'suspense' then org_account(p_org, 'suspense') else system_account(p_counter) end;
    if p_amount < 0 then
      moves := moves_to_take(p_org, -p_amount, p_grant_id);
    else
      moves := moves_to_give(wallet, p_amount, tx.id, p_grant_id, p_reason, p_now);
    end if;
    perform post_entries(tx.id, p_org, row(counter, -p_amount, null)::ledger_move || moves);
  end if;
  return query select tx.id, again, b.avail, b.debt, b.version from org_balances b where b.org_id = p_org;
end $$;

create function moves_to_give(p_wallet org_balances, p_amount bigint, p_tx bigint, p_grant_id bigint, p_reason text, p_now timestamptz)
returns ledger_move[] language plpgsql as $$
declare
  pays bigint := least(p_amount, -p_wallet.debt);
  rest bigint := p_amount - pays;
  room bigint;
  home bigint;
  moves ledger_move[] := array[row(org_account(p_wallet.org_id, 'debt'), pays, null)::ledger_move];
begin
  select a.id, least(rest, a.max_balance - a.balance) into home, room
  from ledger_accounts a join grants g on g.grant_id = a.grant_id
  where a.grant_id = p_grant_id and a.org_id = p_wallet.org_id and (g.expires_at is null or g.expires_at > p_now);
  if home is not null then
    moves := moves || row(home, room, null)::ledger_move;
    rest := rest - room;
  end if;
  if rest > 0 then
    home := open_grant(p_wallet.org_id, p_tx, 'goodwill', 'promo', 20, rest, null, null, null, null, null, p_reason, p_now);
    moves := moves || row(home, rest, null)::ledger_move;
  end if;
  return moves;
end $$;

-- Gives back the difference when a row turns out cheaper than first booked: debt first, then the grants in the reverse of
-- how they were burnt. What a grant can no longer take (expired meanwhile) becomes goodwill.
create function return_usage(old usage_records, p_cost bigint, p_operator_loss bigint, p_now timestamptz default now())
returns bigint language plpgsql as $$
declare
  wallet org_balances := lock_wallet(old.org_id);
  lost bigint := old.operator_loss - p_operator_loss;
  pays bigint := least(old.cost - p_cost, -wallet.debt);
  rest bigint := old.cost - p_cost - pays;
  back bigint;
  tx bigint;
  moves ledger_move[];
  e record;
begin
  insert into ledger_txs (org_id, kind, ref_type, ref_id, created_at)
  values (old.org_id, 'usage_return', 'request', old.request_id::text, p_now) returning id into tx;
  moves := array[row(system_account('usage'), p_cost - old.cost - lost, null), row(system_account('operator_loss'), lost, null),
    row(org_account(old.org_id, 'debt'), pays, null)]::ledger_move[];
  for e in
    select l.id, l.account_id, -l.amount - coalesce((select sum(r.amount) from ledger_entries r where r.returns_entry_id = l.id), 0) as burnt,
      a.max_balance - a.balance as room
    from (select old.tx_id as tx_id, 0 as n union all
          select c.tx_id, c.id from usage_corrections c where c.request_id = old.request_id and c.new_cost > c.old_cost) t
    join ledger_entries l on l.tx_id = t.tx_id and l.amount < 0
    join ledger_accounts a on a.id = l.account_id join grants g on g.grant_id = a.grant_id
    where g.expires_at is null or g.expires_at > p_now
    order by t.n desc, l.id desc
  loop
    back := least(rest, e.burnt, e.room - coalesce((select sum(m.amount) from unnest(moves) m where m.account_id = e.account_id), 0));
    if back > 0 then
      moves := moves || row(e.account_id, back, e.id)::ledger_move;
      rest := rest - back;
    end if;
  end loop;
  if rest > 0 then
    moves := moves || row(open_grant(old.org_id, tx, 'goodwill', 'promo', 20, rest, null, null, null, null, null,
      'returned: a request cost less than first booked', p_now), rest, null)::ledger_move;
  end if;
  perform post_entries(tx, old.org_id, moves);
  return tx;
end $$;

-- Books what is left of expired grants to breakage; once per grant.
create function expire_grants(p_now timestamptz default now(), p_limit integer default 1000)
returns table (org_id text, grant_id bigint, amount bigint, avail bigint, balance_version bigint) language plpgsql as $$
#variable_conflict use_column
declare
  due record;
  wallet org_balances;
  left_over bigint;
  tx bigint;
begin
  for due in
    select a.org_id, a.id as account_id, a.grant_id from ledger_accounts a join grants g on g.grant_id = a.grant_id
    where a.live and g.expires_at <= p_now order by a.org_id, a.grant_id limit p_limit
  loop
    wallet := lock_wallet(due.org_id);
    select a.balance into left_over from ledger_accounts a where a.id = due.account_id;
    continue when left_over = 0;
    insert into ledger_txs (org_id, kind, idem_key, ref_type, ref_id, created_at)
    values (due.org_id, 'expire', 'expire:' || due.grant_id, 'grant', due.grant_id::text, p_now) returning id into tx;
    perform post_entries(tx, due.org_id, array[row(due.account_id, -left_over, null),
      row(system_account('breakage'), left_over, null)]::ledger_move[]);
    return query select b.org_id, due.grant_id, left_over, b.avail, b.version from org_balances b where b.org_id = due.org_id;
  end loop;
end $$;
