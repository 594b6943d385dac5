-- The monthly quota of a member, as the hot store has to know it: each of their tokens names all that share it.

-- What a token is told beside its own terms. Kept apart from them, so that a sibling that comes or goes changes neither its
-- ETag nor its row. Both versions only ever rise, and so does their sum, which is what the hot store compares.
create table member_terms (
  token_id text collate "C" primary key,
  org_id text collate "C" not null,
  -- All three null: whoever has the token now has no quota.
  person_id text collate "C",
  cap bigint check (cap between 0 and 999999999999999),
  tokens text[] check (cardinality(tokens) between 1 and 100),
  version bigint not null default 1,
  told_version bigint not null default 0,
  check ((cap is null) = (person_id is null) and (cap is null) = (tokens is null))
);
create index member_terms_in_force on member_terms (org_id) where cap is not null;
create index member_terms_untold on member_terms (org_id) where told_version < version;

-- Whether somebody changed whose a token is, or a quota, since the terms above were last made of them.
create table quota_shares (
  org_id text collate "C" primary key,
  version bigint not null default 1,
  shared_version bigint not null default 0
);
create index quota_shares_behind on quota_shares (org_id) where shared_version < version;

create function note_quota_change() returns trigger language plpgsql as $$
declare
  about record := case when tg_op = 'DELETE' then old else new end;
begin
  insert into quota_shares as s (org_id) values (about.org_id) on conflict (org_id) do update set version = s.version + 1;
  return null;
end $$;
create trigger tokens_owned after insert on tokens for each row when (new.owner_id is not null) execute function note_quota_change();
create trigger tokens_moved after update of owner_id, status on tokens for each row
  when ((new.owner_id, new.status) is distinct from (old.owner_id, old.status) and coalesce(new.owner_id, old.owner_id) is not null)
  execute function note_quota_change();
create trigger org_members_quota after update of monthly_quota on org_members for each row
  when (new.monthly_quota is distinct from old.monthly_quota) execute function note_quota_change();
create trigger org_members_gone after delete on org_members for each row
  when (old.monthly_quota is not null) execute function note_quota_change();
insert into quota_shares (org_id) select distinct org_id from org_members where monthly_quota is not null;

-- The tokens that count in the quota of a member: all that may still be used, and of the revoked ones those that were used
-- this month, or were until lately, so that their last request may still be on its way.
create function quota_tokens(p_org text, p_person text, p_now timestamptz default now())
returns table (token_id text, live boolean, used_ends_at timestamptz) language sql stable as $$
  select t.token_id, t.status <> 'revoked', u.monthly_ends_at from tokens t join token_use u on u.token_id = t.token_id
  where t.org_id = p_org and t.owner_id = p_person
    and (t.status <> 'revoked' or t.updated_at > p_now - interval '2 days' or (u.monthly > 0 and u.monthly_ends_at > p_now))
$$;

-- How many they are; null without a quota. A hold looks at each of them, so there are never more than a hundred.
create function quota_token_count(p_org text, p_person text) returns bigint language sql stable as $$
  select (select count(*) from quota_tokens(p_org, p_person)) from org_members m
  where m.org_id = p_org and m.person_id = p_person and m.monthly_quota is not null
$$;

-- Makes the terms of an organization anew where they differ from what they have to be, and answers whose the hot store was
-- not told yet, the newest token first: what the others name must be there before them. Repeating it changes nothing.
-- Should there be more than a hundred after all, those beyond may spend nothing: rather that than more than the quota.
create function share_member_quotas(p_org text, p_now timestamptz default now()) returns setof text language plpgsql as $$
declare
  seen bigint := (select s.version from quota_shares s where s.org_id = p_org and s.shared_version < s.version for update);
begin
  if seen is not null then
    with counted as (
      select m.person_id, m.monthly_quota as cap, q.token_id, q.live,
        row_number() over (partition by m.person_id order by q.live desc, q.used_ends_at desc, q.token_id) as n
      from org_members m, lateral quota_tokens(m.org_id, m.person_id, p_now) q where m.org_id = p_org and m.monthly_quota is not null
    ), lists as (
      select c.person_id, array_agg(c.token_id order by c.token_id) as tokens from counted c where c.n <= 100 group by c.person_id
    ), wanted as (
      select c.token_id, c.person_id, case when c.n <= 100 then c.cap else 0 end as cap,
        case when c.n <= 100 then l.tokens else array[c.token_id] end as tokens
      from counted c join lists l using (person_id)
      union all
      select k.token_id, null, null, null from member_terms k
      where k.org_id = p_org and k.cap is not null and not exists (select from counted c where c.token_id = k.token_id)
    )
    insert into member_terms as k (token_id, org_id, person_id, cap, tokens)
    select w.token_id, p_org, w.person_id, w.cap, w.tokens from wanted w order by w.token_id
    on conflict (token_id) do update set person_id = excluded.person_id, cap = excluded.cap, tokens = excluded.tokens, version = k.version + 1
    where (k.person_id, k.cap, k.tokens) is distinct from (excluded.person_id, excluded.cap, excluded.tokens);
    update quota_shares s set shared_version = seen where s.org_id = p_org;
  end if;
  return query select k.token_id from member_terms k join tokens t on t.token_id = k.token_id
    where k.org_id = p_org and k.told_version < k.version order by t.created_at desc, k.token_id;
end $$;

-- As before; tokens that share a quota have a month that ends, too.
create or replace function roll_windows(p_now timestamptz, p_token text default null, p_limit integer default 500) returns setof text language plpgsql as $$
declare
  v_tokens text[];
begin
  v_tokens := array(select u.token_id from token_use u join tokens t on t.token_id = u.token_id left join member_terms k on k.token_id = t.token_id
    where (p_token is null or u.token_id = p_token) and t.status <> 'revoked'
      and (u.daily_ends_at <= p_now and t.quota_daily is not null or u.weekly_ends_at <= p_now and t.quota_weekly is not null
        or u.monthly_ends_at <= p_now and (t.quota_monthly is not null or k.cap is not null))
    order by t.org_id, u.token_id limit p_limit);
  if cardinality(v_tokens) = 0 then return; end if;
  perform 1 from org_balances b where b.org_id in (select t.org_id from tokens t where t.token_id = any (v_tokens))
    order by b.org_id for no key update;
  return query
    with days as (
      select u.token_id, t.org_id, o.time_zone, greatest(u.day, (p_now at time zone o.time_zone)::date) as today
      from token_use u join tokens t on t.token_id = u.token_id join organizations o on o.org_id = t.org_id
      where u.token_id = any (v_tokens)
    ), rolled as (
      update token_use u set day = d.today,
        daily = case when u.day = d.today then u.daily else 0 end,
        daily_ends_at = (d.today + 1)::timestamp at time zone d.time_zone,
        weekly = case when date_trunc('week', u.day) = date_trunc('week', d.today) then u.weekly else 0 end,
        weekly_ends_at = (date_trunc('week', d.today::timestamp) + interval '7 days') at time zone d.time_zone,
        monthly = case when date_trunc('month', u.day) = date_trunc('month', d.today) then u.monthly else 0 end,
        monthly_ends_at = (date_trunc('month', d.today::timestamp) + interval '1 month') at time zone d.time_zone
      from days d where u.token_id = d.token_id and (u.day < d.today or u.daily_ends_at <= p_now) returning u.token_id, d.org_id
    ), raised as (
      update org_balances b set version = b.version + 1, untold_version = b.version + 1
      where b.org_id in (select r.org_id from rolled r)
    )
    update tokens t set projected_version = 0 from rolled r where t.token_id = r.token_id returning t.token_id;
end $$;
